//! Who may change things: whoever knows the token. A browser keeps a proof of it in a cookie, a program sends it along.
//!
//! A browser that is led here by another site sends the cookie too, so a change needs more than that: the word of the
//! browser that the request came from this site (`Sec-Fetch-Site`, W3C Fetch Metadata; `Origin` where a browser does not
//! say it), and a text that only pages of this site carry.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use ocelli_core::Digest;
use secrecy::{ExposeSecret as _, SecretString};

use crate::failure::WebError;

/// Name of the cookie.
const COOKIE: &str = "ocelli";
/// The header that carries what a form has in its field `form`.
pub(crate) const FORM_HEADER: &str = "x-ocelli-form";
/// How long a browser stays signed in: a month.
const COOKIE_LIFE: u32 = 30 * 24 * 60 * 60;

/// Wrong tokens in a minute, from everybody together: nobody guesses one.
const WRONG: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// The token and what follows from it.
#[derive(Debug)]
pub(crate) struct Session {
    token: Option<SecretString>,
    /// Wrong ones since a moment.
    tried: Mutex<Option<(Instant, u32)>>,
}

/// What a page may offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Whether there is a token at all.
    pub(crate) can_sign_in: bool,
    /// Whether this browser has shown it.
    pub(crate) signed_in: bool,
    /// What its forms must carry.
    pub(crate) form: String,
}

impl Session {
    pub(crate) fn new(token: Option<SecretString>) -> Self {
        Self { token, tried: Mutex::default() }
    }

    /// What follows from the token for one purpose; nobody can compute it without the token, or the token from it.
    fn proof(&self, purpose: &str) -> Option<String> {
        let token = self.token.as_ref()?.expose_secret();
        let inner = Digest::of(format!("ocelli-web {purpose}\0{token}").as_bytes());
        Some(Digest::of(inner.as_bytes()).to_string())
    }

    pub(crate) fn standing(&self, head: &HeaderMap) -> Standing {
        let signed_in = self.has_cookie(head);
        let form = self.proof("form").filter(|_| signed_in).unwrap_or_default();
        Standing { can_sign_in: self.token.is_some(), signed_in, form }
    }

    /// Whether whoever asks has shown the token, in either way.
    pub(crate) fn allows(&self, head: &HeaderMap) -> bool {
        let token = self.token.as_ref().map(|token| token.expose_secret());
        let bears = bearer(head).zip(token).is_some_and(|(given, token)| same(given, token));
        bears || self.has_cookie(head)
    }

    fn has_cookie(&self, head: &HeaderMap) -> bool {
        self.proof("cookie").is_some_and(|proof| {
            cookies(head).any(|(name, value)| name == COOKIE && same(value, &proof))
        })
    }

    /// Whether a request may change something; `form` is what its form carried.
    ///
    /// # Errors
    /// [`WebError::ReadOnly`], [`WebError::SignIn`], [`WebError::Foreign`].
    pub(crate) fn allow(&self, head: &HeaderMap, form: Option<&str>) -> Result<(), WebError> {
        let Some(token) = &self.token else { return Err(WebError::ReadOnly) };
        if let Some(given) = bearer(head) {
            return if same(given, token.expose_secret()) { Ok(()) } else { Err(WebError::SignIn) };
        }
        if !self.has_cookie(head) {
            return Err(WebError::SignIn);
        }
        let carried = head.get(FORM_HEADER).and_then(|value| value.to_str().ok()).or(form);
        let proof = self.proof("form").unwrap_or_default();
        if is_from_here(head) && carried.is_some_and(|carried| same(carried, &proof)) {
            Ok(())
        } else {
            Err(WebError::Foreign)
        }
    }

