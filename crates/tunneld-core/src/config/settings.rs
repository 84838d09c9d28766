//! The keys that `[defaults]` and `[tunnels.NAME]` have in common.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::hooks::Hooks;
use super::items::{Base, duration, parsed, positive};
use super::keys::Place;
use super::login::Login;
use super::provenance::Spans;
use super::raw::{Cursor, Item, Problems};
use super::ssh_files::ssh_config;
use super::ssh_layer::decided;
use super::transport::Transport;
use super::trust::Trust;
use super::values::parse_user;
use super::way::Way;
use super::{Reconnect, SessionCount, Sourced};

/// The most sessions that a tunnel may have.
const MAX_SESSIONS: u32 = 16;

/// What one table says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) port: Option<Sourced<u16>>,
    pub(super) user: Option<Sourced<String>>,
    pub(super) login: Login,
    pub(super) trust: Trust,
    pub(super) transport: Transport,
    pub(super) compression: Option<Sourced<bool>>,
    pub(super) certificate_expiry_warning: Option<Sourced<Duration>>,
    pub(super) connect_timeout: Option<Sourced<Duration>>,
    pub(super) server_alive_interval: Option<Sourced<Duration>>,
    pub(super) server_alive_count_max: Option<Sourced<u32>>,
    pub(super) stall_timeout: Option<Sourced<Duration>>,
    min_sessions: Option<Sourced<u32>>,
    max_sessions: Option<Sourced<u32>>,
    pub(super) hooks: Hooks,
    pub(super) enabled: Option<Sourced<bool>>,
    pub(super) way: Way,
    /// The file of ssh that says more.
    pub(super) ssh_config: Option<Sourced<Option<PathBuf>>>,
    reconnect: ReconnectParts,
    /// Where all of this is written.
    pub(super) spans: Spans,
}

#[derive(Debug, Clone, Default)]
struct ReconnectParts {
    initial: Option<Sourced<Duration>>,
    max: Option<Sourced<Duration>>,
    multiplier: Option<Sourced<f64>>,
    jitter: Option<Sourced<f64>>,
    reset_after: Option<Sourced<Duration>>,
}

impl Settings {
    /// Takes the settings out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        let mut settings = Settings {
            port: keys.take("port", problems, port),
            user: keys.take("user", problems, user),
            login: Login::take(keys, base, problems),
            trust: Trust::take(keys, base, problems),
            transport: Transport::take(keys, base, problems),
            compression: keys.take("compression", problems, truth),
            certificate_expiry_warning: keys.take("certificate_expiry_warning", problems, duration),
            connect_timeout: keys.take("connect_timeout", problems, positive),
            server_alive_interval: keys.take("server_alive_interval", problems, duration),
            server_alive_count_max: keys.take(
                "server_alive_count_max",
                problems,
                |item, problems| item.number(0, 1_000, problems),
            ),
            stall_timeout: keys.take("stall_timeout", problems, positive),
            min_sessions: keys.take("min_sessions", problems, sessions),
            max_sessions: keys.take("max_sessions", problems, sessions),
            hooks: Hooks::take(keys, base, problems),
            enabled: keys.take("enabled", problems, truth),
            way: Way::take(keys, base, problems),
            ssh_config: keys.take("ssh_config", problems, |item, problems| {
                ssh_config(item, base, problems)
            }),
            reconnect: keys
                .take("reconnect", problems, reconnect_parts)
                .map(|parts| parts.value)
                .unwrap_or_default(),
            spans: Spans::default(),
        };
        settings.spans = keys.spans();
        settings
    }

    /// These settings, and where they say nothing those of `defaults`.
    pub(super) fn or(self, defaults: &Settings) -> Self {
        let (ours, theirs) = (self.reconnect, &defaults.reconnect);
        Settings {
            port: or(self.port, &defaults.port),
            user: or(self.user, &defaults.user),
            login: self.login.or(&defaults.login),
            trust: self.trust.or(&defaults.trust),
            transport: self.transport.or(&defaults.transport),
            compression: or(self.compression, &defaults.compression),
            certificate_expiry_warning: or(
                self.certificate_expiry_warning,
                &defaults.certificate_expiry_warning,
            ),
            connect_timeout: or(self.connect_timeout, &defaults.connect_timeout),
            server_alive_interval: or(self.server_alive_interval, &defaults.server_alive_interval),
            server_alive_count_max: or(
                self.server_alive_count_max,
                &defaults.server_alive_count_max,
            ),
            stall_timeout: or(self.stall_timeout, &defaults.stall_timeout),
            min_sessions: or(self.min_sessions, &defaults.min_sessions),
            max_sessions: or(self.max_sessions, &defaults.max_sessions),
            hooks: self.hooks.or(&defaults.hooks),
            enabled: or(self.enabled, &defaults.enabled),
            way: self.way.or(&defaults.way),
            ssh_config: or(self.ssh_config, &defaults.ssh_config),
            spans: Way::spans_or(self.spans, &defaults.spans),
            reconnect: ReconnectParts {
                initial: or(ours.initial, &theirs.initial),
                max: or(ours.max, &theirs.max),
                multiplier: or(ours.multiplier, &theirs.multiplier),
                jitter: or(ours.jitter, &theirs.jitter),
                reset_after: or(ours.reset_after, &theirs.reset_after),
            },
        }
    }

    /// The keywords of ssh_config(5) that this decides.
    pub(super) fn decided(&self) -> Vec<&'static str> {
        let way = self.way.hops.is_some() || self.way.first.is_some();
        let all = [
            (self.port.is_some(), "Port"),
            (self.user.is_some(), "User"),
            (self.compression.is_some(), "Compression"),
            (self.connect_timeout.is_some(), "ConnectTimeout"),
            (self.server_alive_interval.is_some(), "ServerAliveInterval"),
            (self.server_alive_count_max.is_some(), "ServerAliveCountMax"),
            (self.way.family.is_some(), "AddressFamily"),
            (self.way.bind.is_some(), "BindAddress"),
            (way, "ProxyJump"),
            (way, "ProxyCommand"),
        ];
        decided(all)
            .chain(self.login.decided())
            .chain(self.trust.decided())
            .chain(self.transport.decided())
            .collect()
    }

    /// How to come back, complete.
    pub(super) fn reconnect(&self, problems: &mut Problems) -> Reconnect {
        const INITIAL: Duration = Duration::from_secs(1);
        const MAX: Duration = Duration::from_secs(60);
        const RESET_AFTER: Duration = Duration::from_secs(30);
        let parts = &self.reconnect;
        let initial = parts.initial.as_ref().map_or(INITIAL, |v| v.value);
        let max = parts.max.as_ref().map_or(MAX, |v| v.value);
        if initial > max {
            let said = format!(
                "`reconnect.initial` is longer than `reconnect.max`: {} > {}",
                humantime::format_duration(initial),
                humantime::format_duration(max)
            );
            problems.report(Diagnostic {
                span: later(&parts.initial, &parts.max),
                ..Diagnostic::new(said)
            });
        }
        Reconnect {
            initial,
            max,
            multiplier: parts.multiplier.as_ref().map_or(2.0, |v| v.value),
            jitter: parts.jitter.as_ref().map_or(0.5, |v| v.value),
            reset_after: parts.reset_after.as_ref().map_or(RESET_AFTER, |v| v.value),
        }
    }

    /// How many sessions, complete.
    pub(super) fn sessions(&self, problems: &mut Problems) -> SessionCount {
        let min = self.min_sessions.as_ref().map_or(1, |v| v.value);
        let max = self.max_sessions.as_ref().map_or(min, |v| v.value);
        if min > max {
            let said = format!("`min_sessions` is more than `max_sessions`: {min} > {max}");
            problems.report(Diagnostic {
                span: later(&self.min_sessions, &self.max_sessions),
                ..Diagnostic::new(said)
            });
        }
        SessionCount { min, max }
    }
}

