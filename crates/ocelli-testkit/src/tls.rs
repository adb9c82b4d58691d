//! Servers behind TLS with certificates that a test makes: some that a client should believe, and some that it should not.
//! What is spoken inside is the test's business.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use uuid::Uuid;

/// The year of a certificate that outlives every test.
pub const VALID: i32 = 2099;

/// The year of a certificate that has expired.
pub const EXPIRED: i32 = 2020;

/// A certificate that vouches for itself, and its key. It is its own authority: whoever trusts it believes a server that shows
/// it, as long as its name and its end let it.
#[derive(Debug)]
pub struct Certificate {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Certificate {
    /// For the host `name`, until the beginning of a year: [`VALID`] or [`EXPIRED`].
    ///
    /// # Panics
    /// When no host can have this name.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    pub fn new(name: &str, until_year: i32) -> Self {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(until_year, 1, 1);
        // Two of one subject would be taken for each other.
        parameters.distinguished_name.push(DnType::CommonName, Uuid::now_v7().to_string());
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    /// The certificate as PEM: what a server shows, and what names it as an authority.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    fn config(&self) -> ServerConfig {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .unwrap()
    }
}

/// A server on 127.0.0.1 that reads one request of each connection and says the same to all. Ends with the process of the test.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Shows `certificate`, and sends `answer`, byte by byte as it is, to whoever believes it and asks.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    pub fn start(certificate: &Certificate, answer: Vec<u8>) -> Self {
        let config = Arc::new(certificate.config());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut tls = StreamOwned::new(connection, stream);
                // A client that refuses the certificate ends the connection here.
                if !matches!(tls.read(&mut [0; 4096]), Ok(1..)) {
                    continue;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                // One that has left does not get its answer.
                let _left = tls.write_all(&answer);
                tls.conn.send_close_notify();
                let _left = tls.flush();
            }
        });
        Self { address, heard }
    }

    /// Where it listens, by number. A certificate for `localhost` wants to be asked by that name.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has read.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}
