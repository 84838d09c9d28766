//! What a tunnel has been through: the last changes of its phase, and counts of all of them.
//!
//! A tunnel's task is the only one that writes its ledger; others see copies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::{Class, Failure, Stage};
use crate::history::{Availability, Record, Standing};
use crate::status::{Phase, millis};
use crate::text::{clip, is_odd};

/// How many entries a ledger keeps.
pub const KEPT: usize = 100;

/// No cause and no hint that is kept has more characters.
pub(crate) const MAX_TEXT: usize = 16_000;

/// A moment, on the two clocks that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Unix time in milliseconds: what people read. It may jump.
    pub unix_ms: u64,
    /// Since the daemon started, on a clock that does not jump: what lengths are counted with.
    pub since_start: Duration,
}

/// One change. The attempts of one outage that fail for the same reason are one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened, as Unix time in milliseconds.
    pub at_unix_ms: u64,
    /// Where the tunnel has stood since.
    pub phase: Phase,
    /// Why, where it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How many times it has failed in this way, one after the other.
    #[serde(default)]
    pub times: u64,
    /// How long it lasted; of the last entry, how long it has so far. Counted with a clock that does
    /// not jump.
    #[serde(default)]
    pub lasted_ms: u64,
}

/// The ledger of one tunnel. To clone it costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger(Arc<Book>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Book {
    entries: VecDeque<Entry>,
    /// How often it was written to, so that others see whether they know all of it.
    writes: u64,
    entered: BTreeMap<Phase, u64>,
    failures: BTreeMap<(Stage, Class), u64>,
    /// How often it has gone down.
    outages: u64,
    spent: BTreeMap<Phase, Duration>,
    phase: Phase,
    phase_since: Duration,
    /// When it began.
    start: Moment,
    /// When the last entry began.
    entry_since: Duration,
    standing: Standing,
    /// Whether the present phase begins an outage.
    begins: bool,
    /// Since when it has been down.
    down_since: Option<Moment>,
    availability: Availability,
}

impl Ledger {
    /// The ledger of a tunnel that begins now.
    pub fn new(now: Moment) -> Self {
        Ledger(Arc::new(Book {
            entries: VecDeque::new(),
            writes: 0,
            entered: BTreeMap::new(),
            failures: BTreeMap::new(),
            outages: 0,
            spent: BTreeMap::new(),
            phase: Phase::Idle,
            phase_since: now.since_start,
            start: now,
            entry_since: now.since_start,
            standing: Standing::Unwatched,
            begins: false,
            down_since: None,
            availability: Availability::new(now.unix_ms),
        }))
    }

    /// The tunnel stands elsewhere now.
    pub fn enter(&mut self, now: Moment, phase: Phase, failure: Option<&Failure>) {
        let book = Arc::make_mut(&mut self.0);
        book.writes += 1;
        let length = now.since_start.saturating_sub(book.phase_since);
        *book.spent.entry(book.phase).or_default() += length;
        let (from, to) = book.present(now);
        book.availability
            .spend(from, to, book.standing, book.begins);
        let before = book.standing;
        book.standing = before.next(phase);
        book.begins = book.standing == Standing::Down && before != Standing::Down;
        book.outages += u64::from(book.begins);
        *book.entered.entry(phase).or_default() += 1;
        (book.phase, book.phase_since) = (phase, now.since_start);
        book.down_since = match phase {
            Phase::Connecting | Phase::Waiting | Phase::Blocked => book.down_since.or(Some(now)),
            _ => None,
        };
        book.note(now, phase, failure);
    }

    /// An attempt has failed, or a session has ended by itself.
    pub fn fail(&mut self, failure: &Failure) {
        let book = Arc::make_mut(&mut self.0);
        book.writes += 1;
        let key = (failure.stage, failure.class);
        *book.failures.entry(key).or_default() += 1;
    }

