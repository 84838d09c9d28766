//! How much is logged: of everything, and of single tunnels.
//!
//! Only tunneld's own lines are shown: russh's would show authentication data.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tunneld_core::config::nearest;
use tunneld_core::events;
use tunneld_core::name::TunnelName;

use super::TUNNEL;

/// Whose lines are logged.
const OURS: [&str; 3] = ["tunneld", "tunneld_core", "tunneld_ssh"];

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

/// How much is logged of what: `info`, or `info,db=debug,office=warn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of everything that is about no tunnel, or about one without a level of its own.
    rest: LevelFilter,
    tunnels: BTreeMap<String, LevelFilter>,
    /// What passes whatever tunnel it is about, and what may pass for some.
    lowest: LevelFilter,
    highest: LevelFilter,
}

impl From<Verbosity> for Filter {
    fn from(verbosity: Verbosity) -> Self {
        Filter::new(verbosity.filter(), BTreeMap::new())
    }
}

impl Filter {
    fn new(rest: LevelFilter, tunnels: BTreeMap<String, LevelFilter>) -> Self {
        let levels = || tunnels.values().copied().chain([rest]);
        Filter {
            rest,
            lowest: levels().min().unwrap_or(rest),
            highest: levels().max().unwrap_or(rest),
            tunnels,
        }
    }

    /// Says which tunnels have a level and are not there. They may come with a reload.
    pub(crate) fn warn_unused<'a>(&self, tunnels: impl Iterator<Item = &'a TunnelName>) {
        let known: Vec<&str> = tunnels.map(TunnelName::as_str).collect();
        for name in self.tunnels.keys() {
            if known.contains(&name.as_str()) {
                continue;
            }
            let meant = nearest(&known, name).map(|near| format!("did you mean `{near}`?"));
            tracing::warn!(
                message_id = events::LOG_LEVEL_UNUSED,
                hint = meant,
                "a level is set for the lines of `{name}` (--log-level, TUNNELD_LOG), and there is no such tunnel"
            );
        }
    }

    /// Whether lines like these pass, for some tunnel at least.
    fn may_pass(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        let (top, _) = metadata
            .target()
            .split_once("::")
            .unwrap_or((metadata.target(), ""));
        OURS.contains(&top)
            && (level <= self.rest
                || level <= self.highest && metadata.fields().field(TUNNEL).is_some())
    }

    fn of(&self, tunnel: &str) -> LevelFilter {
        self.tunnels.get(tunnel).copied().unwrap_or(self.rest)
    }
}

/// Decided once for each place in the program as far as it goes: a line that nobody wants costs a
/// comparison. Only one that is wanted of some tunnels is asked which it is about.
impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.may_pass(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.may_pass(metadata)
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let level = *event.metadata().level();
        if level <= self.lowest {
            return true;
        }
        let mut about = About {
            filter: self,
            level: self.rest,
        };
        event.record(&mut about);
        level <= about.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.highest)
    }
}

/// Finds the level of the tunnel that a line is about.
struct About<'a> {
    filter: &'a Filter,
    level: LevelFilter,
}

impl Visit for About<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TUNNEL {
            self.level = self.filter.of(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // No other field is written down for this.
        if field.name() == TUNNEL {
            self.level = self.filter.of(&format!("{value:?}"));
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rest, mut tunnels) = (None, BTreeMap::new());
        for part in text.split(',').map(str::trim) {
            let Some((name, level)) = part.split_once('=') else {
                if rest.replace(alone(part)?).is_some() {
                    return Err(format!(
                        "`{part}` is a second level for everything; one for a tunnel is NAME={part}"
                    ));
                }
                continue;
            };
            let (name, level) = of_tunnel(name.trim(), level.trim())?;
            if tunnels.insert(name.as_str().to_owned(), level).is_some() {
                return Err(format!("`{name}` has two levels"));
            }
        }
        Ok(Filter::new(rest.unwrap_or(LevelFilter::INFO), tunnels))
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    Verbosity::from_str(text, false).ok().map(Verbosity::filter)
}

/// What the levels are, and which one was meant.
fn not_a_level(text: &str) -> String {
    let known = ["error", "warn", "info", "debug"];
    match nearest(&known, text) {
        Some(near) => format!("`{text}` is not a level; did you mean `{near}`?"),
        None => format!("`{text}` is not a level; there are: {}", known.join(", ")),
    }
}

fn alone(text: &str) -> Result<LevelFilter, String> {
    if let Some(level) = level(text) {
        return Ok(level);
    }
    if text.is_empty() {
        return Err("there is no level; as in `info` or `info,NAME=debug`".to_owned());
    }
    let wrong = not_a_level(text);
    Err(match text.parse::<TunnelName>() {
        Ok(name) if !wrong.ends_with('?') => {
            format!("{wrong}; one for the tunnel `{name}` is `{name}=debug`")
        }
        _ => wrong,
    })
}

fn of_tunnel(name: &str, text: &str) -> Result<(TunnelName, LevelFilter), String> {
    let swapped = || level(name).is_some() && !text.is_empty();
    let Some(level) = level(text) else {
        return Err(match swapped() {
            true => format!("`{name}={text}`: did you mean `{text}={name}`?"),
            false => format!("`{name}={text}`: {}", not_a_level(text)),
        });
    };
    let parsed = name.parse();
    let name = parsed.map_err(|e| format!("`{name}={text}`: not a tunnel: {e}"))?;
    Ok((name, level))
}

#[cfg(test)]
mod tests;
