-- The same as for SQLite.

-- What local files looked like when a producer read them, so that the next one need not read them again. A memory, no truth: a row
-- counts only where `sightings` has the same image at the same source, and a lost one costs one reading. Times are nanoseconds since
-- 1970, `inode` is its 64 bits as a signed number.
CREATE TABLE known_files (
    source_key BYTEA  NOT NULL PRIMARY KEY CHECK (length(source_key) = 16),
    digest     BYTEA  NOT NULL CHECK (length(digest) = 32),
    size       BIGINT NOT NULL,
    modified   BIGINT NOT NULL,
    changed    BIGINT NOT NULL,
    inode      BIGINT NOT NULL
);
