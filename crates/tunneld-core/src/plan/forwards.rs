//! What a new configuration changes about the forwards of a tunnel.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Drains, KeyChange, change, time};
use crate::config::{
    Expect, ForwardKind, ForwardSpec, Listen, LocalForward, Probe, SocketOwner, UnixListen,
    WhileDown,
};
use crate::name::ForwardName;
use crate::text::clip;

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 60;

/// What happens to a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardAction {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It goes on as another one.
    Changed,
}

/// A forward that comes, goes or changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardChange {
    /// Which of these.
    pub action: ForwardAction,
    /// What it was; absent for one that is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ForwardView>,
    /// What it is now; absent for one that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ForwardView>,
    /// Its keys that have another value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
    /// What that means for its connections; absent where they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drains: Option<Drains>,
}

/// A forward as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardView {
    /// Its name.
    pub name: ForwardName,
    /// `local`, `remote` or `dynamic`.
    pub kind: String,
    /// Where it listens.
    pub listen: String,
    /// Where its connections end up.
    pub connect: String,
}

impl ForwardView {
    fn of(forward: &ForwardSpec) -> Self {
        ForwardView {
            name: forward.name.clone(),
            kind: forward.kind_name().to_owned(),
            listen: forward.listen_text(),
            connect: forward.goal().to_string(),
        }
    }
}

/// What happens to the forwards of a tunnel. Their connections have `patience` where they have to end.
pub(super) fn changes(
    before: &[ForwardSpec],
    after: &[ForwardSpec],
    patience: Duration,
) -> Vec<ForwardChange> {
    let by_key = |forwards: &'_ [ForwardSpec]| -> HashMap<_, usize> {
        let keys = forwards.iter().enumerate();
        keys.map(|(at, f)| (key(f), at)).collect()
    };
    let (olds, news) = (by_key(before), by_key(after));
    let drains = Some(Drains::within(patience));
    let gone = before.iter().filter(|old| !news.contains_key(&key(old)));
    let gone = gone.map(|old| ForwardChange {
        action: ForwardAction::Removed,
        before: Some(ForwardView::of(old)),
        after: None,
        keys: Vec::new(),
        drains,
    });
    let there = after.iter().filter_map(|new| match olds.get(&key(new)) {
        Some(at) => changed(before.get(*at)?, new, drains),
        None => Some(ForwardChange {
            action: ForwardAction::Added,
            before: None,
            after: Some(ForwardView::of(new)),
            keys: Vec::new(),
            drains: None,
        }),
    });
    gone.chain(there).collect()
}

/// What a forward is known by: a local one cannot become a remote one.
fn key(forward: &ForwardSpec) -> (ForwardName, bool) {
    let remote = matches!(forward.kind, ForwardKind::Remote(_));
    (forward.name.clone(), remote)
}

fn changed(old: &ForwardSpec, new: &ForwardSpec, drains: Option<Drains>) -> Option<ForwardChange> {
    if old == new {
        return None;
    }
    // Connections to where they do not belong any more have to end; the others stay.
    let moved = old.goal() != new.goal();
    Some(ForwardChange {
        action: ForwardAction::Changed,
        before: Some(ForwardView::of(old)),
        after: Some(ForwardView::of(new)),
        keys: key_changes(old, new),
        drains: drains.filter(|_| moved),
    })
}

/// The keys that have another value.
fn key_changes(old: &ForwardSpec, new: &ForwardSpec) -> Vec<KeyChange> {
    let text = |v: &String| clip(v, MAX_SHOWN);
    let goal = |f: &ForwardSpec| f.goal().to_string();
    let places = [
        change("listen", &old.listen_text(), &new.listen_text(), text),
        change("connect", &goal(old), &goal(new), text),
    ];
    let idle = |v: &Option<Duration>| time(&v.unwrap_or_default());
    let limits = [
        change(
            "max_connections",
            &old.max_connections,
            &new.max_connections,
            u32::to_string,
        ),
        change("idle_timeout", &old.idle_timeout, &new.idle_timeout, idle),
        change("allow", &old.allow, &new.allow, |v| networks(v)),
        change("probe", &old.probe, &new.probe, probe),
    ];
    let local = match (&old.kind, &new.kind) {
        (ForwardKind::Local(old), ForwardKind::Local(new)) => local_changes(old, new),
        _ => Vec::new(),
    };
    let flat = |changes: [Option<KeyChange>; 2]| changes.into_iter().flatten();
    flat(places)
        .chain(local)
        .chain(limits.into_iter().flatten())
        .collect()
}

fn local_changes(old: &LocalForward, new: &LocalForward) -> Vec<KeyChange> {
    let word = |v: &WhileDown| match v {
        WhileDown::Wait => "wait".to_owned(),
        WhileDown::Refuse => "refuse".to_owned(),
    };
    let waiting = [
        change("while_down", &old.while_down, &new.while_down, word),
        change("wait_timeout", &old.wait_timeout, &new.wait_timeout, time),
    ];
    let socket = match (&old.listen.value, &new.listen.value) {
        (Listen::Unix(old), Listen::Unix(new)) => socket_changes(old, new),
        _ => Vec::new(),
    };
    waiting.into_iter().flatten().chain(socket).collect()
}

fn socket_changes(old: &UnixListen, new: &UnixListen) -> Vec<KeyChange> {
    let mode = |v: &u32| format!("{v:04o}");
    let owner = |v: &Option<SocketOwner>| match v {
        Some(owner) => clip(&owner.to_string(), MAX_SHOWN),
        None => "none".to_owned(),
    };
    [
        change("socket_mode", &old.mode, &new.mode, mode),
        change("socket_owner", &old.owner, &new.owner, owner),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn networks(allow: &[IpNet]) -> String {
    match allow.is_empty() {
        true => "everybody".to_owned(),
        false => {
            let shown: Vec<String> = allow.iter().map(IpNet::to_string).collect();
            clip(&shown.join(", "), MAX_SHOWN)
        }
    }
}

fn probe(probe: &Option<Probe>) -> String {
    let Some(probe) = probe else {
        return "none".to_owned();
    };
    let expect = match &probe.expect {
        None => String::new(),
        Some(Expect::FirstLine(line)) => format!(" for {line:?}"),
        Some(Expect::Http { status, path }) => format!(" for {status} from {path}"),
    };
    let shown = format!(
        "every {} within {}{expect}",
        humantime::format_duration(probe.interval),
        humantime::format_duration(probe.timeout)
    );
    clip(&shown, MAX_SHOWN)
}
