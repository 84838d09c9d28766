//! The phases of a tunnel, and what each event leads to.
//!
//! A [`Lifecycle`] takes events and answers with actions; whoever holds it performs them and
//! reports back. It has no clock and no connection of its own, so every path of it can be tested
//! in a microsecond.
//!
//! ```text
//!              Start                Connected            every forward in place
//!   idle ──────────────▶ connecting ─────────▶ up ◀──────────────────────▶ degraded
//!                          ▲      │             │  ForwardsBroken             │
//!                Due,      │      │ Failed      └──────────────┬──────────────┘
//!                RetryNow  │      ▼                            │ Ended
//!                          └── waiting / blocked ◀─────────────┘
//!
//!   Stop leads from every phase to stopped, and Start from there to connecting.
//! ```

use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::Reconnect;
use crate::failure::{Class, Failure};
use crate::status::Phase;

/// What happened to a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is wanted.
    Start,
    /// It is not wanted any more.
    Stop,
    /// The attempt that was asked for ended in a session.
    Connected,
    /// The attempt that was asked for failed.
    Failed(Failure),
    /// The session ended by itself.
    Ended {
        /// Why.
        failure: Failure,
        /// How long it was up.
        up_for: Duration,
    },
    /// The delay is over.
    Due,
    /// Somebody asks for an attempt now: a signal, a command, a network that came back.
    RetryNow,
    /// The session must be replaced: it goes elsewhere now, or is worn out.
    Replace,
    /// Not every forward is in place (`Some`), or every one is (`None`).
    Forwards(Option<Failure>),
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Make a session; a live one goes on until the new one is there. An attempt that is under way
    /// is given up first.
    Connect,
    /// Let the delay pass, then report [`Event::Due`].
    Wait(Duration),
    /// Ask the live session for a sign of life at once.
    Probe,
    /// End the session and any attempt.
    Close,
}

/// One tunnel's state.
#[derive(Debug)]
pub struct Lifecycle {
    wanted: bool,
    started: bool,
    session: bool,
    attempting: bool,
    attempts: u32,
    failure: Option<Failure>,
    broken: Option<Failure>,
    backoff: Backoff,
    reset_after: Duration,
}

impl Lifecycle {
    /// A tunnel that nobody has asked for yet.
    pub fn new(reconnect: &Reconnect) -> Self {
        Lifecycle {
            wanted: false,
            started: false,
            session: false,
            attempting: false,
            attempts: 0,
            failure: None,
            broken: None,
            backoff: Backoff::new(reconnect),
            reset_after: reconnect.reset_after,
        }
    }

    /// Other delays from now on, from the first one.
    pub fn set_reconnect(&mut self, reconnect: &Reconnect) {
        self.backoff = Backoff::new(reconnect);
        self.reset_after = reconnect.reset_after;
    }

    /// Where the tunnel stands.
    pub fn phase(&self) -> Phase {
        let class = self.failure.as_ref().map(|f| f.class);
        match () {
            () if !self.started => Phase::Idle,
            () if !self.wanted => Phase::Stopped,
            () if self.session && self.broken.is_some() => Phase::Degraded,
            () if self.session => Phase::Up,
            () if self.attempting => Phase::Connecting,
            () if class == Some(Class::Blocked) => Phase::Blocked,
            () => Phase::Waiting,
        }
    }

