//! One forward: the places on its way, and what is to be said of it.

use super::drawing::{Arrow, Node};
use super::reach::reach;
use crate::config::{
    Destination, ForwardKind, ForwardSpec, Goal, LocalForward, RemoteForward, RemoteListen, Target,
    TunnelSpec, Via, WhileDown, host_port,
};

/// The forward as a way from whoever connects to where the connection ends.
pub(super) fn nodes(spec: &TunnelSpec, forward: &ForwardSpec) -> Vec<Node> {
    let node = |by, place: String, what| Node { by, place, what };
    let mut nodes = vec![node(Arrow::Clear, "clients".to_owned(), "")];
    let between = between(&spec.target);
    let server = spec.target.host.clone();
    match &forward.kind {
        ForwardKind::Local(local) => {
            nodes.push(node(Arrow::Clear, local.listen.value.to_string(), "here"));
            nodes.extend(between);
            nodes.push(node(Arrow::Sealed, server, "the SSH server"));
            let what = match &local.connect {
                Goal::To(Destination::Unix(_)) => "its socket file",
                Goal::To(_) | Goal::Asked => "seen from there",
            };
            nodes.push(node(Arrow::Clear, goal(&local.connect), what));
        }
        ForwardKind::Remote(remote) => {
            let place = remote.listen.value.to_string();
            nodes.push(node(Arrow::Clear, place, "at the SSH server"));
            nodes.extend(between.into_iter().rev());
            nodes.push(node(Arrow::Sealed, "this machine".to_owned(), "here"));
            let what = match &remote.connect {
                Goal::To(Destination::Unix(_)) => "a socket file here",
                Goal::To(_) | Goal::Asked => "seen from here",
            };
            nodes.push(node(Arrow::Clear, goal(&remote.connect), what));
        }
    }
    nodes
}

fn goal(goal: &Goal) -> String {
    match goal {
        Goal::To(destination) => destination.to_string(),
        Goal::Asked => "where they ask to go".to_owned(),
    }
}

/// What passes the bytes on without being able to read them, the first one first.
fn between(target: &Target) -> Vec<Node> {
    let sealed = |place: String, what| Node {
        by: Arrow::Sealed,
        place,
        what,
    };
    let mut nodes = Vec::new();
    match target.first_via() {
        Via::Proxy(proxy) => nodes.push(sealed(proxy.to_string(), "a proxy")),
        Via::Command(_) => nodes.push(sealed("proxy_command".to_owned(), "a program here")),
        Via::Direct | Via::Jump(_) => {}
    }
    let hops = target.hops();
    nodes.extend(
        hops.into_iter()
            .map(|hop| sealed(hop.host.clone(), "a jump host")),
    );
    nodes
}

/// What is to be said of a forward: a word, and what about it.
pub(super) fn facts(spec: &TunnelSpec, forward: &ForwardSpec) -> Vec<(&'static str, String)> {
    let server = spec.target.host.as_str();
    let reach = reach(forward, server);
    let mut facts = vec![
        ("listens", listens(forward, spec)),
        ("open to", reach.said),
        ("encrypted", encrypted(spec, forward)),
    ];
    let (clear, names) = match &forward.kind {
        ForwardKind::Local(local) => end(&local.connect, server),
        ForwardKind::Remote(remote) => end(&remote.connect, "this machine"),
    };
    let first = match (&forward.kind, reach.far) {
        (_, false) => String::new(),
        (ForwardKind::Local(_), true) => "from the client to this machine; then ".to_owned(),
        (ForwardKind::Remote(_), true) => format!("from the client to {server}; then "),
    };
    facts.push(("in clear", first + &clear));
    facts.extend(names.map(|names| ("names", names)));
    facts.push(("while down", while_down(forward, server)));
    facts
}

fn listens(forward: &ForwardSpec, spec: &TunnelSpec) -> String {
    let place = forward.listen_text();
    match &forward.kind {
        ForwardKind::Local(_) => format!("tunneld, on this machine, at {place}"),
        ForwardKind::Remote(RemoteForward { listen, .. }) => {
            let server = &spec.target.host;
            match &listen.value {
                RemoteListen::Tcp { port: 0, .. } => format!(
                    "the SSH server {server}, at a port that it chooses: `tunneld status {}` \
                     tells which",
                    spec.name
                ),
                _ => format!("the SSH server {server}, at {place}"),
            }
        }
    }
}

/// Which part of the way SSH protects, and who is on it.
fn encrypted(spec: &TunnelSpec, forward: &ForwardSpec) -> String {
    let target = &spec.target;
    let server = host_port(&target.host, target.port);
    let mut said = match forward.kind {
        ForwardKind::Local(_) => format!("from here to {server}"),
        ForwardKind::Remote(_) => format!("from {server} to here"),
    };
    match target.first_via() {
        Via::Proxy(proxy) => said.push_str(&format!(", through the proxy {proxy}")),
        Via::Command(command) => said.push_str(&format!(", through the program `{command}`")),
        Via::Direct | Via::Jump(_) => {}
    }
    let hops = target.hops();
    let names: Vec<_> = hops
        .iter()
        .map(|hop| host_port(&hop.host, hop.port))
        .collect();
    if !names.is_empty() {
        said.push_str(&format!(", over {}", names.join(" and ")));
    }
    let others = names.len() + usize::from(!matches!(target.first_via(), Via::Direct));
    match others {
        0 => {}
        1 => said.push_str(", which passes the bytes on and cannot read them"),
        _ => said.push_str(", which pass the bytes on and cannot read them"),
    }
    said
}

/// How the last bit goes, and who looks names up; `who` connects.
fn end(goal: &Goal, who: &str) -> (String, Option<String>) {
    match goal {
        Goal::To(Destination::Unix(path)) => (
            format!("only within {who}, which connects to its socket file {path}"),
            None,
        ),
        Goal::To(to @ Destination::Tcp { host, .. }) => match kind(host) {
            Host::Itself => (
                format!("only within {who}, which connects to itself ({to})"),
                None,
            ),
            Host::Address => (clear(who, &to.to_string()), None),
            Host::Name => (
                clear(who, &to.to_string()),
                Some(format!("{who} looks up `{host}`")),
            ),
        },
        Goal::Asked => (
            format!(
                "from {who}, which connects, to wherever each client asks to go: by SOCKS 4, 4a \
                 or 5, or HTTP CONNECT"
            ),
            Some(format!(
                "{who} looks up those that clients send; a client that looks them up itself sends \
                 an address (with curl, --socks5-hostname sends the name)"
            )),
        ),
    }
}

fn clear(who: &str, to: &str) -> String {
    format!("from {who}, which connects, to {to}, unless the programs encrypt it themselves")
}

enum Host {
    Itself,
    Address,
    Name,
}

fn kind(host: &str) -> Host {
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_loopback() => Host::Itself,
        Ok(_) => Host::Address,
        Err(_) if host.eq_ignore_ascii_case("localhost") => Host::Itself,
        Err(_) => Host::Name,
    }
}

fn while_down(forward: &ForwardSpec, server: &str) -> String {
    match &forward.kind {
        ForwardKind::Local(LocalForward {
            while_down: WhileDown::Wait,
            wait_timeout,
            ..
        }) => format!(
            "it goes on listening: a client is held for up to {}, and carried as soon as the \
             tunnel is up; after that its connection is reset",
            humantime::format_duration(*wait_timeout)
        ),
        ForwardKind::Local(_) => {
            "it goes on listening: a client's connection is reset at once".to_owned()
        }
        ForwardKind::Remote(_) => {
            format!("nobody listens at {server}: clients there are refused")
        }
    }
}
