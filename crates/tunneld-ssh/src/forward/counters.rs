//! What a forward has carried: atomics that its connections add to and snapshots read.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tunneld_core::refusal::Refusal;

/// Counters of one forward, since it was started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Whether the clients are at the server's side.
    remote: bool,
    open: AtomicU64,
    total: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: [AtomicU64; Refusal::ALL.len()],
    stalled: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    last_refusal: Mutex<Option<String>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that are carried, or held until there is a session.
    pub open: u64,
    /// Connections that were accepted.
    pub total: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// The same by reason; those that there were.
    pub refused_by: BTreeMap<Refusal, u64>,
    /// Connections that were reset because their client took nothing.
    pub stalled: u64,
    /// Bytes from clients to the target.
    pub sent: u64,
    /// Bytes from the target to clients.
    pub received: u64,
    /// Why the last refused one was refused.
    pub last_refusal: Option<String>,
}

impl Counters {
    /// For a forward whose clients are at the server's side, or at ours.
    pub(crate) fn new(remote: bool) -> Self {
        Counters {
            remote,
            ..Counters::default()
        }
    }

    /// The counters now.
    pub fn snapshot(&self) -> Counts {
        let (up, down) = (self.up.load(Relaxed), self.down.load(Relaxed));
        let (sent, received) = match self.remote {
            false => (up, down),
            true => (down, up),
        };
        let refused_by = self.refused_by();
        Counts {
            open: self.open.load(Relaxed),
            total: self.total.load(Relaxed),
            refused: refused_by.values().sum(),
            refused_by,
            stalled: self.stalled.load(Relaxed),
            sent,
            received,
            last_refusal: self.last_refusal(),
        }
    }

    /// Connections that are carried, or held until there is a session.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Bytes went from our side to the server's.
    pub(crate) fn add_up(&self, n: usize) {
        self.up.fetch_add(n as u64, Relaxed);
    }

    /// Bytes came from the server's side to ours.
    pub(crate) fn add_down(&self, n: usize) {
        self.down.fetch_add(n as u64, Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// How many connections were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn refused_by(&self) -> BTreeMap<Refusal, u64> {
        let counts = self.refused.iter().map(|count| count.load(Relaxed));
        let all = Refusal::ALL.into_iter().zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Why the last refused connection was refused.
    pub(crate) fn last_refusal(&self) -> Option<String> {
        self.refusal().clone()
    }

    pub(crate) fn note_refusal(&self, why: Refusal, reason: &str) {
        *self.refusal() = Some(reason.to_owned());
        let counts = Refusal::ALL.iter().zip(&self.refused);
        for (_, count) in counts.filter(|(of, _)| **of == why) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A connection was reset because its client took nothing.
    pub(crate) fn note_stall(&self) {
        self.stalled.fetch_add(1, Relaxed);
    }

    /// The text is replaced in one step, so a panic elsewhere cannot leave it half changed.
    fn refusal(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
