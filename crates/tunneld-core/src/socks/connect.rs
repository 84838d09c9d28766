//! HTTP CONNECT (RFC 9110 section 9.3.6), read as HTTP/1 (RFC 9112).
//!
//! Headers are checked for their form and otherwise ignored, and so is a length of content: what
//! follows the head of a CONNECT belongs to the connection.

use std::net::Ipv6Addr;

use httparse::{EMPTY_HEADER, Error, Status};

use super::host::destination;
use super::{MAX_REQUEST, Outcome, Parsed, Protocol, Refusal, Request, Step, shown};
use crate::config::Destination;

/// The most headers in a request.
const MAX_HEADERS: usize = 64;

const BAD_REQUEST: &str = "400 Bad Request";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";

/// A whole head of a request. The first `seen` bytes were here before, and were not enough.
pub(super) fn request(bytes: &[u8], seen: usize) -> Parsed<'_, Step> {
    let Some(lines) = whole_lines(bytes, seen) else {
        return Ok(None);
    };
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let used = match parsed.parse(lines) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) if lines.len() == MAX_REQUEST => {
            return Err(too_large(lines, "bytes", MAX_REQUEST));
        }
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(too_large(lines, "headers", MAX_HEADERS)),
        Err(error) => return Err(bad(format!("{error} in {}", first_line(lines)))),
    };
    if parsed.method != Some("CONNECT") {
        return Err(other_method(lines));
    }
    let target = parsed.path.unwrap_or_default();
    let request = Request {
        destination: authority(target).map_err(bad)?,
        protocol: Protocol::Http,
    };
    let rest = bytes.get(used..).unwrap_or_default();
    Ok(Some((Step::Ask(request), rest)))
}

/// The lines that are there to the end, if one of them is new, or all that may be there. So a client
/// that sends byte by byte is not parsed anew for each of them, and nothing is made of half a line.
fn whole_lines(bytes: &[u8], seen: usize) -> Option<&[u8]> {
    if let Some(full) = bytes.get(..MAX_REQUEST) {
        return Some(full);
    }
    let (seen, new) = bytes.split_at_checked(seen)?;
    let end = new.iter().rposition(|byte| *byte == b'\n')?;
    bytes.get(..=seen.len() + end)
}

/// `host:port` (RFC 9112 section 3.2.3): there is no default port.
fn authority(target: &str) -> Result<Destination, String> {
    let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse().ok().filter(|_| is_number) else {
        return Err(format!("no valid port in {}", shown(target.as_bytes())));
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed.map(str::parse::<Ipv6Addr>) {
        Some(Ok(address)) => destination(address.to_string().as_bytes(), port),
        // Without brackets, the last colon of an address may be the one before the port or not.
        None if !host.contains(':') => destination(host.as_bytes(), port),
        _ => Err(format!(
            "not a host and a port: {}",
            shown(target.as_bytes())
        )),
    }
}

fn bad(reason: String) -> Refusal {
    Refusal {
        reply: answer(BAD_REQUEST, "", &reason),
        reason: format!("HTTP: {reason}"),
    }
}

fn too_large(head: &[u8], what: &str, max: usize) -> Refusal {
    let reason = format!("more than {max} {what} in the head");
    Refusal {
        reply: answer(TOO_LARGE, "", &reason),
        reason: format!("HTTP: {reason} of {}", first_line(head)),
    }
}

fn other_method(head: &[u8]) -> Refusal {
    Refusal {
        reply: answer(
            NOT_ALLOWED,
            "Allow: CONNECT\r\n",
            "this is a proxy for CONNECT only",
        ),
        reason: format!("HTTP: not CONNECT but {}", first_line(head)),
    }
}

fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    shown(line.trim_ascii_end())
}

/// The answer to a request (RFC 9110 section 15).
pub(super) fn reply(destination: &Destination, outcome: Outcome) -> Vec<u8> {
    let (status, reason) = match outcome {
        // Neither length nor content: what follows is the connection (RFC 9110 section 9.3.6).
        Outcome::Connected => return b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        Outcome::Prohibited => ("403 Forbidden", "not allowed"),
        Outcome::Refused => ("502 Bad Gateway", "connection refused"),
        Outcome::HostUnreachable => ("502 Bad Gateway", "host unreachable"),
        Outcome::NetworkUnreachable => ("502 Bad Gateway", "network unreachable"),
        Outcome::NotResolved => ("502 Bad Gateway", "the name has no address"),
        Outcome::Other => ("502 Bad Gateway", "no connection"),
        Outcome::Down => ("503 Service Unavailable", "the tunnel is down"),
        Outcome::TimedOut => ("504 Gateway Timeout", "no answer in time"),
    };
    answer(status, "", &format!("{destination}: {reason}"))
}

/// An answer after which the connection is closed.
fn answer(status: &str, headers: &str, line: &str) -> Vec<u8> {
    let length = line.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{line}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_looked_at_once() {
        let bytes = b"CONNECT db:80 HTTP/1.1\r\nHost: db";
        assert_eq!(whole_lines(bytes, 0), bytes.get(..24));
        assert_eq!(whole_lines(bytes, 23), bytes.get(..24));
        assert_eq!(whole_lines(bytes, 24), None);
        assert_eq!(whole_lines(bytes, bytes.len()), None);
    }
}
