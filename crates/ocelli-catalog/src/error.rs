//! Why the catalog cannot do what it was asked. Every text names the path or address, never a password, and says what to do.

use std::time::Duration;

use thiserror::Error;

use crate::query::QueryError;
use crate::rows::Unreadable;

/// See the variants. `place` is the path of a SQLite file or `host:port/database` of a PostgreSQL server.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The address cannot be understood.
    #[error(
        "'{url}' is not a catalog address: {reason}; use sqlite:/path/to/file.db or postgres://user@host/database"
    )]
    Address {
        /// The address, its password masked.
        url: String,
        /// Why.
        reason: String,
    },
    /// Written by a newer ocelli.
    #[error(
        "the catalog {place} has schema version {found}, this build knows up to {known}: upgrade ocelli, or use another catalog"
    )]
    NewerSchema {
        /// Which catalog.
        place: String,
        /// Its version.
        found: i64,
        /// The newest version of this build.
        known: i64,
    },
    /// A migration was changed or left half done.
    #[error(
        "the schema of the catalog {place} is not one this build made: restore a backup, or use another catalog"
    )]
    Schema {
        /// Which catalog.
        place: String,
        /// What sqlx said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// Another kind of file.
    #[error(
        "{place} is not a SQLite database (or is damaged): give the path of a catalog, or of a file that does not exist yet"
    )]
    NotADatabase {
        /// Path.
        place: String,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// A SQLite database of another program.
    #[error(
        "{place} is a database of another program: give the path of a catalog, or of a file that does not exist yet"
    )]
    NotACatalog {
        /// Path.
        place: String,
    },
    /// The file or its folder cannot be opened.
    #[error(
        "the catalog {place} cannot be opened: check that its folder exists and that you may write there"
    )]
    CannotOpen {
        /// Path.
        place: String,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// No permission to write.
    #[error("the catalog {place} is read-only: check the permissions of the file and its folder")]
    ReadOnly {
        /// Which catalog.
        place: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The search index of PostgreSQL needs an extension that is not there and cannot be made.
    #[error(
        "the catalog {place} needs the extension pg_trgm for searching and this user cannot create it: have an administrator \
         run 'CREATE EXTENSION pg_trgm' in that database (it comes with PostgreSQL; Debian: postgresql, others: \
         postgresql-contrib)"
    )]
    Extension {
        /// Which catalog.
        place: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// Another process keeps the write lock for longer than the busy timeout.
    #[error(
        "the catalog {place} is locked by another process that has been writing for too long: stop it, or try again"
    )]
    Locked {
        /// Which catalog.
        place: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// No space left.
    #[error(
        "no space is left for the catalog {place}: free some; nothing that was confirmed is lost"
    )]
    Full {
        /// Which catalog.
        place: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Nobody answers, or the connection broke.
    #[error(
        "the catalog {place} cannot be reached: check that PostgreSQL runs there and accepts connections"
    )]
    Unreachable {
        /// Which catalog.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// Wrong user or password, or no such database.
    #[error(
        "the catalog {place} refuses the login as '{user}': check user, password and database name"
    )]
    Login {
        /// Which catalog.
        place: String,
        /// As whom.
        user: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// All connections are busy, or the catalog was closed.
    #[error(
        "the catalog {place} did not answer in time: its server is away, too much is asked at once, or it was closed"
    )]
    Busy {
        /// Which catalog.
        place: String,
        /// What the pool said.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value cannot be read back.
    #[error(
        "the catalog {place} holds a {what} that cannot be read ({reason}): run `ocelli audit`"
    )]
    Unreadable {
        /// Which catalog.
        place: String,
        /// Which kind of value.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Another archive was carried into it, and that did not end.
    #[error(
        "the catalog {place} holds only a part of {from}: run the same 'ocelli migrate' (or restore) again, it goes on where it was ended"
    )]
    HalfCarried {
        /// Which catalog.
        place: String,
        /// Where the whole is.
        from: String,
    },
    /// An archive can only be carried into an empty one.
    #[error(
        "the catalog {place} already holds an archive, which is left as it is: name another, empty one"
    )]
    NotEmpty {
        /// Which catalog.
        place: String,
    },
    /// What was carried is not what is there.
    #[error(
        "the table {table} of {place} is not that of the archive it was carried from, which changes meanwhile: stop its \
         collectors, then run this again"
    )]
    Differs {
        /// Which catalog.
        place: String,
        /// Which of its tables.
        table: String,
    },
    /// A file that would be written over.
    #[error("the file {place} is there already and is left as it is: name another one")]
    Exists {
        /// Path.
        place: String,
    },
    /// SQLite finds faults in a file.
    #[error("the file {place} is damaged ({reason}): take another backup")]
    Damaged {
        /// Path.
        place: String,
        /// The first of the faults.
        reason: String,
    },
    /// A query names an image that is not here, or that nothing can be compared with.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Anything else.
    #[error("the catalog {place} could not {action}")]
    Database {
        /// Which catalog.
        place: String,
        /// What was tried.
        action: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
}

