//! Showing the token, and forgetting it.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::Frame;
use crate::call::{Call, Press};
use crate::failure::WebError;
use crate::reply::{Answer, see};
use crate::session::{Session, is_from_here};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    wrong: bool,
}

/// Who may change things, for programs.
#[derive(Serialize)]
struct Twin {
    /// Whether there is a token at all.
    can_sign_in: bool,
    /// Whether the one who asks has shown it.
    signed_in: bool,
}

/// `GET /sign-in`, `/sign-in.json`
pub(crate) async fn page(call: Call) -> Answer {
    if call.wants_json() {
        let session = &call.app.session;
        let can_sign_in = session.standing(&call.head).can_sign_in;
        return call.json(&Twin { can_sign_in, signed_in: session.allows(&call.head) });
    }
    call.page(&SignInPage { frame: call.frame("sign-in"), wrong: false })
}

/// `POST /sign-in`
pub(crate) async fn take(call: Call, body: Body) -> Answer {
    let app = &call.app;
    // Nobody is signed in here by another site.
    if !is_from_here(&call.head) {
        return Err(WebError::Foreign);
    }
    if app.session.is_guessing(false) {
        return Err(WebError::TooMany);
    }
    let form = super::form(body).await?;
    let Some(cookie) = app.session.sign_in(form.get("token")) else {
        app.session.is_guessing(true);
        let page = SignInPage { frame: call.frame("sign-in"), wrong: true };
        let mut response = call.page(&page)?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    Ok(with_cookie(cookie))
}

/// `POST /sign-out`
pub(crate) async fn leave(Press(_): Press) -> Answer {
    Ok(with_cookie(Session::sign_out()))
}

fn with_cookie(cookie: HeaderValue) -> axum::response::Response {
    let mut response = see("/");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
