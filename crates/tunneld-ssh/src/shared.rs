//! What a session, its handler and its forwards know together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use russh::ChannelOpenFailure;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::clip;

use crate::asked::Asked;
use crate::error::printable;

/// What is known about an established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The server's identification string (RFC 4253 section 4.2).
    pub server: String,
    /// Key exchange algorithm.
    pub kex: String,
    /// Cipher.
    pub cipher: String,
    /// Type of the host key.
    pub host_key: String,
}

/// What the handler, the session and its forwards share.
pub(crate) struct Shared {
    stage: Mutex<Stage>,
    pub(crate) facts: OnceLock<Facts>,
    ended: watch::Sender<Option<Failure>>,
    refusals: Mutex<VecDeque<Refusal>>,
    refused: Notify,
    key_exchanges: AtomicU32,
    /// What the server was asked to listen on.
    pub(crate) asked: Arc<Asked>,
}

struct Refusal {
    at: Instant,
    reason: ChannelOpenFailure,
    text: String,
}

/// The texts of refused channels that nobody has asked for are dropped beyond this many.
const MAX_REFUSALS: usize = 64;
/// How long the text of a refusal may come after its code.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Shared {
            stage: Mutex::new(Stage::Resolve),
            facts: OnceLock::new(),
            ended: watch::Sender::new(None),
            refusals: Mutex::new(VecDeque::new()),
            refused: Notify::new(),
            key_exchanges: AtomicU32::new(0),
            asked: Arc::default(),
        })
    }

    /// How far the session has come.
    pub(crate) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }

    /// Records why the session ended. The first reason is the true one.
    pub(crate) fn end(&self, failure: Failure) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(failure);
            }
            first
        });
    }

    pub(crate) fn ended(&self) -> watch::Receiver<Option<Failure>> {
        self.ended.subscribe()
    }

    /// The server's own words for a refused channel. russh reports the code to whoever asked for
    /// the channel and the words to the handler, in the same order.
    pub(crate) async fn refusal_text(&self, reason: &ChannelOpenFailure) -> Option<String> {
        let find = || {
            let mut queue = lock(&self.refusals);
            // Whoever should have fetched those has given up.
            queue.retain(|r| r.at.elapsed() <= REFUSAL_PATIENCE);
            let at = queue.iter().position(|r| r.reason == *reason)?;
            queue.remove(at).map(|r| r.text)
        };
        let wait = async {
            loop {
                let notified = self.refused.notified();
                if let Some(text) = find() {
                    return text;
                }
                notified.await;
            }
        };
        tokio::time::timeout(REFUSAL_PATIENCE, wait).await.ok()
    }

    /// How often keys were exchanged.
    pub(crate) fn key_exchanges(&self) -> u32 {
        self.key_exchanges.load(Ordering::Relaxed)
    }

    pub(crate) fn note_key_exchange(&self) {
        self.key_exchanges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_refusal(&self, reason: ChannelOpenFailure, text: &str) {
        let mut queue = lock(&self.refusals);
        if queue.len() >= MAX_REFUSALS {
            queue.pop_front();
        }
        queue.push_back(Refusal {
            at: Instant::now(),
            reason,
            text: clip(&printable(text), 200),
        });
        drop(queue);
        self.refused.notify_waiters();
    }
}

/// The data behind these locks is replaced in one step, so a panic elsewhere cannot leave it half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
