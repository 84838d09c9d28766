//! Sessions with jump hosts, shared by the tunnels that go over them.
//!
//! Whoever needs one takes a lease. The first lease starts the attempt, the last one that is given
//! back ends the attempt or closes the session. One that has failed, has ended or does not answer
//! is never handed out again.

mod task;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use tunneld_core::config::{Keepalive, Target};
use tunneld_core::failure::{Failure, Stage};

use crate::connect::Progress;
use crate::host_key::TrustCommand;
use crate::opener::Opener;
use crate::trace::Trace;

/// How long a session that has ended may take to say why.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

/// What the roads of all tunnels rest on: the sessions with jump hosts, which they share, and the
/// programs of `proxy_command`.
#[derive(Clone, Default)]
pub struct Bastions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    list: Mutex<Vec<(Arc<Target>, Weak<Bastion>)>>,
    tasks: TaskTracker,
    trace: Trace,
}

impl Bastions {
    /// As the default, and `trace` is told of each step of the attempts.
    pub fn traced(trace: Trace) -> Self {
        Bastions(Arc::new(Inner {
            trace,
            ..Inner::default()
        }))
    }

    /// Returns once all of it has been taken down in good order, which begins when the last
    /// session that rests on it is dropped, and takes a few seconds at the most.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The tasks that keep roads up.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// A lease of the session with `target`, which may still have to be made. An attempt goes on
    /// for the longest `patience` of those who wait for it. `trust` is for a tunnel that goes over it.
    pub(super) fn take(
        &self,
        target: &Arc<Target>,
        keepalive: Keepalive,
        patience: Duration,
        trust: &TrustCommand,
    ) -> Arc<Bastion> {
        let wishes = Wishes {
            keepalive,
            patience,
        };
        let mut list = self.list();
        let found = list.iter().find(|(of, _)| of == target);
        if let Some(bastion) = found.and_then(|(_, bastion)| bastion.upgrade())
            && bastion.is_fit()
        {
            bastion.wish(wishes);
            return bastion;
        }
        let (bastion, task) = task::make(Arc::clone(target), wishes, trust, self.clone());
        list.retain(|(of, _)| of != target);
        list.push((Arc::clone(target), Arc::downgrade(&bastion)));
        self.0.tasks.spawn(task);
        bastion
    }

    /// Forgets what will not be handed out any more.
    fn sweep(&self) {
        self.list()
            .retain(|(_, bastion)| bastion.upgrade().is_some_and(|b| b.is_fit()));
    }

    /// It is changed in steps that a panic cannot leave half done.
    fn list(&self) -> MutexGuard<'_, Vec<(Arc<Target>, Weak<Bastion>)>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with a jump host, or the attempt to make one. Whoever holds it has a lease.
pub(super) struct Bastion {
    /// `host:port`.
    pub(super) name: String,
    /// How far the attempt has come.
    pub(super) progress: Arc<Progress>,
    state: watch::Receiver<State>,
    wishes: watch::Sender<Wishes>,
    probe: Arc<Notify>,
    /// When it was last asked for a sign of life.
    asked: Mutex<Option<Instant>>,
    _unwanted: DropGuard,
}

enum State {
    Pending,
    Up {
        opener: Opener,
        /// It should be replaced for what it has left behind in memory.
        worn: bool,
    },
    /// The attempt has failed, or the session has ended.
    Over(Failure),
}

/// What those who share a session want of it, taken together.
#[derive(Clone, Copy)]
struct Wishes {
    keepalive: Keepalive,
    patience: Duration,
}

impl Bastion {
    /// Returns once the session is there, or why it could not be made.
    pub(super) async fn ready(&self) -> Result<Opener, Failure> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Pending));
        match settled.await.as_deref() {
            Ok(State::Up { opener, .. }) => Ok(opener.clone()),
            Ok(State::Over(failure)) => Err(failure.clone()),
            Ok(State::Pending) | Err(_) => Err(unknown()),
        }
    }

    /// Why the session has ended.
    pub(super) async fn why_over(&self) -> Failure {
        let mut state = self.state.clone();
        let over = state.wait_for(|state| matches!(state, State::Over(_)));
        match tokio::time::timeout(REASON_PATIENCE, over).await {
            Ok(Ok(state)) => match &*state {
                State::Over(failure) => failure.clone(),
                State::Pending | State::Up { .. } => unknown(),
            },
            Ok(Err(_)) | Err(_) => unknown(),
        }
    }

    /// It is not certain that the session lives: asks for a sign of life.
    pub(super) fn doubt(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.probe.notify_one();
    }

    /// Whether somebody else may use it.
    fn is_fit(&self) -> bool {
        let tended = self.state.has_changed().is_ok();
        tended
            && match &*self.state.borrow() {
                State::Pending => true,
                State::Up { opener, worn } => !worn && opener.is_live() && self.answers(opener),
                State::Over(_) => false,
            }
    }

    /// Whether anything was heard since a sign of life was asked for.
    fn answers(&self, opener: &Opener) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.is_none_or(|at| opener.link().last_heard() > at)
    }

    fn wish(&self, wishes: Wishes) {
        self.wishes.send_modify(|have| {
            have.patience = have.patience.max(wishes.patience);
            if is_sooner(&wishes.keepalive, &have.keepalive) {
                have.keepalive = wishes.keepalive;
            }
        });
    }
}

/// Whether `a` finds a dead server sooner than `b`.
fn is_sooner(a: &Keepalive, b: &Keepalive) -> bool {
    match (a.detection(), b.detection()) {
        (Some(a), Some(b)) => a < b,
        (a, None) => a.is_some(),
        (None, Some(_)) => false,
    }
}

fn unknown() -> Failure {
    Failure::transient(Stage::Session, "the session ended")
}

#[cfg(test)]
mod tests;
