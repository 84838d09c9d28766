//! However its bytes arrive, a client gets the same answer; no byte of its connection is lost, and
//! nothing that it sends holds us up or grows without end.

mod properties;
mod replies;
mod requests;
mod splits;

use super::{Handshake, Outcome, Protocol, Request, Step};
use crate::config::Destination;

/// What a handshake did: the replies on the way, the last step, and what was left.
#[derive(Debug, PartialEq)]
struct Talk {
    sent: Vec<u8>,
    end: Step,
    rest: Vec<u8>,
}

/// Feeds the pieces one after the other, taking every step in between.
fn talk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Talk {
    let mut handshake = Handshake::new();
    let mut pieces = pieces.into_iter();
    let mut sent = Vec::new();
    let end = loop {
        match handshake.step() {
            Step::Reply(bytes) => sent.extend(bytes),
            Step::More => match pieces.next() {
                Some(piece) => handshake.feed(piece),
                None => break Step::More,
            },
            end => break end,
        }
    };
    // What the driver reads from here on is its own.
    let mut rest = handshake.into_rest();
    if let Step::Ask(_) = end {
        rest.extend(pieces.flatten());
    }
    Talk { sent, end, rest }
}

fn ask(host: &str, port: u16, protocol: Protocol) -> Step {
    Step::Ask(Request {
        destination: Destination::tcp(host, port),
        protocol,
    })
}

fn refuse(reply: &[u8], reason: &str) -> Step {
    Step::Refuse {
        reply: reply.to_vec(),
        reason: reason.to_owned(),
    }
}

/// Requests that are served: what the client sends, and where it wants to go.
fn served() -> Vec<(Vec<u8>, Step)> {
    let name = "n".repeat(255);
    vec![
        (
            b"\x04\x01\x00\x50\xc0\x00\x02\x07\0".to_vec(),
            ask("192.0.2.7", 80, Protocol::Socks4),
        ),
        (
            b"\x04\x01\x15\x38\x00\x00\x00\x00jane\0".to_vec(),
            ask("0.0.0.0", 5432, Protocol::Socks4),
        ),
        (
            b"\x04\x01\x01\xbb\x00\x00\x00\x01jane\0db.example\0".to_vec(),
            ask("db.example", 443, Protocol::Socks4a),
        ),
        (
            [
                b"\x04\x01\x01\xbb\x00\x00\x00\xff",
                &[b'u'; 255][..],
                b"\0",
                name.as_bytes(),
                b"\0",
            ]
            .concat(),
            ask(&name, 443, Protocol::Socks4a),
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x16".to_vec(),
            ask("127.0.0.1", 22, Protocol::Socks5),
        ),
        (
            b"\x05\x03\x02\x00\x01\x05\x01\x00\x03\x02db\x15\x38".to_vec(),
            ask("db", 5432, Protocol::Socks5),
        ),
        (
            [
                &b"\x05\xff"[..],
                &[0; 255],
                b"\x05\x01\x00\x03\xff",
                name.as_bytes(),
                b"\xff\xff",
            ]
            .concat(),
            ask(&name, 65535, Protocol::Socks5),
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x01\xbb"
                .to_vec(),
            ask("2001:db8::7", 443, Protocol::Socks5),
        ),
        (
            b"CONNECT db.example:443 HTTP/1.1\r\nHost: db.example:443\r\n\r\n".to_vec(),
            ask("db.example", 443, Protocol::Http),
        ),
        (
            b"CONNECT [2001:DB8::7]:80 HTTP/1.0\r\n\r\n".to_vec(),
            ask("2001:db8::7", 80, Protocol::Http),
        ),
        (
            b"CONNECT 127.0.0.1:80 HTTP/1.1\nContent-Length: 5\n\n".to_vec(),
            ask("127.0.0.1", 80, Protocol::Http),
        ),
    ]
}
