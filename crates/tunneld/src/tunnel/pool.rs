//! The sessions of one tunnel: the first, which its lifecycle makes, and those beside it.
//!
//! Beside the first there are spares (`min_sessions`), more as connections come (`max_sessions`),
//! and relief: a session that is held back by a client that does not read takes no new
//! connection, and when each one is held back, another one is opened for those that come. What is not
//! needed any more is closed after a while.

mod news;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::backoff::Backoff;
use tunneld_core::config::{Keepalive, Reconnect, SessionCount};
use tunneld_core::failure::{Class, Failure};
use tunneld_ssh::forward::{Entry, Roster, Sessions};
use tunneld_ssh::{Opener, Session};

pub(super) use news::News;

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
    /// A session that lasted this long starts the delays over.
    lasting: Duration,
    /// The sessions are about to be replaced by others that go elsewhere: nothing is made beside them.
    outdated: bool,
    wants_more: bool,
    wants_relief: bool,
    look_at: Option<Instant>,
}

struct Held {
    session: Session,
    relief: bool,
    unused_since: Option<Instant>,
}

impl Held {
    fn new(session: Session, relief: bool) -> Self {
        Held {
            session,
            relief,
            unused_since: None,
        }
    }
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

impl Pool {
    pub(super) fn new(count: SessionCount, reconnect: &Reconnect) -> Self {
        Pool {
            held: Vec::new(),
            roster: Roster::default(),
            count,
            backoff: Backoff::new(reconnect),
            attempt: None,
            next_at: None,
            lasting: lasting(reconnect),
            outdated: false,
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

    /// For opening channels on each of them.
    pub(super) fn openers(&self) -> Vec<Opener> {
        let openers = self.held.iter().map(|held| held.session.opener());
        openers.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn reliefs(&self) -> usize {
        self.held.iter().filter(|held| held.relief).count()
    }

    /// How many are not for relief.
    fn regular(&self) -> usize {
        self.held.len() - self.reliefs()
    }

    /// How many sessions are missing that should always be there.
    pub(super) fn missing(&self) -> usize {
        least(self.count).saturating_sub(self.regular())
    }

    /// Other settings from now on; returns the sessions that are too many now.
    pub(super) fn configure(
        &mut self,
        count: SessionCount,
        reconnect: &Reconnect,
        keepalive: Keepalive,
    ) -> Vec<Session> {
        self.count = count;
        self.backoff = Backoff::new(reconnect);
        self.lasting = lasting(reconnect);
        self.next_at = None;
        for held in &mut self.held {
            held.session.set_keepalive(keepalive);
        }
        let full = !self.has_room();
        self.attempt
            .take_if(|(_, purpose)| full && *purpose != Purpose::Relief);
        let surplus = self.surplus();
        self.publish();
        surplus
    }

    /// Takes out what is above `max_sessions`, those with the fewest connections; never the first.
    fn surplus(&mut self) -> Vec<Session> {
        let mut gone = Vec::new();
        while self.regular() > most(self.count) {
            let others = self.held.iter().enumerate().skip(1);
            let others = others.filter(|(_, held)| !held.relief);
            let Some((at, _)) = others.min_by_key(|(_, held)| held.session.opener().load()) else {
                break;
            };
            gone.push(self.held.remove(at).session);
        }
        gone
    }

    /// The sessions will be replaced by others that go elsewhere: what is being made beside them
    /// is given up.
    pub(super) fn outdate(&mut self) {
        self.attempt = None;
        self.outdated = true;
    }

    /// Takes the first session of a tunnel, and returns those that it replaces.
    pub(super) fn replace(&mut self, session: Session) -> Vec<Session> {
        let old = self.clear();
        self.add(session, false);
        old
    }

    /// Takes a session in the place of the first one, which is worn; the others stay.
    pub(super) fn replace_first(&mut self, session: Session) -> Option<Session> {
        let worn = (!self.held.is_empty()).then(|| self.held.remove(0).session);
        self.held.insert(0, Held::new(session, false));
        self.publish();
        worn
    }

    /// Takes all sessions out; the attempt beside them is given up.
    pub(super) fn clear(&mut self) -> Vec<Session> {
        self.attempt = None;
        self.outdated = false;
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
        self.held.push(Held::new(session, relief));
        match relief {
            true => self.wants_relief = false,
            false => self.wants_more = false,
        }
        self.publish();
        self.plan_look();
    }

    /// What the next session beside the first would be for, if one is needed now.
    pub(super) fn needs(&self) -> Option<Purpose> {
        let early = self.next_at.is_some_and(|at| at > Instant::now());
        if self.attempt.is_some() || early || self.outdated || self.held.is_empty() {
            return None;
        }
        let reliefs = self.reliefs();
        // What was wanted may be there by now.
        let all = |is: fn(&Session) -> bool| self.held.iter().all(|held| is(&held.session));
        let clogged = || all(|session| session.opener().is_clogged());
        let in_use = || all(|session| session.opener().load() > 0);
        match () {
            () if self.missing() > 0 => Some(Purpose::Spare),
            () if self.wants_relief && reliefs < RELIEFS && clogged() => Some(Purpose::Relief),
            () if self.wants_more && self.has_room() && in_use() => Some(Purpose::More),
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
        let mut spare = self.regular().saturating_sub(least(self.count));
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

    /// Whether some session could be closed if it is not used.
    fn could_go(&self) -> bool {
        self.reliefs() > 0 || self.held.len() > least(self.count)
    }

    fn plan_look(&mut self) {
        self.look_at = self.could_go().then(|| Instant::now() + LOOK);
    }

    fn has_room(&self) -> bool {
        self.regular() < most(self.count)
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

/// `min_sessions`.
fn least(count: SessionCount) -> usize {
    usize::try_from(count.min).unwrap_or(usize::MAX)
}

/// `max_sessions`.
fn most(count: SessionCount) -> usize {
    usize::try_from(count.max).unwrap_or(usize::MAX)
}

/// How long a session has to last for its successor to come at once: with `reset_after = 0` too,
/// there is some time from one to the next.
fn lasting(reconnect: &Reconnect) -> Duration {
    reconnect.reset_after.max(reconnect.initial)
}
