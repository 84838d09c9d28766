//! Who is answered by which name, and for whom commands are carried out.
//!
//! A browser lets a web page read what its own name leads to, and whoever owns a name may have it
//! lead to 127.0.0.1 (DNS rebinding). And it posts for any page to any place, although the page may
//! not read the answer (CSRF). So what is told of tunnels is told to who asks for an address, for
//! `localhost`, or for this machine by its name; and nothing is done for who comes from a web page.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::answers::answer;
use super::error::{ApiError, ErrorKind};

/// What a browser says of the page that a request comes from (W3C, Fetch Metadata).
const SITE: &str = "sec-fetch-site";

/// On a loopback address: turns away what is for another host.
pub(crate) async fn loopback(request: Request, next: Next) -> Response {
    match by_name(request.headers(), is_here) {
        true => next.run(request).await,
        false => wrong_host(
            "metrics_listen is on a loopback address: ask for it by its address, as localhost, or \
             by the name of this machine",
        ),
    }
}

/// On other addresses, for what tells of tunnels: the machine may have its name with any domain.
pub(crate) async fn network(request: Request, next: Next) -> Response {
    match by_name(request.headers(), is_machine) {
        true => next.run(request).await,
        false => wrong_host(
            "this is for who asks for it by its address, as localhost, or by the name of this \
             machine, with its domain or without; /metrics, /healthz and /readyz are for any name",
        ),
    }
}

/// On the control socket, which somebody may have forwarded to a port: a name without a dot is what
/// people write for a socket, and no name of the DNS. Commands are not for web pages, whatever name
/// they come by.
pub(crate) async fn socket(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_ours = |host: &str, machine: &str| !host.contains('.') || is_here(host, machine);
    if !by_name(headers, is_ours) {
        return wrong_host(
            "the control socket goes by no name of the DNS: ask for it as localhost",
        );
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads
        && [ORIGIN.as_str(), SITE]
            .iter()
            .any(|name| headers.contains_key(*name))
    {
        let message = "commands are not carried out for web pages (Origin, Sec-Fetch-Site)";
        return answer::<()>(Err(ApiError::new(ErrorKind::CrossSite, message)));
    }
    next.run(request).await
}

/// Whether a request is for a host by which it is answered. Who does not say for which (HTTP/1.0) is
/// no browser.
fn by_name(headers: &HeaderMap, ours: impl Fn(&str, &str) -> bool) -> bool {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let mut hosts = headers.get_all(HOST).iter();
    hosts.all(|host| host.to_str().is_ok_and(|host| ours(host, &machine)))
}

fn wrong_host(message: &str) -> Response {
    answer::<()>(Err(ApiError::new(ErrorKind::WrongHost, message)))
}

/// As [`is_here`], or a name whose first label is this machine's.
fn is_machine(host: &str, machine: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let machine_label = label(machine);
    is_here(host, machine) || !machine_label.is_empty() && label(name_of(host)) == machine_label
}

/// A `Host` without its port.
fn name_of(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    }
}

/// Whether a `Host` (RFC 9110 section 7.2) is an address, `localhost`, or the name of this machine.
fn is_here(host: &str, machine: &str) -> bool {
    let name = name_of(host);
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
    use super::{is_here, is_machine};

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

    #[test]
    fn on_the_network_this_machine_has_any_domain() {
        for machine in ["db1", "db1.internal.example"] {
            for host in ["db1:9478", "DB1.internal.example:9478", "db1.", "192.0.2.1"] {
                assert!(is_machine(host, machine), "{host}");
            }
            for host in ["db12", "evil.example", "x.db1", "", ":1"] {
                assert!(!is_machine(host, machine), "{host}");
            }
        }
        assert!(!is_machine("", "") && !is_machine(".evil", ""));
    }
}
