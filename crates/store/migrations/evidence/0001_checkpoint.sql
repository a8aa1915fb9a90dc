-- The last saved evidence: its position in the event log, and its parts.

CREATE TABLE checkpoint (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE evidence (
    part TEXT PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
