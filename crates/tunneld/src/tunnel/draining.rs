//! Sessions that take no new connection, and go when those that they have are over.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tunneld_ssh::Session;

/// How many worn sessions may wait for their connections without a limit: one long connection on
/// each must not make them pile up.
const UNHURRIED: usize = 4;

/// The sessions of a tunnel that drain.
#[derive(Default)]
pub(super) struct Draining {
    tasks: JoinSet<()>,
    unhurried: Unhurried,
}

impl Draining {
    /// The connections of this session have `patience`.
    pub(super) fn start(&mut self, session: Session, patience: Duration) {
        self.spawn(session, tokio::time::sleep(patience));
    }

    /// The connections of this session may take all the time they need, until it is the oldest of
    /// too many such sessions: they have `patience` from then on.
    pub(super) fn start_worn(&mut self, session: Session, patience: Duration) {
        let hurried = self.unhurried.add(patience);
        self.spawn(session, async move {
            match hurried.await {
                Ok(patience) => tokio::time::sleep(patience).await,
                Err(_) => pending().await,
            }
        });
    }

    fn spawn(&mut self, session: Session, late: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            tokio::select! {
                () = session.drained() => {}
                _ = session.ended() => {}
                () = late => {}
            }
            session.close().await;
        });
    }

    /// Returns when one of them is gone; never while there is none.
    pub(super) async fn one_gone(&mut self) {
        if self.tasks.join_next().await.is_none() {
            pending().await
        }
    }

    pub(super) fn abort_all(&mut self) {
        self.tasks.abort_all();
    }
}

/// Those that drain without a limit, the oldest first: how to tell each that it has one now. One
/// that nobody listens to is over.
#[derive(Default)]
struct Unhurried(VecDeque<oneshot::Sender<Duration>>);

impl Unhurried {
    /// One more; hears how long it has from then on, if it is ever too many.
    fn add(&mut self, patience: Duration) -> oneshot::Receiver<Duration> {
        self.0.retain(|hurry| !hurry.is_closed());
        let (hurry, hurried) = oneshot::channel();
        self.0.push_back(hurry);
        while self.0.len() > UNHURRIED {
            if let Some(oldest) = self.0.pop_front() {
                // One that is over needs no limit.
                let _ = oldest.send(patience);
            }
        }
        hurried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_worn_session_is_hurried_only_when_it_is_the_oldest_of_too_many() {
        let mut unhurried = Unhurried::default();
        let mut all: Vec<_> = (0..UNHURRIED).map(|_| unhurried.add(PATIENCE)).collect();
        assert!(all.iter_mut().all(|hurried| hurried.try_recv().is_err()));
        all.push(unhurried.add(PATIENCE));
        assert_eq!(all[0].try_recv(), Ok(PATIENCE));
        assert!(all[1..].iter_mut().all(|h| h.try_recv().is_err()));
    }

    #[test]
    fn a_worn_session_that_is_over_counts_no_more() {
        let mut unhurried = Unhurried::default();
        let mut all: Vec<_> = (0..UNHURRIED).map(|_| unhurried.add(PATIENCE)).collect();
        all.remove(2);
        all.push(unhurried.add(PATIENCE));
        assert!(all.iter_mut().all(|hurried| hurried.try_recv().is_err()));
    }
}
