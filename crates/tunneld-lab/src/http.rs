//! One HTTP request and its answer, and nothing that would hide what went over the wire.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::target::connect;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// What came behind them.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(given, _)| given.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Asks over TCP, for the address itself unless `headers` has a `Host`.
pub fn over_tcp(addr: SocketAddr, request: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = connect(addr);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, &addr.to_string(), request, headers)
}

/// Asks over a unix socket.
pub fn over_unix(path: &Path, request: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, "tunneld", request, headers)
}

/// `request`: `GET /metrics`.
fn ask(
    mut stream: impl Read + Write,
    host: &str,
    request: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str(&format!("Host: {host}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer {
        status: status.unwrap_or_else(|| panic!("no HTTP: {answer}")),
        head: head.to_owned(),
        body: body.to_owned(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = joined(body).unwrap_or_else(|| panic!("not in chunks: {answer:?}"));
    }
    answer
}

/// A body that came in chunks (RFC 9112 section 7.1).
fn joined(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..length)?);
        chunks = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}

/// A text as it stands in a query (RFC 3986 section 2.1).
pub fn escaped(text: &str) -> String {
    let escaped = |b: u8| match b.is_ascii_alphanumeric() {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// What `/metrics` answered.
pub struct Metrics(pub String);

impl Metrics {
    /// Asks a daemon on its control socket.
    pub fn of(socket: &Path) -> Metrics {
        let answer = over_unix(socket, "GET /metrics", &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics(answer.body)
    }

    /// The value of a sample: `tunneld_tunnel_up{tunnel="db"}`.
    ///
    /// # Panics
    /// When there is none.
    pub fn value(&self, sample: &str) -> f64 {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {sample} in:\n{}", self.0));
        value.parse().unwrap()
    }
}
