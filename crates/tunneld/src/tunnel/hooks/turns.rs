//! What the hooks of all tunnels share: how many programs run at once, and who has the word.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tunneld_core::name::TunnelName;
use tunneld_core::status::millis;

/// How many programs run at once.
const AT_ONCE: usize = 32;

/// A tunnel's right to start programs under its name.
type Word = Arc<tokio::sync::Mutex<()>>;

/// Owns the runners of all tunnels.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    config: String,
    running: Semaphore,
    runners: TaskTracker,
    words: Mutex<HashMap<TunnelName, Word>>,
    /// The longest that a tunnel's programs may take at its end, in milliseconds.
    longest: AtomicU64,
    shutdown: CancellationToken,
    abort: CancellationToken,
}

impl Turns {
    /// For the tunnels of the file `config`. After `shutdown` no program gets more than its time;
    /// after `abort` none gets any.
    pub(crate) fn new(
        config: &Path,
        shutdown: CancellationToken,
        abort: CancellationToken,
    ) -> Self {
        Turns(Arc::new(Inner {
            config: config.display().to_string(),
            running: Semaphore::new(AT_ONCE),
            runners: TaskTracker::new(),
            words: Mutex::default(),
            longest: AtomicU64::new(0),
            shutdown,
            abort,
        }))
    }

    /// How long the programs may take after the last tunnel has stopped.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.0.longest.load(Ordering::Relaxed))
    }

    /// Returns when every runner has ended. Only for when there are no tunnels any more.
    pub(crate) async fn ended(&self) {
        self.0.runners.close();
        self.0.runners.wait().await;
    }

    /// The configuration file.
    pub(super) fn config(&self) -> &str {
        &self.0.config
    }

    /// The programs of some tunnel may take so long at its end.
    pub(super) fn may_take(&self, longest: Duration) {
        self.0.longest.fetch_max(millis(longest), Ordering::Relaxed);
    }

    /// Starts a runner. It outlives a tunnel whose task died, but not `abort`.
    pub(super) fn spawn(
        &self,
        runner: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let abort = self.0.abort.clone();
        self.0.runners.spawn(async move {
            // What is dropped is killed.
            let _ = abort.run_until_cancelled(runner).await;
        })
    }

    /// Waits for the right to start programs for the tunnel of that name, of which there may be
    /// two: one that a reload took away and that still drains, and one that another gave back.
    pub(super) async fn word(&self, tunnel: &TunnelName) -> OwnedMutexGuard<()> {
        let word = {
            let mut words = self.0.words.lock().unwrap_or_else(PoisonError::into_inner);
            words.retain(|_, word| Arc::strong_count(word) > 1);
            Arc::clone(words.entry(tunnel.clone()).or_default())
        };
        word.lock_owned().await
    }

    /// Waits until another program may be started.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.running.acquire().await.ok()
    }

    /// Returns when the daemon has waited for one program for `patience`, because it stops.
    pub(super) async fn too_late(&self, patience: Duration) {
        self.0.shutdown.cancelled().await;
        tokio::time::sleep(patience).await;
    }
}
