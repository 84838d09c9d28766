//! Which names a server on a loopback address goes by.
//!
//! A browser lets a web page read what its own name leads to, and whoever owns a name may have it
//! lead to 127.0.0.1 (DNS rebinding). So a request has to be for an address, for `localhost`, or for
//! this machine by the name that it has itself. Where the address is no loopback's, whoever comes may
//! read anyhow, and calls the machine as it likes.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::Response;

use crate::control::server::answer;
use crate::control::{ApiError, ErrorKind};

/// Turns away what is for another host. Who does not say for which host it is (HTTP/1.0) is no browser.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str());
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    match host {
        None => next.run(request).await,
        Some(Ok(host)) if is_here(host, &machine) => next.run(request).await,
        Some(_) => {
            let message = "metrics_listen is on a loopback address: ask for it by its address, as \
                           localhost, or by the name of this machine";
            answer::<()>(Err(ApiError::new(ErrorKind::WrongHost, message)))
        }
    }
}

/// Whether a `Host` (RFC 9110 section 7.2) is an address, `localhost`, or the name of this machine.
fn is_here(host: &str, machine: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    if let Some(ip) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return matches!(ip.parse(), Ok(IpAddr::V6(_)));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    matches!(name.parse(), Ok(IpAddr::V4(_)))
        || name.eq_ignore_ascii_case("localhost")
        || !machine.is_empty() && name.eq_ignore_ascii_case(machine)
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_names_that_nobody_else_can_have_lead_here() {
        for host in [
            "127.0.0.1:9478",
            "127.0.0.1",
            "192.0.2.1:80",
            "[::1]:9478",
            "[::1]",
            "localhost",
            "LocalHost:9478",
            "localhost.:9478",
            "db1",
            "DB1:9478",
        ] {
            assert!(is_here(host, "db1"), "{host}");
        }
        for host in [
            "",
            ":9478",
            "evil.example",
            "evil.example:9478",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "db1.evil.example",
            "[evil]",
            "[127.0.0.1]:1",
            "::1",
            "localhost:x",
            "2130706433",
        ] {
            assert!(!is_here(host, "db1"), "{host}");
        }
        assert!(!is_here("", ""));
    }
}
