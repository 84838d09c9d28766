//! The log lines of one tunnel: once a change, and repeats at widening intervals.

use std::time::Duration;

use tokio::time::Instant;
use tunneld_core::certificate::date;
use tunneld_core::config::{TunnelSpec, host_port};
use tunneld_core::events;
use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::lifecycle::Lifecycle;
use tunneld_core::name::{ForwardName, TunnelName};
use tunneld_core::repeats::{Repeats, Say};
use tunneld_core::status::{CertificateStatus, Phase};
use tunneld_ssh::Session;

use super::certificates;
use super::pool::Purpose;

/// One line about a failure, with all that is known of it.
macro_rules! outage {
    ($level:ident, $id:expr, $log:expr, $failure:expr, $attempts:expr, $message:expr
     $(, $suppressed:ident)?) => {
        tracing::$level!(
            message_id = Some($id).filter(|id| !id.is_empty()),
            tunnel = %$log.tunnel,
            host = %$log.host,
            stage = %$failure.stage,
            class = %$failure.class,
            cause = %$failure.cause,
            attempt = $attempts,
            hint = $failure.hint.as_deref(),
            suppressed = None::<u32>$(.or(Some($suppressed)))?,
            "{}", $message
        )
    };
}

/// Remembers what was said.
pub(super) struct Log {
    tunnel: TunnelName,
    host: String,
    started: Instant,
    /// Since when there has been no session.
    down_since: Instant,
    failures: Repeats,
    /// Of sessions beside the first.
    others: Repeats,
    /// Of sessions that are lost while others carry on.
    losses: Repeats,
}

impl Log {
    pub(super) fn new(spec: &TunnelSpec) -> Self {
        let now = Instant::now();
        Log {
            tunnel: spec.name.clone(),
            host: host(spec),
            started: now,
            down_since: now,
            failures: Repeats::default(),
            others: Repeats::default(),
            losses: Repeats::default(),
        }
    }

    pub(super) fn spec(&mut self, spec: &TunnelSpec) {
        self.host = host(spec);
    }

    pub(super) fn established(&mut self, session: &Session, attempts: u32) {
        tracing::debug!(
            tunnel = %self.tunnel,
            host = %self.host,
            peer = %session.peer(),
            attempt = attempts,
            server = session.facts().map(|f| f.server.as_str()),
            kex = session.facts().map(|f| f.kex.as_str()),
            cipher = session.facts().map(|f| f.cipher.as_str()),
            "session established"
        );
    }

    pub(super) fn replaced(&self) {
        tracing::info!(
            message_id = events::SESSION_REPLACED,
            tunnel = %self.tunnel,
            host = %self.host,
            "session replaced by a new one"
        );
    }

    /// One of several sessions has ended. That of one that lasted is news each time.
    pub(super) fn lost(&mut self, failure: &Failure, lasted: bool, left: usize) {
        if lasted {
            self.losses.clear();
        }
        let text = format!("{}: {}", failure.stage, failure.cause);
        let others = match left {
            1 => "another one carries".to_owned(),
            n => format!("{n} others carry"),
        };
        let message = format_args!("a session has ended, {others} on ({})", failure.cause);
        match self.losses.say(&text, self.started.elapsed()).said() {
            None => outage!(debug, "", self, failure, 0, message),
            Some(suppressed) => {
                outage!(
                    warn,
                    events::SESSION_LOST,
                    self,
                    failure,
                    0,
                    message,
                    suppressed
                );
            }
        }
    }

    /// The task of a forward has ended, which none does by itself.
    pub(super) fn forward_died(&self, forward: &ForwardName) {
        tracing::error!(
            message_id = events::TUNNEL_PANICKED,
            tunnel = %self.tunnel,
            forward = %forward,
            "a forward's task failed and is started again: a bug in tunneld"
        );
    }

    /// A certificate ends soon, or has ended.
    pub(super) fn certificate(&self, certificate: &CertificateStatus, warning: &str) {
        let end = certificates::end(certificate);
        tracing::warn!(
            message_id = events::CERTIFICATE_EXPIRES,
            tunnel = %self.tunnel,
            host = %self.host,
            certificate = %certificate.file,
            key_id = %certificate.key_id,
            expires = end.map(date),
            "{warning}"
        );
    }

    /// There is a session beside the first.
    pub(super) fn another(&mut self, session: &Session, purpose: Purpose) {
        self.others.clear();
        match purpose {
            Purpose::Relief => tracing::info!(
                message_id = events::SESSION_RELIEVED,
                tunnel = %self.tunnel,
                host = %self.host,
                peer = %session.peer(),
                "a client that does not read holds a session back; \
                 another session takes new connections"
            ),
            Purpose::Spare | Purpose::More => tracing::debug!(
                tunnel = %self.tunnel,
                host = %self.host,
                peer = %session.peer(),
                "another session established"
            ),
        }
    }

    /// A session beside the first could not be made.
    pub(super) fn not_another(&mut self, failure: &Failure, purpose: Purpose, delay: Duration) {
        let text = format!("{}: {}", failure.stage, failure.cause);
        let what = match purpose {
            Purpose::Spare => "a spare session (min_sessions)",
            Purpose::More => "one more session (max_sessions)",
            Purpose::Relief => "a session to relieve one that is held back",
        };
        let (cause, next) = (&failure.cause, seconds(delay));
        let message = format_args!("{what} cannot be made, next try in {next} ({cause})");
        match self.others.say(&text, self.started.elapsed()).said() {
            None => outage!(debug, "", self, failure, 0, message),
            Some(suppressed) => {
                outage!(
                    warn,
                    events::SESSION_NOT_REPLACED,
                    self,
                    failure,
                    0,
                    message,
                    suppressed
                );
            }
        }
    }

