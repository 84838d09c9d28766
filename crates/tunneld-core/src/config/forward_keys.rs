//! `local_forward`, `remote_forward` and `dynamic_forward`: strings as ssh takes them, and tables
//! that say more.

use std::time::Duration;

use toml::de::DeValue;

use super::access::{allow, socket_mode, socket_owner};
use super::diagnostic::Diagnostic;
use super::forward_names::{Limits, Unnamed, name_all};
use super::items::{choice, duration, parsed, positive};
use super::keys::Place;
use super::places::{
    Machine, parse_destination, parse_listen, parse_remote_listen, remote_listen, tcp_listen,
};
use super::probe::probe;
use super::provenance::Spans;
use super::raw::{Cursor, Item, Problems};
use super::ssh_forms::{parse_dynamic_forward, parse_local_forward, parse_remote_forward};
use super::{
    Destination, ForwardKind, ForwardSpec, Goal, Listen, LocalForward, RemoteForward, RemoteListen,
    Sourced, WhileDown,
};
use crate::name::ForwardName;

/// How many forwards a tunnel may have.
const MAX_FORWARDS: usize = 1_000;

const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: u32 = 4096;

/// The keys, in the order in which they are read.
pub(super) const KEYS: [&str; 3] = ["local_forward", "remote_forward", "dynamic_forward"];

/// The forwards of one tunnel, as far as they are right.
pub(super) struct Forwards {
    pub(super) specs: Vec<ForwardSpec>,
    /// Where each of them is written.
    pub(super) spans: Vec<Spans>,
    /// Whether there is something in one of the keys, be it right or wrong.
    pub(super) any: bool,
}

/// Which of the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Local,
    Remote,
    Dynamic,
}

/// The forwards of one tunnel, in the order of the file.
pub(super) fn forwards(keys: &mut Cursor<'_, '_>, problems: &mut Problems) -> Forwards {
    let mut found = Vec::new();
    let mut total = 0;
    let mut any = false;
    for (name, key) in KEYS
        .into_iter()
        .zip([Key::Local, Key::Remote, Key::Dynamic])
    {
        let Some(item) = keys.item(name) else {
            continue;
        };
        let items = item.each();
        total += items.len();
        any |= !items.is_empty();
        if total > MAX_FORWARDS {
            let said = match items.len() {
                all if all == total => format!("has {total} forwards"),
                _ => format!("makes it {total} forwards"),
            };
            let said = format!("{said}, a tunnel has at most {MAX_FORWARDS}");
            problems.report(item.wrong(&said));
            continue;
        }
        found.extend(items.into_iter().filter_map(|i| read(key, i, problems)));
    }
    found.sort_by_key(|forward| start(&forward.kind));
    let (specs, spans) = name_all(found, problems).into_iter().unzip();
    Forwards { specs, spans, any }
}

/// Where a forward stands in the file.
fn start(kind: &ForwardKind) -> usize {
    kind.listen_span().map_or(0, |span| span.start)
}

fn read(key: Key, item: Item<'_, '_>, problems: &mut Problems) -> Option<Unnamed> {
    let kind = match item.get() {
        DeValue::Table(_) => return read_table(key, item, problems),
        DeValue::Integer(_) if key == Key::Dynamic => {
            local(at(item, port(item, problems)?), Goal::Asked)
        }
        DeValue::String(text) => {
            let kind = match key {
                Key::Local => parse_local_forward(text)
                    .map(|(listen, connect)| local(at(item, listen), Goal::To(connect))),
                Key::Remote => parse_remote_forward(text).map(|(listen, connect)| {
                    ForwardKind::Remote(RemoteForward {
                        listen: at(item, listen),
                        connect,
                    })
                }),
                Key::Dynamic => {
                    parse_dynamic_forward(text).map(|listen| local(at(item, listen), Goal::Asked))
                }
            };
            kind.map_err(|e| problems.report(item.error(e))).ok()?
        }
        other => {
            let wrong = item.wants(match key {
                Key::Local => "strings as `ssh -L` takes them, or tables",
                Key::Remote => "strings as `ssh -R` takes them, or tables",
                Key::Dynamic => "strings as `ssh -D` takes them, ports, or tables",
            });
            problems.report(Diagnostic {
                help: bare_number(key, other),
                ..wrong
            });
            return None;
        }
    };
    let mut spans = Spans::default();
    spans.add("listen", item.span());
    spans.add("connect", item.span());
    Some(Unnamed {
        name: None,
        kind,
        spans,
        limits: Limits {
            max_connections: MAX_CONNECTIONS,
            idle_timeout: None,
            allow: Vec::new(),
            probe: None,
        },
    })
}

