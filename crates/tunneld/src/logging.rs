//! Log lines: native journal entries where stderr is the journal, else lines for people or JSON.
//!
//! Only tunneld's own lines are shown: russh's would show authentication data.

use std::fmt::{self, Write as _};
use std::io;

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{self as fmt_layer, FmtContext};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::terminal::colour;

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

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verbosity {
    /// What will not recover without you.
    Error,
    /// And what affects service.
    Warn,
    /// And each change of state.
    Info,
    /// And each connection and attempt.
    Debug,
}

impl Verbosity {
    fn filter(self) -> LevelFilter {
        match self {
            Verbosity::Error => LevelFilter::ERROR,
            Verbosity::Warn => LevelFilter::WARN,
            Verbosity::Info => LevelFilter::INFO,
            Verbosity::Debug => LevelFilter::DEBUG,
        }
    }
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
        match self {
            LastWords::Stderr => eprintln!("{text}"),
            // sd-daemon(3): the priority of each line.
            LastWords::JournalStream => text.lines().for_each(|line| eprintln!("<3>{line}")),
            LastWords::Log => tracing::error!("{text}"),
        }
    }
}

/// Starts logging. Returns where errors go that end the start.
pub(crate) fn init(format: Format, verbosity: Verbosity) -> LastWords {
    let level = verbosity.filter();
    let ours = Targets::new()
        .with_target("tunneld", level)
        .with_target("tunneld_core", level)
        .with_target("tunneld_ssh", level);
    let registry = tracing_subscriber::registry().with(ours);
    let wanted = match format {
        Format::Auto => stderr_is_the_journal(),
        format => format == Format::Journal,
    };
    if wanted && let Ok(journal) = tracing_journald::layer() {
        let journal = journal
            .with_field_prefix(None)
            .with_syslog_identifier("tunneld".to_owned())
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            });
        registry.with(journal).init();
        return match stderr_is_the_journal() {
            true => LastWords::JournalStream,
            false => LastWords::Log,
        };
    }
    let stderr = fmt_layer::layer().with_writer(io::stderr);
    match format {
        Format::Json => registry
            .with(stderr.json().flatten_event(true).with_current_span(false))
            .init(),
        _ => registry
            .with(stderr.event_format(Human {
                colour: colour(&io::stderr()),
            }))
            .init(),
    }
    match format {
        Format::Json => LastWords::Log,
        _ => LastWords::Stderr,
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
        tracing::error!(at = place.unwrap_or_default(), "panicked: {message}");
    }));
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

/// `time LEVEL message key=value …`
struct Human {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (name, colour) = match *event.metadata().level() {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warn ", "33"),
            Level::INFO => ("info ", "32"),
            Level::DEBUG => ("debug", "2"),
            Level::TRACE => ("trace", "2"),
        };
        SystemTime.format_time(&mut writer)?;
        match self.colour {
            true => write!(writer, " \x1b[{colour}m{name}\x1b[0m ")?,
            false => write!(writer, " {name} ")?,
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.finish();
        writeln!(writer, "{}{}", fields.message, fields.rest)
    }
}

/// The fields of one event, for people: the message, then what is worth a word.
#[derive(Default)]
struct Fields {
    message: String,
    cause: Option<String>,
    rest: String,
}

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("message", value) => self.message = value.to_owned(),
            ("cause", value) => self.cause = Some(value.to_owned()),
            // For the journal's index only, or without news.
            ("message_id", _) | ("suppressed", "0") => {}
            (name, value) => self.append(name, value),
        }
    }

    /// A cause is worth a field where the message does not tell it.
    fn finish(&mut self) {
        if let Some(cause) = self.cause.take().filter(|c| !self.message.contains(c)) {
            self.append("cause", &cause);
        }
    }

    fn append(&mut self, name: &str, value: &str) {
        let odd = |c: char| c.is_whitespace() || c == '"' || c.is_control();
        // Writing to a string does not fail.
        let _ = match value.is_empty() || value.contains(odd) {
            true => write!(self.rest, " {name}={value:?}"),
            false => write!(self.rest, " {name}={value}"),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}
