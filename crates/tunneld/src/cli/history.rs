//! `tunneld history [NAME]`

mod every;

use std::path::Path;
use std::time::Duration;

use hyper::Method;
use tunneld_core::history::{HistoryReport, Outage, Span, Tally, Window};
use tunneld_core::ledger::{Entry, KEPT};
use tunneld_core::status::{DaemonStatus, Phase};

use super::status::{Pen, line, plain, short};
use super::times::Wall;
use super::tunnels::escaped;
use super::{Places, client_failed, print_json};
use crate::control::client::{ClientError, call};
use crate::exit::Exit;
use crate::http::error::ErrorKind;

/// The argument of `--number`. There are never more than are kept, and to ask for more is no mistake.
pub(super) fn number_of(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("a number from 1 to {KEPT}"))
}

pub(super) fn run(places: &Places, name: Option<&str>, json: bool, number: Option<usize>) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let Some(name) = name else {
        return match every(&socket) {
            Ok(reports) if json => print_json(&reports),
            Ok(reports) => super::print(&every::render(&reports, Pen::of_stdout())),
            Err(e) => client_failed(places, &e),
        };
    };
    let mut report = match ask(&socket, name) {
        Ok(report) => report,
        Err(e) => return client_failed(places, &e),
    };
    let surplus = number.map_or(0, |n| report.entries.len().saturating_sub(n));
    report.entries.drain(..surplus);
    if json {
        return print_json(&report);
    }
    let page = Page {
        report: &report,
        wall: Wall::here(),
        pen: Pen::of_stdout(),
    };
    super::print(&page.render())
}

fn ask(socket: &Path, name: &str) -> Result<HistoryReport, ClientError> {
    let path = format!("/v1/tunnels/{}/history", escaped(name));
    call(socket, Method::GET, &path)
}

/// Of every tunnel; one that is taken out of the file meanwhile is none.
fn every(socket: &Path) -> Result<Vec<HistoryReport>, ClientError> {
    let status: DaemonStatus = call(socket, Method::GET, "/v1/status")?;
    let names = status.tunnels.iter().map(|tunnel| tunnel.name.as_str());
    let asked = names.map(|name| ask(socket, name));
    let is_gone = |e: &ClientError| matches!(e, ClientError::Refused(error) if error.kind == ErrorKind::NoSuchTunnel);
    asked
        .filter(|answer| !answer.as_ref().is_err_and(is_gone))
        .collect()
}

struct Page<'a> {
    report: &'a HistoryReport,
    wall: Wall,
    pen: Pen,
}

impl Page<'_> {
    fn render(&self) -> String {
        let mut out = String::new();
        let entries = &self.report.entries;
        // The clock of every line, named once.
        let zone = self.wall.zone_at(self.report.at_unix_ms);
        if let Some(zone) = zone.filter(|_| !entries.is_empty()) {
            line(&mut out, 0, &format!("times in {zone}:"), self.pen.width);
        }
        for (n, entry) in entries.iter().enumerate() {
            let told = self.entry(entry, n + 1 == entries.len());
            line(&mut out, 0, &told, self.pen.width);
        }
        if entries.is_empty() {
            out.push_str("nothing has happened yet\n");
        }
        out.push('\n');
        // One that is longer than the record is the whole record, which is told as that.
        let all = self
            .report
            .at_unix_ms
            .saturating_sub(self.report.since_unix_ms);
        let is_full = |w: &&Window| w.window.nominal_ms().is_none_or(|length| length <= all);
        let windows: Vec<&Window> = self.report.availability.iter().filter(is_full).collect();
        let labels: Vec<String> = windows.iter().map(|w| self.label(w.window)).collect();
        let widest = labels.iter().map(String::len).max().unwrap_or(0);
        for (window, label) in windows.into_iter().zip(labels) {
            let told = format!("{label:widest$}  {}", available(window));
            line(&mut out, 0, &told, self.pen.width);
        }
        out
    }

    fn entry(&self, entry: &Entry, is_last: bool) -> String {
        let mut more = Vec::new();
        if let Some(failure) = &entry.failure {
            let cause = plain(&failure.cause);
            more.push(match entry.times {
                0 | 1 => cause,
                n if self.pen.utf8 => format!("{cause} (×{n})"),
                n => format!("{cause} (x{n})"),
            });
        }
        if entry.phase == Phase::Idle {
            more.push("the daemon did not run".to_owned());
        }
        if let Some(outage) = self.ended_by(entry) {
            more.push(format!("after an outage of {}", length(outage.lasted_ms)));
        }
        if is_last {
            more.push("until now".to_owned());
        }
        format!(
            "{}  {}  {:>7}  {}",
            self.wall.time(entry.at_unix_ms),
            self.pen.phase_column(entry.phase),
            length(entry.lasted_ms),
            more.join("; ")
        )
    }

    /// The outage that the tunnel came back from.
    fn ended_by(&self, entry: &Entry) -> Option<&Outage> {
        let mut outages = self.report.outages.iter();
        let ended = outages.find(|o| o.over_unix_ms == Some(entry.at_unix_ms));
        ended.filter(|_| entry.phase.has_session())
    }

    fn label(&self, span: Span) -> String {
        match span {
            Span::Hour => "last hour".to_owned(),
            Span::Day => "last day".to_owned(),
            Span::Week => "last week".to_owned(),
            Span::All => format!("since {}", self.wall.moment(self.report.since_unix_ms)),
        }
    }
}

