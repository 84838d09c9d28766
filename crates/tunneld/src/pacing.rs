//! A small budget of attempts for each host.
//!
//! sshd begins to refuse connections when ten of them are not authenticated yet (MaxStartups
//! 10:30:100), and so do firewalls that count. Fifty tunnels to one host come up a few at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many attempts to one host run at once.
const AT_ONCE: usize = 4;

/// By host and port.
type Hosts = HashMap<(String, u16), Arc<Semaphore>>;

/// The budgets of all hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pacing {
    hosts: Arc<Mutex<Hosts>>,
}

impl Pacing {
    /// Waits for a turn; it is over when the permit is dropped.
    pub(crate) async fn turn(&self, host: &str, port: u16) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            // A host that nobody waits for is forgotten.
            hosts.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            let key = (host.to_owned(), port);
            Arc::clone(
                hosts
                    .entry(key)
                    .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))),
            )
        };
        semaphore.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_has_a_few_turns_at_once_and_other_hosts_their_own() {
        let pacing = Pacing::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(pacing.turn("a", 22).await);
        }
        let mut fifth = Box::pin(pacing.turn("a", 22));
        assert!(futures_util::poll!(&mut fifth).is_pending());
        assert!(pacing.turn("b", 22).await.is_some());
        turns.pop();
        assert!(fifth.await.is_some());
        drop(turns);
        pacing.turn("c", 22).await;
        assert_eq!(pacing.hosts.lock().unwrap().len(), 1);
    }
}
