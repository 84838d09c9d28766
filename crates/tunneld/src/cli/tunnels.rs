//! `tunneld start|stop|restart NAME…`

use hyper::Method;

use super::{Places, client_failed};
use crate::control::client::call;
use crate::control::{Done, TunnelCommand};
use crate::exit::Exit;

pub(super) fn run(places: &Places, command: TunnelCommand, names: &[String]) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Done;
    for name in names {
        let path = format!("/v1/tunnels/{}/{}", escaped(name), command.as_str());
        if let Err(e) = call::<Done>(&socket, Method::POST, &path) {
            exit = client_failed(places, &e);
            if exit == Exit::Unreachable {
                break;
            }
        }
    }
    exit
}

/// A name as a part of a URL (RFC 3986 section 2.1): whatever was typed arrives, and is refused
/// there if it is no name.
pub(super) fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_was_typed_fits_into_a_url() {
        assert_eq!(super::escaped("db-1.x"), "db-1.x");
        assert_eq!(super::escaped("a/b c%é"), "a%2Fb%20c%25%C3%A9");
    }
}
