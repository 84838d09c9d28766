//! The names of forwards: those of the file, and those that are made from listening places.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::diagnostic::Diagnostic;
use super::provenance::Spans;
use super::raw::Problems;
use super::{
    ForwardKind, ForwardSpec, Goal, Listen, ListenHost, LocalForward, Probe, RemoteListen, Sourced,
    TcpListen,
};
use crate::name::{ForwardName, MAX_NAME_LEN};

/// How many characters are kept free for a number.
const NUMBER_LEN: usize = 6;

/// A forward whose name may still have to be made.
pub(super) struct Unnamed {
    /// The name in the file.
    pub(super) name: Option<Sourced<ForwardName>>,
    pub(super) kind: ForwardKind,
    pub(super) limits: Limits,
    /// Where its keys are written.
    pub(super) spans: Spans,
}

/// What all kinds of forward have.
pub(super) struct Limits {
    pub(super) max_connections: u32,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) allow: Vec<IpNet>,
    pub(super) probe: Option<Probe>,
}

/// Gives each forward its name: first those of the file, then the others around them.
pub(super) fn name_all(found: Vec<Unnamed>, problems: &mut Problems) -> Vec<(ForwardSpec, Spans)> {
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
    let mut maker = Maker {
        taken: first.into_keys().collect(),
        numbers: BTreeMap::new(),
    };
    let named = found.into_iter().filter_map(|forward| {
        let name = match forward.name {
            Some(name) => name.value,
            None => maker.make(&forward.kind)?,
        };
        let spec = ForwardSpec {
            name,
            kind: forward.kind,
            max_connections: forward.limits.max_connections,
            idle_timeout: forward.limits.idle_timeout,
            allow: forward.limits.allow,
            probe: forward.limits.probe,
        };
        Some((spec, forward.spans))
    });
    named.collect()
}

/// Makes names that no forward of the tunnel has.
struct Maker {
    taken: BTreeSet<ForwardName>,
    /// The last number that was given with each beginning.
    numbers: BTreeMap<String, usize>,
}

impl Maker {
    /// `local-5432`; with the address where another forward has that; with a number at last.
    fn make(&mut self, kind: &ForwardKind) -> Option<ForwardName> {
        let (short, address) = stem(kind);
        let short = fit(&short);
        let long = address.map(|address| fit(&format!("{short}-{address}")));
        let plain = std::iter::once(short.clone()).chain(long.clone());
        let mut plain = plain.filter_map(|name| name.parse().ok());
        let name = match plain.find(|name| !self.taken.contains(name)) {
            Some(name) => name,
            None => self.numbered(long.unwrap_or(short))?,
        };
        self.taken.insert(name.clone());
        Some(name)
    }

    fn numbered(&mut self, stem: String) -> Option<ForwardName> {
        // Of so many names one is free: there is one more than are taken.
        let all = self.taken.len() + 2;
        let last = self.numbers.entry(stem.clone()).or_insert(1);
        let mut free = (*last + 1..=*last + all).filter_map(|n| {
            let name = format!("{stem}-{n}").parse::<ForwardName>().ok()?;
            (!self.taken.contains(&name)).then_some((n, name))
        });
        let (number, name) = free.next()?;
        *last = number;
        Some(name)
    }
}

/// What a forward is called by its kind and its place, and by its address where that is not enough.
fn stem(kind: &ForwardKind) -> (String, Option<String>) {
    match kind {
        ForwardKind::Local(LocalForward {
            listen, connect, ..
        }) => {
            let kind = match connect {
                Goal::Asked => "dynamic",
                Goal::To(_) => "local",
            };
            match &listen.value {
                Listen::Tcp(place) => (format!("{kind}-{}", place.port), Some(address(place))),
                Listen::Unix(place) => (
                    format!("{kind}-{}", last(&place.path.to_string_lossy())),
                    None,
                ),
                Listen::Fd(name) => (format!("{kind}-fd-{name}"), None),
            }
        }
        ForwardKind::Remote(remote) => match &remote.listen.value {
            RemoteListen::Tcp { port: 0, .. } => ("remote-any".to_owned(), None),
            RemoteListen::Tcp { bind, port } => {
                let address = match bind.as_str() {
                    "" => "any",
                    other => other,
                };
                (format!("remote-{port}"), Some(address.to_owned()))
            }
            RemoteListen::Unix(path) => (format!("remote-{}", last(path)), None),
        },
    }
}

fn address(place: &TcpListen) -> String {
    match place.host {
        ListenHost::Localhost => "localhost".to_owned(),
        ListenHost::Any => "any".to_owned(),
        ListenHost::Ip(ip) => ip.to_string(),
    }
}

/// The name of a file in its folder.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A text as part of a name: what a name cannot have becomes `-`, and there is room for a number.
fn fit(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(MAX_NAME_LEN - NUMBER_LEN)
        .collect()
}
