-- Opt-ins.

CREATE TABLE membership (
    project     TEXT NOT NULL,
    environment TEXT NOT NULL,
    segment     TEXT NOT NULL,
    unit        TEXT NOT NULL,
    PRIMARY KEY (project, environment, segment, unit)
) STRICT, WITHOUT ROWID;

CREATE INDEX membership_by_unit ON membership (unit);

ALTER TABLE installation ADD COLUMN member_changes INTEGER NOT NULL DEFAULT 0;
