-- Version 3 of the schema.

-- What administrators made while the gateway ran, beside what is in its files. settings: the keys of the section of the file
-- as JSON, without the one that names it.

-- A [[partner]], by its primary domain.
CREATE TABLE partner (
    domain     TEXT PRIMARY KEY,
    settings   TEXT NOT NULL CHECK (json_valid(settings)),
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A [[policy.rule]], by its name; 'global' has the keys of [policy] itself.
CREATE TABLE policy (
    name       TEXT PRIMARY KEY,
    settings   TEXT NOT NULL CHECK (json_valid(settings)),
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A [[block]], by its address.
CREATE TABLE block (
    address    TEXT PRIMARY KEY,
    settings   TEXT NOT NULL CHECK (json_valid(settings)),
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
