//! Which host keys are right: known_hosts, pins, and what is done with a key that is new.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::items::{Base, choice, list, parsed, paths};
use super::raw::{Cursor, Item, Problems};
use super::settings::or;
use super::ssh_layer::decided;
use super::target::MIN_RSA_SIZE;
use super::values::{ValueError, check_host, is_ipv6, parse_fingerprint};
use super::way_forms::is_none;
use super::{Fingerprint, Sourced, StrictHostKeyChecking, Target};

/// The most bits that an RSA key may have to have: more than that no program makes.
const MAX_RSA_SIZE: u32 = 16_384;

/// What one table says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    pub(super) known_hosts: Option<Sourced<Vec<Sourced<PathBuf>>>>,
    pub(super) strictness: Option<Sourced<StrictHostKeyChecking>>,
    pub(super) pins: Option<Sourced<Vec<Fingerprint>>>,
    pub(super) alias: Option<Sourced<Option<String>>>,
    pub(super) update: Option<Sourced<bool>>,
    pub(super) rsa_size: Option<Sourced<u32>>,
}

impl Trust {
    /// Takes the keys out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        Trust {
            known_hosts: keys.take("known_hosts", problems, |item, problems| {
                paths(item, base, problems)
            }),
            strictness: keys.take("strict_host_key_checking", problems, strictness),
            pins: keys.take("host_key_fingerprint", problems, fingerprints),
            alias: keys.take("host_key_alias", problems, |item, problems| {
                parsed(item, "the name of a host", parse_alias, problems)
            }),
            update: keys.take("update_host_keys", problems, update),
            rsa_size: keys.take("required_rsa_size", problems, |item, problems| {
                item.number(MIN_RSA_SIZE, MAX_RSA_SIZE, problems)
            }),
        }
    }

    /// This, and where it says nothing what `defaults` says.
    pub(super) fn or(self, defaults: &Trust) -> Self {
        Trust {
            known_hosts: or(self.known_hosts, &defaults.known_hosts),
            strictness: or(self.strictness, &defaults.strictness),
            pins: or(self.pins, &defaults.pins),
            alias: or(self.alias, &defaults.alias),
            update: or(self.update, &defaults.update),
            rsa_size: or(self.rsa_size, &defaults.rsa_size),
        }
    }

    /// What a jump host says, and where it says nothing what the tunnel says. Each host has its own
    /// keys and its own name: neither pins nor an alias are those of another.
    pub(super) fn of_hop(&self, tunnel: &Trust) -> Self {
        let own = self.clone();
        Trust {
            pins: self.pins.clone(),
            alias: self.alias.clone(),
            ..own.or(tunnel)
        }
    }

    /// The keywords of ssh_config(5) that this decides.
    pub(super) fn decided(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.known_hosts.is_some(), "UserKnownHostsFile"),
            (self.known_hosts.is_some(), "GlobalKnownHostsFile"),
            (self.strictness.is_some(), "StrictHostKeyChecking"),
            (self.alias.is_some(), "HostKeyAlias"),
            (self.update.is_some(), "UpdateHostKeys"),
            (self.rsa_size.is_some(), "RequiredRSASize"),
        ];
        decided(all)
    }

    /// Reports that there is nothing that a host key could be compared with. `unchecked` is whose:
    /// "no host key can".
    pub(super) fn check(&self, unchecked: &str, problems: &mut Problems) {
        let pinned = self.pins.as_ref().is_some_and(|v| !v.value.is_empty());
        if let Some(Sourced { value, span }) = &self.known_hosts
            && value.is_empty()
            && !pinned
        {
            let said = format!("`known_hosts` names no file, so {unchecked} be checked");
            problems.report(Diagnostic {
                span: span.clone(),
                ..Diagnostic::new(said).with_help(
                    "name a file, leave the key out to use the usual ones, or pin the host's key \
                     with `host_key_fingerprint`",
                )
            });
        }
    }

    /// Completes a target. `home` is where the user's known_hosts is.
    pub(super) fn fill(&self, target: &mut Target, home: Option<&Path>) {
        let strictness = self.strictness.as_ref();
        let strictness = strictness.map_or(StrictHostKeyChecking::Yes, |v| v.value);
        let pins = self.pins.as_ref().map(|v| v.value.clone());
        let pins = pins.unwrap_or_default();
        // As ssh: files that somebody has named are changed only if that is asked for. Unlike ssh,
        // "accept-new" asks for it: it writes to them anyhow. What is pinned is not trusted for a
        // line that could get company.
        let by_default =
            self.known_hosts.is_none() || strictness == StrictHostKeyChecking::AcceptNew;
        let update = self.update.as_ref().map_or(by_default, |v| v.value);
        target.update_host_keys = update && pins.is_empty();
        target.required_rsa_size = self.rsa_size.as_ref().map_or(MIN_RSA_SIZE, |v| v.value);
        target.known_hosts = match &self.known_hosts {
            Some(written) => written.value.clone(),
            None => default_known_hosts(home),
        };
        target.strict_host_key_checking = strictness;
        target.host_key_fingerprint = pins;
        target.host_key_alias = self.alias.as_ref().and_then(|v| v.value.clone());
    }
}

