//! SQL in a SQLite file, as a fault that a program can only see from outside.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Runs SQL in the database in this file.
///
/// # Panics
/// When the file is none or the database does not take it.
pub async fn execute_in_file(file: &Path, statement: &str) {
    let options = SqliteConnectOptions::new().filename(file).foreign_keys(false);
    let done = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        connection.execute(AssertSqlSafe(statement.to_owned())).await?;
        connection.close().await
    };
    done.await.unwrap_or_else(|error: sqlx::Error| panic!("{statement}: {error}"));
}
