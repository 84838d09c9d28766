//! `tunneld start|stop|restart NAME…`

use std::path::Path;

use hyper::Method;
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};

use super::{Places, client_failed};
use crate::control::client::call;
use crate::control::{Done, TunnelCommand};
use crate::exit::Exit;
use crate::http::error::no_tunnel;

pub(super) fn run(places: &Places, command: TunnelCommand, names: &[String]) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let known: DaemonStatus = match call(&socket, Method::GET, "/v1/status") {
        Ok(status) => status,
        Err(e) => return client_failed(places, &e),
    };
    let unknown = unknown(names, &super::status::names(&known));
    if !unknown.is_empty() {
        for problem in unknown {
            eprintln!("error: {problem}");
        }
        return Exit::Failed;
    }
    let mut exit = Exit::Done;
    for name in names {
        let path = format!("/v1/tunnels/{}/{}", escaped(name), command.as_str());
        match call::<Done>(&socket, Method::POST, &path) {
            Ok(_) if command == TunnelCommand::Stop => say_what_drains(&socket, name),
            Ok(_) => {}
            Err(e) => exit = client_failed(places, &e),
        }
        if exit == Exit::Unreachable {
            break;
        }
    }
    exit
}

/// What is wrong with names that are no tunnel's. One of them may be what was meant for another, so
/// that nothing is done for any.
fn unknown(names: &[String], known: &[String]) -> Vec<String> {
    let unknown = names.iter().filter(|name| !known.contains(name));
    unknown.map(|name| no_tunnel(name, known)).collect()
}

/// The daemon answers after a while, also if a stopped tunnel still carries connections.
fn say_what_drains(socket: &Path, name: &str) {
    // It is stopped, whether that can be asked for or not.
    let Ok(status) = call::<DaemonStatus>(socket, Method::GET, "/v1/status") else {
        return;
    };
    let mut tunnels = status.tunnels.iter();
    let tunnel = tunnels.find(|tunnel| tunnel.name.as_str() == name);
    if let Some(words) = tunnel.and_then(draining) {
        eprintln!("{words}");
    }
}

/// What a stopped tunnel still carries; `None` where that is nothing.
fn draining(tunnel: &TunnelStatus) -> Option<String> {
    let open: u64 = tunnel.forwards.iter().map(|f| f.connections.open).sum();
    let drain = match open {
        _ if tunnel.phase != Phase::Stopped => return None,
        0 => return None,
        1 => "1 connection still drains".to_owned(),
        n => format!("{n} connections still drain"),
    };
    let name = &tunnel.name;
    Some(format!(
        "tunnel `{name}` is stopped; {drain}, up to drain_timeout"
    ))
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
    use super::*;

    #[test]
    fn a_stop_says_what_still_drains() {
        let status = |phase: &str, open: [u64; 2]| -> TunnelStatus {
            let forward = |open: &u64| {
                serde_json::json!({
                    "name": "f", "kind": "local", "listen": "", "connect": "",
                    "connections": { "open": open, "total": 9, "refused": 0 },
                    "bytes_sent": 0, "bytes_received": 0,
                })
            };
            serde_json::from_value(serde_json::json!({
                "name": "db", "phase": phase, "since_unix_ms": 0, "destination": "",
                "attempts": 0, "sessions": 1,
                "forwards": open.iter().map(forward).collect::<Vec<_>>(),
            }))
            .unwrap()
        };
        let said = |phase, open| draining(&status(phase, open));
        assert_eq!(said("stopped", [0, 0]), None);
        // It was started again meanwhile.
        assert_eq!(said("up", [1, 1]), None);
        let one = "tunnel `db` is stopped; 1 connection still drains, up to drain_timeout";
        assert_eq!(said("stopped", [0, 1]).as_deref(), Some(one));
        let more = "tunnel `db` is stopped; 3 connections still drain, up to drain_timeout";
        assert_eq!(said("stopped", [1, 2]).as_deref(), Some(more));
    }

    #[test]
    fn whatever_was_typed_fits_into_a_url() {
        assert_eq!(super::escaped("db-1.x"), "db-1.x");
        assert_eq!(super::escaped("a/b c%é"), "a%2Fb%20c%25%C3%A9");
    }
}
