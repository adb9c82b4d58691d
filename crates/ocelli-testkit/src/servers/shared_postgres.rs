//! A fresh database on the PostgreSQL that all tests share.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{POSTGRES, fresh_name, required};

/// A database of one's own, dropped with everything in it when this is dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct PostgresServer {
    /// URL with user and database name.
    pub url: String,
    server: String,
    database: String,
}

/// Makes a fresh, empty database on the server named by [`POSTGRES`].
///
/// # Panics
/// When it is not set or the server does not answer: a missing server is a failure, never a skip.
pub async fn postgres() -> PostgresServer {
    fresh(required(POSTGRES)).await
}

/// A fresh, empty database on the server at this URL.
pub(super) async fn fresh(server: String) -> PostgresServer {
    let database = fresh_name();
    // template0: nobody can be connected to it, so tests that start together do not get in each other's way.
    execute(&server, format!("CREATE DATABASE {database} TEMPLATE template0"))
        .await
        .unwrap_or_else(|error| panic!("no database could be made on {server}: {error}\nhint: run the tests with `make test`"));
    PostgresServer { url: format!("{server}/{database}"), server, database }
}

async fn execute(server: &str, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await?;
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await
}

impl PostgresServer {
    /// Runs SQL in this database, as a fault that a program can only see from outside.
    ///
    /// # Panics
    /// When the database does not take it.
    pub async fn execute(&self, statement: &str) {
        let done = async {
            let mut connection = PgConnection::connect(&self.url).await?;
            connection.execute(AssertSqlSafe(statement.to_owned())).await?;
            connection.close().await
        };
        done.await.unwrap_or_else(|error: sqlx::Error| panic!("{statement}: {error}"));
    }
}

impl PostgresServer {
    /// A connection that asks for numbers, again and again.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn asking(&self) -> Asking {
        let connection = PgConnection::connect(&self.url).await;
        Asking(connection.unwrap_or_else(|error| panic!("{}: {error}", self.url)))
    }
}

impl PostgresServer {
    /// The rows of a table, as `COPY` gives them.
    ///
    /// # Errors
    /// When the database does not give them.
    pub async fn copied_out(&self, table: &str) -> Result<Vec<u8>, sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let mut stream = connection.copy_out_raw(&format!("COPY {table} TO STDOUT")).await?;
        let mut rows = Vec::new();
        while let Some(part) = stream.try_next().await? {
            rows.extend_from_slice(&part);
        }
        drop(stream);
        connection.close().await?;
        Ok(rows)
    }

    /// A connection that copies rows in.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn copying(&self) -> Result<Copying, sqlx::Error> {
        PgConnection::connect(&self.url).await.map(Copying)
    }
}

/// A connection that copies rows in.
#[derive(Debug)]
pub struct Copying(PgConnection);

impl Copying {
    /// Copies the rows of these tables, as [`PostgresServer::copied_out`] gave them, in one transaction.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn copy_in(&mut self, tables: &[(&str, Vec<u8>)]) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        for (table, rows) in tables {
            let mut copy = transaction.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
            copy.send(rows.as_slice()).await?;
            copy.finish().await?;
        }
        transaction.commit().await
    }
}

/// A connection that asks for numbers, so that asking often costs the server little.
#[derive(Debug)]
pub struct Asking(PgConnection);

impl Asking {
    /// The number that a question is answered with, such as `SELECT count(*) FROM images`.
    ///
    /// # Panics
    /// When the database does not answer with a bigint.
    pub async fn number(&mut self, question: &str) -> i64 {
        let asked = sqlx::query_scalar(AssertSqlSafe(question.to_owned()));
        asked.fetch_one(&mut self.0).await.unwrap_or_else(|error| panic!("{question}: {error}"))
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Best effort, and on a thread of its own because a test's runtime may be the one that drops this.
        let (server, database) = (self.server.clone(), self.database.clone());
        let thread = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                let statement = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
                let _ = runtime.block_on(execute(&server, statement));
            }
        });
        let _ = thread.join();
    }
}
