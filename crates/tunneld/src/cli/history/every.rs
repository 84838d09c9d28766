//! `tunneld history` without a name: a line for each tunnel.

use std::time::Duration;

use tunneld_core::history::{HistoryReport, Outage, Span};
use tunneld_core::status::Phase;

use super::super::status::{Pen, line, plain, short};
use super::{down, length, percent};

/// How each was in the last day, and what was wrong last.
pub(super) fn render(reports: &[HistoryReport], pen: Pen) -> String {
    if reports.is_empty() {
        return "no tunnels\n".to_owned();
    }
    let lengths = reports.iter().map(|report| report.name.as_str().len());
    let widest = lengths.max().unwrap_or(0);
    let mut out = String::from("in the last day:\n");
    for report in reports {
        let phase = report.entries.last().map_or(Phase::Idle, |last| last.phase);
        let phase = pen.phase_column(phase);
        let told = format!("{:widest$}  {phase}  {}", report.name, day(report));
        line(&mut out, 0, &told, pen.width);
    }
    out
}

/// The outage that is not over.
fn goes_on(report: &HistoryReport) -> Option<&Outage> {
    let last = report.outages.last();
    last.filter(|outage| outage.over_unix_ms.is_none())
}

/// `99.96 %  down 29s in 1 outage; last 3h ago: connection refused`
pub(super) fn day(report: &HistoryReport) -> String {
    let mut windows = report.availability.iter();
    let Some(day) = windows.find(|w| w.window == Span::Day && w.tally.watched_ms > 0) else {
        return "not watched".to_owned();
    };
    let mut more: Vec<String> = down(&day.tally).into_iter().collect();
    let failed = report.entries.iter().rev();
    let mut failed = failed.filter_map(|entry| Some((entry, entry.failure.as_ref()?)));
    if let Some((entry, failure)) = failed.next() {
        let ago = Duration::from_millis(report.at_unix_ms.saturating_sub(entry.at_unix_ms));
        let when = match goes_on(report) {
            Some(outage) => format!("down now, for {}", length(outage.lasted_ms)),
            None => format!("last {} ago", short(ago)),
        };
        more.push(format!("{when}: {}", plain(&failure.cause)));
    }
    let percent = percent(day.tally.up_ms, day.tally.watched_ms);
    format!("{percent:>8}  {}", more.join("; "))
}
