//! The task that makes and keeps one session with a jump host.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{Target, host_port};
use tunneld_core::failure::Failure;

use super::{Bastion, Bastions, State, Wishes};
use crate::connect::{Progress, establish};
use crate::host_key::TrustCommand;
use crate::session::Session;

/// A bastion and its task, which ends when the last lease has been given back.
pub(super) fn make(
    target: Arc<Target>,
    wishes: Wishes,
    trust: &TrustCommand,
    bastions: Bastions,
) -> (Arc<Bastion>, Pin<Box<dyn Future<Output = ()> + Send>>) {
    let (state_sender, state) = watch::channel(State::Pending);
    let (wishes_sender, wishes_receiver) = watch::channel(wishes);
    let unwanted = CancellationToken::new();
    let bastion = Arc::new(Bastion {
        name: host_port(&target.host, target.port),
        progress: Arc::new(Progress::new(
            trust.at_hop(&target),
            wishes.patience,
            bastions.0.trace.clone(),
        )),
        state,
        wishes: wishes_sender,
        probe: Arc::new(Notify::new()),
        asked: Default::default(),
        _unwanted: unwanted.clone().drop_guard(),
    });
    let task = Task {
        target,
        bastions,
        progress: Arc::clone(&bastion.progress),
        state: state_sender,
        wishes: wishes_receiver,
        probe: Arc::clone(&bastion.probe),
        unwanted,
    };
    // A jump host may be reached over another one: the future would contain itself.
    (bastion, Box::pin(task.run()))
}

struct Task {
    target: Arc<Target>,
    bastions: Bastions,
    progress: Arc<Progress>,
    state: watch::Sender<State>,
    wishes: watch::Receiver<Wishes>,
    probe: Arc<Notify>,
    unwanted: CancellationToken,
}

impl Task {
    async fn run(mut self) {
        match self.attempt().await {
            Some(Ok(session)) => self.keep(session).await,
            Some(Err(failure)) => self.over(failure),
            None => {}
        }
        self.bastions.sweep();
    }

    fn over(&self, failure: Failure) {
        self.state.send_replace(State::Over(failure));
    }

    /// Makes the session; `None` when nobody waits for it any more.
    async fn attempt(&mut self) -> Option<Result<Session, Failure>> {
        let keepalive = self.wishes.borrow().keepalive;
        let attempt = establish(&self.target, keepalive, &self.bastions, &self.progress);
        tokio::pin!(attempt);
        let started = Instant::now();
        loop {
            let patience = self.wishes.borrow_and_update().patience;
            tokio::select! {
                done = &mut attempt => return Some(done),
                () = tokio::time::sleep_until(started + patience) => {
                    return Some(Err(self.progress.timed_out(patience)));
                }
                Ok(()) = self.wishes.changed() => {}
                () = self.unwanted.cancelled() => return None,
            }
        }
    }

    /// Keeps the session until it ends or nobody needs it any more.
    async fn keep(&mut self, mut session: Session) {
        self.state.send_replace(State::Up {
            opener: session.opener(),
            worn: false,
        });
        loop {
            let keepalive = self.wishes.borrow_and_update().keepalive;
            session.set_keepalive(keepalive);
            tokio::select! {
                failure = session.ended() => return self.over(failure),
                () = session.worn() => self.state.send_modify(|state| {
                    if let State::Up { worn, .. } = state {
                        *worn = true;
                    }
                }),
                () = self.probe.notified() => session.probe(),
                Ok(()) = self.wishes.changed() => {}
                () = self.unwanted.cancelled() => return session.close().await,
            }
        }
    }
}
