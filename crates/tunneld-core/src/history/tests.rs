use proptest::prelude::*;

use super::*;
use crate::failure::{Failure, Stage};
use crate::ledger::{Ledger, Moment};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A Saturday, at 37 minutes and 12 seconds past the hour.
const START: u64 = 1_763_753_832_000;

/// A clock that the test moves.
#[derive(Clone, Copy)]
struct Clock {
    unix_ms: u64,
    elapsed: u64,
}

impl Clock {
    fn new() -> Self {
        Clock {
            unix_ms: START,
            elapsed: 0,
        }
    }

    fn now(self) -> Moment {
        Moment {
            unix_ms: self.unix_ms,
            since_start: Duration::from_millis(self.elapsed),
        }
    }

    fn pass(&mut self, ms: u64) -> Moment {
        self.unix_ms += ms;
        self.elapsed += ms;
        self.now()
    }

    /// The same machine with another process: its own clock begins anew.
    fn restart(&mut self, after: u64) -> Ledger {
        self.unix_ms += after;
        self.elapsed = 0;
        Ledger::new(self.now())
    }
}

fn refused() -> Failure {
    Failure::transient(Stage::Connect, "connection refused")
}

fn report(record: Record) -> HistoryReport {
    record.report("db".parse().unwrap())
}

fn tally(report: &HistoryReport, window: Span) -> Tally {
    let mut windows = report.availability.iter();
    windows.find(|w| w.window == window).unwrap().tally
}

fn down(tally: Tally) -> (u64, u64) {
    (tally.down_ms, tally.outages)
}

#[test]
fn an_outage_is_told_with_its_length_and_cause() {
    let mut clock = Clock::new();
    let mut ledger = Ledger::new(clock.now());
    ledger.enter(clock.pass(0), Phase::Connecting, None);
    ledger.enter(clock.pass(SECOND), Phase::Up, None);
    ledger.enter(clock.pass(MINUTE), Phase::Waiting, Some(&refused()));
    for _ in 0..3 {
        ledger.enter(clock.pass(8 * SECOND), Phase::Connecting, Some(&refused()));
        ledger.enter(clock.pass(SECOND), Phase::Waiting, Some(&refused()));
    }
    ledger.enter(clock.pass(SECOND), Phase::Connecting, Some(&refused()));
    ledger.enter(clock.pass(SECOND), Phase::Up, None);
    let report = report(ledger.record(clock.pass(MINUTE)));
    let expected = Outage {
        at_unix_ms: START + 61 * SECOND,
        lasted_ms: 29 * SECOND,
        failure: Some(refused()),
        over_unix_ms: Some(START + 90 * SECOND),
    };
    assert_eq!(report.outages, [expected]);
    let lengths: Vec<u64> = report.entries.iter().map(|e| e.lasted_ms).collect();
    assert_eq!(lengths, [SECOND, MINUTE, 29 * SECOND, MINUTE]);
    assert_eq!(report.entries[2].times, 4);
    for window in &report.availability {
        let tally = window.tally;
        assert_eq!(down(tally), (29 * SECOND, 1), "{window:?}");
        // The first attempt after a start is no outage.
        assert_eq!(tally.watched_ms, 2 * MINUTE + 29 * SECOND);
    }
}

#[test]
fn time_in_which_the_tunnel_was_not_wanted_is_not_counted() {
    let mut clock = Clock::new();
    let mut ledger = Ledger::new(clock.now());
    ledger.enter(clock.pass(0), Phase::Up, None);
    ledger.enter(clock.pass(MINUTE), Phase::Stopped, None);
    ledger.enter(clock.pass(10 * MINUTE), Phase::Connecting, None);
    ledger.enter(clock.pass(SECOND), Phase::Degraded, Some(&refused()));
    let report = report(ledger.record(clock.pass(SECOND)));
    let hour = tally(&report, Span::Hour);
    assert_eq!((hour.up_ms, hour.degraded_ms), (MINUTE, SECOND));
    assert_eq!((hour.watched_ms, hour.outages), (MINUTE + SECOND, 0));
}

#[test]
fn an_outage_that_began_before_the_window_is_one_of_its_outages() {
    let mut clock = Clock::new();
    let mut ledger = Ledger::new(clock.now());
    ledger.enter(clock.pass(0), Phase::Waiting, Some(&refused()));
    let report = report(ledger.record(clock.pass(30 * DAY)));
    for (window, least) in [(Span::Hour, HOUR), (Span::Day, DAY), (Span::Week, 7 * DAY)] {
        let tally = tally(&report, window);
        assert!(tally.down_ms >= least && tally.down_ms <= least + HOUR);
        assert_eq!((tally.outages, tally.up_ms), (1, 0));
    }
    assert_eq!(down(tally(&report, Span::All)), (30 * DAY, 1));
    assert_eq!(report.outages[0].over_unix_ms, None);
}