/// What somebody may have meant by a port alone, where it is not clear.
fn bare_number(key: Key, value: &DeValue<'_>) -> Option<String> {
    let number = value.as_integer()?;
    let port = u16::from_str_radix(number.as_str(), number.radix()).ok()?;
    match key {
        Key::Local => Some(format!("write \"{port}:host:hostport\"")),
        Key::Remote => Some(format!(
            "write \"{port}\" for SOCKS at the server, or \"{port}:host:hostport\""
        )),
        Key::Dynamic => None,
    }
}

fn at<T>(item: Item<'_, '_>, value: T) -> Sourced<T> {
    Sourced {
        value,
        span: Some(item.span()),
    }
}

fn local(listen: Sourced<Listen>, connect: Goal) -> ForwardKind {
    ForwardKind::Local(LocalForward {
        listen,
        connect,
        while_down: WhileDown::Wait,
        wait_timeout: WAIT_TIMEOUT,
    })
}

fn read_table(key: Key, item: Item<'_, '_>, problems: &mut Problems) -> Option<Unnamed> {
    let (place, needs, help): (Place, &[&'static str], &str) = match key {
        Key::Local => (
            Place::LocalForward,
            &["listen", "connect"],
            r#"write { listen = "127.0.0.1:5432", connect = "localhost:5432" }"#,
        ),
        Key::Remote => (
            Place::RemoteForward,
            &["listen"],
            r#"write { listen = "8080", connect = "localhost:80" }"#,
        ),
        Key::Dynamic => (
            Place::DynamicForward,
            &["listen"],
            r#"write { listen = "127.0.0.1:1080" }"#,
        ),
    };
    let mut keys = Cursor::new(item.table(problems)?, place);
    let name = keys.take("name", problems, forward_name);
    let kind = match key {
        Key::Remote => remote_table(&mut keys, problems).map(ForwardKind::Remote),
        _ => local_table(key, &mut keys, problems).map(ForwardKind::Local),
    };
    let limits = limits(&mut keys, kind.as_ref(), problems);
    let missing: Vec<_> = needs.iter().filter(|k| !keys.has(k)).collect();
    let spans = keys.spans();
    let meant = keys.finish(problems);
    for absent in missing.into_iter().filter(|k| !meant.contains(k)) {
        let said = format!("this forward has no `{absent}`");
        problems.report_absent(Diagnostic::at(item.span(), said).with_help(help));
    }
    Some(Unnamed {
        name,
        kind: kind?,
        limits,
        spans,
    })
}

/// What a table of `local_forward` or `dynamic_forward` has of its own.
fn local_table(
    key: Key,
    keys: &mut Cursor<'_, '_>,
    problems: &mut Problems,
) -> Option<LocalForward> {
    let listen = keys.take("listen", problems, listen);
    let listen = socket_keys(listen, keys, problems);
    let connect = if key == Key::Dynamic {
        let said = "has no place in `dynamic_forward`: each client asks for its own destination";
        let help = "leave it out, or move this forward to `local_forward`";
        refuse(keys, &["connect"], said, Some(help), problems);
        Some(Goal::Asked)
    } else {
        let connect = keys.take("connect", problems, |item, problems| {
            connect(item, Machine::Server, problems)
        });
        connect.map(|connect| Goal::To(connect.value))
    };
    let while_down = keys.take("while_down", problems, while_down);
    let wait_timeout = keys.take("wait_timeout", problems, positive);
    Some(LocalForward {
        listen: listen?,
        connect: connect?,
        while_down: while_down.map_or(WhileDown::Wait, |v| v.value),
        wait_timeout: wait_timeout.map_or(WAIT_TIMEOUT, |v| v.value),
    })
}

/// Adds `socket_mode` and `socket_owner` to a unix socket; nothing else has them.
fn socket_keys(
    listen: Option<Sourced<Listen>>,
    keys: &mut Cursor<'_, '_>,
    problems: &mut Problems,
) -> Option<Sourced<Listen>> {
    let help = match listen.as_ref().map(|listen| &listen.value) {
        Some(Listen::Tcp(_)) => Some(None),
        Some(Listen::Fd(_)) => Some(Some(
            "the unit of the socket has SocketMode=, SocketUser= and SocketGroup=",
        )),
        Some(Listen::Unix(_)) | None => None,
    };
    if let Some(help) = help {
        let said = "is for a unix socket that tunneld makes, and `listen` is none";
        refuse(keys, &["socket_mode", "socket_owner"], said, help, problems);
        return listen;
    }
    let mode = keys.take("socket_mode", problems, socket_mode);
    let owner = keys.take("socket_owner", problems, socket_owner);
    let mut listen = listen?;
    if let Listen::Unix(place) = &mut listen.value {
        place.mode = mode.map_or(place.mode, |v| v.value);
        place.owner = owner.map(|v| v.value);
    }
    Some(listen)
}

/// What a table of `remote_forward` has of its own.
fn remote_table(keys: &mut Cursor<'_, '_>, problems: &mut Problems) -> Option<RemoteForward> {
    let said = "has no meaning here: a remote forward listens only while there is a session";
    refuse(keys, &["while_down", "wait_timeout"], said, None, problems);
    let said = "is for a unix socket of this machine: that of a remote forward is the server's";
    let help = "the server has StreamLocalBindMask for it, see sshd_config(5)";
    let socket = ["socket_mode", "socket_owner"];
    refuse(keys, &socket, said, Some(help), problems);
    let listen = keys.take("listen", problems, listen_there);
    let asked = !keys.has("connect");
    let connect = keys.take("connect", problems, |item, problems| {
        connect(item, Machine::This, problems)
    });
    let connect = match connect {
        Some(connect) => Some(Goal::To(connect.value)),
        None => asked.then_some(Goal::Asked),
    };
    Some(RemoteForward {
        listen: listen?,
        connect: connect?,
    })
}

/// Reports each of the keys that is there.
fn refuse(
    keys: &mut Cursor<'_, '_>,
    refused: &[&'static str],
    said: &str,
    help: Option<&str>,
    problems: &mut Problems,
) {
    for key in refused {
        if let Some(item) = keys.item(key) {
            problems.report(Diagnostic {
                help: help.map(str::to_owned),
                ..item.wrong(said)
            });
        }
    }
}

/// What all kinds of forward have.
fn limits(
    keys: &mut Cursor<'_, '_>,
    kind: Option<&ForwardKind>,
    problems: &mut Problems,
) -> Limits {
    let max_connections = keys.take("max_connections", problems, |item, problems| {
        item.number(1, 1_000_000, problems)
    });
    let idle_timeout = keys.take("idle_timeout", problems, duration);
    let on_socket = kind.and_then(|kind| match kind {
        ForwardKind::Local(local) => matches!(local.listen.value, Listen::Unix(_))
            .then_some("`socket_mode` and `socket_owner` say who may connect"),
        ForwardKind::Remote(remote) => matches!(remote.listen.value, RemoteListen::Unix(_))
            .then_some("who may connect is decided on the server"),
    });
    let allow = match on_socket {
        Some(help) => {
            let said = "is for addresses, and the clients of a unix socket have none";
            refuse(keys, &["allow"], said, Some(help), problems);
            None
        }
        None => keys.take("allow", problems, allow),
    };
    let is_asked = kind.is_some_and(|kind| kind.goal() == &Goal::Asked);
    let probe = keys.take("probe", problems, |item, problems| {
        let found = probe(item, problems)?;
        if is_asked && found.is_some() {
            let said = "has no place to check: each client asks for its own destination";
            problems.report(item.wrong(said));
        }
        Some(found)
    });
    Limits {
        max_connections: max_connections.map_or(MAX_CONNECTIONS, |v| v.value),
        idle_timeout: idle_timeout.map(|v| v.value).filter(|v| !v.is_zero()),
        allow: allow.map(|v| v.value).unwrap_or_default(),
        probe: probe.and_then(|v| v.value),
    }
}

fn forward_name(item: Item<'_, '_>, problems: &mut Problems) -> Option<ForwardName> {
    let parsed = item.text("a string", problems)?.parse();
    parsed
        .map_err(|error| {
            let said = format!("bad `name`: {error}");
            problems.report(Diagnostic::at(item.span(), said));
        })
        .ok()
}

fn listen(item: Item<'_, '_>, problems: &mut Problems) -> Option<Listen> {
    if let DeValue::Integer(_) = item.get() {
        return port(item, problems);
    }
    let wanted = r#""address:port", "[v6]:port", a port, "/path" or "fd:NAME""#;
    parsed(item, wanted, parse_listen, problems)
}

/// A bare port of localhost.
fn port(item: Item<'_, '_>, problems: &mut Problems) -> Option<Listen> {
    let number = item.number(1, u32::from(u16::MAX), problems)?;
    tcp_listen(None, &number.to_string()).ok()
}

fn listen_there(item: Item<'_, '_>, problems: &mut Problems) -> Option<RemoteListen> {
    if let DeValue::Integer(_) = item.get() {
        let number = item.number(0, u32::from(u16::MAX), problems)?;
        return remote_listen(None, &number.to_string()).ok();
    }
    let wanted = r#""bind:port", "[v6]:port", a port or "/path""#;
    parsed(item, wanted, parse_remote_listen, problems)
}

fn connect(item: Item<'_, '_>, machine: Machine, problems: &mut Problems) -> Option<Destination> {
    let wanted = r#""host:port", "[v6]:port" or "/path""#;
    parsed(
        item,
        wanted,
        |text| parse_destination(text, machine),
        problems,
    )
}

fn while_down(item: Item<'_, '_>, problems: &mut Problems) -> Option<WhileDown> {
    let words = [("wait", WhileDown::Wait), ("refuse", WhileDown::Refuse)];
    choice(item, &words, problems)
}
