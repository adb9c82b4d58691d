//! Showing the token, and forgetting it.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::Frame;
use crate::app::App;
use crate::failure::WebError;
use crate::reply::{self, Answer, see};
use crate::session::{Session, is_from_here};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    wrong: bool,
}

/// `GET /sign-in`
pub(crate) async fn page(State(app): State<App>, head: HeaderMap) -> Answer {
    reply::page(&head, &SignInPage { frame: Frame::of(&app, &head, "sign-in"), wrong: false })
}

/// Who may change things, for programs.
#[derive(Serialize)]
struct Twin {
    /// Whether there is a token at all.
    can_sign_in: bool,
    /// Whether the one who asks has shown it.
    signed_in: bool,
}

/// `GET /sign-in.json`
pub(crate) async fn twin(State(app): State<App>, head: HeaderMap) -> Answer {
    let can_sign_in = app.session.standing(&head).can_sign_in;
    reply::json(&head, &Twin { can_sign_in, signed_in: app.session.allows(&head) })
}

/// `POST /sign-in`
pub(crate) async fn take(State(app): State<App>, head: HeaderMap, body: Body) -> Answer {
    // Nobody is signed in here by another site.
    if !is_from_here(&head) {
        return Err(WebError::Foreign);
    }
    if app.session.is_guessing(false) {
        return Err(WebError::TooMany);
    }
    let form = super::form(body).await?;
    let Some(cookie) = app.session.sign_in(form.get("token")) else {
        app.session.is_guessing(true);
        let page = SignInPage { frame: Frame::of(&app, &head, "sign-in"), wrong: true };
        let mut response = reply::page(&head, &page)?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    Ok(with_cookie(cookie))
}

/// `POST /sign-out`
pub(crate) async fn leave(State(app): State<App>, head: HeaderMap, body: Body) -> Answer {
    let form = super::form(body).await?;
    app.session.allow(&head, Some(form.get("form")))?;
    Ok(with_cookie(Session::sign_out()))
}

fn with_cookie(cookie: HeaderValue) -> axum::response::Response {
    let mut response = see("/");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
