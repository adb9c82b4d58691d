//! What went wrong with a request: for people with a way out, for programs with a status.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ocelli_catalog::CatalogError;
use ocelli_core::chain;
use thiserror::Error;

/// Why a request has no answer.
#[derive(Debug, Clone, Error)]
pub(crate) enum WebError {
    /// Nothing has this address.
    #[error("there is nothing at this address")]
    Unknown,
    /// No such image, batch or analyzer.
    #[error("{0}")]
    Missing(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Bad(String),
    /// The address exists, but not for this method.
    #[error("this address does not take that method")]
    Method,
    /// No token is configured.
    #[error("this archive is read-only: no token is configured")]
    ReadOnly,
    /// No token, or a wrong one.
    #[error("this needs the token of the archive")]
    SignIn,
    /// Led here by another site.
    #[error("the request did not come from a page of this archive")]
    Foreign,
    /// Reached under a name that is not ours.
    #[error("this archive does not answer under the name '{0}'")]
    Host(String),
    /// Too often.
    #[error("too many requests from your address")]
    TooMany,
    /// Too much.
    #[error("{0}")]
    TooLarge(String),
    /// Too slow.
    #[error("the answer took longer than {0} s and was given up")]
    Timeout(u64),
    /// The database is away.
    #[error("the catalog does not answer at the moment")]
    Catalog(String),
    /// Something else that is needed is away.
    #[error("{0}")]
    Away(String),
    /// Ours.
    #[error("this is a defect of ocelli")]
    Defect,
}

impl WebError {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ReadOnly | Self::Foreign => StatusCode::FORBIDDEN,
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Catalog(_) | Self::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Missing(_) => {
                "Look for it in the gallery, or search for a word of it."
            }
            Self::Bad(_) | Self::Method => "Go back and ask in another way.",
            Self::ReadOnly => {
                "Whoever runs it can set web.token_file to a file with a token, and start it again."
            }
            Self::SignIn => "Sign in with it, then try again.",
            Self::Foreign => "Open the page here and press the button again.",
            Self::Host(_) => "Whoever runs it can add the name to web.hosts.",
            Self::TooMany => "Wait a few seconds.",
            Self::TooLarge(_) => "Bring in less at once, or ask for a higher limit in [web].",
            Self::Timeout(_) => "Ask for less at once, or try again later.",
            Self::Catalog(_) => "This page comes back by itself as soon as the catalog does.",
            Self::Away(_) => "Try again in a while; ocelli doctor says what is missing.",
            Self::Defect => "The log of ocelli-web says where. Please report it.",
        }
    }

    /// Seconds after which it is worth asking again.
    pub(crate) const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Catalog(_) | Self::Away(_) | Self::Timeout(_) => Some(5),
            Self::TooMany => Some(2),
            _ => None,
        }
    }
}

impl From<CatalogError> for WebError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Query(wrong) => Self::Bad(wrong.to_string()),
            error => Self::Catalog(chain(&error)),
        }
    }
}

impl IntoResponse for WebError {
    /// Bare: [`crate::guard`] makes a page or JSON of it, as the request asks.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
