//! The broker's address: parsed once, shown without its password.

use lapin::uri::AMQPUri;
use url::Url;

use super::RabbitOptions;
use crate::ConnectError;
use crate::topology::MAX_NAMESPACE;

/// A checked address.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) uri: AMQPUri,
    /// For people: no password, no query.
    pub(super) shown: String,
}

impl Address {
    /// Checks the address and the options that cannot be anything.
    pub(super) fn parse(options: &RabbitOptions) -> Result<Self, ConnectError> {
        // Nothing of an address that cannot be parsed is shown: the password could be anywhere in it.
        let fail = |shown: &str, reason: String| ConnectError::Address {
            address: shown.to_owned(),
            reason,
        };
        let form = "expected amqp://user:password@host:port/vhost or amqps://…";
        let url =
            Url::parse(&options.url).map_err(|error| fail("…", format!("{error}; {form}")))?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err(fail("…", format!("the scheme is not amqp or amqps; {form}")));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(fail("…", format!("it names no host; {form}")));
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let mut uri: AMQPUri =
            options.url.parse().map_err(|error| fail("…", format!("{error}; {form}")))?;
        // lapin's parser falls back to localhost for hosts it does not take for names (IPv6).
        uri.authority.host = host;
        // "amqp://host/" would mean the virtual host with the empty name; people mean the default one.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        if uri.query.heartbeat.is_none() {
            // The library looks every half heartbeat whether two have passed in silence, so it may take two and a half.
            let seconds = (options.heartbeat * 4 / 5).as_secs().clamp(1, 3600);
            uri.query.heartbeat = Some(seconds.try_into().unwrap_or(3600));
        }
        let shown = format!(
            "{}://{}@{}:{}/{}",
            uri.scheme,
            uri.authority.userinfo.username,
            uri.authority.host,
            uri.authority.port,
            if uri.vhost == "/" { "" } else { &uri.vhost },
        );
        let namespace = &options.namespace;
        let fits = !namespace.is_empty()
            && namespace.len() <= MAX_NAMESPACE
            && !namespace.starts_with("amq.")
            && namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            let reason = format!(
                "the namespace must be 1 to {MAX_NAMESPACE} of a-z, A-Z, 0-9, '.', '-', '_' and not begin with 'amq.'"
            );
            return Err(fail(&shown, reason));
        }
        if uri.vhost.len() > 255 || uri.authority.userinfo.username.len() > 255 {
            return Err(fail("…", "user or virtual host is longer than 255 bytes".to_owned()));
        }
        Ok(Self { uri, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, ConnectError> {
        Address::parse(&RabbitOptions::new(url))
    }

    #[test]
    fn the_password_is_never_shown() {
        let address = parse("amqp://me:s3cret@[::1]:1234/some%2Fhost?heartbeat=3").unwrap();
        assert_eq!(address.shown, "amqp://me@::1:1234/some/host");
        assert_eq!(address.uri.authority.userinfo.password, "s3cret");
        assert_eq!(address.uri.query.heartbeat, Some(3));
        for bad in
            ["s3cret", "http://me:s3cret@host", "amqp://me:s3cret@", "amqp://me:s3cret@h:port"]
        {
            let Err(error) = parse(bad) else { panic!("{bad} is no address") };
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn no_path_and_an_empty_path_mean_the_default_virtual_host() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(parse(url).unwrap().uri.vhost, "/", "{url}");
        }
    }

    #[test]
    fn a_namespace_that_would_break_queue_names_is_refused() {
        for bad in ["", "amq.x", "a b", &"x".repeat(101)] {
            let mut options = RabbitOptions::new("amqp://h");
            options.namespace = bad.to_owned();
            assert!(Address::parse(&options).is_err(), "{bad}");
        }
    }
}