fn strictness(item: Item<'_, '_>, problems: &mut Problems) -> Option<StrictHostKeyChecking> {
    let refused = match item.get() {
        DeValue::Boolean(true) => return Some(StrictHostKeyChecking::Yes),
        DeValue::Boolean(false) => Some("false"),
        DeValue::String(text) => ["no", "off", "ask"].into_iter().find(|w| w == text),
        _ => None,
    };
    if let Some(written) = refused {
        let said = match written {
            "ask" => NOBODY_ANSWERS.to_owned(),
            _ => format!("cannot be `{written}`: host keys are always checked"),
        };
        problems.report(item.wrong(&said).with_help(
            "write \"accept-new\" to trust a host's key the first time it is seen, \
             or pin it with `host_key_fingerprint`",
        ));
        return None;
    }
    choice(
        item,
        &[
            ("yes", StrictHostKeyChecking::Yes),
            ("accept-new", StrictHostKeyChecking::AcceptNew),
        ],
        problems,
    )
}

/// What is wrong with a key that asks.
const NOBODY_ANSWERS: &str = "cannot be `ask`: nobody is there to answer";

fn fingerprints(item: Item<'_, '_>, problems: &mut Problems) -> Option<Vec<Fingerprint>> {
    let items = list(item, problems)?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        let wanted = "a string or an array of strings";
        found.extend(parsed(*item, wanted, parse_fingerprint, problems));
    }
    (found.len() == items.len()).then_some(found)
}

/// `RequiredRSASize`: less than the fewest bits there are is as good as these.
pub(super) fn rsa_size(bits: u32) -> Result<u32, ValueError> {
    match bits <= MAX_RSA_SIZE {
        true => Ok(bits.max(MIN_RSA_SIZE)),
        false => {
            let said = format!("wants at most {MAX_RSA_SIZE} bits, not `{bits}`");
            Err(ValueError::new(said))
        }
    }
}

/// A host by its name in known_hosts, or `none`.
pub(super) fn parse_alias(text: &str) -> Result<Option<String>, ValueError> {
    if is_none(text) {
        return Ok(None);
    }
    check_host(text)?;
    if text.contains(':') && !is_ipv6(text) {
        return Err(ValueError::new("is a name alone, without a port")
            .with_help("ssh and tunneld look an alias up as it is, whatever the port"));
    }
    Ok(Some(text.to_owned()))
}

fn update(item: Item<'_, '_>, problems: &mut Problems) -> Option<bool> {
    match item.get() {
        DeValue::Boolean(update) => Some(*update),
        DeValue::String(text) if text == "ask" => {
            problems.report(
                item.wrong(NOBODY_ANSWERS).with_help(
                    "write true to have the keys written that the server proves to have",
                ),
            );
            None
        }
        DeValue::String(_) => choice(item, &[("yes", true), ("no", false)], problems),
        _ => {
            problems.report(item.wants("`true` or `false`"));
            None
        }
    }
}

/// The `known_hosts` of a target that names none. `home` is that of the user that tunneld runs as.
pub fn default_known_hosts(home: Option<&Path>) -> Vec<Sourced<PathBuf>> {
    let mut files = default_user_known_hosts(home);
    files.extend(default_global_known_hosts());
    files
}

/// The files of tunneld, and of the user that it runs as.
pub(super) fn default_user_known_hosts(home: Option<&Path>) -> Vec<Sourced<PathBuf>> {
    let ours = home.map(|home| home.join(".ssh/known_hosts"));
    let all = std::iter::once(PathBuf::from("/etc/tunneld/known_hosts")).chain(ours);
    all.map(Sourced::unwritten).collect()
}

/// The files of this machine.
pub(super) fn default_global_known_hosts() -> Vec<Sourced<PathBuf>> {
    vec![Sourced::unwritten(PathBuf::from(
        "/etc/ssh/ssh_known_hosts",
    ))]
}
