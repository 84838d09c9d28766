//! The way to a host: `proxy_jump`, `proxy` and `proxy_command`, and which of the addresses at
//! both ends the first connection is made between.

use std::net::IpAddr;
use std::ops::Range;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::items::{Base, MAX_LIST, choice, list, parsed};
use super::keys::Place;
use super::login::Login;
use super::provenance::Spans;
use super::raw::{Cursor, Item, Problems};
use super::secrets::has_password;
use super::settings::{self, later, or};
use super::transport::Transport;
use super::trust::Trust;
use super::values::{ValueError, parse_host};
use super::way_forms::{
    hop_with_password, is_none, parse_bind_address, parse_command, parse_hop, parse_proxy,
    parse_word,
};
use super::{AddressFamily, ProxyCommand, Sourced, Via};

/// How many jump hosts there may be on the way to a host.
pub(super) const MAX_HOPS: usize = 8;

/// The keys that together say how the first host on the way is reached.
const PROXIES: [&str; 2] = ["proxy", "proxy_command"];

/// What one table says about the way; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    /// The jump hosts, the first one first.
    pub(super) hops: Option<Vec<Hop>>,
    /// How the first host on the way is reached: `proxy` and `proxy_command` together.
    pub(super) first: Option<Via>,
    pub(super) family: Option<Sourced<AddressFamily>>,
    pub(super) bind: Option<Sourced<Option<IpAddr>>>,
}

/// A jump host, with what is written about it and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) at: Range<usize>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) login: Login,
    pub(super) trust: Trust,
    pub(super) transport: Transport,
    /// Where all of this is written.
    pub(super) spans: Spans,
}

impl Way {
    /// Takes the keys out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        let hops = keys.take("proxy_jump", problems, |item, problems| {
            hops(item, base, problems)
        });
        let proxy = keys.take("proxy", problems, |item, problems| {
            let found = parsed(item, "\"socks5://host:port\"", parse_proxy, problems)?;
            Some(found.map(Via::Proxy))
        });
        let command = keys.take("proxy_command", problems, |item, problems| {
            Some(command(item, problems)?.map(Via::Command))
        });
        if let (Some(proxy), Some(command)) = (&proxy, &command)
            && proxy.value.is_some()
            && command.value.is_some()
        {
            problems.report(both(&proxy.span, &command.span));
        }
        let said = proxy.is_some() || command.is_some();
        let via = [proxy, command].into_iter().flatten();
        let via = via.filter_map(|written| written.value).next();
        Way {
            hops: hops.map(|hops| hops.value),
            first: said.then(|| via.unwrap_or(Via::Direct)),
            family: keys.take("address_family", problems, |item, problems| {
                choice(item, &AddressFamily::ALL.map(|f| (f.as_str(), f)), problems)
            }),
            bind: keys.take("bind_address", problems, |item, problems| {
                parsed(item, "an IP address", parse_bind_address, problems)
            }),
        }
    }

    /// This way, and where it says nothing that of `defaults`.
    pub(super) fn or(self, defaults: &Way) -> Self {
        Way {
            hops: self.hops.or_else(|| defaults.hops.clone()),
            first: self.first.or_else(|| defaults.first.clone()),
            family: or(self.family, &defaults.family),
            bind: or(self.bind, &defaults.bind),
        }
    }

    /// As [`Spans::or`]: `proxy` and `proxy_command` stand in place of each other.
    pub(super) fn spans_or(ours: Spans, theirs: &Spans) -> Spans {
        match PROXIES.iter().any(|key| ours.has(key)) {
            true => ours.or(&theirs.without(&PROXIES)),
            false => ours.or(theirs),
        }
    }

    /// Which addresses the first connection is made to.
    pub(super) fn address_family(&self) -> AddressFamily {
        self.family.as_ref().map(|v| v.value).unwrap_or_default()
    }

    /// The address of this machine that it is made from.
    pub(super) fn bind_address(&self) -> Option<IpAddr> {
        self.bind.as_ref().and_then(|v| v.value)
    }

    /// Reports an address that no connection can be made from.
    pub(super) fn check(&self, problems: &mut Problems) {
        let family = self.address_family();
        if let Some(address) = self.bind_address().filter(|a| !family.has(*a)) {
            let said = format!(
                "`bind_address` is {address}, and `address_family` is \"{}\"",
                family.as_str()
            );
            problems.report(Diagnostic {
                span: later(&self.family, &self.bind),
                ..Diagnostic::new(said)
            });
        }
    }
}

