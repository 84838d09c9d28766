//! What is told of a tunnel's past: its last changes, its outages, and how much of the time it was up.
//!
//! A [`Record`] is what a ledger comes to, and what is kept of it over a restart of the daemon. The
//! record of an earlier run is put before that of this one.

mod availability;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use availability::{Availability, Span, Tally, Window};
pub use report::{HistoryReport, Outage};

use crate::ledger::{Entry, KEPT, MAX_TEXT};
use crate::status::{Phase, millis};
use crate::text::is_odd;

/// How a stretch of time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Not at all: the tunnel was not wanted, or was about to be brought up for the first time.
    Unwatched,
    /// Up.
    Up,
    /// Its session lives, but a forward is not in place.
    Degraded,
    /// Down, although it should be up.
    Down,
}

impl Standing {
    /// How the time counts that follows the change to `phase`.
    #[must_use]
    pub fn next(self, phase: Phase) -> Standing {
        match phase {
            Phase::Idle | Phase::Stopped => Standing::Unwatched,
            // The first attempt after a start is the start; any other is a part of its outage.
            Phase::Connecting if self == Standing::Unwatched => Standing::Unwatched,
            Phase::Up => Standing::Up,
            Phase::Degraded => Standing::Degraded,
            Phase::Connecting | Phase::Waiting | Phase::Blocked => Standing::Down,
        }
    }
}

/// What is known of a tunnel's past at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was made, as Unix time in milliseconds.
    pub(crate) at_unix_ms: u64,
    /// Where that is on the clock of its availability.
    pub(crate) position_ms: u64,
    /// Where its ledger began on that clock.
    #[serde(skip)]
    pub(crate) began_ms: u64,
    pub(crate) standing: Standing,
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) availability: Availability,
}

impl Record {
    /// The same with what was before: the record of another ledger of this tunnel, of an earlier run.
    #[must_use]
    pub fn after(mut self, earlier: &Record) -> Record {
        // A clock that was set back between the two would have them overlap.
        let end = earlier.at_unix_ms.min(self.began_ms);
        let by = i128::from(end) - i128::from(earlier.position_ms);
        let now = self.position_ms;
        self.availability = self.availability.after(&earlier.availability, by, now);
        let room = KEPT.saturating_sub(self.entries.len());
        for (back, entry) in earlier.entries.iter().rev().take(room).enumerate() {
            let mut entry = entry.clone();
            if back == 0 {
                // Of what was between the two, only the clock of the wall knows how long it was.
                let since = self.began_ms.saturating_sub(entry.at_unix_ms);
                entry.lasted_ms = entry.lasted_ms.max(since);
            }
            self.entries.push_front(entry);
        }
        self.fit();
        self
    }

    /// The daemon that made the record is no more. It was alive for `later` after that, until
    /// `at_unix_ms`, and the tunnel stood as it did.
    pub fn ended(&mut self, later: Duration, at_unix_ms: u64) {
        let later = millis(later);
        let (from, to) = (self.position_ms, self.position_ms.saturating_add(later));
        self.availability.spend(from, to, self.standing, false);
        if let Some(last) = self.entries.back_mut() {
            last.lasted_ms = last.lasted_ms.saturating_add(later);
        }
        (self.position_ms, self.at_unix_ms) = (to, at_unix_ms);
        self.standing = Standing::Unwatched;
        self.entries.push_back(Entry {
            at_unix_ms,
            phase: Phase::Idle,
            failure: None,
            times: 1,
            lasted_ms: 0,
        });
        self.keep_last(KEPT);
        self.fit();
    }

    /// Begins early enough for what it has.
    pub(crate) fn fit(&mut self) {
        self.availability.seen_at(self.at_unix_ms);
    }

    /// When it was made, as Unix time in milliseconds.
    pub fn at_unix_ms(&self) -> u64 {
        self.at_unix_ms
    }

    /// Forgets all entries but the last.
    pub fn keep_last(&mut self, entries: usize) {
        let old = self.entries.len().saturating_sub(entries);
        self.entries.drain(..old);
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Whether it can be what was written down once: what is read from a file may be anything.
    pub fn is_sound(&self) -> bool {
        let short = |text: &str| text.chars().nth(MAX_TEXT + 1).is_none();
        let plain = |entry: &Entry| {
            entry.failure.as_ref().is_none_or(|failure| {
                let hint = failure.hint.as_deref().unwrap_or_default();
                let odd = |c: char| is_odd(c) && c != '\n';
                short(&failure.cause)
                    && !failure.cause.contains(is_odd)
                    && short(hint)
                    && !hint.contains(odd)
            })
        };
        self.entries.len() <= KEPT
            && self.entries.iter().all(plain)
            && self
                .availability
                .is_sound(self.position_ms, self.at_unix_ms)
    }
}
