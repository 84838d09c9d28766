//! SOCKS 4, and its extension 4a that carries a name.
//!
//! Neither is an RFC: the documents are Ying-Da Lee's "SOCKS: A protocol for TCP proxy across
//! firewalls" and "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".

use std::net::Ipv4Addr;

use super::host::{MAX_NAME, destination};
use super::{Outcome, Parsed, Protocol, Refusal, Request, Step};

/// The first byte.
pub(super) const VERSION: u8 = 4;

const CONNECT: u8 = 1;
const BIND: u8 = 2;
const GRANTED: u8 = 0x5a;
const REJECTED: u8 = 0x5b;

/// The longest user name. It is not looked at: it proves nothing.
const MAX_USER: usize = 255;

/// A whole request.
pub(super) fn request(bytes: &[u8]) -> Parsed<'_, Step> {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let [_, command, port_high, port_low, ip @ ..] = *head;
    let Some((_user, rest)) = text(rest, MAX_USER, "user name")? else {
        return Ok(None);
    };
    // 0.0.0.x is no address of a host: 4a says with it that a name follows.
    let named = matches!(ip, [0, 0, 0, last] if last != 0);
    let (protocol, host, rest) = if named {
        let Some((name, rest)) = text(rest, MAX_NAME, "name")? else {
            return Ok(None);
        };
        (Protocol::Socks4a, name.to_vec(), rest)
    } else {
        let address = Ipv4Addr::from(ip).to_string();
        (Protocol::Socks4, address.into_bytes(), rest)
    };
    match command {
        CONNECT => {}
        BIND => return Err(refusal("BIND, only CONNECT is offered")),
        _ => return Err(refusal(format!("unknown command {command}"))),
    }
    let port = u16::from_be_bytes([port_high, port_low]);
    let request = Request {
        destination: destination(&host, port).map_err(refusal)?,
        protocol,
    };
    Ok(Some((Step::Ask(request), rest)))
}

/// A text of at most `max` bytes that ends in a zero byte, and what follows.
fn text<'a>(bytes: &'a [u8], max: usize, what: &str) -> Parsed<'a, &'a [u8]> {
    let end = bytes.iter().take(max + 1).position(|byte| *byte == 0);
    match end.and_then(|end| bytes.split_at_checked(end)) {
        Some((text, [_zero, rest @ ..])) => Ok(Some((text, rest))),
        _ if bytes.len() > max => Err(refusal(format!("the {what} has more than {max} bytes"))),
        _ => Ok(None),
    }
}

fn refusal(reason: impl Into<String>) -> Refusal {
    Refusal {
        reply: answer(REJECTED),
        reason: format!("SOCKS 4: {}", reason.into()),
    }
}

/// The answer to a request. There is one code for every failure that is not about ident.
pub(super) fn reply(outcome: Outcome) -> Vec<u8> {
    answer(match outcome {
        Outcome::Connected => GRANTED,
        _ => REJECTED,
    })
}

/// Port and address behind the code mean something for BIND alone.
fn answer(code: u8) -> Vec<u8> {
    vec![0, code, 0, 0, 0, 0, 0, 0]
}
