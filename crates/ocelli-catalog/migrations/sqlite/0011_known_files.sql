-- What local files looked like when a producer read them, so that the next one need not read them again. A memory, no truth: a row
-- counts only where `sightings` has the same image at the same source, and a lost one costs one reading. Times are nanoseconds since
-- 1970, `inode` is its 64 bits as a signed number.
CREATE TABLE known_files (
    source_key BLOB    NOT NULL PRIMARY KEY CHECK (length(source_key) = 16),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    size       INTEGER NOT NULL,
    modified   INTEGER NOT NULL,
    changed    INTEGER NOT NULL,
    inode      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