impl CatalogError {
    /// Whether the same call can succeed later without anyone changing a setting: locked, full, unreachable, busy.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Locked { .. } | Self::Full { .. } | Self::Unreachable { .. } | Self::Busy { .. }
        )
    }
}

impl CatalogError {
    /// The server accepted no connection within `limit`.
    pub(crate) fn no_answer(place: &str, limit: Duration) -> Self {
        let text = format!("no answer within {limit:?}");
        let source = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
        Self::Unreachable { place: place.to_owned(), source }
    }
}

/// An error that does not know yet which catalog it is about.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(sqlx::Error),
    Unreadable(Unreadable),
    TimedOut,
    /// That is known already.
    Told(Box<CatalogError>),
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Self {
        Self::Told(Box::new(error))
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl Fault {
    /// Whether PostgreSQL ended this transaction in favour of another: it can be done again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40P01" | "40001"))
    }

    /// The error in words of the catalog.
    pub(crate) fn at(self, place: &str, action: &'static str) -> CatalogError {
        let place = place.to_owned();
        let source = match self {
            Self::Sql(source) => source,
            Self::Unreadable(Unreadable { what, reason }) => {
                return CatalogError::Unreadable { place, what, reason };
            }
            Self::TimedOut => sqlx::Error::PoolTimedOut,
            Self::Told(error) => return *error,
        };
        match &source {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                match error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                    Some(_) => of_sqlite(&code, place, action, source),
                    None => of_postgres(&code, place, action, source),
                }
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                CatalogError::Busy { place, source }
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                CatalogError::Unreachable { place, source }
            }
            _ => CatalogError::Database { place, action, source },
        }
    }
}

/// Result codes of SQLite (<https://www.sqlite.org/rescode.html>); the low byte is the primary code.
fn of_sqlite(code: &str, place: String, action: &'static str, source: sqlx::Error) -> CatalogError {
    match code.parse::<i32>().unwrap_or(0) & 0xff {
        5 | 6 => CatalogError::Locked { place, source },
        3 | 8 => CatalogError::ReadOnly { place, source },
        11 | 26 => CatalogError::NotADatabase { place, source },
        13 => CatalogError::Full { place, source },
        14 => CatalogError::CannotOpen { place, source },
        _ => CatalogError::Database { place, action, source },
    }
}

/// Error codes of PostgreSQL (documentation, appendix A).
fn of_postgres(
    code: &str,
    place: String,
    action: &'static str,
    source: sqlx::Error,
) -> CatalogError {
    match code {
        "28000" | "28P01" | "3D000" => CatalogError::Login { place, user: String::new(), source },
        "25006" | "42501" => CatalogError::ReadOnly { place, source },
        "53100" => CatalogError::Full { place, source },
        "53300" => CatalogError::Busy { place, source },
        "57P01" | "57P02" | "57P03" => CatalogError::Unreachable { place, source },
        _ if code.starts_with("08") => CatalogError::Unreachable { place, source },
        _ => CatalogError::Database { place, action, source },
    }
}
