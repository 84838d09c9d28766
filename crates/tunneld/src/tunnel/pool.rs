//! The sessions of one tunnel: the first, which its lifecycle makes, and those beside it.
//!
//! Beside the first there are spares (`min_sessions`), more as connections come (`max_sessions`),
//! and relief: a session that is held back by a client that does not read takes no new
//! connection, and when each one is held back, another one is opened for those that come. What is not
//! needed any more is closed after a while.

use std::time::Duration;

use futures_util::future::{pending, select_all};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::backoff::Backoff;
use tunneld_core::config::{Keepalive, Reconnect, SessionCount};
use tunneld_core::failure::{Class, Failure};
use tunneld_ssh::Session;
use tunneld_ssh::forward::{Entry, Roster, Sessions, Want};

use crate::wait;

/// How many sessions of a tunnel may be there for relief: each holds what a client does not read.
const RELIEFS: usize = 4;
/// How long a session that is not needed may be unused before it is closed.
const UNUSED: Duration = Duration::from_secs(15);
/// How often unused sessions are looked for, while there are any that could go.
const LOOK: Duration = Duration::from_secs(5);

/// An attempt to make a session.
pub(super) type Attempt = AbortOnDropHandle<Result<Session, Failure>>;

/// The sessions of a tunnel.
pub(super) struct Pool {
    held: Vec<Held>,
    roster: Roster,
    count: SessionCount,
    backoff: Backoff,
    /// A session beside the first is being made, for this purpose.
    attempt: Option<(Attempt, Purpose)>,
    /// Not before this.
    next_at: Option<Instant>,
    wants_more: bool,
    wants_relief: bool,
    look_at: Option<Instant>,
}

struct Held {
    session: Session,
    relief: bool,
    unused_since: Option<Instant>,
}

/// What a session beside the first is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `min_sessions`.
    Spare,
    /// `max_sessions`.
    More,
    /// Others are clogged.
    Relief,
}

/// What has happened to the sessions.
pub(super) enum News {
    /// One has ended.
    Lost {
        failure: Failure,
        up_for: Duration,
        /// How many are left.
        left: usize,
    },
    /// One has left too much behind in memory.
    Worn(usize),
    /// The attempt for a session beside the first is over.
    Made(Result<Session, Failure>, Purpose),
    /// It is time to see what [`Pool::needs`] says.
    Look,
}

/// What woke the pool up.
enum Wake {
    Ended(Failure, usize),
    Worn(usize),
    Attempt(Result<Result<Session, Failure>, JoinError>, Purpose),
    Wanted(Want),
    Due,
    Look,
}

impl Pool {
    pub(super) fn new(count: SessionCount, reconnect: &Reconnect) -> Self {
        Pool {
            held: Vec::new(),
            roster: Roster::default(),
            count,
            backoff: Backoff::new(reconnect),
            attempt: None,
            next_at: None,
            wants_more: false,
            wants_relief: false,
            look_at: None,
        }
    }

    /// For the forwards.
    pub(super) fn sessions(&self) -> Sessions {
        self.roster.sessions()
    }

