//! Which words of the server belong to which request for a channel.
//!
//! russh tells whoever asked for a channel the code of a refusal, and then, in one breath, tells
//! the handler its words, with a number that the asker never learns. Telling the asker wakes it: the
//! last request that was woken on this thread is the one that the words are about.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tunneld_core::text::{clip, printable};

/// The words of refusals that nobody has fetched are dropped beyond this many.
const MAX_WORDS: usize = 1024;
/// How long the words of a refusal may come after its code.
const PATIENCE: Duration = Duration::from_millis(500);

thread_local! {
    /// The request that was woken last.
    static WOKEN: Cell<Option<Ticket>> = const { Cell::new(None) };
}

/// One request for a channel, of any session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Ticket(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The request itself: whoever wakes it leaves a note of that.
    pub(crate) async fn marks<F: Future>(self, mut request: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|cx| {
            let waker = Waker::from(Arc::new(Marked {
                ticket: self,
                waker: cx.waker().clone(),
            }));
            request.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }
}

struct Marked {
    ticket: Ticket,
    waker: Waker,
}

impl Wake for Marked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WOKEN.set(Some(self.ticket));
        self.waker.wake_by_ref();
    }
}

/// The words of the refusals of one session.
#[derive(Default)]
pub(crate) struct Openings {
    words: Mutex<Words>,
    noted: Notify,
}

#[derive(Default)]
struct Words {
    of: HashMap<Ticket, String>,
    order: VecDeque<Ticket>,
}

impl Openings {
    /// The server has refused a channel with these words, and who asked for it was just told.
    pub(crate) fn note_refusal(&self, words: &str) {
        let Some(ticket) = WOKEN.take() else {
            return;
        };
        let mut kept = self.lock();
        if kept.order.len() >= MAX_WORDS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.of.remove(&oldest);
        }
        kept.order.push_back(ticket);
        kept.of.insert(ticket, clip(&printable(words), 200));
        drop(kept);
        self.noted.notify_waiters();
    }

    /// The server's words for the refusal of a request; `None` if they do not come.
    pub(crate) async fn words(&self, ticket: Ticket) -> Option<String> {
        let fetch = || {
            let mut kept = self.lock();
            let words = kept.of.remove(&ticket)?;
            kept.order.retain(|of| *of != ticket);
            Some(words)
        };
        let wait = async {
            loop {
                let noted = self.noted.notified();
                if let Some(words) = fetch() {
                    return words;
                }
                noted.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.ok()
    }

    /// It is changed in steps that a panic cannot leave half done.
    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn each_request_gets_the_words_that_come_with_its_code() {
        let openings = Openings::default();
        let requests: Vec<_> = (0..3)
            .map(|_| (Ticket::new(), mpsc::channel::<()>(1)))
            .collect();
        let mut told = Vec::new();
        let mut waiting = Vec::new();
        for (ticket, (send, mut receive)) in requests {
            told.push((ticket, send));
            waiting.push(tokio::spawn(async move {
                ticket.marks(pin!(receive.recv())).await;
                ticket
            }));
        }
        tokio::task::yield_now().await;
        for (n, (_, send)) in told.iter().enumerate().rev() {
            send.send(()).await.unwrap();
            openings.note_refusal(&format!("refusal {n}"));
        }
        for (n, waiting) in waiting.into_iter().enumerate() {
            let ticket = waiting.await.unwrap();
            let words = openings.words(ticket).await;
            assert_eq!(words, Some(format!("refusal {n}")));
        }
        assert_eq!(openings.words(told[0].0).await, None);
    }
}
