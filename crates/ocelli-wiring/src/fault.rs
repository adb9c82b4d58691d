//! Why a program ends without having done what was asked: a message for people and an exit code for scripts.

use std::fmt;

use ocelli_broker::{ConnectError, TopologyError};
use ocelli_catalog::CatalogError;
pub use ocelli_core::chain;
use ocelli_runtime::{ExitCode, HttpError, SettingsError};

/// An error at the edge of a program.
#[derive(Debug, Clone)]
pub struct Fault {
    /// For scripts.
    pub code: ExitCode,
    /// For people: what, why, and the way out.
    pub message: String,
}

impl Fault {
    /// A fault with a message.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A fault from an error and everything that caused it.
    pub fn caused(code: ExitCode, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { code, message: chain(error) }
    }

    /// Prints the message and gives the exit code.
    #[must_use]
    pub fn report(&self) -> std::process::ExitCode {
        eprintln!("error: {}", self.message);
        self.code.code().into()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::new(ExitCode::Usage, format!("{}\nhint: {}", chain(&error), error.hint()))
    }
}

macro_rules! faults {
    ($($error:ty => $code:ident),* $(,)?) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::caused(ExitCode::$code, &error)
            }
        }
    )*};
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Self {
        let code = match error {
            CatalogError::Query(_) => ExitCode::Usage,
            _ => ExitCode::ServiceAway,
        };
        Self::caused(code, &error)
    }
}

faults! {
    SettingsError => Usage,
    ConnectError => ServiceAway,
    TopologyError => ServiceAway,
    prometheus::Error => Internal,
}
