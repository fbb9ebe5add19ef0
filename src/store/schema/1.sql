-- Version 1 of the schema. Times are seconds of Unix time: sqlite3 shows them with datetime(…, 'unixepoch', 'localtime').

-- One SIP user and one contact, both as bare JIDs.
CREATE TABLE pair (
    id             INTEGER PRIMARY KEY,
    sip_user       TEXT NOT NULL,
    contact        TEXT NOT NULL,
    -- The SIP user added the contact: when, and his last SUBSCRIBE. Consent ends some time after that.
    added_since    INTEGER,
    last_subscribe INTEGER,
    -- When the SIP user last wrote to the contact.
    sip_user_wrote INTEGER,
    -- The SIP user's subscription to the contact's presence.
    to_state       TEXT NOT NULL CHECK (to_state IN ('no', 'pending', 'yes')),
    -- The contact's subscription to the SIP user's presence, and since when it is what it is.
    from_state     TEXT NOT NULL CHECK (from_state IN ('no', 'kept', 'pending', 'yes')),
    from_since     INTEGER NOT NULL,
    saved_at       INTEGER NOT NULL,
    UNIQUE (sip_user, contact),
    CHECK ((added_since IS NULL) = (last_subscribe IS NULL))
) STRICT;
CREATE INDEX pair_by_contact ON pair (contact);

-- SIP dialogs. subscriber: ours to the SIP user, one at most. notifier: those of his endpoints to us.
CREATE TABLE dialog (
    pair          INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    role          TEXT NOT NULL CHECK (role IN ('subscriber', 'notifier')),
    position      INTEGER NOT NULL,
    call_id       TEXT NOT NULL,
    local_tag     TEXT NOT NULL,
    remote_tag    TEXT NOT NULL,
    local_uri     TEXT NOT NULL,
    remote_uri    TEXT NOT NULL,
    remote_target TEXT NOT NULL,
    local_cseq    INTEGER NOT NULL,
    remote_cseq   INTEGER,
    event_id      TEXT,
    expires_at    INTEGER NOT NULL,
    -- Of notifiers only: which endpoint, what it accepts.
    endpoint      TEXT,
    accept        TEXT,
    -- The front end that holds the dialog; of a subscriber NULL if that is not known.
    front_end     TEXT,
    PRIMARY KEY (pair, role, position),
    CHECK (role = 'notifier' OR position = 0),
    CHECK (role = 'subscriber' OR (endpoint IS NOT NULL AND accept IS NOT NULL AND front_end IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- The route sets of dialogs, in the order they are sent, each as it came.
CREATE TABLE route (
    pair     INTEGER NOT NULL,
    role     TEXT NOT NULL,
    dialog   INTEGER NOT NULL,
    hop      INTEGER NOT NULL,
    route    TEXT NOT NULL,
    PRIMARY KEY (pair, role, dialog, hop),
    FOREIGN KEY (pair, role, dialog) REFERENCES dialog (pair, role, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The resources under which the contact has seen the SIP user as available.
CREATE TABLE shown (
    pair     INTEGER NOT NULL REFERENCES pair (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (pair, position)
) STRICT, WITHOUT ROWID;

-- Who changed what.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    what    TEXT NOT NULL,
    subject TEXT NOT NULL,
    was     TEXT,
    became  TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_subject ON audit (subject);

-- Secrets of this node.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- About the database itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
