//! `probe`: how the far end of a forward is checked.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::items::{at_least, parsed};
use super::keys::Place;
use super::raw::{Cursor, Item, Problems};
use super::render::quoted;
use super::settings::later;
use super::values::ValueError;
use super::{Expect, Probe};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest interval and the shortest timeout. More probes than that are a load on the server
/// and its target; an answer that takes longer is no fault.
const LEAST: Duration = Duration::from_millis(100);

/// The longest beginning of a line that is compared: RFC 4253 section 4.2 has lines of 255 bytes.
const MAX_LINE: usize = 255;

/// The longest path that is asked for: no server takes much longer request lines.
const MAX_PATH: usize = 2_000;

/// `true`, `false`, or a table; `None` in the middle: no probe.
pub(super) fn probe(item: Item<'_, '_>, problems: &mut Problems) -> Option<Option<Probe>> {
    match item.get() {
        DeValue::Boolean(false) => Some(None),
        DeValue::Boolean(true) => Some(Some(Probe {
            interval: INTERVAL,
            timeout: TIMEOUT,
            expect: None,
        })),
        DeValue::Table(table) => Some(Some(probe_table(table, problems))),
        _ => {
            problems.report(item.wants("`true` or a table"));
            None
        }
    }
}

/// What `expect` says.
enum Expected {
    Line(String),
    Status(u16),
}

fn probe_table(table: &DeTable<'_>, problems: &mut Problems) -> Probe {
    let mut keys = Cursor::new(table, Place::Probe);
    let long_enough = |item: Item<'_, '_>, problems: &mut Problems| at_least(LEAST, item, problems);
    let interval = keys.take_as("interval", "probe.interval", problems, long_enough);
    let timeout = keys.take_as("timeout", "probe.timeout", problems, long_enough);
    let expect = keys.take_as("expect", "probe.expect", problems, expected);
    let path = keys.take_as("path", "probe.path", problems, |item, problems| {
        parsed(item, "a path", parse_path, problems)
    });
    // Where a value is wrong, nothing follows from its default.
    let unsure = |key, is_none| keys.has(key) && is_none;
    let unsure_interval = unsure("interval", interval.is_none());
    let unsure_expect = unsure("expect", expect.is_none());
    keys.finish(problems);
    let every = interval.as_ref().map_or(INTERVAL, |v| v.value);
    let within = timeout.as_ref().map_or(TIMEOUT.min(every), |v| v.value);
    if within > every && !unsure_interval {
        let said = format!(
            "`probe.timeout` is longer than `probe.interval`: {} > {}",
            humantime::format_duration(within),
            humantime::format_duration(every)
        );
        problems.report(Diagnostic {
            span: later(&interval, &timeout),
            ..Diagnostic::new(said)
        });
    }
    let expect = expect.map(|e| e.value);
    let is_status = matches!(expect, Some(Expected::Status(_)));
    if let Some(path) = &path
        && !is_status
        && !unsure_expect
    {
        problems.report(pathless(expect.is_some(), path.span.clone()));
    }
    let expect = expect.map(|expect| match expect {
        Expected::Line(line) => Expect::FirstLine(line),
        Expected::Status(status) => Expect::Http {
            status,
            path: path.map_or_else(|| "/".to_owned(), |p| p.value),
        },
    });
    Probe {
        interval: every,
        timeout: within,
        expect,
    }
}

fn pathless(has_line: bool, span: Option<Range<usize>>) -> Diagnostic {
    let said = match has_line {
        true => "`probe.path` is for an HTTP status, and `probe.expect` is a line",
        false => "`probe.path` is for an HTTP status, and there is no `probe.expect`",
    };
    Diagnostic {
        span,
        ..Diagnostic::new(said).with_help("write expect = 200")
    }
}

fn expected(item: Item<'_, '_>, problems: &mut Problems) -> Option<Expected> {
    match item.get() {
        DeValue::Integer(_) => {
            let status = item.number(100, 599, problems)?;
            u16::try_from(status).ok().map(Expected::Status)
        }
        _ => {
            let wanted = "the beginning of a line, or an HTTP status";
            parsed(item, wanted, parse_line, problems).map(Expected::Line)
        }
    }
}

fn parse_line(text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("is empty")
            .with_help("leave it out where it is enough that a connection can be made"));
    }
    if text.len() > MAX_LINE {
        return Err(ValueError::new(format!("has more than {MAX_LINE} bytes")));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(ValueError::new(format!("has a control character: {c:?}"))
            .with_help("it is the beginning of one line, without its end")),
        None => Ok(text.to_owned()),
    }
}

/// A request target in origin form (RFC 9112 section 3.2.1).
fn parse_path(text: &str) -> Result<String, ValueError> {
    if !text.starts_with('/') {
        let said = format!("does not begin with `/`: {}", quoted(text));
        return Err(ValueError::new(said));
    }
    if text.len() > MAX_PATH {
        return Err(ValueError::new(format!("has more than {MAX_PATH} bytes")));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(c) => Err(
            ValueError::new(format!("has a character that no request has: {c:?}"))
                .with_help("percent-encode it"),
        ),
        None => Ok(text.to_owned()),
    }
}