    /// Attempts since the tunnel was last up.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What is wrong, while it still matters: why there is no session, why the session cannot be
    /// replaced, or which forward is not in place.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref().or(self.broken.as_ref())
    }

    /// Whether a session is to be made: by an attempt under way, or after a delay.
    pub fn is_attempting(&self) -> bool {
        self.attempting
    }

    /// Takes in what happened, and answers with what to do.
    pub fn on(&mut self, event: Event) -> Action {
        match event {
            Event::Stop => self.stop(),
            Event::Start if self.wanted => Action::Nothing,
            Event::Start => {
                self.wanted = true;
                self.started = true;
                self.backoff.reset();
                self.connect()
            }
            // A stopped tunnel may still hear the last of what was under way.
            _ if !self.wanted => Action::Nothing,
            Event::Connected => self.connected(),
            Event::Failed(failure) => self.failed(failure),
            Event::Ended { failure, up_for } => self.ended(failure, up_for),
            Event::Due if self.attempting => Action::Nothing,
            Event::Due => self.connect(),
            Event::RetryNow => self.retry_now(),
            Event::Replace => {
                self.backoff.reset();
                self.failure = None;
                self.connect()
            }
            Event::Forwards(broken) => {
                self.broken = broken;
                Action::Nothing
            }
        }
    }

    fn stop(&mut self) -> Action {
        self.wanted = false;
        self.started = true;
        self.session = false;
        self.attempting = false;
        self.attempts = 0;
        self.failure = None;
        self.broken = None;
        Action::Close
    }

    fn connect(&mut self) -> Action {
        self.attempting = true;
        self.attempts = self.attempts.saturating_add(1);
        Action::Connect
    }

    fn connected(&mut self) -> Action {
        self.session = true;
        self.attempting = false;
        self.attempts = 0;
        self.failure = None;
        Action::Nothing
    }

    fn failed(&mut self, failure: Failure) -> Action {
        self.attempting = false;
        let delay = match failure.class {
            Class::Transient => self.backoff.next_delay(),
            Class::Blocked => self.backoff.ceiling(),
        };
        self.failure = Some(failure);
        Action::Wait(delay)
    }

    fn ended(&mut self, failure: Failure, up_for: Duration) -> Action {
        self.session = false;
        if up_for >= self.reset_after {
            self.backoff.reset();
        }
        if self.attempting {
            // A replacement is already on its way.
            self.failure = Some(failure);
            return Action::Nothing;
        }
        self.failed(failure)
    }

    fn retry_now(&mut self) -> Action {
        match (self.attempting, self.session, &self.failure) {
            (true, _, _) => Action::Nothing,
            // A failure beside a live session is a replacement that is due.
            (false, true, None) => Action::Probe,
            (false, _, _) => self.connect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    const RECONNECT: Reconnect = Reconnect {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        multiplier: 2.0,
        jitter: 0.0,
        reset_after: Duration::from_secs(30),
    };

    fn refused() -> Failure {
        Failure::transient(Stage::Connect, "connection refused")
    }

    fn changed_key() -> Failure {
        Failure::blocked(Stage::HostKey, "host key changed")
    }

    fn ended(up_for: u64) -> Event {
        Event::Ended {
            failure: Failure::transient(Stage::Session, "server closed the connection"),
            up_for: Duration::from_secs(up_for),
        }
    }

    fn wait(seconds: u64) -> Action {
        Action::Wait(Duration::from_secs(seconds))
    }

    /// Feeds events and compares the action and the phase after each.
    fn script(steps: &[(Event, Action, Phase)]) -> Lifecycle {
        let mut life = Lifecycle::new(&RECONNECT);
        assert_eq!(life.phase(), Phase::Idle);
        for (i, (event, action, phase)) in steps.iter().enumerate() {
            assert_eq!(life.on(event.clone()), *action, "step {i}: {event:?}");
            assert_eq!(life.phase(), *phase, "step {i}: {event:?}");
        }
        life
    }

    #[test]
    fn a_tunnel_never_gives_up_and_waits_longer_each_time() {
        use Event::*;
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Failed(refused()), wait(1), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
            (Failed(refused()), wait(2), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
            (Failed(refused()), wait(4), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
        ]);
    }

    #[test]
    fn the_delay_starts_over_only_after_the_session_was_up_for_reset_after() {
        use Event::*;
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Failed(refused()), wait(1), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (ended(29), wait(2), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (ended(30), wait(1), Phase::Waiting),
        ]);
    }

    #[test]
    fn what_a_person_must_fix_is_blocked_and_retried_at_the_ceiling() {
        use Event::*;
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Failed(changed_key()), wait(60), Phase::Blocked),
            (Due, Action::Connect, Phase::Connecting),
            (Failed(changed_key()), wait(60), Phase::Blocked),
            (RetryNow, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
        ]);
    }

    #[test]
    fn try_now_connects_when_down_and_probes_when_up() {
        use Event::*;
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (RetryNow, Action::Nothing, Phase::Connecting),
            (Failed(refused()), wait(1), Phase::Waiting),
            (RetryNow, Action::Connect, Phase::Connecting),
            (Due, Action::Nothing, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (RetryNow, Action::Probe, Phase::Up),
        ]);
    }

    #[test]
    fn a_broken_forward_is_degraded_and_says_which() {
        use Event::*;
        let busy = Failure::transient(
            Stage::Forward,
            "cannot listen on 127.0.0.1:80: permission denied",
        );
        let life = script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (
                Forwards(Some(busy.clone())),
                Action::Nothing,
                Phase::Degraded,
            ),
        ]);
        assert_eq!(life.failure(), Some(&busy));
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Forwards(Some(busy)), Action::Nothing, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Degraded),
            (Forwards(None), Action::Nothing, Phase::Up),
        ]);
    }

    #[test]
    fn a_replaced_session_serves_until_the_new_one_is_there() {
        use Event::*;
        script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (Replace, Action::Connect, Phase::Up),
            (Failed(refused()), wait(1), Phase::Up),
            (Due, Action::Connect, Phase::Up),
            (ended(100), Action::Nothing, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
        ]);
    }

    #[test]
    fn stop_ends_it_from_every_phase_and_start_begins_again() {
        use Event::*;
        script(&[
            (Stop, Action::Close, Phase::Stopped),
            (Start, Action::Connect, Phase::Connecting),
            (Stop, Action::Close, Phase::Stopped),
            (Connected, Action::Nothing, Phase::Stopped),
            (Due, Action::Nothing, Phase::Stopped),
            (Start, Action::Connect, Phase::Connecting),
            (Connected, Action::Nothing, Phase::Up),
            (Stop, Action::Close, Phase::Stopped),
            (ended(1), Action::Nothing, Phase::Stopped),
        ]);
    }

    #[test]
    fn attempts_are_counted_since_the_tunnel_was_last_up() {
        use Event::*;
        let mut life = script(&[
            (Start, Action::Connect, Phase::Connecting),
            (Failed(refused()), wait(1), Phase::Waiting),
            (Due, Action::Connect, Phase::Connecting),
        ]);
        assert_eq!(life.attempts(), 2);
        life.on(Connected);
        assert_eq!((life.attempts(), life.failure()), (0, None));
    }
}
