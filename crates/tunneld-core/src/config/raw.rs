//! The file as tables: each key is taken once, and what was not taken is a problem.
//!
//! serde stops at the first problem; this walks the parsed tables and reports all of them.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Sourced;
use super::diagnostic::{Diagnostic, MAX_KEPT};
use super::keys::{self, Place};
use super::provenance::Spans;
use super::render::quoted;
use super::syntax::Syntax;
use super::values::ValueError;
use crate::name::TunnelName;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) items: Vec<Diagnostic>,
    pub(super) dropped: usize,
    /// What is kept: a mistake that several tunnels share is found by each of them.
    pub(super) seen: HashSet<(Option<Range<usize>>, String)>,
    /// The tunnel that is being read.
    pub(super) tunnel: Option<TunnelName>,
    /// Whether the text is not TOML: then what is absent may only be unreadable.
    pub(super) broken: bool,
    /// What is not TOML, of each text.
    syntax: Vec<Syntax>,
}

impl Problems {
    /// Adds a problem.
    pub(super) fn report(&mut self, mut item: Diagnostic) {
        if self
            .seen
            .contains(&(item.span.clone(), item.message.clone()))
        {
            return;
        }
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.seen.insert((item.span.clone(), item.message.clone()));
        if item.tunnel.is_none() {
            item.tunnel.clone_from(&self.tunnel);
        }
        self.items.push(item);
    }

    /// Adds the problem that something is absent, unless the text could not be read.
    pub(super) fn report_absent(&mut self, item: Diagnostic) {
        if !self.broken {
            self.report(item);
        }
    }

    /// Adds what is not TOML in a text: what was found there may be something else than what was
    /// written, and is not told.
    pub(super) fn unreadable(&mut self, syntax: Syntax) {
        if !syntax.is_clean() {
            self.syntax.push(syntax);
        }
    }

    /// All that is to be told, and how much more there is.
    pub(super) fn told(self) -> (Vec<Diagnostic>, usize) {
        let (mut items, mut dropped) = (self.items, self.dropped);
        items.retain(|item| !self.syntax.iter().any(|s| s.hides(item.span.as_ref())));
        for syntax in self.syntax {
            items.extend(syntax.problems);
            dropped += syntax.dropped;
        }
        (items, dropped)
    }

    fn is_full(&self) -> bool {
        self.items.len() >= MAX_KEPT
    }
}