#[test]
fn a_restart_is_an_entry_and_the_time_without_a_daemon_is_not_watched() {
    // Killed 20 s after its last record, and alive 10 s after it for all that is known.
    let mut clock = Clock::new();
    let mut ledger = Ledger::new(clock.now());
    ledger.enter(clock.pass(0), Phase::Up, None);
    let mut earlier = ledger.record(clock.pass(HOUR));
    let alive = clock.pass(10 * SECOND);
    earlier.ended(Duration::from_secs(10), alive.unix_ms);
    let mut ledger = clock.restart(10 * SECOND + 3 * MINUTE);
    ledger.enter(clock.pass(0), Phase::Connecting, None);
    ledger.enter(clock.pass(SECOND), Phase::Up, None);
    let report = report(ledger.record(clock.pass(MINUTE)).after(&earlier));
    let shown: Vec<(Phase, u64)> = report
        .entries
        .iter()
        .map(|e| (e.phase, e.lasted_ms))
        .collect();
    let expected = [
        (Phase::Up, HOUR + 10 * SECOND),
        (Phase::Idle, 10 * SECOND + 3 * MINUTE),
        (Phase::Connecting, SECOND),
        (Phase::Up, MINUTE),
    ];
    assert_eq!(shown, expected);
    let day = tally(&report, Span::Day);
    assert_eq!(day.watched_ms, HOUR + 10 * SECOND + MINUTE);
    assert_eq!((day.up_ms, day.outages), (day.watched_ms, 0));
    assert_eq!(report.since_unix_ms, START);
}

#[test]
fn many_restarts_keep_the_last_entries_and_no_more() {
    let mut clock = Clock::new();
    let mut earlier: Option<Record> = None;
    for _ in 0..60 {
        let mut ledger = clock.restart(SECOND);
        ledger.enter(clock.pass(0), Phase::Connecting, None);
        ledger.enter(clock.pass(SECOND), Phase::Up, None);
        let record = ledger.record(clock.pass(SECOND));
        let mut record = match &earlier {
            Some(earlier) => record.after(earlier),
            None => record,
        };
        record.ended(Duration::ZERO, clock.unix_ms);
        assert!(record.is_sound());
        earlier = Some(record);
    }
    let record = earlier.unwrap();
    assert_eq!(record.entries(), KEPT);
    let report = report(record);
    assert_eq!(report.entries[KEPT - 1].phase, Phase::Idle);
    assert_eq!(tally(&report, Span::All).up_ms, 60 * SECOND);
}

#[test]
fn a_clock_that_jumps_by_a_year_changes_no_length() {
    for year in [365 * DAY as i64, -365 * DAY as i64] {
        let mut clock = Clock::new();
        let mut ledger = Ledger::new(clock.now());
        ledger.enter(clock.pass(0), Phase::Up, None);
        ledger.enter(clock.pass(MINUTE), Phase::Waiting, Some(&refused()));
        clock.unix_ms = clock.unix_ms.saturating_add_signed(year);
        ledger.enter(clock.pass(MINUTE), Phase::Up, None);
        let mut earlier = ledger.record(clock.pass(MINUTE));
        let lengths =
            |record: &Record| -> Vec<u64> { record.entries.iter().map(|e| e.lasted_ms).collect() };
        assert_eq!(lengths(&earlier), [MINUTE; 3]);
        assert_eq!(
            down(tally(&report(earlier.clone()), Span::Hour)),
            (MINUTE, 1)
        );
        // And so it is after a restart, on whichever side of the jump that is.
        earlier.ended(Duration::ZERO, clock.unix_ms);
        let mut ledger = clock.restart(MINUTE);
        ledger.enter(clock.pass(0), Phase::Up, None);
        let later = ledger.record(clock.pass(MINUTE)).after(&earlier);
        assert_eq!(down(tally(&report(later), Span::Hour)), (MINUTE, 1));
        clock.unix_ms = clock.unix_ms.saturating_add_signed(-year);
        let mut ledger = clock.restart(MINUTE);
        ledger.enter(clock.pass(0), Phase::Up, None);
        let later = report(ledger.record(clock.pass(MINUTE)).after(&earlier));
        let expected = match year > 0 {
            // Set back: what was written down cannot be later than now.
            true => (MINUTE, 1),
            // Nobody can tell that from a year without a daemon.
            false => (0, 0),
        };
        assert_eq!(down(tally(&later, Span::Hour)), expected);
    }
}