    /// The session that the status tells of.
    pub(super) fn first(&self) -> Option<&Session> {
        self.held.first().map(|held| &held.session)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn reliefs(&self) -> usize {
        self.held.iter().filter(|held| held.relief).count()
    }

    /// How many sessions are missing that should always be there.
    pub(super) fn missing(&self) -> usize {
        let regular = self.held.len() - self.reliefs();
        usize::try_from(self.count.min)
            .unwrap_or(usize::MAX)
            .saturating_sub(regular)
    }

    /// Other settings from now on.
    pub(super) fn configure(
        &mut self,
        count: SessionCount,
        reconnect: &Reconnect,
        keepalive: Keepalive,
    ) {
        self.count = count;
        self.backoff = Backoff::new(reconnect);
        self.next_at = None;
        for held in &mut self.held {
            held.session.set_keepalive(keepalive);
        }
        self.publish();
    }

    /// Takes the first session of a tunnel, and returns those that it replaces.
    pub(super) fn replace(&mut self, session: Session) -> Vec<Session> {
        let old = self.clear();
        self.add(session, false);
        old
    }

    /// Takes all sessions out; the attempt beside them is given up.
    pub(super) fn clear(&mut self) -> Vec<Session> {
        self.attempt = None;
        self.next_at = None;
        (self.wants_more, self.wants_relief) = (false, false);
        self.backoff.reset();
        let old = std::mem::take(&mut self.held);
        self.publish();
        old.into_iter().map(|held| held.session).collect()
    }

    /// Takes a session out.
    pub(super) fn take(&mut self, at: usize) -> Option<Session> {
        if at >= self.held.len() {
            return None;
        }
        let held = self.held.remove(at);
        self.promote();
        self.publish();
        Some(held.session)
    }

    /// Takes a session beside the first.
    pub(super) fn add(&mut self, session: Session, relief: bool) {
        self.held.push(Held {
            session,
            relief,
            unused_since: None,
        });
        self.backoff.reset();
        self.publish();
        self.plan_look();
    }

    /// What the next session beside the first would be for, if one is needed now.
    pub(super) fn needs(&self) -> Option<Purpose> {
        let early = self.next_at.is_some_and(|at| at > Instant::now());
        if self.attempt.is_some() || early || self.held.is_empty() {
            return None;
        }
        let reliefs = self.reliefs();
        match () {
            () if self.missing() > 0 => Some(Purpose::Spare),
            () if self.wants_relief && reliefs < RELIEFS => Some(Purpose::Relief),
            () if self.wants_more && self.has_room() => Some(Purpose::More),
            () => None,
        }
    }

    /// A session for this purpose is on its way.
    pub(super) fn making(&mut self, attempt: Attempt, purpose: Purpose) {
        self.attempt = Some((attempt, purpose));
        match purpose {
            Purpose::Spare => {}
            Purpose::More => self.wants_more = false,
            Purpose::Relief => self.wants_relief = false,
        }
    }

    /// An attempt has failed: how long until the next.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let delay = match failure.class {
            Class::Transient => self.backoff.next_delay(),
            // A server bans those who offer it keys that it has rejected.
            Class::Blocked => self.backoff.ceiling(),
        };
        self.next_at = Some(Instant::now() + delay);
        delay
    }

    /// What is missing is tried now, and not after a delay.
    pub(super) fn retry_now(&mut self) {
        self.next_at = None;
    }

    /// Sessions that have not been used for a while and need not be there.
    pub(super) fn unused(&mut self) -> Vec<Session> {
        let now = Instant::now();
        for held in &mut self.held {
            let unused = held.session.opener().load() == 0;
            held.unused_since = unused.then(|| held.unused_since.unwrap_or(now));
        }
        let mut gone = Vec::new();
        let mut spare = (self.held.len() - self.reliefs())
            .saturating_sub(usize::try_from(self.count.min).unwrap_or(usize::MAX));
        let mut at = self.held.len();
        while at > 1 {
            at -= 1;
            let held = &self.held[at];
            let long = held.unused_since.is_some_and(|since| now - since >= UNUSED);
            if !long || !held.relief && spare == 0 {
                continue;
            }
            if !held.relief {
                spare -= 1;
            }
            gone.push(self.held.remove(at).session);
        }
        if !gone.is_empty() {
            self.publish();
        }
        self.plan_look();
        gone
    }

    /// The next thing that happens. Nothing is lost when it is dropped. `may_replace`: whether the
    /// first session can be replaced now.
    pub(super) async fn news(&mut self, may_replace: bool) -> News {
        loop {
            match self.wake(may_replace).await {
                Wake::Ended(failure, at) => {
                    let held = self.held.remove(at);
                    let up_for = held.session.since().elapsed();
                    self.promote();
                    self.publish();
                    let left = self.held.len();
                    return News::Lost {
                        failure,
                        up_for,
                        left,
                    };
                }
                Wake::Worn(at) => return News::Worn(at),
                Wake::Attempt(done, purpose) => {
                    self.attempt = None;
                    let done = done.unwrap_or_else(|_| Err(super::attempt_died()));
                    return News::Made(done, purpose);
                }
                Wake::Wanted(Want::More) => self.wants_more = true,
                Wake::Wanted(Want::Relief) => self.wants_relief = true,
                Wake::Due => self.next_at = None,
                Wake::Look => self.look_at = None,
            }
            if self.needs().is_some() || self.look_at.is_none() && self.could_go() {
                return News::Look;
            }
        }
    }

    async fn wake(&mut self, may_replace: bool) -> Wake {
        let ended = self.held.iter().map(|held| held.session.ended());
        let ended = first_of(ended.map(Box::pin).collect());
        let first = usize::from(!may_replace);
        let others = self.held.get(first..).unwrap_or_default();
        let worn = others.iter().map(|held| held.session.worn());
        let worn = first_of(worn.map(Box::pin).collect());
        let attempt = async {
            match &mut self.attempt {
                Some((attempt, purpose)) => (attempt.await, *purpose),
                None => pending().await,
            }
        };
        let (next_at, look_at) = (self.next_at, self.look_at);
        tokio::select! {
            (failure, at) = ended => Wake::Ended(failure, at),
            ((), at) = worn => Wake::Worn(first + at),
            (done, purpose) = attempt => Wake::Attempt(done, purpose),
            want = self.roster.wanted() => Wake::Wanted(want),
            () = wait::until(next_at), if next_at.is_some() => Wake::Due,
            () = wait::until(look_at), if look_at.is_some() => Wake::Look,
        }
    }

    /// Whether some session could be closed if it is not used.
    fn could_go(&self) -> bool {
        self.reliefs() > 0
            || self.held.len() > usize::try_from(self.count.min).unwrap_or(usize::MAX)
    }

    fn plan_look(&mut self) {
        self.look_at = self.could_go().then(|| Instant::now() + LOOK);
    }

    fn has_room(&self) -> bool {
        let regular = self.held.len() - self.reliefs();
        regular < usize::try_from(self.count.max).unwrap_or(usize::MAX)
    }

    /// The first session is never one for relief.
    fn promote(&mut self) {
        self.held.sort_by_key(|held| held.relief);
        if let Some(first) = self.held.first_mut() {
            first.relief = false;
        }
    }

    fn publish(&self) {
        let entry = |held: &Held| Entry {
            opener: held.session.opener(),
            relief: held.relief,
        };
        let list = self.held.iter().map(entry).collect();
        self.roster.publish(list, self.has_room());
    }
}

/// The first of several futures, and which one it was.
async fn first_of<F: Future + Unpin>(all: Vec<F>) -> (F::Output, usize) {
    if all.is_empty() {
        return pending().await;
    }
    let (done, at, _) = select_all(all).await;
    (done, at)
}
