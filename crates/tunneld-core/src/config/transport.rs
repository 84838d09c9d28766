//! What may be negotiated with a server, and how long the same keys are used.

use super::algorithms::{Kind, List};
use super::items::{Base, is_default, list, parsed};
use super::raw::{Cursor, Item, Problems};
use super::rekey_limit::parse_rekey_limit;
use super::settings::or;
use super::ssh_layer::decided;
use super::{RekeyLimit, Sourced, Target};

/// A list of names; `None`: the default one.
pub(super) type Names = Option<Vec<String>>;

/// What one table says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    pub(super) ciphers: Option<Sourced<Names>>,
    pub(super) macs: Option<Sourced<Names>>,
    pub(super) kex: Option<Sourced<Names>>,
    pub(super) host_keys: Option<Sourced<Names>>,
    pub(super) rekey_limit: Option<Sourced<RekeyLimit>>,
}

impl Transport {
    /// Takes the keys out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        let mut names = |kind: Kind| {
            keys.take(kind.key(), problems, |item, problems| {
                names(kind, item, base, problems)
            })
        };
        Transport {
            ciphers: names(Kind::Cipher),
            macs: names(Kind::Mac),
            kex: names(Kind::Kex),
            host_keys: names(Kind::HostKey),
            rekey_limit: keys.take("rekey_limit", problems, |item, problems| {
                parsed(
                    item,
                    "a string such as \"1G 1h\"",
                    parse_rekey_limit,
                    problems,
                )
            }),
        }
    }

    /// This, and where it says nothing what `defaults` says.
    pub(super) fn or(self, defaults: &Transport) -> Self {
        Transport {
            ciphers: or(self.ciphers, &defaults.ciphers),
            macs: or(self.macs, &defaults.macs),
            kex: or(self.kex, &defaults.kex),
            host_keys: or(self.host_keys, &defaults.host_keys),
            rekey_limit: or(self.rekey_limit, &defaults.rekey_limit),
        }
    }

    /// The keywords of ssh_config(5) that this decides.
    pub(super) fn decided(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.ciphers.is_some(), "Ciphers"),
            (self.macs.is_some(), "MACs"),
            (self.kex.is_some(), "KexAlgorithms"),
            (self.host_keys.is_some(), "HostKeyAlgorithms"),
            (self.rekey_limit.is_some(), "RekeyLimit"),
        ];
        decided(all)
    }

    /// Completes a target.
    pub(super) fn fill(&self, target: &mut Target) {
        let names = |written: &Option<Sourced<Names>>| {
            written.as_ref().and_then(|names| names.value.clone())
        };
        target.algorithms.ciphers = names(&self.ciphers);
        target.algorithms.macs = names(&self.macs);
        target.algorithms.kex = names(&self.kex);
        target.algorithms.host_keys = names(&self.host_keys);
        target.rekey_limit = self
            .rekey_limit
            .as_ref()
            .map(|v| v.value)
            .unwrap_or_default();
    }
}

/// Names with commas between them, an array of names, or "default".
fn names(kind: Kind, item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<Names> {
    if is_default(item) {
        return Some(None);
    }
    let mut names = List::new(kind, base.surroundings.aes_hardware);
    let mut good = true;
    for item in list(item, problems)? {
        let read = parsed(
            item,
            "a string or an array of strings",
            |text| names.add(text),
            problems,
        );
        good &= read.is_some();
    }
    if !good {
        return None;
    }
    let found = names.finish();
    let found = found.map_err(|e| problems.report(item.error(e))).ok()?;
    Some(Some(found))
}
