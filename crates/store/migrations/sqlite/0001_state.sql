-- The control plane's state. An empty `environment` means that the row belongs to the whole project.

CREATE TABLE installation (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation  TEXT    NOT NULL,
    log_position INTEGER NOT NULL DEFAULT 0,
    -- The end of the audit chain, kept apart from it so that a chain cut at its end is noticed.
    audit_seq    INTEGER NOT NULL DEFAULT 0,
    audit_hash   BLOB    NOT NULL
) STRICT;

CREATE TABLE revision (
    project     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT, WITHOUT ROWID;

CREATE TABLE item (
    project     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (project, environment, kind, key)
) STRICT;

CREATE INDEX item_by_version ON item (project, environment, version);

CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    project     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    reason      TEXT,
    at          INTEGER NOT NULL,
    diff        BLOB    NOT NULL,
    prev_hash   BLOB    NOT NULL,
    hash        BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_by_subject ON audit (subject, seq);

CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- state: 0 waiting, 1 done, 2 abandoned
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    not_before INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    state      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX outbox_waiting ON outbox (not_before, id) WHERE state = 0;

CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT,
    fence  INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key      TEXT PRIMARY KEY,
    response BLOB    NOT NULL,
    expires  INTEGER NOT NULL
) STRICT;

CREATE INDEX idempotency_by_expiry ON idempotency (expires);
