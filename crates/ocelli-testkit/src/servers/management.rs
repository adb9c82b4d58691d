//! The few calls of RabbitMQ's management API that tests make. Plain HTTP/1.0 over a blocking socket and no client
//! library, because virtual hosts are deleted in `Drop`, where nothing can be awaited.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use serde_json::Value;
use thiserror::Error;

/// The API answers within milliseconds; a machine busy compiling takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call of the management API failed.
#[derive(Debug, Error)]
pub enum ManagementError {
    /// The configured URL cannot be used.
    #[error("{url} is no http:// URL with a host")]
    Url {
        /// As configured.
        url: String,
    },
    /// The connection could not be made, written or read.
    #[error("{method} {path} could not be sent")]
    Io {
        /// HTTP method.
        method: &'static str,
        /// Path below the server.
        path: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The server answered with an error.
    #[error("{method} {path} was answered {status}: {body}")]
    Status {
        /// HTTP method.
        method: &'static str,
        /// Path below the server.
        path: String,
        /// HTTP status code.
        status: u16,
        /// What the server said.
        body: String,
    },
    /// The answer is not the JSON it should be.
    #[error("{method} {path} was not answered with JSON")]
    Json {
        /// HTTP method.
        method: &'static str,
        /// Path below the server.
        path: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
}

/// A RabbitMQ management API.
#[derive(Debug, Clone)]
pub struct Management {
    authority: String,
    authorization: String,
}

impl Management {
    /// The API at `url`, such as `http://guest:guest@127.0.0.1:15672`.
    ///
    /// # Errors
    /// When the URL is not http or has no host.
    pub fn new(url: &str) -> Result<Self, ManagementError> {
        let bad = || ManagementError::Url { url: url.to_owned() };
        let parsed = url::Url::parse(url).map_err(|_| bad())?;
        let host = parsed.host_str().filter(|_| parsed.scheme() == "http").ok_or_else(bad)?;
        let user = format!("{}:{}", parsed.username(), parsed.password().unwrap_or_default());
        Ok(Self {
            authority: format!("{host}:{}", parsed.port().unwrap_or(15672)),
            authorization: base64::engine::general_purpose::STANDARD.encode(user),
        })
    }

    /// `GET /api/…`, for example `get("queues/my_vhost")`. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer 2xx with JSON.
    pub fn get(&self, path: &str) -> Result<Value, ManagementError> {
        let body = self.call("GET", path, None)?;
        serde_json::from_str(&body).map_err(|source| ManagementError::Json {
            method: "GET",
            path: path.to_owned(),
            source,
        })
    }

    /// `PUT /api/…` with a JSON body. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer 2xx.
    pub fn put(&self, path: &str, body: &Value) -> Result<(), ManagementError> {
        self.call("PUT", path, Some(body)).map(drop)
    }

    /// `POST /api/…` with a JSON body. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer 2xx.
    pub fn post(&self, path: &str, body: &Value) -> Result<String, ManagementError> {
        self.call("POST", path, Some(body))
    }

    /// `DELETE /api/…`. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer 2xx.
    pub fn delete(&self, path: &str) -> Result<(), ManagementError> {
        self.call("DELETE", path, None).map(drop)
    }

    fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, ManagementError> {
        let answer = self.exchange(method, path, body).map_err(|source| ManagementError::Io {
            method,
            path: path.to_owned(),
            source,
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if (200..300).contains(&status) {
            return Ok(body.to_owned());
        }
        let (path, body) = (path.to_owned(), body.to_owned());
        Err(ManagementError::Status { method, path, status, body })
    }

    /// One request on one connection. HTTP/1.0, so that the answer ends with the connection and is never chunked.
    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.authority)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!(
            "{method} /api/{path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            self.authorization,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
