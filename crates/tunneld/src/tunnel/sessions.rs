//! What a tunnel does when its sessions come and go.

use std::time::Duration;

use tunneld_core::failure::Failure;
use tunneld_core::lifecycle::Event;
use tunneld_ssh::Session;

use super::Tunnel;
use super::pool::{News, Purpose};

impl Tunnel {
    pub(super) async fn established(&mut self, mut session: Session) {
        self.adopt(&mut session);
        self.log.established(&session, self.life.attempts());
        let patience = self.limits.borrow().drain_timeout;
        if std::mem::take(&mut self.worn) {
            if let Some(worn) = self.pool.replace_first(session) {
                self.log.replaced();
                self.draining.start_worn(worn, patience);
            }
        } else {
            let old = self.pool.replace(session);
            if !old.is_empty() {
                self.log.replaced();
            }
            self.drain(old);
        }
        // The forwards first, so that `up` is not said before they are in place.
        self.look_at_forwards().await;
        self.on(Event::Connected).await;
        self.tend_pool();
    }

    /// Makes a session one of the tunnel's.
    fn adopt(&mut self, session: &mut Session) {
        // The file may say something else since the attempt began.
        session.set_keepalive(self.spec.keepalive);
        session.opener().count_round_trips(&self.round_trips);
        self.sessions += 1;
    }

    pub(super) async fn pool_news(&mut self, news: News) {
        match news {
            News::Lost {
                failure,
                up_for,
                left: 0,
                ..
            } => self.ended(failure, up_for).await,
            News::Lost {
                failure,
                lasted,
                left,
                ..
            } => self.log.lost(&failure, lasted, left),
            News::Worn(0) => {
                self.worn = true;
                self.on(Event::Replace).await;
            }
            // Its successor is made when it is needed.
            News::Worn(at) => {
                if let Some(old) = self.pool.take(at) {
                    let patience = self.limits.borrow().drain_timeout;
                    self.draining.start_worn(old, patience);
                }
            }
            News::Made(Ok(mut session), purpose) => {
                self.adopt(&mut session);
                self.log.another(&session, purpose);
                self.pool.add(session, purpose == Purpose::Relief);
            }
            News::Made(Err(failure), purpose) => {
                let delay = self.pool.failed(&failure);
                self.log.not_another(&failure, purpose, delay);
            }
            News::Look => {}
        }
        self.tend_pool();
    }

    /// Makes the sessions that are needed beside the first, and lets go of those that are not.
    pub(super) fn tend_pool(&mut self) {
        // One that a client has just taken is let go of when that client has.
        let unused = self.pool.unused();
        self.drain(unused);
        if let Some(purpose) = self.pool.needs() {
            let attempt = self.connect();
            self.pool.making(attempt, purpose);
        }
    }

    /// Lets the connections of sessions that are not used any more come to their end.
    pub(super) fn drain(&mut self, old: Vec<Session>) {
        let patience = self.limits.borrow().drain_timeout;
        for old in old {
            self.draining.start(old, patience);
        }
    }

    pub(super) async fn ended(&mut self, failure: Failure, up_for: Duration) {
        self.pool.clear();
        self.worn = false;
        self.on(Event::Ended { failure, up_for }).await;
    }
}
