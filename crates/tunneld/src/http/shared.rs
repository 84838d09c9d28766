//! What many ask for is made by one at a time, beside the threads that carry bytes, and is the same
//! bytes for all who have waited for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How many texts may lie unread before an older one has to do.
const FEW: usize = 4;
/// How old that may be.
const AGE: Duration = Duration::from_secs(5);

/// One kind of text, for the clients of one listener.
///
/// Who asks gets what was begun after that. Only while [`FEW`] of them lie unread, because their
/// clients are slow or mean no good, one that is as old as [`AGE`] has to do: so many are in memory
/// as are made within the time that a client has for reading.
pub(crate) struct Shared {
    turn: Arc<Semaphore>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// The newest is the last one; the others are those that are still read.
    texts: Vec<Told>,
}

/// A text, and when it was true.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) bytes: Bytes,
    /// When it was begun to be made.
    pub(crate) begun: Instant,
    /// Another number than the one before if it is another text; never 0.
    pub(crate) version: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            turn: Arc::new(Semaphore::new(1)),
            made: Mutex::default(),
        }
    }
}

impl Shared {
    /// A text that was begun at `since` or later, if there are not too many; `None` only when the
    /// runtime ends.
    pub(crate) async fn get<F>(&self, since: Instant, make: F) -> Option<Told>
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        if let Some(told) = self.made().find(since) {
            return Some(told);
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        if let Some(told) = self.made().find(since) {
            return Some(told);
        }
        let begun = Instant::now();
        // The turn goes with it: a client that goes away meanwhile makes no room for another one.
        let making = tokio::task::spawn_blocking(move || (make(), turn));
        let (text, _turn) = making.await.ok()?;
        Some(self.made().add(begun, text))
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    fn find(&mut self, since: Instant) -> Option<Told> {
        let newest = self.texts.pop()?;
        self.texts.retain(|told| !told.bytes.is_unique());
        let unread = self.texts.len() + usize::from(!newest.bytes.is_unique());
        let has_to_do = unread >= FEW && newest.begun.elapsed() < AGE;
        let found = (newest.begun >= since || has_to_do).then(|| newest.clone());
        self.texts.push(newest);
        found
    }

    fn add(&mut self, begun: Instant, text: Vec<u8>) -> Told {
        let version = match self.texts.last_mut() {
            Some(newest) if newest.bytes == text => {
                newest.begun = begun;
                return newest.clone();
            }
            Some(newest) => newest.version + 1,
            None => 1,
        };
        let told = Told {
            bytes: Bytes::from(text),
            begun,
            version,
        };
        self.texts.push(told.clone());
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_share_one_text() {
        // Fifty at once: one is made for whoever came first, and one for all the others.
        let (shared, made) = (Shared::default(), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let made = Arc::clone(&made);
            shared.get(Instant::now(), move || {
                made.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
                b"text".to_vec()
            })
        };
        let told = futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert!(told.iter().all(|told| told.as_ref().unwrap().version == 1));
        assert!(made.load(Ordering::SeqCst) <= 2, "{made:?}");
        // And who asks later has a new one.
        ask().await.unwrap();
        assert!(made.load(Ordering::SeqCst) >= 2);
    }

    #[tokio::test]
    async fn texts_that_nobody_reads_are_few() {
        // Each asks after the other, and lets its text lie: soon it is the same one.
        let (shared, mut unread) = (Shared::default(), Vec::new());
        let ask = |n: u32| shared.get(Instant::now(), move || n.to_string().into_bytes());
        for n in 0..100 {
            unread.push(ask(n).await.unwrap().bytes);
        }
        let mut texts = unread.clone();
        texts.dedup();
        assert_eq!(texts.len(), FEW, "{texts:?}");
        // Once they are read, what is told is new again.
        drop((unread, texts));
        assert_eq!(ask(100).await.unwrap().bytes, "100");
    }
}
