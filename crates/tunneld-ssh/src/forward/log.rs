//! The log lines of one forward; repeats are kept back.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
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
    /// Told when a line was kept back.
    kept_back: Notify,
}

#[derive(Default)]
struct Said {
    listen: Repeats,
    paused: Repeats,
    refused: Repeats<(Peer, String)>,
    stalled: Repeats<(Peer, Duration)>,
}

/// How often what was kept back is looked through.
const LOOK: Duration = Duration::from_secs(60);

impl ForwardLog {
    pub(crate) fn new(tunnel: TunnelName, name: ForwardName) -> Self {
        ForwardLog {
            tunnel,
            name,
            started: Instant::now(),
            said: Mutex::default(),
            kept_back: Notify::new(),
        }
    }

    /// Says `text` unless it was said just now; with how often it was not said meanwhile.
    fn say(&self, of: impl Fn(&mut Said) -> &mut Repeats, text: &str, line: impl FnOnce(u32)) {
        let now = self.started.elapsed();
        let say = of(&mut self.lock()).say(text, now);
        if let Some(suppressed) = say.said() {
            line(suppressed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, of: impl Fn(&mut Said) -> &mut Repeats) {
        of(&mut self.lock()).clear();
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
        let one = (peer.clone(), reason.to_owned());
        let said = self
            .lock()
            .refused
            .say_one(kind, one, self.started.elapsed());
        match said {
            Some(refused) => self.tell_refused(refused),
            None => self.kept_back.notify_one(),
        }
    }

    fn tell_refused(&self, ((peer, reason), suppressed): ((Peer, String), u32)) {
        tracing::warn!(
            message_id = events::CONNECTION_REFUSED,
            tunnel = %self.tunnel,
            forward = %self.name,
            peer = %peer,
            suppressed,
            "connection refused: {reason}"
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
        let one = (peer.clone(), after);
        let said = self.lock().stalled.say_one("", one, self.started.elapsed());
        match said {
            Some(stalled) => self.tell_stalled(stalled),
            None => self.kept_back.notify_one(),
        }
    }

    fn tell_stalled(&self, ((peer, after), suppressed): ((Peer, Duration), u32)) {
        tracing::warn!(
            message_id = events::CONNECTION_STALLED,
            tunnel = %self.tunnel,
            forward = %self.name,
            peer = %peer,
            suppressed,
            "connection reset: the client took nothing for {}s while its backlog was full (stall_timeout)",
            after.as_secs_f64()
        );
    }

    /// Tells in time what was kept back, also where nothing like it comes any more. Never ends.
    pub(crate) async fn remind(&self) {
        loop {
            self.kept_back.notified().await;
            let mut more = true;
            while more {
                tokio::time::sleep(LOOK).await;
                more = self.remind_at(self.started.elapsed());
            }
        }
    }

    /// Returns whether there is more that nobody was told of.
    fn remind_at(&self, now: Duration) -> bool {
        let (refused, stalled, more) = {
            let mut said = self.lock();
            let (refused, stalled) = (said.refused.overdue(now), said.stalled.overdue(now));
            let more = said.refused.keep_back() || said.stalled.keep_back();
            (refused, stalled, more)
        };
        refused.into_iter().for_each(|one| self.tell_refused(one));
        stalled.into_iter().for_each(|one| self.tell_stalled(one));
        more
    }
}

#[cfg(test)]
mod tests;
