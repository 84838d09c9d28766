//! What a session, its handler and its forwards know together.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tunneld_core::failure::{Failure, Stage};

use crate::asked::Asked;
use crate::error::timeout_failure;
use crate::openings::Openings;
use crate::trace::Trace;

/// What is known about an established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The server's identification string (RFC 4253 section 4.2).
    pub server: String,
    /// Key exchange algorithm.
    pub kex: String,
    /// Cipher.
    pub cipher: String,
    /// Message authentication; `implicit` where the cipher does it.
    pub mac: String,
    /// Compression of what is sent: `none`, or its method.
    pub compression: String,
    /// Type of the host key.
    pub host_key: String,
}

impl Facts {
    /// Whether the key exchange also withstands a quantum computer: it has ML-KEM (FIPS 203) or
    /// Streamlined NTRU Prime in it.
    pub fn is_post_quantum(&self) -> bool {
        ["mlkem", "sntrup"].iter().any(|k| self.kex.starts_with(k))
    }
}

/// What an attempt waits for.
enum Waiting {
    /// In words.
    For(String),
    /// It likely waits in vain, for this reason.
    EndsWith(Failure),
}

/// What the handler, the session and its forwards share.
pub(crate) struct Shared {
    stage: Mutex<Stage>,
    pub(crate) facts: OnceLock<Facts>,
    ended: watch::Sender<Option<Failure>>,
    /// The words of refused channels.
    pub(crate) openings: Openings,
    key_exchanges: AtomicU32,
    /// How often the server has said something for people.
    banners: AtomicU32,
    /// What an attempt waits for, where its stage does not say it all.
    waiting: Mutex<Option<Waiting>>,
    /// What the server was asked to listen on.
    pub(crate) asked: Arc<Asked>,
    /// Whoever watches the attempt.
    pub(crate) trace: Trace,
}

impl Shared {
    pub(crate) fn new(trace: Trace) -> Arc<Self> {
        Arc::new(Shared {
            stage: Mutex::new(Stage::Resolve),
            facts: OnceLock::new(),
            ended: watch::Sender::new(None),
            openings: Openings::default(),
            key_exchanges: AtomicU32::new(0),
            banners: AtomicU32::new(0),
            waiting: Mutex::default(),
            asked: Arc::default(),
            trace,
        })
    }

    /// How far the session has come.
    pub(crate) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
        *lock(&self.waiting) = None;
    }

    /// What the attempt waits for, within its stage.
    pub(crate) fn waits_for(&self, what: impl Into<String>) {
        *lock(&self.waiting) = Some(Waiting::For(what.into()));
    }

    /// What the attempt fails with, should it still be waiting at the deadline.
    pub(crate) fn ends_with(&self, failure: Failure) {
        *lock(&self.waiting) = Some(Waiting::EndsWith(failure));
    }

    /// What the attempt waits for now.
    pub(crate) fn waited_for(&self) -> String {
        match &*lock(&self.waiting) {
            Some(Waiting::For(what)) => what.clone(),
            _ => String::new(),
        }
    }

    /// What had not happened when the deadline was over.
    pub(crate) fn timed_out(&self, after: Duration) -> Failure {
        let mut failure = timeout_failure(self.stage(), after);
        match &*lock(&self.waiting) {
            Some(Waiting::For(what)) => failure.cause = format!("{}: {what}", failure.cause),
            Some(Waiting::EndsWith(known)) => {
                let cause = format!("{}: {}", failure.cause, known.cause);
                failure = Failure {
                    cause,
                    ..known.clone()
                };
            }
            None => {}
        }
        failure
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

    /// How often keys were exchanged.
    pub(crate) fn key_exchanges(&self) -> u32 {
        self.key_exchanges.load(Ordering::Relaxed)
    }

    /// How often the server has said something for people (RFC 4252 section 5.4).
    pub(crate) fn banners(&self) -> u32 {
        self.banners.load(Ordering::Relaxed)
    }

    pub(crate) fn note_banner(&self) {
        self.banners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_key_exchange(&self) {
        self.key_exchanges.fetch_add(1, Ordering::Relaxed);
    }
}

/// The data behind these locks is replaced in one step, so a panic elsewhere cannot leave it half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
