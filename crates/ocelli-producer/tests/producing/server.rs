//! A small server of a test, which counts what it is asked for and what it sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a path has.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    /// Further lines of the head, each with its end.
    pub(crate) head: String,
    /// Answers 304 to whoever sends this line.
    pub(crate) unchanged: Option<String>,
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    asked: Vec<String>,
    bodies: usize,
}

/// Serves pages; everything else is missing.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, state: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let _ = stream.write_all(&server.answer(&request)).await;
                });
            }
        });
        server
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let request = String::from_utf8_lossy(request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state.lock().unwrap();
        let page = state.pages.get(&path).cloned();
        state.asked.push(path);
        let (status, page) = match page {
            Some(page) if page.unchanged.iter().any(|line| has(&request, line)) => {
                ("304 Not Modified", Page { body: Vec::new(), ..page })
            }
            Some(page) => {
                state.bodies += 1;
                ("200 OK", page)
            }
            None => {
                ("404 Not Found", Page { body: Vec::new(), head: String::new(), unchanged: None })
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
            page.head,
            page.body.len()
        );
        [head.as_bytes(), &page.body].concat()
    }

    pub(crate) fn put(&self, path: &str, body: Vec<u8>, head: &str, unchanged: Option<&str>) {
        let (head, unchanged) = (head.to_owned(), unchanged.map(str::to_owned));
        self.state.lock().unwrap().pages.insert(path.to_owned(), Page { body, head, unchanged });
    }

    /// What was asked for since the last look, and how many bodies were sent.
    pub(crate) fn looked(&self) -> (Vec<String>, usize) {
        let mut state = self.state.lock().unwrap();
        (std::mem::take(&mut state.asked), std::mem::take(&mut state.bodies))
    }
}

fn has(request: &str, line: &str) -> bool {
    request.lines().any(|found| found.eq_ignore_ascii_case(line))
}
