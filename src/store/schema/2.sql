-- Version 2 of the schema.

-- Domains of partners that proved themselves by certificate (SASL EXTERNAL): dialback alone is refused of them until an
-- administrator says otherwise.
CREATE TABLE proved (
    domain TEXT PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