    /// A session could not be made, or has ended: the next attempt comes after `delay`.
    pub(super) fn down(&mut self, life: &Lifecycle, delay: Duration) {
        let Some(failure) = life.failure() else {
            return;
        };
        let attempts = life.attempts();
        let text = format!("{}: {}", failure.stage, failure.cause);
        let (say, next) = (
            self.failures.say(&text, self.started.elapsed()),
            seconds(delay),
        );
        match (say, life.phase().has_session()) {
            (Say::Nothing, _) => {
                let message = format_args!("attempt failed, next in {next} ({})", failure.cause);
                outage!(debug, "", self, failure, attempts, message);
            }
            (Say::First { suppressed } | Say::Summary { suppressed }, true) => {
                self.not_replaced(failure, attempts, &next, suppressed);
            }
            (Say::First { suppressed }, false) => self.first(failure, attempts, &next, suppressed),
            (Say::Summary { suppressed }, false) => self.still(failure, attempts, suppressed),
        }
    }

    /// The old session serves on, and people should know that the new one is not there.
    fn not_replaced(&self, failure: &Failure, attempts: u32, next: &str, suppressed: u32) {
        let message = format_args!(
            "session not replaced, the old one serves on; next try in {next} ({})",
            failure.cause
        );
        match failure.class {
            Class::Transient => outage!(
                warn,
                events::SESSION_NOT_REPLACED,
                self,
                failure,
                attempts,
                message,
                suppressed
            ),
            Class::Blocked => outage!(
                error,
                events::SESSION_NOT_REPLACED,
                self,
                failure,
                attempts,
                message,
                suppressed
            ),
        }
    }

    /// The session has ended while its successor is being made already.
    fn overtaken(&self, life: &Lifecycle) {
        if let Some(failure) = life.failure() {
            let cause = &failure.cause;
            let message = format_args!("tunnel down, a new session is being made ({cause})");
            outage!(
                warn,
                events::TUNNEL_DOWN,
                self,
                failure,
                life.attempts(),
                message
            );
        }
    }

    fn first(&self, failure: &Failure, attempts: u32, next: &str, suppressed: u32) {
        let cause = &failure.cause;
        match failure.class {
            Class::Transient => {
                let message = format_args!("tunnel down, retrying in {next} ({cause})");
                outage!(
                    warn,
                    events::TUNNEL_DOWN,
                    self,
                    failure,
                    attempts,
                    message,
                    suppressed
                );
            }
            Class::Blocked => {
                let message = format_args!("tunnel blocked, next try in {next} ({cause})");
                outage!(
                    error,
                    events::TUNNEL_BLOCKED,
                    self,
                    failure,
                    attempts,
                    message,
                    suppressed
                );
            }
        }
    }

    fn still(&self, failure: &Failure, attempts: u32, suppressed: u32) {
        let down_for = Duration::from_secs(self.down_since.elapsed().as_secs());
        let down_for = humantime::format_duration(down_for);
        let message = format_args!("still down for {down_for} ({})", failure.cause);
        outage!(
            warn,
            events::TUNNEL_STILL_DOWN,
            self,
            failure,
            attempts,
            message,
            suppressed
        );
    }

    /// The tunnel has come to another phase.
    pub(super) fn phase(&mut self, life: &Lifecycle, before: Phase, after: Phase) {
        let (was_up, is_up) = (before.has_session(), after.has_session());
        if was_up && after != Phase::Up {
            self.down_since = Instant::now();
        }
        if was_up && !is_up && after == Phase::Connecting {
            self.overtaken(life);
        }
        match after {
            Phase::Up => {
                self.failures.clear();
                let after = self.down_since.elapsed().as_secs_f64();
                tracing::info!(
                    message_id = events::TUNNEL_UP,
                    tunnel = %self.tunnel,
                    host = %self.host,
                    after = %format_args!("{after:.1}s"),
                    "tunnel up"
                );
            }
            Phase::Degraded => {
                let cause = life.failure().map(|f| f.cause.as_str());
                let stage = life.failure().map_or(Stage::Forward, |f| f.stage);
                tracing::warn!(
                    message_id = events::TUNNEL_DEGRADED,
                    tunnel = %self.tunnel,
                    host = %self.host,
                    stage = %stage,
                    cause = cause.unwrap_or_default(),
                    "tunnel degraded ({})",
                    cause.unwrap_or("a forward is not in place")
                );
            }
            Phase::Stopped if before != Phase::Idle => tracing::info!(
                message_id = events::TUNNEL_STOPPED,
                tunnel = %self.tunnel,
                "tunnel stopped"
            ),
            Phase::Connecting if matches!(before, Phase::Idle | Phase::Stopped) => {
                self.down_since = Instant::now();
            }
            _ => {}
        }
    }
}

fn host(spec: &TunnelSpec) -> String {
    host_port(&spec.target.host, spec.target.port)
}

/// `8s`, `0.5s`, `1m`.
fn seconds(delay: Duration) -> String {
    match delay.as_secs_f64() {
        s if s < 10.0 => format!("{s:.1}s"),
        _ => humantime::format_duration(Duration::from_secs(delay.as_secs())).to_string(),
    }
}
