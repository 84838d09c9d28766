//! Where the values of a configuration are written.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::name::TunnelName;

/// Where the keys of one table are written, by their names: bytes of the files. A key that is absent
/// has its default.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans(BTreeMap<&'static str, Vec<Range<usize>>>);

impl Spans {
    /// Adds a place of a key: a list may be written in several.
    pub(super) fn add(&mut self, key: &'static str, span: Range<usize>) {
        self.0.entry(key).or_default().push(span);
    }

    /// Whether a key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Where a key is written.
    pub(super) fn of(&self, key: &str) -> &[Range<usize>] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// These spans, and for keys that they do not have those of `others`.
    pub(super) fn or(mut self, others: &Spans) -> Self {
        for (key, spans) in &others.0 {
            self.0.entry(key).or_insert_with(|| spans.clone());
        }
        self
    }

    /// The spans of some keys only.
    pub(super) fn only(&self, keys: &[&str]) -> Self {
        self.filtered(|key| keys.contains(&key))
    }

    /// The spans of all keys but some.
    pub(super) fn without(&self, keys: &[&str]) -> Self {
        self.filtered(|key| !keys.contains(&key))
    }

    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(key, _)| keep(key));
        Spans(kept.map(|(key, spans)| (*key, spans.clone())).collect())
    }
}

/// Stands for the header of a table among its keys.
pub(super) const HEADER: &str = "";

/// A table of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// `[daemon]`.
    Daemon,
    /// `[tunnels.NAME]`.
    Tunnel(TunnelName),
    /// A jump host of a tunnel, by its place on the way.
    Hop(TunnelName, usize),
    /// A forward of a tunnel, by its place among them.
    Forward(TunnelName, usize),
}

/// Where every value of a configuration is written. It takes no part in comparisons: to move a line
/// changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Provenance(BTreeMap<Section, Spans>);

impl Provenance {
    pub(super) fn insert(&mut self, section: Section, spans: Spans) {
        self.0.insert(section, spans);
    }

    pub(super) fn of(&self, section: &Section) -> Option<&Spans> {
        self.0.get(section)
    }

    /// Where the `NAME` of `[tunnels.NAME]` is written: bytes of the files.
    pub fn of_tunnel(&self, name: &TunnelName) -> Option<Range<usize>> {
        let spans = self.of(&Section::Tunnel(name.clone()))?;
        spans.of(HEADER).first().cloned()
    }
}

impl PartialEq for Provenance {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Provenance {}
