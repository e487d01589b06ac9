//! A web server for tests: one thread, one request a connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

use super::download::Source;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: String,
    /// The first byte wanted.
    pub(super) start: Option<usize>,
    pub(super) if_range: Option<String>,
}

/// What is answered.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
    /// How much of the body is sent before the connection is cut.
    pub(super) cut: usize,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: usize::MAX }
    }

    /// The whole file.
    pub(super) fn whole(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec(), cut: usize::MAX }
    }

    /// What was asked for of the file.
    pub(super) fn range(body: &[u8], request: &Request) -> Self {
        let Some(start) = request.start else { return Self::whole(body) };
        let Some(rest) = body.get(start..).filter(|rest| !rest.is_empty()) else { return Self::status(416) };
        let range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
        Self { status: 206, headers: vec![range], body: rest.to_vec(), cut: usize::MAX }
    }

    pub(super) fn cut(self, cut: usize) -> Self {
        Self { cut, ..self }
    }

    pub(super) fn header(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    fn send(&self, connection: &mut TcpStream) -> std::io::Result<()> {
        write!(
            connection,
            "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        )?;
        self.headers.iter().try_for_each(|header| write!(connection, "{header}\r\n"))?;
        connection.write_all(b"\r\n")?;
        connection.write_all(&self.body[..self.body.len().min(self.cut)])
    }
}

/// Answers until the program ends.
pub(super) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `reply` gets each request and its number, from 0.
    pub(super) fn start(reply: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&connection) else { continue };
                let mut log = log.lock().unwrap();
                log.push(request.clone());
                // A client may have gone away.
                let _ = reply(&request, log.len() - 1).send(&mut connection);
            }
        });
        Self { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// A file that this server has under its name.
    pub(super) fn source(&self, file: &str, content: &[u8]) -> Source {
        source(file, content, vec![self.url(file)])
    }
}

/// A file of this content, at these addresses.
pub(super) fn source(file: &str, content: &[u8], urls: Vec<String>) -> Source {
    let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Source { file: file.to_owned(), urls, bytes: content.len() as u64, sha256 }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut request = Request { path, start: None, if_range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.start = Some(value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?),
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}
