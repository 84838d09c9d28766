//! The forwards of one tunnel: started, changed, stopped, and started again when they die.

use std::collections::{HashMap, HashSet};
use std::mem::discriminant;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{ForwardSpec, TunnelSpec};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::name::ForwardName;
use tunneld_ssh::forward::{self, Context, Forward};

use crate::wait;

/// How long connections that are cut have to be reset: no task of a forward waits for anybody then.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

/// How long a forward whose task has died stays down: one that dies over and over must not take a
/// processor.
const REST: Duration = Duration::from_secs(1);

/// Whether a forward can go on as what the file says now: a local one cannot become a remote one.
fn becomes(running: &ForwardSpec, wanted: &ForwardSpec) -> bool {
    let same_side = discriminant(&running.kind) == discriminant(&wanted.kind);
    running.name == wanted.name && same_side
}

/// What there is to do about a forward whose task has died.
pub(crate) enum Fate {
    /// It has just died.
    Died(ForwardName),
    /// It is time to start what is missing again.
    Due,
}

/// The running forwards, in the order of the file.
#[derive(Default)]
pub(crate) struct Forwards {
    running: Vec<Forward>,
    tasks: JoinSet<()>,
    /// Which task is whose; the tasks of removed forwards are not in it.
    names: HashMap<Id, ForwardName>,
    /// The tasks of removed forwards that still carry connections.
    retired: HashSet<Id>,
    /// Resets the connections of removed forwards.
    cut: CancellationToken,
    /// When forwards whose tasks have died are started again.
    revive_at: Option<Instant>,
}

impl Forwards {
    /// Makes the running forwards those of `spec`: what is new is started, what is gone is stopped
    /// with `drain_timeout` for its connections, what has changed is told.
    pub(crate) fn apply(&mut self, spec: &TunnelSpec, context: &Context) {
        let (mut kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|f| {
                spec.forwards
                    .iter()
                    .any(|wanted| becomes(&f.spec(), wanted))
            });
        // Before anything is started: a forward of another kind may have the name of one that goes.
        for forward in gone {
            let name = forward.spec().name;
            let tasks = self.names.extract_if(|_, running| *running == name);
            self.retired.extend(tasks.map(|(id, _)| id));
            self.retire(forward, context.limits.borrow().drain_timeout);
        }
        let mut running = Vec::new();
        for wanted in &spec.forwards {
            match kept.iter().position(|f| f.spec().name == wanted.name) {
                Some(at) => {
                    let forward = kept.swap_remove(at);
                    if forward.spec() != *wanted {
                        forward.set_spec(wanted.clone());
                    }
                    running.push(forward);
                }
                None => running.push(self.start(wanted, context)),
            }
        }
        self.running = running;
        self.revive_at = None;
    }

    fn start(&mut self, spec: &ForwardSpec, context: &Context) -> Forward {
        let (forward, task) = forward::start(spec.clone(), context.clone());
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), spec.name.clone());
        forward
    }

    /// The task of a removed forward ends with its last connection, or after `patience`.
    fn retire(&mut self, forward: Forward, patience: Duration) {
        forward.stop_accepting();
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = cut.cancelled() => {}
            }
            forward.abort();
        });
    }

    /// Returns when the task of a forward that should run has ended, and again when it is time to
    /// [`apply`](Self::apply) what is missing. None ends by itself, so it was a panic.
    pub(crate) async fn fate(&mut self) -> Fate {
        loop {
            let revive_at = self.revive_at;
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    let id = match done {
                        Ok((id, ())) => id,
                        Err(e) => e.id(),
                    };
                    self.retired.remove(&id);
                    if let Some(name) = self.names.remove(&id) {
                        self.running.retain(|f| f.spec().name != name);
                        self.revive_at.get_or_insert(Instant::now() + REST);
                        return Fate::Died(name);
                    }
                }
                () = wait::until(revive_at) => {
                    self.revive_at = None;
                    return Fate::Due;
                }
            }
        }
    }

    /// Stops them all: no new connections, `patience` for those that are carried.
    pub(crate) async fn stop(&mut self, patience: Duration, abort: &CancellationToken) {
        for forward in &self.running {
            forward.stop_accepting();
        }
        let drained = async {
            // The timers of removed forwards are not waited for.
            while !self.names.is_empty() || !self.retired.is_empty() {
                self.one_gone_quietly().await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(patience) => {}
            () = abort.cancelled() => {}
        }
        for forward in &self.running {
            forward.abort();
        }
        self.cut.cancel();
        // What is cut has to be reset: a client could take the end of its task for an end of file.
        let reset = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CUT_PATIENCE, reset).await;
        self.tasks.shutdown().await;
        self.running.clear();
        self.names.clear();
        self.retired.clear();
        self.revive_at = None;
        self.cut = CancellationToken::new();
    }

    async fn one_gone_quietly(&mut self) {
        match self.tasks.join_next_with_id().await {
            None => {
                self.names.clear();
                self.retired.clear();
            }
            Some(Ok((id, ()))) => self.forget(id),
            Some(Err(e)) => self.forget(e.id()),
        }
    }

    fn forget(&mut self, id: Id) {
        self.names.remove(&id);
        self.retired.remove(&id);
    }

    /// The first that is not in place; one that has not tried yet is waited for.
    pub(crate) fn broken(&self) -> Option<Failure> {
        if self.revive_at.is_some() {
            let cause = "a forward's task failed: a bug in tunneld";
            return Some(Failure::transient(Stage::Forward, cause));
        }
        let mut states = self.running.iter().map(Forward::state);
        states.find_map(|state| state.failure().cloned())
    }

    /// Whether it is known of each how it is.
    pub(crate) fn settled(&self) -> bool {
        self.running.iter().all(|f| f.state().settled())
    }

    /// Whether it is known of each whether its listening place is there.
    pub(crate) fn placed(&self) -> bool {
        self.running.iter().all(|f| f.state().place.is_some())
    }

    /// Tries listening places now that could not be bound.
    pub(crate) fn retry_now(&self) {
        for forward in &self.running {
            forward.retry_now();
        }
    }

    /// The running forwards.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Forward> {
        self.running.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_forward_whose_task_has_died_is_not_in_place_until_it_is_due() {
        // It is told at once, and there is a rest before it is started again.
        let mut forwards = Forwards::default();
        assert!(forwards.broken().is_none());
        let name: ForwardName = "web".parse().unwrap();
        let died = Instant::now();
        let task = forwards.tasks.spawn(async {});
        forwards.names.insert(task.id(), name.clone());
        assert!(matches!(forwards.fate().await, Fate::Died(who) if who == name));
        let failure = forwards.broken().unwrap();
        assert_eq!(failure.stage, Stage::Forward);
        assert!(failure.cause.contains("a bug in tunneld"));
        assert!(matches!(forwards.fate().await, Fate::Due));
        assert!(died.elapsed() >= REST);
        assert!(forwards.broken().is_none());
    }

    #[tokio::test]
    async fn a_forward_that_died_before_the_stop_does_not_come_back_after_it() {
        let mut forwards = Forwards::default();
        let task = forwards.tasks.spawn(async {});
        forwards.names.insert(task.id(), "web".parse().unwrap());
        assert!(matches!(forwards.fate().await, Fate::Died(_)));
        let abort = CancellationToken::new();
        forwards.stop(Duration::ZERO, &abort).await;
        assert!(forwards.broken().is_none() && forwards.revive_at.is_none());
    }
}
