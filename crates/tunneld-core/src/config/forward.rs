//! `local_forward`: strings as `ssh -L` takes them, and tables that say more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::keys::Place;
use super::raw::{Cursor, Item, Problems};
use super::settings::positive;
use super::values::{parse_destination, parse_forward, parse_listen, parse_port};
use super::{
    Destination, ForwardKind, ForwardSpec, Listen, ListenHost, LocalForward, Sourced, WhileDown,
};
use crate::name::ForwardName;

/// How many forwards a tunnel may have.
const MAX_FORWARDS: usize = 1_000;

const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: u32 = 4096;

/// A forward whose name may still have to be made.
struct Read {
    name: Option<Sourced<ForwardName>>,
    local: LocalForward,
}

/// The forwards of one tunnel.
pub(super) fn local_forwards(
    item: Item<'_, '_>,
    problems: &mut Problems,
) -> Option<Vec<ForwardSpec>> {
    let items = item.each();
    if items.len() > MAX_FORWARDS {
        let said = format!(
            "has {} forwards, a tunnel has at most {MAX_FORWARDS}",
            items.len()
        );
        problems.report(item.wrong(&said));
        return None;
    }
    let mut good = true;
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        match read(item, problems) {
            Some(forward) => found.push(forward),
            None => good = false,
        }
    }
    let named = name_all(found, problems);
    // Nothing is said of a tunnel that forwards nothing because its forwards are wrong.
    (good || !named.is_empty()).then_some(named)
}

fn read(item: Item<'_, '_>, problems: &mut Problems) -> Option<Read> {
    match item.get() {
        DeValue::String(text) => match parse_forward(text) {
            Ok((listen, connect)) => Some(Read {
                name: None,
                local: LocalForward {
                    listen: Sourced {
                        value: listen,
                        span: Some(item.span()),
                    },
                    connect,
                    while_down: WhileDown::Wait,
                    wait_timeout: WAIT_TIMEOUT,
                    max_connections: MAX_CONNECTIONS,
                },
            }),
            Err(error) => {
                problems.report(item.error(error));
                None
            }
        },
        DeValue::Table(_) => read_table(item, problems),
        _ => {
            problems.report(item.wants("strings as `ssh -L` takes them, or tables"));
            None
        }
    }
}

fn read_table(item: Item<'_, '_>, problems: &mut Problems) -> Option<Read> {
    let mut keys = Cursor::new(item.table(problems)?, Place::Forward);
    let asked_name = keys.item("name");
    let name = asked_name.map(|item| forward_name(item, problems));
    let has_listen = keys.has("listen");
    let listen = keys.take("listen", problems, listen);
    let has_connect = keys.has("connect");
    let connect = keys.take("connect", problems, connect);
    let while_down = keys.take("while_down", problems, while_down);
    let wait_timeout = keys.take("wait_timeout", problems, positive);
    let max_connections = keys.take("max_connections", problems, |item, problems| {
        item.number(1, 1_000_000, problems)
    });
    let meant = keys.finish(problems);
    for (key, has) in [("listen", has_listen), ("connect", has_connect)] {
        if !has && !meant.contains(&key) {
            let said = format!("this forward has no `{key}`");
            problems.report_absent(
                Diagnostic::at(item.span(), said).with_help(
                    r#"write { listen = "127.0.0.1:5432", connect = "localhost:5432" }"#,
                ),
            );
        }
    }
    let name = match name {
        Some(name) => Some(name?),
        None => None,
    };
    Some(Read {
        name,
        local: LocalForward {
            listen: listen?,
            connect: connect?.value,
            while_down: while_down.map_or(WhileDown::Wait, |v| v.value),
            wait_timeout: wait_timeout.map_or(WAIT_TIMEOUT, |v| v.value),
            max_connections: max_connections.map_or(MAX_CONNECTIONS, |v| v.value),
        },
    })
}

fn forward_name(item: Item<'_, '_>, problems: &mut Problems) -> Option<Sourced<ForwardName>> {
    match item.text("a string", problems)?.parse() {
        Ok(value) => Some(Sourced {
            value,
            span: Some(item.span()),
        }),
        Err(error) => {
            problems.report(Diagnostic::at(item.span(), format!("bad `name`: {error}")));
            None
        }
    }
}

fn listen(item: Item<'_, '_>, problems: &mut Problems) -> Option<Listen> {
    const WANTED: &str = r#""address:port", "[v6]:port" or a port"#;
    let parsed = match item.get() {
        DeValue::Integer(_) => {
            let number = item.number(1, u32::from(u16::MAX), problems)?;
            parse_port(&number.to_string()).map(|port| Listen {
                host: ListenHost::Localhost,
                port,
            })
        }
        _ => parse_listen(item.text(WANTED, problems)?),
    };
    parsed.map_err(|e| problems.report(item.error(e))).ok()
}

fn connect(item: Item<'_, '_>, problems: &mut Problems) -> Option<Destination> {
    let text = item.text(r#""host:port" or "[v6]:port""#, problems)?;
    let parsed = parse_destination(text);
    parsed.map_err(|e| problems.report(item.error(e))).ok()
}

fn while_down(item: Item<'_, '_>, problems: &mut Problems) -> Option<WhileDown> {
    super::settings::choice(
        item,
        &[("wait", WhileDown::Wait), ("refuse", WhileDown::Refuse)],
        problems,
    )
}

/// Gives each forward its name: first those of the file, then the others around them.
fn name_all(found: Vec<Read>, problems: &mut Problems) -> Vec<ForwardSpec> {
    let mut first: BTreeMap<ForwardName, Option<Range<usize>>> = BTreeMap::new();
    for name in found.iter().filter_map(|f| f.name.as_ref()) {
        let Some(earlier) = first.get(&name.value) else {
            first.insert(name.value.clone(), name.span.clone());
            continue;
        };
        let span = name.span.clone().unwrap_or_default();
        let said = format!("two forwards of this tunnel are named `{}`", name.value);
        let mut item = Diagnostic::at(span, said);
        if let Some(earlier) = earlier {
            item = item.with_related(earlier.clone(), "first used");
        }
        problems.report(item);
    }
    let mut taken: BTreeSet<ForwardName> = first.into_keys().collect();
    let named = found.into_iter().filter_map(|forward| {
        let name = match forward.name {
            Some(name) => name.value,
            None => made_name(&forward.local.listen.value, &taken)?,
        };
        taken.insert(name.clone());
        Some(ForwardSpec {
            name,
            kind: ForwardKind::Local(forward.local),
        })
    });
    named.collect()
}

/// `local-5432`; with the address where another forward has that; with a number at last.
fn made_name(listen: &Listen, taken: &BTreeSet<ForwardName>) -> Option<ForwardName> {
    let address = match listen.host {
        ListenHost::Localhost => "localhost".to_owned(),
        ListenHost::Any => "any".to_owned(),
        ListenHost::Ip(IpAddr::V4(ip)) => ip.to_string(),
        ListenHost::Ip(IpAddr::V6(ip)) => ip.to_string().replace(':', "-"),
    };
    let short = format!("local-{}", listen.port);
    let long = format!("{short}-{address}");
    let numbered = (2..=MAX_FORWARDS + 1).map(|n| format!("{long}-{n}"));
    [short, long.clone()]
        .into_iter()
        .chain(numbered)
        .filter_map(|name| name.parse().ok())
        .find(|name| !taken.contains(name))
}