/// There is one way to make a connection. The key that is written later is at fault.
fn both(proxy: &Option<Range<usize>>, command: &Option<Range<usize>>) -> Diagnostic {
    let mut spans: Vec<_> = [proxy, command].into_iter().flatten().cloned().collect();
    spans.sort_by_key(|span| span.start);
    let item = Diagnostic {
        span: spans.last().cloned(),
        ..Diagnostic::new("`proxy` and `proxy_command` exclude each other")
    };
    match spans.into_iter().next() {
        Some(first) => item.with_related(first, "the other one"),
        None => item,
    }
}

fn hops(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<Vec<Hop>> {
    let items = item.each();
    if let [only] = items.as_slice()
        && let DeValue::String(text) = only.get()
        && is_none(text)
    {
        return Some(Vec::new());
    }
    let count = |item: &Item<'_, '_>| match item.get() {
        DeValue::String(text) => text.matches(',').count() + 1,
        _ => 1,
    };
    let total: usize = items.iter().map(count).sum();
    if total > MAX_HOPS {
        let said = format!("has {total} jump hosts, at most {MAX_HOPS} are taken");
        problems.report(item.wrong(&said));
        return None;
    }
    let mut found = Vec::with_capacity(total);
    for item in &items {
        match item.get() {
            DeValue::Table(_) => found.extend(hop_table(*item, base, problems)),
            // A comma in it would not part two jump hosts.
            DeValue::String(text) if has_password(text) => {
                problems.report(item.error(hop_with_password()));
            }
            DeValue::String(text) => {
                let hops = text.split(',').map(|text| hop(*item, text, problems));
                found.extend(hops.flatten());
            }
            _ => problems.report(item.wants("strings like \"user@host:port\", or tables")),
        }
    }
    (found.len() == total).then_some(found)
}

fn hop(item: Item<'_, '_>, text: &str, problems: &mut Problems) -> Option<Hop> {
    let found = Hop::parse(text, item.span());
    found.map_err(|e| problems.report(item.error(e))).ok()
}

impl Hop {
    /// A jump host as `ssh -J` takes it, written at `at`.
    pub(super) fn parse(text: &str, at: Range<usize>) -> Result<Self, ValueError> {
        let written = parse_hop(text)?;
        let mut spans = Spans::default();
        for (key, said) in [
            ("host", true),
            ("port", written.port.is_some()),
            ("user", written.user.is_some()),
        ] {
            if said {
                spans.add(key, at.clone());
            }
        }
        Ok(Hop {
            at,
            host: written.host,
            port: written.port,
            user: written.user,
            login: Login::default(),
            trust: Trust::default(),
            transport: Transport::default(),
            spans,
        })
    }
}

fn hop_table(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<Hop> {
    let mut keys = Cursor::new(item.table(problems)?, Place::Hop);
    let has_host = keys.has("host");
    let host = keys.take("host", problems, |item, problems| {
        parsed(item, "a host name or an address", parse_host, problems)
    });
    let port = keys.take("port", problems, settings::port);
    let user = keys.take("user", problems, settings::user);
    let login = Login::take(&mut keys, base, problems);
    let trust = Trust::take(&mut keys, base, problems);
    let transport = Transport::take(&mut keys, base, problems);
    let spans = keys.spans();
    let meant = keys.finish(problems);
    if !has_host && !meant.contains(&"host") {
        let said = "this jump host has no `host`";
        problems.report_absent(
            Diagnostic::at(item.span(), said)
                .with_help(r#"write { host = "bastion.example.com" }"#),
        );
    }
    Some(Hop {
        at: item.span(),
        host: host?.value,
        port: port.map(|v| v.value),
        user: user.map(|v| v.value),
        login,
        trust,
        transport,
        spans,
    })
}

/// A string, or an array of a program and its arguments; `None` in the middle: no command.
fn command(item: Item<'_, '_>, problems: &mut Problems) -> Option<Option<ProxyCommand>> {
    const WANTED: &str = "a command, or an array of a program and its arguments";
    let DeValue::Array(_) = item.get() else {
        let found = parsed(item, WANTED, parse_command, problems)?;
        return Some(found.map(ProxyCommand::Shell));
    };
    let items = list(item, problems)?;
    let mut words = Vec::with_capacity(items.len().min(MAX_LIST));
    for item in &items {
        words.extend(parsed(*item, WANTED, parse_word, problems));
    }
    if words.len() < items.len() {
        return None;
    }
    if words.first().is_none_or(String::is_empty) {
        problems.report(
            item.wrong("names no program")
                .with_help("write the program first, and then its arguments"),
        );
        return None;
    }
    Some(Some(ProxyCommand::Argv(words)))
}
