//! Log lines for people.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::lost;

/// `time LEVEL message key=value …`
#[derive(Clone, Copy)]
pub(super) struct Human {
    pub(super) colour: bool,
}

impl Human {
    fn begin(&self, writer: &mut Writer<'_>, level: Level) -> fmt::Result {
        let (name, colour) = match level {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warn ", "33"),
            Level::INFO => ("info ", "32"),
            Level::DEBUG => ("debug", "2"),
            Level::TRACE => ("trace", "2"),
        };
        SystemTime.format_time(writer)?;
        match self.colour {
            true => write!(writer, " \x1b[{colour}m{name}\x1b[0m "),
            false => write!(writer, " {name} "),
        }
    }

    /// The line that says how many are missing.
    pub(super) fn lost(&self, lost: u64) -> String {
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = self.begin(&mut Writer::new(&mut line), Level::WARN);
        line + &format!("{} suppressed={lost}\n", lost::message_on_stderr(lost))
    }
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
        self.begin(&mut writer, *event.metadata().level())?;
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
