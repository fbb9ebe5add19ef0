-- Version 4: messages of contacts that wait for a SIP user to answer an invitation, without what they say. Each goes when its
-- message has come to its end; who sent one that is found here at a start is told that it may not have been delivered.
CREATE TABLE pending (
    id        INTEGER PRIMARY KEY,
    -- Full JIDs, and the id, as they stood in the stanza.
    sender    TEXT NOT NULL,
    recipient TEXT NOT NULL,
    stanza_id TEXT,
    since     INTEGER NOT NULL
) STRICT;
