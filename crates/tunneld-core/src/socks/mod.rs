//! What a client of a dynamic forward asks for: the server's side of SOCKS 4, 4a and 5 and of HTTP
//! CONNECT, all on one port.
//!
//! Bytes in, bytes out: nothing here reads, writes or waits, so whoever drives it sets the deadline.
//! The first byte tells the protocols apart: 4 is SOCKS 4, 5 is SOCKS 5, a letter is HTTP, and
//! anything else is a client that has come to the wrong port.
//!
//! ```
//! use tunneld_core::socks::{Handshake, Outcome, Step};
//!
//! # let mut reads = [&b"CONNECT db:5432 HTTP/1.1\r\n"[..], b"\r\nearly"].into_iter();
//! # let mut read = || reads.next().unwrap_or_default();
//! # let mut sent = Vec::new();
//! let mut handshake = Handshake::new();
//! let request = loop {
//!     match handshake.step() {
//!         Step::More => handshake.feed(read()),
//!         Step::Reply(bytes) => sent.extend(bytes),
//!         Step::Ask(request) => break request,
//!         Step::Refuse { reply, reason } => panic!("{reason}: {reply:?}"),
//!     }
//! };
//! assert_eq!(request.destination.to_string(), "db:5432");
//! assert_eq!(handshake.into_rest(), b"early");
//! sent.extend(request.reply(Outcome::Connected));
//! ```

mod connect;
mod host;
mod socks4;
mod socks5;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::Destination;
use crate::text::clip;

/// Within so many bytes of a client there is a request, or a refusal.
pub const MAX_REQUEST: usize = 8 * 1024;

/// The conversation with one client, up to the point where it has said where it wants to go.
///
/// [`step`](Handshake::step) says what to do, [`feed`](Handshake::feed) gives it what it asks for.
#[derive(Default)]
pub struct Handshake {
    /// What has come and is not understood yet.
    pending: Vec<u8>,
    /// So much of `pending` was there at the step before.
    seen: usize,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// The protocol is not known, or is one in which a single message says everything.
    #[default]
    Opening,
    /// The method of SOCKS 5 is chosen, its request is to come.
    Chosen,
    /// There is nothing left to say but this.
    Over(Step),
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read from the client and feed what comes.
    More,
    /// Send these bytes, then take the next step.
    Reply(Vec<u8>),
    /// Connect, and send [`Request::reply`]. The handshake is over; what it has left belongs to the
    /// connection.
    Ask(Request),
    /// Send the reply, if it is not empty, and close. The handshake is over.
    Refuse {
        /// What the client's protocol says for it.
        reply: Vec<u8>,
        /// Why, for the log: short, and printable whatever the client sent.
        reason: String,
    },
}

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Always [`Destination::Tcp`]. A name is resolved at the side that connects.
    pub destination: Destination,
    /// In which protocol it asks, and is answered.
    pub protocol: Protocol,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SOCKS 4: an IPv4 address.
    Socks4,
    /// SOCKS 4a: SOCKS 4 with a name.
    Socks4a,
    /// SOCKS 5 (RFC 1928).
    Socks5,
    /// HTTP CONNECT (RFC 9110 section 9.3.6).
    Http,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Socks4 => "SOCKS 4",
            Protocol::Socks4a => "SOCKS 4a",
            Protocol::Socks5 => "SOCKS 5",
            Protocol::Http => "HTTP CONNECT",
        })
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The connection is made.
    Connected,
    /// It is not allowed.
    Prohibited,
    /// The destination refused the connection.
    Refused,
    /// No way to the host.
    HostUnreachable,
    /// No way to the host's network.
    NetworkUnreachable,
    /// No answer in time.
    TimedOut,
    /// The name has no address.
    NotResolved,
    /// The tunnel is down.
    Down,
    /// Something else, or unknown.
    Other,
}

impl Request {
    /// The bytes that tell the client what became of its request. After any outcome but
    /// [`Outcome::Connected`] the connection is to be closed.
    pub fn reply(&self, outcome: Outcome) -> Vec<u8> {
        match self.protocol {
            Protocol::Socks4 | Protocol::Socks4a => socks4::reply(outcome),
            Protocol::Socks5 => socks5::reply(outcome),
            Protocol::Http => connect::reply(&self.destination, outcome),
        }
    }
}

/// What a parser makes of the bytes so far: nothing yet, or a value and what follows it.
type Parsed<'a, T> = Result<Option<(T, &'a [u8])>, Refusal>;

/// A client that is not served.
#[derive(Debug)]
struct Refusal {
    reply: Vec<u8>,
    reason: String,
}

impl Handshake {
    /// A client has connected; nothing has come yet.
    pub fn new() -> Self {
        Handshake::default()
    }

    /// Takes what came from the client: any number of bytes, when [`step`](Handshake::step) asks
    /// for [`Step::More`]. It holds no more than [`MAX_REQUEST`] bytes and what is fed at once.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.stage, Stage::Over(Step::Refuse { .. })) {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// What is to be done next. A request or a refusal is the last step, and stays it.
    pub fn step(&mut self) -> Step {
        if let Stage::Over(last) = &self.stage {
            return last.clone();
        }
        let refused =
            |Refusal { reply, reason }| (Step::Refuse { reply, reason }, self.pending.len());
        let (step, used) = self.parse().unwrap_or_else(refused);
        self.pending.drain(..used);
        self.seen = self.pending.len();
        match &step {
            Step::More => {}
            Step::Reply(_) => self.stage = Stage::Chosen,
            last => self.stage = Stage::Over(last.clone()),
        }
        step
    }

    /// The bytes behind the request: the client sent them early, and they belong to the connection.
    pub fn into_rest(self) -> Vec<u8> {
        self.pending
    }

    /// The next step, and how many bytes it takes.
    fn parse(&self) -> Result<(Step, usize), Refusal> {
        let bytes = self.pending.as_slice();
        let found = match (&self.stage, bytes.first()) {
            (_, None) => None,
            (Stage::Chosen, _) => socks5::request(bytes)?,
            (_, Some(&socks4::VERSION)) => socks4::request(bytes)?,
            (_, Some(&socks5::VERSION)) => socks5::greeting(bytes)?,
            (_, Some(b'A'..=b'Z' | b'a'..=b'z')) => connect::request(bytes, self.seen)?,
            _ => return Err(stranger(bytes)),
        };
        Ok(match found {
            Some((step, rest)) => (step, bytes.len() - rest.len()),
            None => (Step::More, 0),
        })
    }
}

/// Lengths only: what a client sends early is nobody else's business.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("pending", &self.pending.len())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// A client that speaks something else: there is no answer that it would understand.
fn stranger(bytes: &[u8]) -> Refusal {
    const TLS_HANDSHAKE: u8 = 0x16;
    let reason = match bytes.first() {
        Some(&TLS_HANDSHAKE) => {
            "TLS came, the port takes SOCKS and HTTP CONNECT without it".to_owned()
        }
        _ => format!("neither SOCKS nor HTTP: {}", shown(bytes)),
    };
    Refusal {
        reply: Vec::new(),
        reason,
    }
}

/// What came, clipped and printable.
fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 48;
    // Four characters a byte at most: more bytes than are shown need not be escaped.
    let head = bytes.get(..=MAX).unwrap_or(bytes);
    format!("`{}`", clip(&head.escape_ascii().to_string(), MAX))
}
