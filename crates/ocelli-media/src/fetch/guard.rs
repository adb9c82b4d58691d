//! The guard against being sent to hosts inside one's own network (server-side request forgery).
//!
//! A host is asked only when its address is public, or when the settings name it. Addresses are judged after resolution and the
//! connection is made to exactly the judged ones, so a name cannot change its mind in between; every redirect is judged
//! like a first address. Registries: IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890).

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::FetcherError;

/// One entry of the allow list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(Host<String>),
    Below(String),
}

impl Pattern {
    /// `name`, `name:port`, `10.1.2.3`, `[::1]:80`, `*.example.org`.
    pub(crate) fn parse(text: &str) -> Result<Self, FetcherError> {
        let bad = |reason| FetcherError::Pattern { pattern: text.to_owned(), reason };
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // A scheme without a default port, so that every port that is written is kept.
        let url = Url::parse(&format!("host://{rest}/"))
            .map_err(|_| bad("expected name, name:port, address or *.suffix"))?;
        let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        let host = url.host_str().filter(|_| plain).ok_or_else(|| bad("expected only a host"))?;
        // Once more as in http URLs, where numbers are addresses.
        let host = Host::parse(host).map_err(|_| bad("not a valid host name"))?;
        let host = match (below, host) {
            (false, host) => HostPattern::Exactly(without_dot(host)),
            (true, Host::Domain(suffix)) => {
                HostPattern::Below(format!(".{}", suffix.trim_end_matches('.')))
            }
            (true, _) => return Err(bad("'*.' needs a name behind it")),
        };
        Ok(Self { host, port: url.port() })
    }

    /// Whether `url` is asked at a host (and port) that this entry names.
    pub(crate) fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let host = without_dot(host.to_owned());
        let host_matches = match (&self.host, &host) {
            (HostPattern::Exactly(wanted), host) => wanted == host,
            (HostPattern::Below(suffix), Host::Domain(name)) => name.ends_with(suffix.as_str()),
            (HostPattern::Below(_), _) => false,
        };
        host_matches && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

fn without_dot(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_owned()),
        other => other,
    }
}

/// The address of a URL that names one instead of a host; such URLs never reach the resolver.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The addresses of a name.
type Found = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Resolves names and gives only public addresses.
pub(crate) struct PublicOnly {
    lookup: Box<dyn Fn(String) -> Found + Send + Sync>,
}

impl Default for PublicOnly {
    /// Asks the system.
    fn default() -> Self {
        Self { lookup: Box::new(of_the_system) }
    }
}

fn of_the_system(name: String) -> Found {
    Box::pin(async move {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        Ok(found.collect::<Vec<SocketAddr>>())
    })
}

/// All addresses of a host were refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotPublic {
    /// The first of them.
    pub(crate) address: IpAddr,
}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a public address", self.address)
    }
}

