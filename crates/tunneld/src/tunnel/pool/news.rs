//! What happens to the sessions of a tunnel.

use std::time::Duration;

use futures_util::future::{pending, select_all};
use tokio::task::JoinError;
use tokio::time::Instant;
use tunneld_core::failure::Failure;
use tunneld_ssh::Session;
use tunneld_ssh::forward::Want;

use super::{Pool, Purpose};
use crate::wait;

/// What has happened to the sessions.
pub(in super::super) enum News {
    /// One has ended.
    Lost {
        failure: Failure,
        up_for: Duration,
        /// Whether it was up for so long that its loss says nothing about the next one.
        lasted: bool,
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
    /// The next thing that happens. Nothing is lost when it is dropped. `may_replace`: whether the
    /// first session can be replaced now.
    pub(in super::super) async fn news(&mut self, may_replace: bool) -> News {
        loop {
            match self.wake(may_replace).await {
                Wake::Ended(failure, at) => return self.lost(failure, at),
                Wake::Worn(at) => return News::Worn(at),
                Wake::Attempt(done, purpose) => {
                    self.attempt = None;
                    let done = done.unwrap_or_else(|_| Err(super::super::attempt_died()));
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

    /// A session is lost. A server that lets sessions in and throws them out, one that has a limit
    /// of them, is not hammered; the successor of a session that lasted is made at once.
    fn lost(&mut self, failure: Failure, at: usize) -> News {
        let up_for = self.held.remove(at).session.since().elapsed();
        let lasted = up_for >= self.lasting;
        if lasted {
            self.backoff.reset();
        } else {
            let soonest = Instant::now() + self.backoff.next_delay();
            self.next_at = self.next_at.max(Some(soonest));
        }
        self.promote();
        self.publish();
        News::Lost {
            failure,
            up_for,
            lasted,
            left: self.held.len(),
        }
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