#[test]
fn whatever_the_clock_does_between_runs_what_is_written_is_read_again() {
    // Set back, set on, by a part of a minute, and to 1970: the file is still one of ours.
    let jumps = [
        -90_500,
        29_000,
        -31_000,
        -(DAY as i64),
        7 * HOUR as i64,
        31_100,
    ];
    let to_the_beginning = -(START as i64) - 365 * DAY as i64;
    let mut clock = Clock::new();
    let mut earlier: Option<Record> = None;
    let rounds = jumps.iter().cycle().take(200).chain([&to_the_beginning]);
    for (round, jump) in rounds.chain(&jumps).enumerate() {
        let mut ledger = clock.restart(0);
        ledger.enter(clock.pass(0), Phase::Up, None);
        clock.pass(20 * SECOND + round as u64);
        let record = ledger.record(clock.now());
        assert!(record.is_sound());
        let mut record = match &earlier {
            Some(earlier) => record.after(earlier),
            None => record,
        };
        assert!(record.is_sound(), "{round}: {record:?}");
        record.ended(Duration::from_secs(7), clock.unix_ms);
        assert!(record.is_sound(), "{round}: {record:?}");
        earlier = Some(record);
        clock.unix_ms = clock.unix_ms.saturating_add_signed(*jump);
    }
}

#[test]
fn clocks_at_their_ends_break_nothing() {
    for unix_ms in [0, u64::MAX - 1, u64::MAX] {
        let mut ledger = Ledger::new(Moment {
            unix_ms,
            since_start: Duration::ZERO,
        });
        for since_start in [Duration::from_secs(5), Duration::MAX, Duration::ZERO] {
            let now = Moment {
                unix_ms,
                since_start,
            };
            ledger.enter(now, Phase::Waiting, Some(&refused()));
            ledger.enter(now, Phase::Up, None);
            let mut earlier = ledger.record(now);
            earlier.ended(Duration::MAX, u64::MAX - unix_ms);
            let _ = report(ledger.record(now).after(&earlier));
        }
    }
}

#[test]
fn what_was_never_written_down_is_not_taken() {
    let mut ledger = Ledger::new(Clock::new().now());
    ledger.enter(Clock::new().pass(SECOND), Phase::Waiting, Some(&refused()));
    let record = ledger.record(Clock::new().pass(HOUR));
    let json = serde_json::to_value(&record).unwrap();
    let read = |json: &serde_json::Value| serde_json::from_value::<Record>(json.clone());
    assert!(read(&json).unwrap().is_sound());
    let mut bad = json.clone();
    bad["entries"][0]["failure"]["cause"] = "\u{1b}[2J".into();
    assert!(!read(&bad).unwrap().is_sound());
    let mut bad = json.clone();
    bad["availability"]["hours"] =
        serde_json::json!([[5, 0, 0, 0, 0, false], [5, 0, 0, 0, 0, false]]);
    assert!(!read(&bad).unwrap().is_sound());
    // A text that turns the line around, and one that nobody would read.
    for (key, text) in [
        ("cause", "a\u{202e}b".to_owned()),
        ("hint", "a\u{202e}b".to_owned()),
        ("hint", "\u{1b}[2J".to_owned()),
        ("cause", "x".repeat(70_000)),
        ("hint", "x".repeat(70_000)),
    ] {
        let mut bad = json.clone();
        bad["entries"][0]["failure"][key] = text.into();
        assert!(!read(&bad).unwrap().is_sound(), "{key}");
    }
    let mut good = json.clone();
    good["entries"][0]["failure"]["hint"] = "two\nlines".into();
    assert!(read(&good).unwrap().is_sound());
    // More than there was time for, sums that are none, and buckets of the future.
    let (hour, century) = (HOUR - SECOND, 100 * 365 * DAY);
    let position = json["position_ms"].as_u64().unwrap();
    let (minute, later) = (position / MINUTE, position / MINUTE + 1);
    for (key, value) in [
        ("all", serde_json::json!({ "down_ms": hour + 1 })),
        ("all", serde_json::json!({ "watched_ms": u64::MAX })),
        (
            "all",
            serde_json::json!({ "up_ms": u64::MAX, "watched_ms": hour - 1 }),
        ),
        (
            "all",
            serde_json::json!({ "up_ms": century, "watched_ms": century + hour }),
        ),
        (
            "minutes",
            serde_json::json!([[minute, 60_000, 0, 1, 0, false]]),
        ),
        (
            "minutes",
            serde_json::json!([[minute, u32::MAX, 0, 1, 0, false]]),
        ),
        ("minutes", serde_json::json!([[later, 1, 0, 0, 0, false]])),
        ("hours", serde_json::json!([[u32::MAX, 1, 0, 0, 0, false]])),
    ] {
        let mut bad = json.clone();
        let place = &mut bad["availability"][key];
        match value {
            serde_json::Value::Object(fields) => place.as_object_mut().unwrap().extend(fields),
            list => *place = list,
        }
        assert!(!read(&bad).unwrap().is_sound(), "{bad}");
    }
    let mut bad = json;
    bad["entries"][0]["phase"] = "sleeping".into();
    assert!(read(&bad).is_err());
}

