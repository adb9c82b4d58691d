//! What a request asks: the head of every handler, read once and in one way. What cannot be read is answered in words.

use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::failure::WebError;
use crate::pages::{self, Frame};
use crate::reply::{self, Answer, Form};
use crate::shown::Asked;

/// A request without its body.
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) head: HeaderMap,
    /// The parameters of the address.
    pub(crate) asked: Asked,
    /// Whether the address is that of a page or of its twin.
    pub(crate) form: Form,
    /// The address without its parameters.
    pub(crate) path: String,
}

impl Call {
    /// Answers with a page.
    pub(crate) fn page(&self, template: &impl Template) -> Answer {
        reply::page(&self.head, template)
    }

    /// Answers for programs.
    pub(crate) fn json(&self, value: &impl Serialize) -> Answer {
        reply::json(&self.head, value)
    }

    pub(crate) fn frame(&self, here: &'static str) -> Frame {
        Frame::of(&self.app, &self.head, here)
    }

    pub(crate) fn wants_json(&self) -> bool {
        self.form == Form::Json
    }
}

impl FromRequestParts<App> for Call {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self {
            app: Arc::clone(app),
            head: parts.headers.clone(),
            asked: Asked::of(parts.uri.query()),
            form: Form::of(parts.uri.path()),
            path: parts.uri.path().to_owned(),
        })
    }
}

/// The parts of an address that are names.
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = WebError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named.map(|Path(named)| Self(named)).map_err(|error| WebError::Bad(error.body_text()))
    }
}

/// The last part of an address of a page, without the `.json` of its twin.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_suffix(".json").unwrap_or(name)
}

/// A button that was pressed on a page: what its form carries, once it is known that whoever pressed it may.
pub(crate) struct Press(pub(crate) Asked);

impl FromRequest<App> for Press {
    type Rejection = WebError;
    async fn from_request(request: Request, app: &App) -> Result<Self, WebError> {
        let (parts, body) = request.into_parts();
        let form = pages::form(body).await?;
        app.session.allow(&parts.headers, Some(form.get("form")))?;
        Ok(Self(form))
    }
}

/// A change that a program asks for, once it is known that it may.
pub(crate) struct Change<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Change<T> {
    type Rejection = WebError;
    async fn from_request(request: Request, app: &App) -> Result<Self, WebError> {
        app.session.allow(request.headers(), None)?;
        let body = Json::<T>::from_request(request, app).await;
        body.map(|Json(value)| Self(value)).map_err(|error| WebError::Bad(error.body_text()))
    }
}

/// The same without a body.
pub(crate) struct Allowed;

impl FromRequestParts<App> for Allowed {
    type Rejection = WebError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WebError> {
        app.session.allow(&parts.headers, None).map(|()| Self)
    }
}
