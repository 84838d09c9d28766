//! The forwards of one tunnel: started, changed, stopped, and started again when they die.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{ForwardSpec, TunnelSpec};
use tunneld_core::failure::Failure;
use tunneld_core::name::ForwardName;
use tunneld_ssh::forward::{self, Context, Forward};

/// The running forwards, in the order of the file.
#[derive(Default)]
pub(crate) struct Forwards {
    running: Vec<Forward>,
    tasks: JoinSet<()>,
    /// Which task is whose; the tasks of removed forwards are not in it.
    names: HashMap<Id, ForwardName>,
}

impl Forwards {
    /// Makes the running forwards those of `spec`: what is new is started, what is gone is stopped
    /// with `drain_timeout` for its connections, what has changed is told.
    pub(crate) fn apply(&mut self, spec: &TunnelSpec, context: &Context) {
        let mut old = std::mem::take(&mut self.running);
        let mut running = Vec::new();
        for wanted in &spec.forwards {
            let same = |f: &Forward| f.spec().name == wanted.name;
            match old.iter().position(same) {
                Some(at) => {
                    let forward = old.swap_remove(at);
                    if forward.spec() != *wanted {
                        forward.set_spec(wanted.clone());
                    }
                    running.push(forward);
                }
                None => running.push(self.start(wanted, context)),
            }
        }
        self.running = running;
        for forward in old {
            let name = forward.spec().name;
            self.names.retain(|_, running| *running != name);
            self.retire(forward, context.limits.borrow().drain_timeout);
        }
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
        self.tasks.spawn(async move {
            tokio::time::sleep(patience).await;
            forward.abort();
        });
    }

    /// Returns when the task of a forward that should run has ended: by a panic, since none ends
    /// by itself.
    pub(crate) async fn one_gone(&mut self) {
        loop {
            let id = match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, ()))) => id,
                Some(Err(e)) => e.id(),
            };
            if let Some(name) = self.names.remove(&id) {
                self.running.retain(|f| f.spec().name != name);
                return;
            }
        }
    }

    /// Starts what [`one_gone`](Self::one_gone) has missed.
    pub(crate) fn revive(&mut self, spec: &TunnelSpec, context: &Context) {
        tracing::error!(
            message_id = tunneld_core::events::TUNNEL_PANICKED,
            tunnel = %spec.name,
            "a forward's task failed and is started again: a bug in tunneld"
        );
        self.apply(spec, context);
    }

    /// Stops them all: no new connections, `patience` for those that are carried.
    pub(crate) async fn stop(&mut self, patience: Duration, abort: &CancellationToken) {
        for forward in &self.running {
            forward.stop_accepting();
        }
        let drained = async {
            // Retired forwards hold a timer here; those that are running end on their own.
            while !self.names.is_empty() {
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
        self.running.clear();
        self.names.clear();
        self.tasks.shutdown().await;
    }

    async fn one_gone_quietly(&mut self) {
        match self.tasks.join_next_with_id().await {
            None => self.names.clear(),
            Some(Ok((id, ()))) => {
                self.names.remove(&id);
            }
            Some(Err(e)) => {
                self.names.remove(&e.id());
            }
        }
    }

    /// The first that is not in place; one that has not tried yet is waited for.
    pub(crate) fn broken(&self) -> Option<Failure> {
        let states = self.running.iter().map(|f| f.state().borrow().clone());
        states.flatten().find_map(Result::err)
    }

    /// Whether each has tried its listening place.
    pub(crate) fn settled(&self) -> bool {
        self.running.iter().all(|f| f.state().borrow().is_some())
    }

    /// The running forwards.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Forward> {
        self.running.iter()
    }
}
