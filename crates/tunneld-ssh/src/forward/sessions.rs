//! The sessions of a tunnel, and which one takes the next connection.
//!
//! A session that is held back by a client that does not read takes none while another one can.
//! What is missing is asked of the tunnel, which owns the sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

use crate::opener::Opener;

/// A session that connections may go to.
#[derive(Clone)]
pub struct Entry {
    /// Opens channels on it.
    pub opener: Opener,
    /// It is there because others are clogged, and goes when it is not used.
    pub relief: bool,
}

/// What connections would like the tunnel to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// One more session: each one has connections already.
    More,
    /// A session that is not clogged: each one is.
    Relief,
}

/// The tunnel's side: says which sessions there are, the one for remote forwards first, and hears
/// what is missing.
#[derive(Default)]
pub struct Roster {
    list: watch::Sender<Vec<Entry>>,
    demand: Arc<Demand>,
}

#[derive(Default)]
struct Demand {
    /// Whether there may be more sessions.
    room: AtomicBool,
    more: AtomicBool,
    relief: AtomicBool,
    wanted: Notify,
}

impl Roster {
    /// The sessions from now on; `room`: whether more than these may be asked for.
    pub fn publish(&self, list: Vec<Entry>, room: bool) {
        self.demand.room.store(room, Ordering::Relaxed);
        self.list.send_replace(list);
    }

    /// For the forwards.
    pub fn sessions(&self) -> Sessions {
        Sessions {
            list: self.list.subscribe(),
            demand: Arc::clone(&self.demand),
        }
    }

    /// Returns when something is missing. Nothing is lost when it is dropped.
    pub async fn wanted(&self) -> Want {
        loop {
            let notified = self.demand.wanted.notified();
            if self.demand.relief.swap(false, Ordering::AcqRel) {
                return Want::Relief;
            }
            if self.demand.more.swap(false, Ordering::AcqRel) {
                return Want::More;
            }
            notified.await;
        }
    }
}

/// The forwards' side.
#[derive(Clone)]
pub struct Sessions {
    list: watch::Receiver<Vec<Entry>>,
    demand: Arc<Demand>,
}

/// What there is for a connection.
pub(crate) enum Choice {
    /// This session.
    Session(Opener),
    /// This one if it must be: it is clogged.
    Clogged(Opener),
    /// No session.
    Nothing,
}

impl Sessions {
    /// The session for the next connection, and asks for one if it is missing.
    pub(crate) fn choose(&self) -> Choice {
        let choice = self.look();
        let demand = &self.demand;
        match &choice {
            Choice::Session(session) if session.load() > 0 && demand.has_room() => {
                demand.ask(&demand.more);
            }
            Choice::Clogged(_) => demand.ask(&demand.relief),
            Choice::Session(_) | Choice::Nothing => {}
        }
        choice
    }

    /// The least used session that is not clogged; one that is there for relief only when all others
    /// are.
    pub(crate) fn look(&self) -> Choice {
        let list = self.list.borrow();
        let live = || list.iter().filter(|entry| entry.opener.is_live());
        let load = |entry: &&Entry| entry.opener.load();
        let clear = |relief| {
            let fits = move |entry: &&Entry| entry.relief == relief && !entry.opener.is_clogged();
            live().filter(fits).min_by_key(load)
        };
        let found = clear(false).or_else(|| clear(true));
        match (found, live().min_by_key(load)) {
            (Some(entry), _) => Choice::Session(entry.opener.clone()),
            (None, Some(entry)) => Choice::Clogged(entry.opener.clone()),
            (None, None) => Choice::Nothing,
        }
    }

    /// The session for remote forwards.
    pub(crate) fn first(&self) -> Option<Opener> {
        let list = self.list.borrow();
        let mut live = list.iter().filter(|entry| entry.opener.is_live());
        live.next().map(|entry| entry.opener.clone())
    }

    /// Returns when the sessions have changed since this was last called; for ever pending when
    /// the tunnel is gone.
    pub(crate) async fn changed(&mut self) {
        if self.list.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Demand {
    fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed)
    }

    fn ask(&self, what: &AtomicBool) {
        if !what.swap(true, Ordering::AcqRel) {
            self.wanted.notify_one();
        }
    }
}