/// The place that is at fault where two values do not go together: the one that is written, and of
/// two the one that is written later.
pub(super) fn later<A, B>(
    one: &Option<Sourced<A>>,
    other: &Option<Sourced<B>>,
) -> Option<Range<usize>> {
    let one = one.as_ref().and_then(|v| v.span.clone());
    let other = other.as_ref().and_then(|v| v.span.clone());
    [one, other].into_iter().flatten().max_by_key(|s| s.start)
}

/// Our value, or theirs where there is none.
pub(super) fn or<T: Clone>(ours: Option<T>, theirs: &Option<T>) -> Option<T> {
    ours.or_else(|| theirs.clone())
}

fn reconnect_parts(item: Item<'_, '_>, problems: &mut Problems) -> Option<ReconnectParts> {
    let mut keys = Cursor::new(item.table(problems)?, Place::Reconnect);
    let parts = ReconnectParts {
        initial: keys.take_as("initial", "reconnect.initial", problems, positive),
        max: keys.take_as("max", "reconnect.max", problems, positive),
        multiplier: keys.take_as(
            "multiplier",
            "reconnect.multiplier",
            problems,
            |item, problems| item.real(1.0, 100.0, problems),
        ),
        jitter: keys.take_as("jitter", "reconnect.jitter", problems, |item, problems| {
            item.real(0.0, 1.0, problems)
        }),
        reset_after: keys.take_as("reset_after", "reconnect.reset_after", problems, duration),
    };
    keys.finish(problems);
    Some(parts)
}

pub(super) fn port(item: Item<'_, '_>, problems: &mut Problems) -> Option<u16> {
    u16::try_from(item.number(1, u32::from(u16::MAX), problems)?).ok()
}

pub(super) fn user(item: Item<'_, '_>, problems: &mut Problems) -> Option<String> {
    parsed(item, "a login name", parse_user, problems)
}

pub(super) fn truth(item: Item<'_, '_>, problems: &mut Problems) -> Option<bool> {
    item.truth(problems)
}

fn sessions(item: Item<'_, '_>, problems: &mut Problems) -> Option<u32> {
    item.number(1, MAX_SESSIONS, problems)
}