    /// The last changes, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.entries.iter()
    }

    /// The last change, by when it was and where it led to.
    pub fn last(&self) -> Option<(u64, Phase)> {
        let last = self.0.entries.back();
        last.map(|entry| (entry.at_unix_ms, entry.phase))
    }

    /// Since when it has been down, or has not come up since its start; `None` while it has a session,
    /// and where it is not wanted.
    pub fn down_since(&self) -> Option<Moment> {
        self.0.down_since
    }

    /// When it began. Two ledgers of one tunnel differ in it.
    pub fn start(&self) -> Moment {
        self.0.start
    }

    /// What it comes to.
    pub fn record(&self, now: Moment) -> Record {
        let book = &self.0;
        let mut entries = book.entries.clone();
        if let Some(last) = entries.back_mut() {
            last.lasted_ms = book.between(book.entry_since, now.since_start);
        }
        let (from, to) = book.present(now);
        let mut availability = book.availability.clone();
        availability.spend(from, to, book.standing, book.begins);
        let mut record = Record {
            at_unix_ms: now.unix_ms,
            position_ms: to,
            began_ms: book.start.unix_ms,
            standing: book.standing,
            entries,
            availability,
        };
        record.fit();
        record
    }

    /// How often the ledger was written to: it differs whenever anything else does.
    pub fn writes(&self) -> u64 {
        self.0.writes
    }

    /// How often the tunnel has come to each phase.
    pub fn entered(&self) -> &BTreeMap<Phase, u64> {
        &self.0.entered
    }

    /// How often it has failed, by stage and class.
    pub fn failures(&self) -> &BTreeMap<(Stage, Class), u64> {
        &self.0.failures
    }

    /// How often it has gone down. The attempts of one outage count once, and so does a start that does
    /// not succeed at first.
    pub fn outages(&self) -> u64 {
        self.0.outages
    }

    /// How long it has stood where, all times taken together.
    pub fn spent(&self, now: Moment) -> BTreeMap<Phase, Duration> {
        let mut spent = self.0.spent.clone();
        let length = now.since_start.saturating_sub(self.0.phase_since);
        *spent.entry(self.0.phase).or_default() += length;
        spent
    }
}

impl Book {
    /// Where a moment is on the clock of the availability.
    fn position(&self, since_start: Duration) -> u64 {
        let elapsed = since_start.saturating_sub(self.start.since_start);
        self.start.unix_ms.saturating_add(millis(elapsed))
    }

    /// The milliseconds between two moments, such that lengths that follow upon each other add up.
    fn between(&self, from: Duration, to: Duration) -> u64 {
        self.position(to).saturating_sub(self.position(from))
    }

    /// From where to where the tunnel has stood where it stands.
    fn present(&self, now: Moment) -> (u64, u64) {
        let (from, to) = (self.phase_since, now.since_start);
        (self.position(from), self.position(to))
    }

    /// Writes down what people should find: an outage is one entry, not two an attempt.
    fn note(&mut self, now: Moment, phase: Phase, failure: Option<&Failure>) {
        let failure = failure.map(fit_to_keep);
        let down = |phase| matches!(phase, Phase::Waiting | Phase::Blocked);
        if let Some(last) = self.entries.back_mut() {
            if down(last.phase) && phase == Phase::Connecting {
                return;
            }
            if down(phase) && last.phase == phase && same(last.failure.as_ref(), failure.as_ref()) {
                last.times += 1;
                last.failure = failure;
                return;
            }
        }
        let lasted_ms = self.between(self.entry_since, now.since_start);
        if let Some(last) = self.entries.back_mut() {
            last.lasted_ms = lasted_ms;
        }
        self.entry_since = now.since_start;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            at_unix_ms: now.unix_ms,
            phase,
            failure: failure.filter(|_| phase != Phase::Up),
            times: 1,
            lasted_ms: 0,
        });
    }
}

/// A failure as it may be written down, and read again: its texts are plain, and not too long.
fn fit_to_keep(failure: &Failure) -> Failure {
    let plain = |text: &str, keeps: &[char]| {
        let odd = |c: char| is_odd(c) && !keeps.contains(&c);
        clip(&text.replace(odd, " "), MAX_TEXT)
    };
    Failure {
        cause: plain(&failure.cause, &[]),
        hint: failure.hint.as_ref().map(|hint| plain(hint, &['\n'])),
        ..failure.clone()
    }
}