/// `99.19 %  down 29s in 1 outage; watched 23m of 1h`
fn available(window: &Window) -> String {
    let tally = &window.tally;
    if tally.watched_ms == 0 {
        return "not watched".to_owned();
    }
    let mut more: Vec<String> = down(tally).into_iter().collect();
    if tally.degraded_ms > 0 {
        more.push(format!("degraded for {}", length(tally.degraded_ms)));
    }
    let unwatched = window.length_ms.saturating_sub(tally.watched_ms);
    if unwatched >= 1000 {
        // The window may be a little longer than its name: people are told of the name.
        let all = window.window.nominal_ms().unwrap_or(window.length_ms);
        let watched = match tally.watched_ms < all {
            true => tally.watched_ms,
            false => all.saturating_sub(unwatched),
        };
        more.push(format!("watched {} of {}", length(watched), length(all)));
    }
    let percent = percent(tally.up_ms, tally.watched_ms);
    format!("{percent:>8}  {}", more.join("; "))
}

/// `down 29s in 1 outage`, if it was.
fn down(tally: &Tally) -> Option<String> {
    let many = match tally.outages {
        0 => return None,
        1 => "",
        _ => "s",
    };
    let (down, n) = (length(tally.down_ms), tally.outages);
    Some(format!("down {down} in {n} outage{many}"))
}

/// Rounded down, so that 100 % is all of it.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    match hundredths {
        10_000.. => "100 %".to_owned(),
        n => format!("{}.{:02} %", n / 100, n % 100),
    }
}

fn length(ms: u64) -> String {
    match ms {
        1..1000 => format!("{ms}ms"),
        _ => short(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests {
    use tunneld_core::failure::{Failure, Stage};
    use tunneld_core::ledger::{Ledger, Moment};

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment {
            unix_ms: 1_763_748_000_000 + seconds * 1000,
            since_start: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn people_see_what_happened_and_how_much_of_the_time_it_was_up() {
        let refused = Failure::transient(Stage::Connect, "connection refused");
        let mut ledger = Ledger::new(at(0));
        ledger.enter(at(0), Phase::Connecting, None);
        ledger.enter(at(1), Phase::Up, None);
        for attempt in 0..4 {
            ledger.enter(at(3001 + attempt), Phase::Waiting, Some(&refused));
            ledger.enter(at(3001 + attempt), Phase::Connecting, Some(&refused));
        }
        ledger.enter(at(3030), Phase::Up, None);
        let report = ledger.record(at(3600)).report("db".parse().unwrap());
        let page = Page {
            report: &report,
            wall: Wall {
                zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(1)),
            },
            pen: Pen {
                colour: false,
                utf8: true,
                width: None,
            },
        };
        let expected = "\
times in +01:
2025-11-21 19:00:00  connecting       1s
2025-11-21 19:00:01  up              50m
2025-11-21 19:50:01  waiting         29s  connection refused (×4)
2025-11-21 19:50:30  up            9m30s  after an outage of 29s; until now

last hour                       99.19 %  down 29s in 1 outage; watched 59m59s of 1h
since 2025-11-21 19:00:00 +01   99.19 %  down 29s in 1 outage; watched 59m59s of 1h
";
        assert_eq!(page.render(), expected);
        let every = every::render(std::slice::from_ref(&report), page.pen);
        let expected = "\
in the last day:
db  up           99.19 %  down 29s in 1 outage; last 9m59s ago: connection refused
";
        assert_eq!(every, expected);
    }

    #[test]
    fn an_outage_that_goes_on_is_told_as_one_of_now() {
        // Since its beginning, and not since the last attempt.
        let refused = Failure::transient(Stage::Connect, "connection refused");
        let mut ledger = Ledger::new(at(0));
        ledger.enter(at(0), Phase::Up, None);
        ledger.enter(at(2580), Phase::Waiting, Some(&refused));
        ledger.enter(at(3540), Phase::Connecting, Some(&refused));
        let report = ledger.record(at(3600)).report("db".parse().unwrap());
        let day = every::day(&report);
        assert!(
            day.ends_with("in 1 outage; down now, for 17m: connection refused"),
            "{day}"
        );
    }

    #[test]
    fn a_number_of_changes_is_one_at_least() {
        let numbers = ["1", "100", "1000"].map(number_of);
        assert_eq!(numbers, [Ok(1), Ok(100), Ok(1000)]);
        for wrong in ["0", "x", "-1", "1.5", ""] {
            assert!(number_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tunnel_that_is_seconds_old_was_watched_for_seconds() {
        // The window begins with a whole minute, and is longer than its name.
        let mut ledger = Ledger::new(at(59));
        ledger.enter(at(59), Phase::Up, None);
        let report = ledger.record(at(63)).report("db".parse().unwrap());
        let hour = available(&report.availability[0]);
        assert_eq!(hour, "   100 %  watched 4s of 1h");
    }

    #[test]
    fn a_hundred_per_cent_is_all_of_the_time() {
        let shown = [(1, 1), (999_999, 1_000_000), (0, 5), (1, 3)];
        let shown = shown.map(|(part, whole)| percent(part, whole));
        assert_eq!(shown, ["100 %", "99.99 %", "0.00 %", "33.33 %"]);
    }
}
