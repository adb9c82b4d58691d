//! The archive as a web site, started and asked over plain sockets: what a browser would not send can be sent, too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ocelli_testkit::ports;
use serde_json::Value;

use crate::world::{Service, World, until};

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// A site that is served.
pub(crate) struct Site {
    pub(crate) service: Service,
    pub(crate) address: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether it ended as it should.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        lines
            .find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then_some(value)
            })
            .unwrap_or_default()
    }
}

impl Site {
    /// `ocelli up` over a folder of this world.
    pub(crate) fn up(world: &World, folder: &str) -> Self {
        Self::start(world, &["up", folder, "--listen", "off"])
    }

    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::program(world, "ocelli", arguments)
    }

    /// Any program that serves it.
    pub(crate) fn program(world: &World, program: &str, arguments: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let listen = format!("web.listen={address}");
        let arguments = [arguments, &["--set", listen.as_str()][..]].concat();
        let service = world.start(program, arguments);
        let site = Self { service, address };
        until("the archive is served", || TcpStream::connect(&site.address).is_ok());
        site
    }

    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // One that is refused early may be closed before all of it was sent.
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        assert!(!bytes.is_empty(), "no answer: {sent:?} {read:?} {}", &head[..head.len().min(200)]);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = bytes.get(end + 4..).unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let (body, is_whole) = if head.to_lowercase().contains("transfer-encoding: chunked") {
            joined(body)
        } else {
            (String::from_utf8_lossy(body).into_owned(), true)
        };
        Answer { status, head, body, is_whole }
    }

    pub(crate) fn get_with(&self, path: &str, more: &str) -> Answer {
        let host = &self.address;
        self.ask(
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"),
            &[],
        )
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    pub(crate) fn post(&self, path: &str, more: &str, body: &[u8]) -> Answer {
        self.send("POST", path, more, body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.ask(&head, body)
    }

    /// Brings files in, as a program with the token.
    pub(crate) fn bring(&self, files: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, bytes) in files {
            body.extend_from_slice(
                format!("--xx\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xx--\r\n");
        let more = format!(
            "Authorization: Bearer {TOKEN}\r\nAccept: application/json\r\n\
             Content-Type: multipart/form-data; boundary=xx\r\n"
        );
        self.post("/bring", &more, &body)
    }

    /// The digest of the record whose latest source ends like this.
    pub(crate) fn digest(&self, end: &str) -> String {
        let page = self.get("/gallery.json?limit=200").json();
        let hits = page["hits"].as_array().unwrap();
        let hit = hits
            .iter()
            .find(|hit| hit["source"].as_str().is_some_and(|source| source.ends_with(end)));
        hit.unwrap_or_else(|| panic!("no {end} in {page}"))["digest"].as_str().unwrap().to_owned()
    }

    /// Waits until every record is complete.
    pub(crate) fn complete(&self, images: u64) {
        until("every record is complete", || {
            let status = &self.get("/fleet.json").json()["status"];
            status["images"] == images && status["complete"] == images
        });
    }
}

/// A chunked body as one, and whether its last chunk came (RFC 9112, 7.1).
fn joined(body: &[u8]) -> (String, bool) {
    let (mut rest, mut whole, mut is_whole) = (body, Vec::new(), false);
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).ok();
        let Some(length) = length.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            break;
        };
        whole.extend_from_slice(rest.get(end + 2..end + 2 + length).unwrap_or_default());
        rest = rest.get(end + 4 + length..).unwrap_or_default();
        if length == 0 {
            is_whole = true;
            break;
        }
    }
    (String::from_utf8_lossy(&whole).into_owned(), is_whole)
}

/// A world whose site may be written to.
pub(crate) fn world() -> World {
    let mut world = World::new();
    world.settings(&format!(
        "[web]\ntoken = \"{TOKEN}\"\nupload_timeout = \"5s\"\nupload_bytes = \"2MiB\""
    ));
    world
}
