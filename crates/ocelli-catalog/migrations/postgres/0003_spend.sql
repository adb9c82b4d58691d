-- The same as for SQLite.

-- Who is working on which job at the moment, so that no two pay for it. One row per job in hand; it goes in the
-- transaction that writes the analysis. A claim counts until `until`, by the clock of the database. `renewed_at` in the
-- future shows that this clock was set back: such a claim counts no more. `micros` and `tokens` are what answers cost
-- that are on their way to this database.
CREATE TABLE claims (
    digest        BYTEA            NOT NULL,
    analyzer      TEXT COLLATE "C" NOT NULL,
    revision      TEXT COLLATE "C" NOT NULL,
    attempt       BYTEA            NOT NULL CHECK (length(attempt) = 16),
    holder        TEXT COLLATE "C" NOT NULL,
    renewed_at    BIGINT           NOT NULL,
    until         BIGINT           NOT NULL,
    batch         BYTEA,
    currency      TEXT COLLATE "C",
    micros        BIGINT           NOT NULL DEFAULT 0,
    tokens        BIGINT           NOT NULL DEFAULT 0,
    PRIMARY KEY (digest, analyzer, revision)
);

-- What each attempt cost: one row per attempt in which a model answered, however often it is told. `kept`: its answer
-- is in the archive. Money in millionths of its currency. `batch` is empty where none is known, `currency` where no
-- price is. `month` is that of UTC, as 202611.
CREATE TABLE payments (
    digest        BYTEA            NOT NULL,
    analyzer      TEXT COLLATE "C" NOT NULL,
    attempt       BYTEA            NOT NULL CHECK (length(attempt) = 16),
    revision      TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    batch         BYTEA            NOT NULL,
    month         BIGINT           NOT NULL,
    currency      TEXT COLLATE "C" NOT NULL,
    calls         BIGINT           NOT NULL,
    tokens_in     BIGINT           NOT NULL,
    tokens_out    BIGINT           NOT NULL,
    micros        BIGINT           NOT NULL,
    wasted_tokens BIGINT           NOT NULL,
    wasted_micros BIGINT           NOT NULL,
    kept          BOOLEAN          NOT NULL,
    PRIMARY KEY (digest, analyzer, attempt)
);

-- The sums of payments, kept in the same transaction.
CREATE TABLE spend (
    month         BIGINT           NOT NULL,
    analyzer      TEXT COLLATE "C" NOT NULL,
    currency      TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    batch         BYTEA            NOT NULL,
    calls         BIGINT           NOT NULL,
    tokens_in     BIGINT           NOT NULL,
    tokens_out    BIGINT           NOT NULL,
    micros        BIGINT           NOT NULL,
    wasted_tokens BIGINT           NOT NULL,
    wasted_micros BIGINT           NOT NULL,
    PRIMARY KEY (month, analyzer, currency, model, batch)
);

-- Analyzers that people have paused.
CREATE TABLE pauses (
    analyzer      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at            BIGINT           NOT NULL,
    reason        TEXT COLLATE "C" NOT NULL
);
