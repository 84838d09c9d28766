//! Hearing from a client of a dynamic forward where it wants to go: over its socket, or over the
//! channel that the server opened for it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tunneld_core::refusal::Refusal;
use tunneld_core::socks::{Handshake, Outcome, Request, Step};

use super::client::Refused;
use super::gate::No;
use crate::opener::OpenError;
use crate::wire::Wire;

/// How long a client may take to say where it wants to go.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to read that it is refused.
const GOODBYE: Duration = Duration::from_secs(1);
/// What is read at a time: a request is smaller.
const ROOM: usize = 1024;

/// What a client asks for.
pub(crate) struct Asked {
    pub(crate) request: Request,
    /// What it has sent behind its request.
    pub(crate) early: Bytes,
}

/// One side of a conversation.
trait Client {
    /// What comes next; empty at the end.
    async fn read(&mut self) -> io::Result<Bytes>;
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A client that is connected to us.
pub(crate) async fn on_socket(mut socket: &Wire) -> Result<Asked, No> {
    within_patience(&mut socket).await
}

/// A client that is connected to the server.
pub(crate) async fn on_channel(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
) -> Result<Asked, No> {
    within_patience(&mut OverChannel { read, write }).await
}

async fn within_patience(client: &mut impl Client) -> Result<Asked, No> {
    let asked = tokio::time::timeout(PATIENCE, converse(client)).await;
    let asked = asked.unwrap_or_else(|_| {
        let seconds = PATIENCE.as_secs();
        Err(format!("the client did not say where to within {seconds}s"))
    });
    asked.map_err(|reason| (Refusal::Handshake, reason))
}

async fn converse(client: &mut impl Client) -> Result<Asked, String> {
    const GONE: &str = "the client went before it said where to";
    let mut handshake = Handshake::new();
    loop {
        match handshake.step() {
            Step::More => {
                let bytes = client.read().await.map_err(|_| GONE)?;
                if bytes.is_empty() {
                    return Err(GONE.to_owned());
                }
                handshake.feed(&bytes);
            }
            Step::Reply(bytes) => client.write(&bytes).await.map_err(|_| GONE)?,
            Step::Ask(request) => {
                let early = Bytes::from(handshake.into_rest());
                return Ok(Asked { request, early });
            }
            Step::Refuse { reply, reason } => {
                // A client that has gone is refused all the same.
                let _ = client.write(&reply).await;
                return Err(reason);
            }
        }
    }
}

/// Sends a reply, and says whether it could be sent.
pub(crate) async fn tell_socket(mut socket: &Wire, reply: &[u8]) -> bool {
    let sent = tokio::time::timeout(PATIENCE, socket.write(reply)).await;
    matches!(sent, Ok(Ok(())))
}

/// Sends a reply, and says whether it could be sent.
pub(crate) async fn tell_channel(write: &ChannelWriteHalf<Msg>, reply: &[u8]) -> bool {
    let sent = write.data_bytes(Bytes::copy_from_slice(reply));
    matches!(tokio::time::timeout(PATIENCE, sent).await, Ok(Ok(())))
}

/// Ends the connection of a client that was told no. What it still sends is read for a moment:
/// closing a socket with something unread would take the reply away from it.
pub(crate) async fn part(mut socket: &Wire) {
    socket.finished();
    socket.shutdown(Shutdown::Write);
    let rest = async { while socket.read().await.is_ok_and(|bytes| !bytes.is_empty()) {} };
    // A client that goes on sending has had its reply by now.
    let _ = tokio::time::timeout(GOODBYE, rest).await;
}

/// What a refusal is in the words of SOCKS and HTTP.
pub(crate) fn outcome(refused: Option<&Refused>) -> Outcome {
    let reason = match refused {
        None => return Outcome::Connected,
        Some(Refused::Down(_) | Refused::Open(OpenError::SessionEnded)) => return Outcome::Down,
        Some(Refused::Open(OpenError::Timeout)) => return Outcome::TimedOut,
        Some(Refused::Open(OpenError::Refused {
            prohibited: true, ..
        })) => return Outcome::Prohibited,
        Some(Refused::Open(OpenError::Refused { reason, .. })) => reason.to_lowercase(),
    };
    outcome_of_reason(&reason)
}

/// The operating system's reasons, at the far end or here: strerror(3) and gai_strerror(3).
pub(crate) fn outcome_of_reason(reason: &str) -> Outcome {
    let reasons = [
        ("connection refused", Outcome::Refused),
        ("network is unreachable", Outcome::NetworkUnreachable),
        ("no route to host", Outcome::HostUnreachable),
        ("timed out", Outcome::TimedOut),
        ("name or service not known", Outcome::NotResolved),
        ("name resolution", Outcome::NotResolved),
        ("no address associated", Outcome::NotResolved),
        ("failed to lookup address", Outcome::NotResolved),
    ];
    let found = reasons.iter().find(|(words, _)| reason.contains(words));
    found.map_or(Outcome::Other, |(_, outcome)| *outcome)
}

impl Client for &Wire {
    async fn read(&mut self) -> io::Result<Bytes> {
        loop {
            self.readable().await?;
            let mut buf = Vec::with_capacity(ROOM);
            let read = self.read_ready(ROOM, |socket| {
                rustix::io::read(socket, rustix::buffer::spare_capacity(&mut buf))
            });
            match read {
                Ok(_) => return Ok(Bytes::from(buf)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.writable().await?;
            match self.try_write_vectored(&[IoSlice::new(bytes)]) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

struct OverChannel<'a> {
    read: &'a mut ChannelReadHalf,
    write: &'a ChannelWriteHalf<Msg>,
}

impl Client for OverChannel<'_> {
    async fn read(&mut self) -> io::Result<Bytes> {
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data }) if data.is_empty() => {}
                Some(ChannelMsg::Data { data }) => return Ok(data),
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Ok(Bytes::new()),
                Some(_) => {}
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.write.data_bytes(Bytes::copy_from_slice(bytes)).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
