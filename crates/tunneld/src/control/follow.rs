//! The commands' side of `GET /v1/events`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::status::DaemonStatus;

use super::client::{ClientError, MAX_ANSWER, gone, open};

/// A daemon that says nothing for so long is not there: at rest it says that it is every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// What the daemon tells of itself, one status after the other.
pub(crate) struct Following {
    socket: PathBuf,
    body: Incoming,
    received: Lines,
    /// The data of an event that goes on.
    data: String,
    _connection: AbortOnDropHandle<()>,
}

/// What was received, line by line.
#[derive(Default)]
struct Lines {
    /// What is not taken yet.
    rest: Vec<u8>,
    /// How much of it has no end of a line: a long line comes in many pieces.
    searched: usize,
}

impl Lines {
    /// The next line, with its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        let new = self.rest.get(self.searched..).unwrap_or_default();
        let Some(end) = new.iter().position(|b| *b == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let line = self.rest.drain(..=self.searched + end).collect();
        self.searched = 0;
        Some(line)
    }
}

/// Follows the status of the daemon: one at once, and one whenever it has changed; with `every`,
/// also when the numbers have moved, at most so often.
pub(crate) async fn follow(
    socket: &Path,
    every: Option<Duration>,
) -> Result<Following, ClientError> {
    let path = match every {
        Some(every) => format!("/v1/events?every={}", every.as_secs().max(1)),
        None => "/v1/events".to_owned(),
    };
    let opening = open(socket, hyper::Method::GET, &path);
    let Ok(opened) = tokio::time::timeout(SILENCE, opening).await else {
        return Err(gone(socket, io::ErrorKind::TimedOut));
    };
    let (body, connection) = opened?;
    Ok(Following {
        socket: socket.to_owned(),
        body,
        received: Lines::default(),
        data: String::new(),
        _connection: connection,
    })
}

impl Following {
    /// The next status. A daemon that ends is [`ClientError::Unreachable`].
    pub(crate) async fn next(&mut self) -> Result<DaemonStatus, ClientError> {
        loop {
            while let Some(line) = self.received.next() {
                if let Some(status) = self.line(&line)? {
                    return Ok(status);
                }
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let Ok(frame) = frame else {
                return Err(gone(&self.socket, io::ErrorKind::TimedOut));
            };
            let Some(Ok(frame)) = frame else {
                return Err(gone(&self.socket, io::ErrorKind::ConnectionReset));
            };
            if let Ok(bytes) = frame.into_data() {
                self.received.rest.extend_from_slice(&bytes);
            }
            if self.received.rest.len() + self.data.len() > MAX_ANSWER {
                return Err(ClientError::Garbled("an event is too long".to_owned()));
            }
        }
    }

    /// One line of the stream; an empty one ends an event.
    fn line(&mut self, line: &[u8]) -> Result<Option<DaemonStatus>, ClientError> {
        let garbled = |e: &dyn std::fmt::Display| ClientError::Garbled(e.to_string());
        let line = std::str::from_utf8(line).map_err(|e| garbled(&e))?;
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(data) = line.strip_prefix("data:") {
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        if !line.is_empty() || self.data.is_empty() {
            return Ok(None);
        }
        let data = std::mem::take(&mut self.data);
        serde_json::from_str(&data)
            .map(Some)
            .map_err(|e| garbled(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_in_many_pieces_is_searched_once() {
        // From its start at every piece it would be minutes.
        let mut lines = Lines::default();
        let begin = std::time::Instant::now();
        for _ in 0..500_000 {
            lines.rest.push(b'x');
            assert_eq!(lines.next(), None);
        }
        lines.rest.extend_from_slice(b"\na\nb");
        assert_eq!(lines.next().map(|line| line.len()), Some(500_001));
        assert_eq!(lines.next().as_deref(), Some(&b"a\n"[..]));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.rest, b"b");
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
    }
}
