//! Asking a running program whether it is well, from outside: for containers and supervisors that have no other program to
//! ask with. Plain sockets and no runtime: it has to be quick.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use ocelli_runtime::{ExitCode, Settings};

use crate::Fault;

/// Bound of each step; a healthy program answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an answer, so much is read: a status and some lines of reasons.
const MOST: u64 = 16 * 1024;

/// Asks `path` of the program that listens where these settings say, and prints what it says.
///
/// # Errors
/// When it does not answer, or not with 200.
pub fn check(settings: &Settings, path: &str) -> Result<ExitCode, Fault> {
    let fault = |message| Fault::new(ExitCode::Internal, message);
    let Some(listen) = settings.http.address() else {
        return Err(fault("http.listen is 'off', so nobody can be asked".to_owned()));
    };
    if listen.ends_with(":0") {
        return Err(fault(format!(
            "http.listen is '{listen}': the port is known to nobody; set a fixed one to ask for health"
        )));
    }
    let answer =
        ask(listen, path).map_err(|error| fault(format!("{listen} does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    if status == "200" {
        println!("{}", body.trim_end());
        return Ok(ExitCode::Ok);
    }
    Err(fault(format!("{listen}{path} answers {status}: {}", body.trim_end().replace('\n', "; "))))
}

fn ask(listen: &str, path: &str) -> std::io::Result<String> {
    let none = || std::io::Error::other("it is no address");
    let address = here(listen.to_socket_addrs()?.next().ok_or_else(none)?);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where to reach a program on this machine that listens on all addresses.
fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