impl Error for NotPublic {}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let all = found.await?;
            let public: Vec<SocketAddr> =
                all.iter().copied().filter(|address| is_public(address.ip())).collect();
            match (public.is_empty(), all.first()) {
                (true, Some(first)) => Err(NotPublic { address: first.ip() }.into()),
                _ => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address belongs to the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, ..)           // this network, private, loopback
            | (100, 64..=127, _)     // carrier-grade NAT
            | (169, 254, _)          // link-local, where clouds keep their metadata
            | (172, 16..=31, _)      // private
            | (192, 0, 0 | 2)        // protocol assignments, documentation
            | (192, 88, 99)          // 6to4 relays
            | (192, 168, _)          // private
            | (198, 18..=19, _)      // benchmarks
            | (198, 51, 100)         // documentation
            | (203, 0, 113)          // documentation
            | (224..=255, ..) // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // IPv4 in disguise: mapped, translated by NAT64, 6to4. As public as what is inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments and Teredo, documentation (two of them).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is this eighth; outside lie loopback, unique local, link-local, multicast and the unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use ocelli_core::SourceUri;

    use super::*;
    use crate::fetch::error::FetchError;
    use crate::fetch::http::Http;
    use crate::limits::FetchLimits;

    /// Every name leads to the next of these, and how often somebody has looked.
    fn leading(answers: Vec<Vec<IpAddr>>) -> (PublicOnly, Arc<AtomicUsize>) {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let lookup = move |_: String| -> Found {
            let turn = counted.fetch_add(1, Ordering::Relaxed);
            let addresses = answers[turn].iter();
            let found: Vec<SocketAddr> =
                addresses.map(|address| SocketAddr::new(*address, 0)).collect();
            Box::pin(std::future::ready(io::Result::Ok(found)))
        };
        (PublicOnly { lookup: Box::new(lookup) }, looks)
    }

    #[tokio::test]
    async fn a_name_that_moves_to_a_private_address_is_not_followed_there() {
        let inside = TcpListener::bind("127.0.0.1:0").unwrap();
        inside.set_nonblocking(true).unwrap();
        let local = inside.local_addr().unwrap();
        // Public, and given to nobody: no packet finds anyone there.
        let nobody: IpAddr = "2d00::1".parse().unwrap();
        assert!(is_public(nobody));
        let answers = vec![vec![nobody], vec![local.ip()], vec![local.ip(), nobody]];
        let (resolver, looks) = leading(answers);
        let limits =
            FetchLimits { connect_timeout: Duration::from_millis(200), ..FetchLimits::default() };
        let http = Http::resolving(&limits, resolver).unwrap();
        let source: SourceUri =
            format!("http://moving.invalid:{}/a.png", local.port()).parse().unwrap();
        let at_first = http.fetch(&source, &limits).await.unwrap_err();
        assert!(!matches!(at_first, FetchError::PrivateHost { .. }), "{at_first}");
        let moved = http.fetch(&source, &limits).await.unwrap_err();
        assert!(
            matches!(&moved, FetchError::PrivateHost { address, .. } if *address == local.ip()),
            "{moved}"
        );
        // Of several addresses only the public ones are tried.
        let mixed = http.fetch(&source, &limits).await.unwrap_err();
        assert!(!matches!(mixed, FetchError::PrivateHost { .. }), "{mixed}");
        // The addresses that were judged are those of the connection: nobody has looked again in between.
        assert_eq!(looks.load(Ordering::Relaxed), 3);
        let visit = inside.accept().map(|(_, from)| from);
        assert!(
            visit.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
            "{visit:?}"
        );
    }

    #[test]
    fn only_addresses_of_the_public_internet_pass() {
        for public in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(refused.parse().unwrap()), "{refused}");
        }
        assert!(is_public("64:ff9b::101:101".parse().unwrap()));
        assert!(is_public("::ffff:1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn addresses_in_other_notations_are_seen_as_what_they_are() {
        for url in ["http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/"]
        {
            let address = literal(&Url::parse(url).unwrap()).unwrap();
            assert_eq!(address, IpAddr::V4(Ipv4Addr::LOCALHOST), "{url}");
        }
    }

    #[test]
    fn an_allowed_host_is_matched_by_name_port_and_suffix() {
        let matches = |pattern: &str, url: &str| {
            Pattern::parse(pattern).unwrap().matches(&Url::parse(url).unwrap())
        };
        assert!(matches("images.local", "http://images.local:8080/a"));
        assert!(matches("Images.Local.", "https://images.local./a"));
        assert!(!matches("images.local", "http://evil-images.local/"));
        assert!(matches("images.local:8080", "http://images.local:8080/a"));
        assert!(!matches("images.local:8080", "http://images.local/a"));
        assert!(matches("images.local:80", "http://images.local/a"));
        assert!(matches("*.local", "http://a.b.local/"));
        assert!(!matches("*.local", "http://local/"));
        assert!(!matches("*.local", "http://notlocal/"));
        assert!(matches("10.1.2.3", "http://10.1.2.3/"));
        assert!(matches("[::1]:81", "http://[0:0::1]:81/"));
        for bad in ["", "http://a/", "a/b", "*.", "*.10.1.2.3", "a b", "u@a"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