fn same(one: Option<&Failure>, other: Option<&Failure>) -> bool {
    let key = |failure: &Failure| (failure.stage, failure.class, failure.cause.clone());
    one.map(key) == other.map(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment {
            unix_ms: 1_000_000 + seconds * 1000,
            since_start: Duration::from_secs(seconds),
        }
    }

    fn refused() -> Failure {
        Failure::transient(Stage::Connect, "connection refused")
    }

    fn shown(ledger: &Ledger) -> Vec<(u64, Phase, u64)> {
        let shown = |e: &Entry| ((e.at_unix_ms - 1_000_000) / 1000, e.phase, e.times);
        ledger.entries().map(shown).collect()
    }

    #[test]
    fn it_is_down_since_it_went_down_however_often_it_tries_and_why() {
        // Not since its last attempt; of one that has never come up, since it began to try.
        let blocked = Failure::blocked(Stage::HostKey, "changed");
        let mut ledger = Ledger::new(at(0));
        assert_eq!(ledger.down_since(), None);
        let moment = |seconds| Some(at(seconds));
        for (now, phase, failure, since) in [
            (1, Phase::Connecting, None, moment(1)),
            (2, Phase::Waiting, Some(refused()), moment(1)),
            (3, Phase::Connecting, None, moment(1)),
            (4, Phase::Up, None, None),
            (5, Phase::Waiting, Some(refused()), moment(5)),
            (6, Phase::Connecting, None, moment(5)),
            (7, Phase::Blocked, Some(blocked), moment(5)),
            (8, Phase::Degraded, None, None),
            (9, Phase::Stopped, None, None),
        ] {
            ledger.enter(at(now), phase, failure.as_ref());
            assert_eq!(ledger.down_since(), since, "{now}");
        }
    }

    #[test]
    fn an_outage_is_one_entry_however_many_attempts_it_takes() {
        let mut ledger = Ledger::new(at(0));
        ledger.enter(at(0), Phase::Connecting, None);
        ledger.enter(at(1), Phase::Up, None);
        for attempt in 0..50 {
            ledger.enter(at(10 + 2 * attempt), Phase::Waiting, Some(&refused()));
            ledger.enter(at(11 + 2 * attempt), Phase::Connecting, Some(&refused()));
        }
        let changed = Failure::blocked(Stage::HostKey, "host key changed");
        ledger.enter(at(200), Phase::Blocked, Some(&changed));
        ledger.enter(at(300), Phase::Connecting, Some(&changed));
        ledger.enter(at(301), Phase::Up, None);
        let expected = [
            (0, Phase::Connecting, 1),
            (1, Phase::Up, 1),
            (10, Phase::Waiting, 50),
            (200, Phase::Blocked, 1),
            (301, Phase::Up, 1),
        ];
        assert_eq!(shown(&ledger), expected);
    }

    #[test]
    fn an_outage_counts_when_it_begins_and_a_degraded_time_is_none() {
        let mut ledger = Ledger::new(at(0));
        let mut counts = Vec::new();
        for (second, phase) in [
            (0, Phase::Connecting),
            (1, Phase::Up),
            (2, Phase::Waiting),
            (3, Phase::Connecting),
            (4, Phase::Blocked),
            (5, Phase::Up),
            (6, Phase::Degraded),
            (7, Phase::Up),
            (8, Phase::Connecting),
            (9, Phase::Up),
            (10, Phase::Stopped),
        ] {
            ledger.enter(at(second), phase, None);
            counts.push(ledger.outages());
        }
        assert_eq!(counts, [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn a_cause_is_kept_such_that_it_is_read_again() {
        // A file of somebody's may be called anything; with its history, that is no reason to drop it.
        let cause = format!("cannot read /a\u{202e}\n{}", "ü".repeat(20_000));
        let odd = Failure::transient(Stage::Connect, cause).with_hint("a\u{202e}\nb");
        let mut ledger = Ledger::new(at(0));
        for second in 1..4 {
            ledger.enter(at(second), Phase::Waiting, Some(&odd));
        }
        assert_eq!(shown(&ledger), [(1, Phase::Waiting, 3)]);
        assert!(ledger.record(at(5)).is_sound());
        let kept = ledger.entries().next().unwrap().failure.clone().unwrap();
        assert!(
            kept.cause.starts_with("cannot read /a  ü"),
            "{}",
            kept.cause
        );
        assert_eq!(kept.hint.unwrap(), "a \nb");
    }

    #[test]
    fn it_counts_what_it_does_not_keep() {
        let mut ledger = Ledger::new(at(0));
        for round in 0..200 {
            ledger.enter(at(round), Phase::Up, None);
            ledger.fail(&refused());
            ledger.enter(at(round), Phase::Waiting, Some(&refused()));
        }
        assert_eq!(ledger.entries().count(), KEPT);
        assert_eq!(ledger.entered()[&Phase::Up], 200);
        assert_eq!(ledger.failures()[&(Stage::Connect, Class::Transient)], 200);
        assert_eq!(ledger.writes(), 600);
    }

    #[test]
    fn time_is_counted_where_it_was_spent() {
        let mut ledger = Ledger::new(at(0));
        ledger.enter(at(2), Phase::Up, None);
        ledger.enter(at(12), Phase::Waiting, Some(&refused()));
        ledger.enter(at(15), Phase::Up, None);
        let spent = ledger.spent(at(20));
        let seconds = [Phase::Idle, Phase::Up, Phase::Waiting].map(|p| spent[&p].as_secs());
        assert_eq!(seconds, [2, 15, 3]);
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut ledger = Ledger::new(at(0));
        let copy = ledger.clone();
        ledger.enter(at(1), Phase::Up, None);
        assert_eq!((copy.writes(), copy.entries().count()), (0, 0));
    }
}