/// A value of the file and what it is called there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'t, 'i> {
    /// Its key, or its path within the table: `reconnect.initial`.
    pub(super) key: &'static str,
    value: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Item<'t, 'i> {
    /// The bytes of the value.
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The value.
    pub(super) fn get(&self) -> &'t DeValue<'i> {
        self.value.get_ref()
    }

    /// A value of an array or a table below this one.
    fn below(&self, value: &'t Spanned<DeValue<'i>>) -> Self {
        Item {
            key: self.key,
            value,
        }
    }

    /// "`port` wants a number, not a string".
    pub(super) fn wants(&self, wanted: &str) -> Diagnostic {
        let found = kind(self.get());
        self.wrong(&format!("wants {wanted}, not {found}"))
    }

    /// A problem of this value: its key is the subject.
    pub(super) fn wrong(&self, predicate: &str) -> Diagnostic {
        Diagnostic::at(self.span(), format!("`{}` {predicate}", self.key))
    }

    /// What a parser had to say about this value.
    pub(super) fn error(&self, error: ValueError) -> Diagnostic {
        let mut item = self.wrong(&error.message);
        item.help = error.help;
        item
    }

    /// The text, if it is one.
    pub(super) fn text(&self, wanted: &str, problems: &mut Problems) -> Option<&'t str> {
        match self.get() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => {
                problems.report(self.wants(wanted));
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&self, from: u32, to: u32, problems: &mut Problems) -> Option<u32> {
        let wanted = format!("a number from {from} to {to}");
        let DeValue::Integer(number) = self.get() else {
            problems.report(self.wants(&wanted));
            return None;
        };
        let found = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let found = found.and_then(|n| u32::try_from(n).ok());
        let found = found.filter(|n| (from..=to).contains(n));
        if found.is_none() {
            let written = quoted(&number.to_string());
            problems.report(self.wrong(&format!("wants {wanted}, not {written}")));
        }
        found
    }

    /// A number with or without a fraction, in a range.
    pub(super) fn real(&self, from: f64, to: f64, problems: &mut Problems) -> Option<f64> {
        let wanted = format!("a number from {from} to {to}");
        let written = match self.get() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                problems.report(self.wants(&wanted));
                return None;
            }
        };
        let found = written.parse::<f64>().ok();
        let found = found.filter(|n| (from..=to).contains(n));
        if found.is_none() {
            problems.report(self.wrong(&format!("wants {wanted}, not {}", quoted(written))));
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, problems: &mut Problems) -> Option<bool> {
        let found = self.get().as_bool();
        if found.is_none() {
            problems.report(self.wants("`true` or `false`"));
        }
        found
    }

    /// The values of an array; anything else is an array of itself.
    pub(super) fn each(&self) -> Vec<Item<'t, 'i>> {
        match self.get() {
            DeValue::Array(values) => values.iter().map(|v| self.below(v)).collect(),
            _ => vec![*self],
        }
    }

    /// The table, if it is one.
    pub(super) fn table(&self, problems: &mut Problems) -> Option<&'t DeTable<'i>> {
        let found = self.get().as_table();
        if found.is_none() {
            problems.report(self.wants("a table"));
        }
        found
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A table whose keys are taken one by one.
pub(super) struct Cursor<'t, 'i> {
    table: &'t DeTable<'i>,
    place: Place,
    taken: Vec<&'static str>,
    spans: Spans,
}

impl<'t, 'i> Cursor<'t, 'i> {
    pub(super) fn new(table: &'t DeTable<'i>, place: Place) -> Self {
        Cursor {
            table,
            place,
            taken: Vec::with_capacity(place.keys().len()),
            spans: Spans::default(),
        }
    }

    /// Where the keys are written that were taken so far.
    pub(super) fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// Whether the table has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of `key`, if the table has it.
    pub(super) fn item(&mut self, key: &'static str) -> Option<Item<'t, 'i>> {
        self.item_as(key, key)
    }

    /// The value of `key`, which messages call `shown`.
    fn item_as(&mut self, key: &'static str, shown: &'static str) -> Option<Item<'t, 'i>> {
        self.taken.push(key);
        let value = self.table.get(key)?;
        self.spans.add(key, value.span());
        Some(Item { key: shown, value })
    }

    /// The value of `key` read by `parse`, which reports what is wrong with it.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        parse: impl FnOnce(Item<'t, 'i>, &mut Problems) -> Option<T>,
    ) -> Option<Sourced<T>> {
        self.take_as(key, key, problems, parse)
    }

    /// As [`Self::take`], for a key that messages call `shown`.
    pub(super) fn take_as<T>(
        &mut self,
        key: &'static str,
        shown: &'static str,
        problems: &mut Problems,
        parse: impl FnOnce(Item<'t, 'i>, &mut Problems) -> Option<T>,
    ) -> Option<Sourced<T>> {
        let item = self.item_as(key, shown)?;
        Some(Sourced {
            value: parse(item, problems)?,
            span: Some(item.span()),
        })
    }

    /// Reports each key that was not taken. Returns the keys that were probably meant by them: it
    /// would be wrong to say that those are absent.
    pub(super) fn finish(self, problems: &mut Problems) -> Vec<&'static str> {
        let mut meant = Vec::new();
        debug_assert!(
            self.place.keys().iter().all(|k| self.taken.contains(k)),
            "a key of {:?} is listed and not read",
            self.place
        );
        for (key, value) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if self.taken.contains(&name) {
                continue;
            }
            if problems.is_full() {
                problems.dropped += 1;
                continue;
            }
            let mut said = keys::unknown(self.place, name);
            meant.extend(said.meant);
            let is_file = matches!(self.place, Place::Root | Place::Included);
            if is_file && said.label.is_none() && looks_like_a_tunnel(value) {
                let name = name.escape_default();
                said.label = Some(format!("did you mean [tunnels.{name}]?"));
            }
            problems.report(Diagnostic {
                label: said.label,
                help: said.help,
                ..Diagnostic::at(key.span(), said.message)
            });
        }
        meant
    }
}

fn looks_like_a_tunnel(value: &Spanned<DeValue<'_>>) -> bool {
    let table = value.get_ref().as_table();
    let keys = ["host"].into_iter().chain(super::forward_keys::KEYS);
    table.is_some_and(|t| keys.into_iter().any(|key| t.contains_key(key)))
}
