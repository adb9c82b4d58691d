-- Who is told of records that are complete: the exchange of the broker, webhooks. Written when one is first configured.
CREATE TABLE listeners (
    name  TEXT    NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a listener has not been told yet, written in the transaction that completes a record, taken out when it was told. A record that
-- completes again before that is told once. `since`: from when on it waits; `next_at`: when it is tried, or tried again where whoever took it died.
CREATE TABLE deliveries (
    listener     TEXT    NOT NULL,
    digest       BLOB    NOT NULL CHECK (length(digest) = 32),
    completed_at INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    dead         INTEGER NOT NULL DEFAULT 0,
    reason       TEXT,
    PRIMARY KEY (listener, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (listener, next_at) WHERE dead = 0;
