//! `on_up` and `on_down`: programs that are told of what becomes of a tunnel.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::Sourced;
use super::items::{Base, at_least, completed, list, parsed};
use super::keys::Place;
use super::raw::{Cursor, Item, Problems};
use super::settings::or;
use super::values::ValueError;
use super::way_forms::{is_none, parse_argument};

/// How long a program may take unless the file says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A shorter time would end programs that are merely slow to start.
const SHORTEST: Duration = Duration::from_secs(1);
/// The daemon's own end waits for what still runs.
const LONGEST: Duration = Duration::from_secs(60 * 60);

const WANTED: &str = "an array of a program and its arguments";

/// A program that is started when something becomes of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program and its arguments; never empty. A program without a `/` is looked up in `PATH`,
    /// any other one is a whole path.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
}

impl fmt::Display for Hook {
    /// For people: its words, and its time in front of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = humantime::format_duration(self.timeout);
        let command = self.command.join(" ");
        write!(f, "(within {timeout}) {}", command.escape_debug())
    }
}

/// What one table says; `None` where it says nothing, and in the middle: no program.
#[derive(Debug, Clone, Default)]
pub(super) struct Hooks {
    up: Option<Sourced<Option<Hook>>>,
    down: Option<Sourced<Option<Hook>>>,
}

impl Hooks {
    /// Takes the keys out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        Hooks {
            up: keys.take("on_up", problems, |item, problems| {
                let parts = ["on_up.command", "on_up.timeout"];
                hook(item, parts, base, problems)
            }),
            down: keys.take("on_down", problems, |item, problems| {
                let parts = ["on_down.command", "on_down.timeout"];
                hook(item, parts, base, problems)
            }),
        }
    }

    /// These, and where they say nothing those of `defaults`.
    pub(super) fn or(self, defaults: &Hooks) -> Self {
        Hooks {
            up: or(self.up, &defaults.up),
            down: or(self.down, &defaults.down),
        }
    }

    /// What is started when the tunnel comes up.
    pub(super) fn up(&self) -> Option<Sourced<Hook>> {
        started(self.up.as_ref())
    }

    /// What is started when it is up no more.
    pub(super) fn down(&self) -> Option<Sourced<Hook>> {
        started(self.down.as_ref())
    }
}

fn started(written: Option<&Sourced<Option<Hook>>>) -> Option<Sourced<Hook>> {
    let Sourced { value, span } = written?.clone();
    let hook = |value| Sourced { value, span };
    value.map(hook)
}

/// `none`, a program, an array, or a table.
fn hook(
    item: Item<'_, '_>,
    [command_key, timeout_key]: [&'static str; 2],
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Option<Hook>> {
    let DeValue::Table(table) = item.get() else {
        if item.get().as_str().is_some_and(is_none) {
            return Some(None);
        }
        let command = command(item, base, problems)?;
        let timeout = TIMEOUT;
        return Some(Some(Hook { command, timeout }));
    };
    let mut keys = Cursor::new(table, Place::Hook);
    let has_command = keys.has("command");
    let written = keys.take_as("command", command_key, problems, |item, problems| {
        command(item, base, problems)
    });
    let timeout = keys.take_as("timeout", timeout_key, problems, timeout);
    let meant = keys.finish(problems);
    if !has_command && !meant.contains(&"command") {
        let said = item.wrong("has no `command`");
        problems.report_absent(said.with_help(r#"write { command = ["/usr/bin/program"] }"#));
    }
    Some(Some(Hook {
        command: written?.value,
        timeout: timeout.map_or(TIMEOUT, |v| v.value),
    }))
}

fn timeout(item: Item<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    let found = at_least(SHORTEST, item, problems)?;
    if found > LONGEST {
        let longest = humantime::format_duration(LONGEST);
        problems.report(item.wrong(&format!("has to be at most {longest}")));
        return None;
    }
    Some(found)
}

fn command(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let items = list(item, problems)?;
    let alone = !matches!(item.get(), DeValue::Array(_));
    let mut words = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let word = |text: &str| match index {
            0 => program(text, alone, base),
            _ => parse_argument(text),
        };
        words.extend(parsed(*item, WANTED, word, problems));
    }
    if items.is_empty() {
        let said = item.wrong("names no program");
        problems.report(said.with_help("write the program first, and then its arguments"));
        return None;
    }
    (words.len() == items.len()).then_some(words)
}

/// The program, as it is or as a whole path.
fn program(text: &str, alone: bool, base: Base<'_>) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("names no program")
            .with_help("write the program first, and then its arguments"));
    }
    if alone && is_none(text) {
        return Err(ValueError::new("has `none` where a program is wanted"));
    }
    if alone && text.contains(char::is_whitespace) {
        let said = "is a program and its arguments in one string, and there is no shell";
        return Err(ValueError::new(said).with_help(
            "write an array: [\"/usr/bin/program\", \"argument\"]; \
             if a shell is wanted, [\"/bin/sh\", \"-c\", \"…\"]",
        ));
    }
    parse_argument(text)?;
    match text.contains('/') {
        true => {
            let whole = completed(text, base.origin, base.surroundings)?;
            Ok(whole.to_string_lossy().into_owned())
        }
        false => Ok(text.to_owned()),
    }
}
