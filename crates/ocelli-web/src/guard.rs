//! What every request must be like, and every answer.
//!
//! Answers may load nothing but what this site serves, run no code that stands in a page, and be put into no frame: whatever
//! gets into a text, a browser has nothing to do with it but to show it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;

use crate::app::App;
use crate::failure::WebError;
use crate::pages::trouble;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Requests that take as long as they take: what changes while one looks, and uploads, which have a bound of their own.
fn is_long(request: &Request) -> bool {
    let path = request.uri().path();
    let is_upload = matches!(path, "/bring" | "/api/v1/batches");
    path.ends_with("/live") || (is_upload && request.method() == axum::http::Method::POST)
}

/// The host names that are answered. Whoever listens on this machine only is asked by browsers of this machine, and a page
/// of another site must not reach it under a name that it made point here.
pub(crate) fn hosts(configured: &[String], address: SocketAddr) -> Option<Vec<String>> {
    if configured.is_empty() && !address.ip().is_loopback() {
        return None;
    }
    let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    let own = own.into_iter().chain([match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }]);
    Some(own.chain(configured.iter().map(|name| name.to_ascii_lowercase())).collect())
}

fn host_of(head: &HeaderMap) -> String {
    let host = head.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.chars().filter(|c| !c.is_control()).take(100).collect::<String>().to_ascii_lowercase()
}

/// Lets a request through, or not, and dresses the answer.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (head, path) = (request.headers().clone(), request.uri().path().to_owned());
    let wants_json = wants_json(&head, &path);
    let answered = AssertUnwindSafe(pass(&app, request, next)).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => axum::response::IntoResponse::into_response(error),
        Err(_) => {
            tracing::error!(path, "a request ended in a panic");
            axum::response::IntoResponse::into_response(WebError::Defect)
        }
    };
    if let Some(error) = response.extensions_mut().remove::<WebError>() {
        if let WebError::Catalog(reason) = &error {
            tracing::warn!(path, "the catalog does not answer: {reason}");
        }
        response = trouble::answer(&error, wants_json);
    }
    for (name, value) in &HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn pass(app: &App, request: Request, next: Next) -> Result<Response, WebError> {
    if let Some(hosts) = &app.hosts {
        let host = host_of(request.headers());
        if !hosts.contains(&host) {
            return Err(WebError::Host(host));
        }
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.0.ip());
    if !app.rate.takes(from, Instant::now()) {
        return Err(WebError::TooMany);
    }
    if is_long(&request) {
        return Ok(next.run(request).await);
    }
    let limit = app.options.request_timeout;
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_| WebError::Timeout(limit.as_secs()))
}

/// Whether whoever asks would rather read JSON than a page.
pub(crate) fn wants_json(head: &HeaderMap, path: &str) -> bool {
    let accept = head.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let is_program = accept.contains("json") && !accept.contains("text/html");
    path.ends_with(".json") || path.starts_with("/api/") || is_program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_of_this_machine_answers_under_its_own_names_only() {
        let hosts_of = |names: &[&str], address: &str| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            hosts(&names, address.parse().unwrap())
        };
        let local = hosts_of(&[], "127.0.0.1:80").unwrap();
        let head = |host: &str| {
            let mut head = HeaderMap::new();
            head.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            host_of(&head)
        };
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(local.contains(&head(host)), "{host}");
        }
        for host in ["evil.example:8080", "evil.example", ""] {
            assert!(!local.contains(&head(host)), "{host}");
        }
        assert!(hosts_of(&[], "0.0.0.0:80").is_none());
        assert!(
            hosts_of(&["Memes.Example"], "0.0.0.0:80")
                .unwrap()
                .contains(&head("memes.example:443"))
        );
    }
}
