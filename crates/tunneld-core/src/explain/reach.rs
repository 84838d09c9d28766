//! Who can reach a listening place.

use ipnet::IpNet;

use crate::config::{ForwardKind, ForwardSpec, Listen, ListenHost, RemoteListen, UnixListen};

/// Who can connect to a forward.
pub(super) struct Reach {
    /// In words.
    pub(super) said: String,
    /// Whether clients may come over a network.
    pub(super) far: bool,
}

/// Who can connect to this forward; `server` is what the server is called.
pub(super) fn reach(forward: &ForwardSpec, server: &str) -> Reach {
    let (said, far) = match &forward.kind {
        ForwardKind::Local(local) => here(&local.listen.value),
        ForwardKind::Remote(remote) => there(&remote.listen.value, server),
    };
    let said = match (forward.allow.as_slice(), far) {
        ([], true) => format!("{said}; there is no `allow` to limit it"),
        ([], false) => said,
        (networks, _) => format!("{said}; `allow` lets in only {}", list(networks)),
    };
    Reach { said, far }
}

fn list(networks: &[IpNet]) -> String {
    let shown = networks.iter().map(|network| match network.prefix_len() {
        bits if bits == network.max_prefix_len() => network.addr().to_string(),
        _ => network.to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn here(listen: &Listen) -> (String, bool) {
    match listen {
        Listen::Tcp(tcp) => match tcp.host {
            ListenHost::Localhost => (
                "programs on this machine only: 127.0.0.1 and ::1 are its loopback".into(),
                false,
            ),
            ListenHost::Ip(ip) if ip.is_loopback() => (
                format!("programs on this machine only: {ip} is its loopback"),
                false,
            ),
            ListenHost::Any => (
                "every host that reaches this machine, at any of its addresses".into(),
                true,
            ),
            ListenHost::Ip(ip) if ip.is_unspecified() => {
                let kind = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                (
                    format!("every host that reaches this machine, at any of its {kind} addresses"),
                    true,
                )
            }
            ListenHost::Ip(ip) => (
                format!("every host that reaches {ip}, an address of this machine"),
                true,
            ),
        },
        Listen::Unix(unix) => (unix_reach(unix), false),
        Listen::Fd(name) => {
            let said = format!(
                "whoever the socket unit with FileDescriptorName={name} lets in: its \
                 ListenStream= is the place"
            );
            (said, false)
        }
    }
}

/// It takes the right to write to a socket file to connect to it (unix(7)).
fn unix_reach(unix: &UnixListen) -> String {
    let owner = match &unix.owner {
        Some(owner) => owner.to_string(),
        None => "the user that tunneld runs as".to_owned(),
    };
    let who = match unix.mode {
        mode if mode & 0o002 != 0 => "every user of this machine".to_owned(),
        mode if mode & 0o020 != 0 => format!("its owner and its group ({owner})"),
        _ => format!("its owner alone ({owner})"),
    };
    format!(
        "on this machine only, {who}: the socket file has mode {:04o}",
        unix.mode
    )
}

/// What the server makes of a request is up to GatewayPorts in its sshd_config(5).
fn there(listen: &RemoteListen, server: &str) -> (String, bool) {
    let bind = match listen {
        RemoteListen::Unix(_) => {
            let said = format!(
                "programs on {server} that may write to the socket file; \
                 StreamLocalBindMask in its sshd_config says who"
            );
            return (said, false);
        }
        RemoteListen::Tcp { bind, .. } => bind.as_str(),
    };
    let loopback = |ip: &str| {
        ip.parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
    };
    if bind == "localhost" || loopback(bind) {
        let said = format!(
            "programs on {server} only; but if its sshd_config has `GatewayPorts yes`, every \
             host that reaches it"
        );
        return (said, false);
    }
    let asked = match bind {
        "" | "0.0.0.0" | "::" => format!("every host that reaches {server}"),
        bind => format!("every host that reaches {bind} at {server}"),
    };
    let said = format!(
        "{asked}, if its sshd_config has `GatewayPorts clientspecified` (`yes`: at any of its \
         addresses); with `no`, the default, programs on {server} only"
    );
    (said, true)
}
