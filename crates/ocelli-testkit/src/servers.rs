//! RabbitMQ and PostgreSQL for tests.
//!
//! [`rabbitmq`] and [`postgres`] share one running server and give each call its own virtual host or database: cheap,
//! use them everywhere. [`OwnRabbitmq`] and [`OwnPostgres`] start a private server for a test that stops, kills or
//! freezes it: seconds each.

mod management;
mod own_postgres;
mod own_rabbitmq;
mod place;
mod process;
mod shared_postgres;
mod shared_rabbitmq;
mod sqlite_file;

pub use management::{Management, ManagementError};
pub use own_postgres::OwnPostgres;
pub use own_rabbitmq::OwnRabbitmq;
pub use place::Place;
pub use process::StartError;
pub use shared_postgres::{Asking, Copying, PostgresServer, postgres};
pub use shared_rabbitmq::{RabbitmqServer, rabbitmq};
pub use sqlite_file::execute_in_file;

/// AMQP URL of the RabbitMQ that tests share, with user and password, without a virtual host.
pub const RABBITMQ: &str = "OCELLI_TEST_RABBITMQ";
/// URL of its management API, with user and password.
pub const RABBITMQ_MANAGEMENT: &str = "OCELLI_TEST_RABBITMQ_MANAGEMENT";
/// URL of the PostgreSQL that tests share, of a user who may create databases, without a database name.
pub const POSTGRES: &str = "OCELLI_TEST_POSTGRES";

/// The value of an environment variable, or the panic that tells the reader what to do.
fn required(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value.trim_end_matches('/').to_owned(),
        _ => panic!(
            "{variable} is not set, so this test has no server\nhint: run the tests with `make test`, or one of them with `ocelli-testkit with-servers -- cargo test NAME`"
        ),
    }
}

/// A name that no other test uses, valid as a virtual host and as an SQL identifier.
fn fresh_name() -> String {
    format!("test_{}", uuid::Uuid::now_v7().simple())
}
