//! What a forward has carried: atomics that its connections add to and snapshots read.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one forward, since it was started.
#[derive(Debug, Default)]
pub struct Counters {
    open: AtomicU64,
    total: AtomicU64,
    refused: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
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
    /// Bytes from clients to the target.
    pub sent: u64,
    /// Bytes from the target to clients.
    pub received: u64,
    /// Why the last refused one was refused.
    pub last_refusal: Option<String>,
}

impl Counters {
    /// The counters now.
    pub fn snapshot(&self) -> Counts {
        Counts {
            open: self.open.load(Relaxed),
            total: self.total.load(Relaxed),
            refused: self.refused.load(Relaxed),
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            last_refusal: self.refusal().clone(),
        }
    }

    /// Connections that are carried, or held until there is a session.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    pub(crate) fn add_sent(&self, n: usize) {
        self.sent.fetch_add(n as u64, Relaxed);
    }

    pub(crate) fn add_received(&self, n: usize) {
        self.received.fetch_add(n as u64, Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn note_refusal(&self, reason: &str) {
        self.refused.fetch_add(1, Relaxed);
        *self.refusal() = Some(reason.to_owned());
    }

    /// The text is replaced in one step, so a panic elsewhere cannot leave it half changed.
    fn refusal(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
