-- Who is working on which job at the moment, so that no two pay for it. One row per job in hand; it goes in the
-- transaction that writes the analysis. A claim counts until `until`, by the clock of the database. `renewed_at` in the
-- future shows that this clock was set back: such a claim counts no more. `micros` and `tokens` are what answers cost
-- that are on their way to this database.
CREATE TABLE claims (
    digest     BLOB    NOT NULL,
    analyzer   TEXT    NOT NULL,
    revision   TEXT    NOT NULL,
    attempt    BLOB    NOT NULL CHECK (length(attempt) = 16),
    holder     TEXT    NOT NULL,
    renewed_at INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    batch      BLOB,
    currency   TEXT,
    micros     INTEGER NOT NULL DEFAULT 0,
    tokens     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (digest, analyzer, revision)
) STRICT, WITHOUT ROWID;

-- What each attempt cost: one row per attempt in which a model answered, however often it is told. `kept`: its answer
-- is in the archive. Money in millionths of its currency. `batch` is empty where none is known, `currency` where no
-- price is. `month` is that of UTC, as 202611.
CREATE TABLE payments (
    digest        BLOB    NOT NULL,
    analyzer      TEXT    NOT NULL,
    attempt       BLOB    NOT NULL CHECK (length(attempt) = 16),
    revision      TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    batch         BLOB    NOT NULL,
    month         INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    calls         INTEGER NOT NULL,
    tokens_in     INTEGER NOT NULL,
    tokens_out    INTEGER NOT NULL,
    micros        INTEGER NOT NULL,
    wasted_tokens INTEGER NOT NULL,
    wasted_micros INTEGER NOT NULL,
    kept          INTEGER NOT NULL CHECK (kept IN (0, 1)),
    PRIMARY KEY (digest, analyzer, attempt)
) STRICT, WITHOUT ROWID;

-- The sums of payments, kept in the same transaction.
CREATE TABLE spend (
    month         INTEGER NOT NULL,
    analyzer      TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    batch         BLOB    NOT NULL,
    calls         INTEGER NOT NULL,
    tokens_in     INTEGER NOT NULL,
    tokens_out    INTEGER NOT NULL,
    micros        INTEGER NOT NULL,
    wasted_tokens INTEGER NOT NULL,
    wasted_micros INTEGER NOT NULL,
    PRIMARY KEY (month, analyzer, currency, model, batch)
) STRICT, WITHOUT ROWID;

-- Analyzers that people have paused.
CREATE TABLE pauses (
    analyzer TEXT    NOT NULL PRIMARY KEY,
    at       INTEGER NOT NULL,
    reason   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
