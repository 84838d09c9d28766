//! How many lines a flood makes, and whether they count all of it.

use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::*;

/// Writes down the messages, and what each says was kept back.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(String, u64)>>>);

#[derive(Default)]
struct Line(String, u64);

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "suppressed" {
            self.1 = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push((line.0, line.1));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn lines(act: impl FnOnce(&ForwardLog)) -> Vec<(String, u64)> {
    let log = ForwardLog::new("db".parse().unwrap(), "pg".parse().unwrap());
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || act(&log));
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

const MINUTE: Duration = Duration::from_secs(61);

#[test]
fn ten_thousand_refused_connections_are_a_line_at_once_and_one_that_counts_them() {
    // The count comes in time, though nobody is refused any more; and only once.
    let said = lines(|log| {
        for n in 0..10_000 {
            log.refused(&Peer::Unix, "limit", &format!("reason {n}"));
        }
        assert!(log.remind_at(Duration::from_secs(1)));
        assert!(!log.remind_at(MINUTE));
        assert!(!log.remind_at(MINUTE * 2));
    });
    let expected = [
        ("connection refused: reason 0".to_owned(), 0),
        ("connection refused: reason 9999".to_owned(), 9998),
    ];
    assert_eq!(said, expected);
}

#[test]
fn each_reason_is_counted_apart() {
    let said = lines(|log| {
        for (kind, times) in [("limit", 100), ("target", 10)] {
            for _ in 0..times {
                log.refused(&Peer::Unix, kind, kind);
            }
        }
        assert!(!log.remind_at(MINUTE));
    });
    let expected = [("limit", 0), ("target", 0), ("limit", 98), ("target", 8)];
    let expected = expected.map(|(kind, n)| (format!("connection refused: {kind}"), n));
    assert_eq!(said, expected);
}

#[test]
fn a_server_with_another_reason_each_time_has_a_few_lines_a_minute() {
    let said = lines(|log| {
        for n in 0..10_000 {
            let reason = format!("connect failed: {n}");
            log.refused(&Peer::Here, &reason, &reason);
        }
        assert!(!log.remind_at(MINUTE));
    });
    assert_eq!(said.len(), 21);
    let counted: u64 = said.iter().map(|(_, suppressed)| 1 + suppressed).sum();
    assert_eq!(counted, 10_000);
}

#[test]
fn ten_thousand_stalled_clients_are_two_lines() {
    let said = lines(|log| {
        for _ in 0..10_000 {
            log.stalled(&Peer::Unix, Duration::from_secs(30));
        }
        assert!(!log.remind_at(MINUTE));
    });
    let counts: Vec<u64> = said.iter().map(|(_, suppressed)| *suppressed).collect();
    assert_eq!(counts, [0, 9998]);
}
