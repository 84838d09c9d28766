//! Log lines: native journal entries where stderr is the journal, else lines for people or JSON.
//!
//! Only tunneld's own lines are shown: russh's would show authentication data.

mod filter;
mod human;
mod journal;
mod lost;
mod patience;
mod stderr;

use std::io;

use clap::ValueEnum;
use tracing_subscriber::fmt as fmt_layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tunneld_core::events;

use crate::terminal::colour;
pub(crate) use filter::{Filter, Verbosity};
use human::Human;
use journal::Journal;
use stderr::{Lines, Stream};

/// The field that says which tunnel a line is about.
const TUNNEL: &str = "tunnel";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `journal` where stderr is connected to the journal, else `human`.
    Auto,
    /// Native entries with fields, to systemd-journald(8).
    Journal,
    /// Lines for people, to stderr.
    Human,
    /// One JSON object a line, to stderr.
    Json,
}

/// Where an error goes that ends the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastWords {
    /// To stderr, as it is: a person started us.
    Stderr,
    /// To stderr, which is the journal's. An entry of ours would come from a process that is gone
    /// before journald has looked at it, and `journalctl -u` would not find it; systemd has told
    /// journald whose stream this is.
    JournalStream,
    /// Into the log like anything else.
    Log,
}

impl LastWords {
    /// Says them.
    pub(crate) fn say(self, text: &str) {
        // sd-daemon(3): the priority of each line.
        let level = match self {
            LastWords::Stderr => "",
            LastWords::JournalStream => "<3>",
            LastWords::Log => {
                tracing::error!(message_id = events::START_FAILED, "{text}");
                return;
            }
        };
        let lines = text.lines().map(|line| format!("{level}{line}\n"));
        // Nobody is left who could be told that nobody reads.
        let _ = Stream::stderr().put_line(lines.collect::<String>().as_bytes());
    }
}

/// Starts logging. Returns where errors go that end the start.
pub(crate) fn init(format: Format, filter: Filter) -> LastWords {
    let registry = tracing_subscriber::registry().with(filter);
    if let Some(journal) = journal(format) {
        registry.with(journal).init();
        return match stderr_is_the_journal() {
            true => LastWords::JournalStream,
            false => LastWords::Log,
        };
    }
    if format == Format::Json {
        let stderr = fmt_layer::layer().with_writer(Lines::new(lost::json));
        let json = stderr.json().flatten_event(true).with_current_span(false);
        registry.with(json.with_target(false)).init();
        return LastWords::Log;
    }
    let human = Human {
        colour: colour(&io::stderr()),
    };
    let stderr = fmt_layer::layer().with_writer(Lines::new(move |lost| human.lost(lost)));
    registry.with(stderr.event_format(human)).init();
    LastWords::Stderr
}

/// The journal, if the log goes there.
fn journal(format: Format) -> Option<Journal> {
    let named = format == Format::Journal;
    if !named && format != Format::Auto {
        return None;
    }
    let away = stderr_is_nowhere();
    if !named && !away && !stderr_is_the_journal() {
        return None;
    }
    match Journal::connect() {
        Ok(_) if away && !named => None,
        Ok(journal) => Some(journal),
        Err(_) if away => Journal::awaited().ok(),
        Err(_) => None,
    }
}

/// Makes a panic one log line like any other, instead of free text on stderr.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message");
        tracing::error!(
            message_id = events::BUG,
            at = place.unwrap_or_default(),
            "panicked: {message}"
        );
    }));
}

/// Whether systemd has started us with a stderr that nobody reads: what it does, too, where there
/// is no journal that it could connect it to (`StandardError=journal`, systemd.exec(5)).
fn stderr_is_nowhere() -> bool {
    let null = |stat: rustix::fs::Stat| stat.st_rdev == rustix::fs::makedev(1, 3);
    std::env::var("INVOCATION_ID").is_ok() && rustix::fs::fstat(io::stderr()).is_ok_and(null)
}

/// Whether stderr is the stream that systemd connected to the journal (`JOURNAL_STREAM`,
/// systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
