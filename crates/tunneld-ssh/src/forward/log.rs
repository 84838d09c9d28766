//! The log lines of one forward; repeats are kept back.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tunneld_core::events;
use tunneld_core::failure::Failure;
use tunneld_core::name::{ForwardName, TunnelName};
use tunneld_core::repeats::Repeats;

use super::Peer;
use crate::error::os_reason;
use crate::pump::End;

/// Says what happens to a forward and to its connections.
pub(crate) struct ForwardLog {
    tunnel: TunnelName,
    name: ForwardName,
    started: Instant,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    listen: Repeats,
    refused: Repeats,
    paused: Repeats,
    stalled: Repeats,
}

impl ForwardLog {
    pub(crate) fn new(tunnel: TunnelName, name: ForwardName) -> Self {
        ForwardLog {
            tunnel,
            name,
            started: Instant::now(),
            said: Mutex::default(),
        }
    }

    /// Says `text` unless it was said just now; with how often it was not said meanwhile.
    fn say(&self, of: impl Fn(&mut Said) -> &mut Repeats, text: &str, line: impl FnOnce(u32)) {
        let now = self.started.elapsed();
        let say = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            of(&mut said).say(text, now)
        };
        if let Some(suppressed) = say.said() {
            line(suppressed);
        }
    }

    fn forget(&self, of: impl Fn(&mut Said) -> &mut Repeats) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        of(&mut said).clear();
    }

    pub(crate) fn listening(&self, listen: &str) {
        self.forget(|said| &mut said.listen);
        tracing::info!(
            message_id = events::LISTENING,
            tunnel = %self.tunnel,
            forward = %self.name,
            "listening on {listen}"
        );
    }

    /// The listening place is not there, and is tried again.
    pub(crate) fn cannot_listen(&self, failure: &Failure) {
        self.say(
            |said| &mut said.listen,
            &failure.cause,
            |suppressed| {
                tracing::warn!(
                    message_id = events::LISTEN_FAILED,
                    tunnel = %self.tunnel,
                    forward = %self.name,
                    stage = %failure.stage,
                    class = %failure.class,
                    hint = failure.hint.as_deref(),
                    suppressed,
                    "{}; trying again", failure.cause
                );
            },
        );
    }

    pub(crate) fn paused(&self, listen: &str, e: &io::Error, pause: Duration) {
        let reason = os_reason(e);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.say(
            |said| &mut said.paused,
            &reason,
            |suppressed| {
                tracing::warn!(
                    message_id = events::LISTENER_PAUSED,
                    tunnel = %self.tunnel,
                    forward = %self.name,
                    listen,
                    limit,
                    suppressed,
                    "listener paused {}s: {reason}",
                    pause.as_secs()
                );
            },
        );
    }

    pub(crate) fn refused(&self, peer: &Peer, kind: &str, reason: &str) {
        self.say(
            |said| &mut said.refused,
            kind,
            |suppressed| {
                tracing::warn!(
                    message_id = events::CONNECTION_REFUSED,
                    tunnel = %self.tunnel,
                    forward = %self.name,
                    peer = %peer,
                    suppressed,
                    "connection refused: {reason}"
                );
            },
        );
    }

    pub(crate) fn opened(&self, peer: &Peer, to: &str) {
        tracing::debug!(
            tunnel = %self.tunnel,
            forward = %self.name,
            peer = %peer,
            to,
            "connection opened"
        );
    }

    pub(crate) fn closed(&self, peer: &Peer, end: End) {
        tracing::debug!(
            tunnel = %self.tunnel,
            forward = %self.name,
            peer = %peer,
            end = ?end,
            "connection closed"
        );
    }

    pub(crate) fn stalled(&self, peer: &Peer, after: Duration) {
        self.say(
            |said| &mut said.stalled,
            "",
            |suppressed| {
                tracing::warn!(
                    message_id = events::CONNECTION_STALLED,
                    tunnel = %self.tunnel,
                    forward = %self.name,
                    peer = %peer,
                    suppressed,
                    "connection reset: the client took nothing for {}s while its backlog was full (stall_timeout)",
                    after.as_secs_f64()
                );
            },
        );
    }
}