/// A stretch of time, told one after the other.
#[derive(Debug, Clone)]
struct Told {
    from: u64,
    to: u64,
    standing: Standing,
}

/// What a window has, computed from every stretch there was.
fn naive(told: &[Told], start: u64) -> Tally {
    let mut tally = Tally::default();
    let mut before = Standing::Unwatched;
    let mut open_outage = false;
    for stretch in told {
        let length = stretch.to.saturating_sub(stretch.from.max(start));
        match stretch.standing {
            Standing::Unwatched => {}
            Standing::Up => tally.up_ms += length,
            Standing::Degraded => tally.degraded_ms += length,
            Standing::Down => tally.down_ms += length,
        }
        if stretch.standing == Standing::Down {
            if before != Standing::Down {
                open_outage = false;
            }
            let begins = stretch.from >= start && before != Standing::Down;
            let reaches_in = stretch.from <= start && stretch.to > start;
            if !open_outage && (begins || reaches_in) {
                tally.outages += 1;
                open_outage = true;
            }
        }
        before = stretch.standing;
    }
    tally.watched_ms = tally.up_ms + tally.degraded_ms + tally.down_ms;
    tally
}

fn phases() -> impl Strategy<Value = Vec<(Phase, u64)>> {
    let phase = prop::sample::select(Phase::ALL.to_vec());
    let length = prop_oneof![
        Just(0),
        Just(MINUTE),
        1..5000_u64,
        1..10 * MINUTE,
        1..5 * HOUR,
        1..10 * DAY
    ];
    prop::collection::vec((phase, length), 0..60)
}

proptest! {
    #[test]
    fn the_buckets_agree_with_a_sum_over_everything(phases in phases()) {
        let mut clock = Clock::new();
        let mut ledger = Ledger::new(clock.now());
        let mut told: Vec<Told> = Vec::new();
        let mut standing = Standing::Unwatched;
        for (phase, length) in phases {
            ledger.enter(clock.now(), phase, Some(&refused()));
            standing = standing.next(phase);
            let from = clock.unix_ms;
            clock.pass(length);
            told.push(Told { from, to: clock.unix_ms, standing });
        }
        let report = report(ledger.record(clock.now()));
        for window in &report.availability {
            let start = match window.window {
                Span::All => 0,
                _ => clock.unix_ms - window.length_ms,
            };
            prop_assert_eq!(window.tally, naive(&told, start), "{:?}", window);
        }
    }

    #[test]
    fn restarts_lose_nothing(phases in phases(), every in 1..8_usize) {
        // The same with the process replaced every few changes, in no time.
        let mut clock = Clock::new();
        let mut ledger = Ledger::new(clock.now());
        let mut earlier: Option<Record> = None;
        let (mut up, mut down) = (0, 0);
        for (n, (phase, length)) in phases.into_iter().enumerate() {
            let phase = if phase == Phase::Connecting { Phase::Up } else { phase };
            if n % every == 0 {
                let record = ledger.record(clock.now());
                let mut record = match &earlier {
                    Some(earlier) => record.after(earlier),
                    None => record,
                };
                record.ended(Duration::ZERO, clock.unix_ms);
                let json = serde_json::to_string(&record).unwrap();
                earlier = Some(serde_json::from_str(&json).unwrap());
                ledger = clock.restart(0);
            }
            ledger.enter(clock.now(), phase, Some(&refused()));
            clock.pass(length);
            match phase {
                Phase::Up => up += length,
                Phase::Waiting | Phase::Blocked => down += length,
                _ => {}
            }
        }
        let record = ledger.record(clock.now());
        let record = match &earlier {
            Some(earlier) => record.after(earlier),
            None => record,
        };
        prop_assert!(record.entries() <= KEPT && record.is_sound());
        let report = report(record);
        let all = tally(&report, Span::All);
        prop_assert_eq!((all.up_ms, all.down_ms), (up, down));
        for window in &report.availability {
            prop_assert!(window.tally.watched_ms <= window.length_ms);
        }
    }
}