    /// Whether this is the token, and the cookie that proves it from now on.
    pub(crate) fn sign_in(&self, given: &str) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        if !same(given.trim(), token.expose_secret()) {
            return None;
        }
        let proof = self.proof("cookie")?;
        let cookie =
            format!("{COOKIE}={proof}; Path=/; Max-Age={COOKIE_LIFE}; HttpOnly; SameSite=Strict");
        HeaderValue::try_from(cookie).ok()
    }

    /// Whether too many wrong tokens came lately; counts one more when `wrong`.
    pub(crate) fn is_guessing(&self, wrong: bool) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = match *tried {
            Some((since, count)) if since.elapsed() < MINUTE => (since, count),
            _ => (Instant::now(), 0),
        };
        *tried = Some((since, count + u32::from(wrong)));
        count >= WRONG
    }

    /// The cookie that takes the other one away.
    pub(crate) const fn sign_out() -> HeaderValue {
        HeaderValue::from_static("ocelli=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    }
}

/// Whether the browser says that the request came from a page of this site.
pub(crate) fn is_from_here(head: &HeaderMap) -> bool {
    let text = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        // Browsers say it to secure and to local addresses only.
        None => match (text("origin"), text("host")) {
            (Some(origin), Some(host)) => {
                origin.split_once("://").is_some_and(|(_, from)| from == host)
            }
            _ => false,
        },
    }
}

/// Whether the browser says that another site made it ask. Programs say nothing.
pub(crate) fn is_elsewhere(head: &HeaderMap) -> bool {
    let site = head.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn bearer(head: &HeaderMap) -> Option<&str> {
    head.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn cookies(head: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    head.get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// Compares digests, so that the time it takes says nothing about the secret.
fn same(given: &str, secret: &str) -> bool {
    Digest::of(given.as_bytes()) == Digest::of(secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Some(SecretString::from("correct horse battery".to_owned())))
    }

    fn head(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    fn cookie() -> String {
        let cookie = session().sign_in(" correct horse battery ").unwrap();
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn without_a_token_nobody_changes_anything() {
        let session = Session::new(None);
        let asked = session.allow(&head(&[("authorization", "Bearer ")]), None);
        assert!(matches!(asked, Err(WebError::ReadOnly)));
        assert!(session.sign_in("").is_none());
        assert!(!session.standing(&head(&[("cookie", "ocelli=")])).can_sign_in);
    }

    #[test]
    fn a_program_that_has_the_token_may_and_another_may_not() {
        assert!(
            session()
                .allow(&head(&[("authorization", "Bearer correct horse battery")]), None)
                .is_ok()
        );
        let wrong =
            session().allow(&head(&[("authorization", "Bearer correct horse batterx")]), None);
        assert!(matches!(wrong, Err(WebError::SignIn)));
        assert!(matches!(session().allow(&head(&[]), None), Err(WebError::SignIn)));
    }

    #[test]
    fn a_browser_needs_the_cookie_its_own_word_and_the_text_of_a_form() {
        let (session, cookie) = (session(), cookie());
        let standing = session.standing(&head(&[("cookie", &format!("a=b; {cookie}"))]));
        assert!(standing.signed_in && standing.form.len() == 64);
        let form = Some(standing.form.as_str());
        let here = head(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]);
        assert!(session.allow(&here, form).is_ok());
        assert!(matches!(session.allow(&here, None), Err(WebError::Foreign)));
        assert!(matches!(session.allow(&here, Some("x")), Err(WebError::Foreign)));
        for site in ["cross-site", "same-site", "none"] {
            let foreign = head(&[("cookie", &cookie), ("sec-fetch-site", site)]);
            assert!(matches!(session.allow(&foreign, form), Err(WebError::Foreign)), "{site}");
        }
        let older = [("cookie", cookie.as_str()), ("origin", "http://h:1"), ("host", "h:1")];
        assert!(session.allow(&head(&older), form).is_ok());
        let elsewhere = [("cookie", cookie.as_str()), ("origin", "http://x"), ("host", "h:1")];
        assert!(matches!(session.allow(&head(&elsewhere), form), Err(WebError::Foreign)));
        assert!(matches!(
            session.allow(&head(&[("cookie", &cookie)]), form),
            Err(WebError::Foreign)
        ));
    }
}
