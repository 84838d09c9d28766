//! Where a client wants to go, checked once for all protocols.

use std::net::Ipv6Addr;

use super::shown;
use crate::config::Destination;

/// The longest name: what SOCKS 5 can carry, and more than DNS allows.
pub(super) const MAX_NAME: usize = 255;

/// What delimits a host elsewhere and is never in one: whoever sends it means something else.
const NO_HOST_HAS: &str = " [/]@?#";

/// A destination, or why there is none. An address is given as its text.
pub(super) fn destination(host: &[u8], port: u16) -> Result<Destination, String> {
    let bytes = host.len();
    if bytes == 0 {
        return Err("the name is empty".to_owned());
    }
    if bytes > MAX_NAME {
        return Err(format!(
            "the name has {bytes} bytes, {MAX_NAME} are allowed"
        ));
    }
    let Ok(name) = str::from_utf8(host) else {
        return Err(format!("the name is not UTF-8: {}", shown(host)));
    };
    if !is_printable(name) || name.contains(|c| NO_HOST_HAS.contains(c)) {
        let name = shown(host);
        return Err(format!("the name has a character that no host has: {name}"));
    }
    if name.contains(':') && name.parse::<Ipv6Addr>().is_err() {
        return Err(format!("not a name and not an address: {}", shown(host)));
    }
    if port == 0 {
        return Err(format!("port 0 of {}", shown(host)));
    }
    Ok(Destination::tcp(name, port))
}

/// Whether every character shows as itself: names end up in logs and on terminals, where controls,
/// invisible characters and those that turn the direction of writing deceive.
fn is_printable(name: &str) -> bool {
    name.escape_debug().eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_taken_as_they_are() {
        let longest = "n".repeat(MAX_NAME);
        for host in [
            "db",
            "a_b.example",
            "bücher.example",
            "名前",
            "127.0.0.1",
            "0.0.0.0",
            "::1",
            "2001:db8::7",
            &longest,
        ] {
            let expected = Destination::tcp(host, 65535);
            assert_eq!(destination(host.as_bytes(), 65535), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_the_reason() {
        let long = "n".repeat(MAX_NAME + 1);
        for (host, port, reason) in [
            (&b""[..], 80, "the name is empty"),
            (
                long.as_bytes(),
                80,
                "the name has 256 bytes, 255 are allowed",
            ),
            (b"a\xff", 80, r"the name is not UTF-8: `a\xff`"),
            (
                b"a b",
                80,
                "the name has a character that no host has: `a b`",
            ),
            (
                b"a\n",
                80,
                r"the name has a character that no host has: `a\n`",
            ),
            (
                b"a\0b",
                80,
                r"the name has a character that no host has: `a\x00b`",
            ),
            (
                b"\x1b[1m",
                80,
                r"the name has a character that no host has: `\x1b[1m`",
            ),
            (
                "a\u{202e}".as_bytes(),
                80,
                r"the name has a character that no host has: `a\xe2\x80\xae`",
            ),
            (
                "a\u{3000}".as_bytes(),
                80,
                r"the name has a character that no host has: `a\xe3\x80\x80`",
            ),
            (
                b"u@db",
                80,
                "the name has a character that no host has: `u@db`",
            ),
            (
                b"[::1]",
                80,
                "the name has a character that no host has: `[::1]`",
            ),
            (b"db:80", 80, "not a name and not an address: `db:80`"),
            (b"db", 0, "port 0 of `db`"),
        ] {
            assert_eq!(destination(host, port), Err(reason.to_owned()));
        }
    }
}
