//! The address of a server, and how it may be shown.

use url::Url;

/// An address without user, password, query and fragment: what logs, pages and records may hold.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The address of `path` below an endpoint, however its address was written: with a slash at its end or without, and
/// with the `/v1` of the OpenAI protocol or without.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let mut root = base.path().trim_end_matches('/');
    if path.starts_with("v1/") {
        root = root.strip_suffix("/v1").unwrap_or(root);
    }
    url.set_path(&format!("{root}/{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let url = Url::parse("https://me:secret@host:8443/base?key=secret#secret").unwrap();
        assert_eq!(shown(&url), "https://host:8443/base");
    }

    #[test]
    fn a_path_is_found_however_the_address_was_written() {
        for (base, path, full) in [
            ("http://h:11434", "api/chat", "http://h:11434/api/chat"),
            ("http://h:11434/", "api/chat", "http://h:11434/api/chat"),
            ("https://h/api/v1", "v1/models", "https://h/api/v1/models"),
            ("https://h/api/v1/", "v1/models", "https://h/api/v1/models"),
            ("https://h/api", "v1/models", "https://h/api/v1/models"),
        ] {
            assert_eq!(below(&Url::parse(base).unwrap(), path).as_str(), full);
        }
    }
}
