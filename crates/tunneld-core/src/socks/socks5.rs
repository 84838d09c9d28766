//! SOCKS 5 (RFC 1928): CONNECT, without authentication.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::destination;
use super::{Outcome, Parsed, Protocol, Refusal, Request, Step};
use crate::text::clip;

/// The first byte of the greeting and of the request.
pub(super) const VERSION: u8 = 5;

/// The choice of the method "no authentication required" (RFC 1928 section 3).
const CHOSEN: [u8; 2] = [VERSION, NO_AUTHENTICATION];

const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// Commands (RFC 1928 section 4).
const CONNECT: u8 = 1;
const BIND: u8 = 2;
const UDP_ASSOCIATE: u8 = 3;

/// Address types (RFC 1928 section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Replies (RFC 1928 section 6).
mod code {
    pub(super) const SUCCEEDED: u8 = 0;
    pub(super) const GENERAL_FAILURE: u8 = 1;
    pub(super) const NOT_ALLOWED: u8 = 2;
    pub(super) const NETWORK_UNREACHABLE: u8 = 3;
    pub(super) const HOST_UNREACHABLE: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    pub(super) const TTL_EXPIRED: u8 = 6;
    pub(super) const COMMAND: u8 = 7;
    pub(super) const ADDRESS_TYPE: u8 = 8;
}

/// The client's version and methods (RFC 1928 section 3).
pub(super) fn greeting(bytes: &[u8]) -> Parsed<'_, Step> {
    let [_version, count, rest @ ..] = bytes else {
        return Ok(None);
    };
    let Some((methods, rest)) = rest.split_at_checked(usize::from(*count)) else {
        return Ok(None);
    };
    if !methods.contains(&NO_AUTHENTICATION) {
        let offered: Vec<String> = methods.iter().map(u8::to_string).collect();
        let offered = clip(&offered.join(" "), 24);
        return Err(Refusal {
            reply: vec![VERSION, NO_ACCEPTABLE_METHOD],
            reason: format!("SOCKS 5: the client insists on authentication (methods: {offered})"),
        });
    }
    Ok(Some((Step::Reply(CHOSEN.to_vec()), rest)))
}

/// The request that follows the choice of a method (RFC 1928 section 4).
pub(super) fn request(bytes: &[u8]) -> Parsed<'_, Step> {
    let Some(([version, command, reserved, kind], rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    if (*version, *reserved) != (VERSION, 0) {
        let reason = format!("a request with version {version} and reserved byte {reserved}");
        return Err(refusal(code::GENERAL_FAILURE, &reason));
    }
    let Some((host, rest)) = address(*kind, rest)? else {
        return Ok(None);
    };
    let Some((port, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    check_command(*command)?;
    let destination = destination(&host, u16::from_be_bytes(*port))
        .map_err(|reason| refusal(code::GENERAL_FAILURE, &reason))?;
    let request = Request {
        destination,
        protocol: Protocol::Socks5,
    };
    Ok(Some((Step::Ask(request), rest)))
}

/// An address as its text, or a name, and what follows (RFC 1928 section 5).
fn address(kind: u8, bytes: &[u8]) -> Parsed<'_, Vec<u8>> {
    let text = |address: String| address.into_bytes();
    match kind {
        IPV4 => Ok(bytes
            .split_first_chunk::<4>()
            .map(|(ip, rest)| (text(Ipv4Addr::from(*ip).to_string()), rest))),
        IPV6 => Ok(bytes
            .split_first_chunk::<16>()
            .map(|(ip, rest)| (text(Ipv6Addr::from(*ip).to_string()), rest))),
        NAME => Ok(bytes
            .split_first()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)))
            .map(|(name, rest)| (name.to_vec(), rest))),
        // How long it is, nobody knows: what follows cannot be waited for.
        _ => {
            let reason = format!("unknown address type {kind}");
            Err(refusal(code::ADDRESS_TYPE, &reason))
        }
    }
}

fn check_command(command: u8) -> Result<(), Refusal> {
    let reason = match command {
        CONNECT => return Ok(()),
        BIND => "BIND, only CONNECT is offered".to_owned(),
        UDP_ASSOCIATE => "UDP ASSOCIATE, only CONNECT is offered".to_owned(),
        _ => format!("unknown command {command}"),
    };
    Err(refusal(code::COMMAND, &reason))
}

fn refusal(code: u8, reason: &str) -> Refusal {
    Refusal {
        reply: answer(code),
        reason: format!("SOCKS 5: {reason}"),
    }
}

/// The answer to a request (RFC 1928 section 6).
pub(super) fn reply(outcome: Outcome) -> Vec<u8> {
    answer(match outcome {
        Outcome::Connected => code::SUCCEEDED,
        Outcome::Prohibited => code::NOT_ALLOWED,
        Outcome::Refused => code::REFUSED,
        // RFC 1928 has no code for a name that is not found; this is the one that clients expect.
        Outcome::HostUnreachable | Outcome::NotResolved => code::HOST_UNREACHABLE,
        Outcome::NetworkUnreachable => code::NETWORK_UNREACHABLE,
        Outcome::TimedOut => code::TTL_EXPIRED,
        Outcome::Down | Outcome::Other => code::GENERAL_FAILURE,
    })
}

/// The bound address is 0.0.0.0:0: it is at the far end of SSH, which does not tell it.
fn answer(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}
