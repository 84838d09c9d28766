//! Which words of the server belong to which request for a channel.
//!
//! russh tells whoever asked for a channel the code of a refusal, and the handler its words with the
//! channel's number, which the asker never learns. But it gives numbers in the order of the
//! requests, to our channels and to the server's alike, so the place in that order finds the words.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tunneld_core::text::clip;

use crate::error::printable;

/// The words of refusals that nobody has fetched are dropped beyond this many.
const MAX_WORDS: usize = 1024;
/// How many channels of the server are remembered one by one.
const MAX_THEIRS: usize = 4096;
/// How long the words of a refusal may come after its code.
const PATIENCE: Duration = Duration::from_millis(500);
/// The number of the first channel of a session, until a success has shown it.
const FIRST: u32 = 2;

/// The order of the requests for channels of one session.
#[derive(Default)]
pub(crate) struct Openings {
    order: Mutex<Order>,
    noted: Notify,
}

struct Order {
    /// How many requests there were.
    requests: u32,
    /// The number that the first request would have had without channels of the server.
    first: u32,
    /// The numbers of the server's channels, the latest ones; and how many there were before.
    theirs: VecDeque<u32>,
    forgotten: u32,
    /// By request.
    words: HashMap<u32, String>,
    unfetched: VecDeque<u32>,
}

impl Default for Order {
    fn default() -> Self {
        Order {
            requests: 0,
            first: FIRST,
            theirs: VecDeque::new(),
            forgotten: 0,
            words: HashMap::new(),
            unfetched: VecDeque::new(),
        }
    }
}

impl Order {
    /// The place of a channel of ours among the channels of ours.
    fn rank(&self, channel: u32) -> u32 {
        let before = self.theirs.partition_point(|id| *id < channel);
        let before = self.forgotten + u32::try_from(before).unwrap_or(u32::MAX);
        channel.wrapping_sub(before)
    }
}

impl Openings {
    /// Makes a request, which is sent when it is polled for the first time, and returns its place.
    /// The first poll of a task cannot be put off, so the places are those in which russh reads
    /// them.
    pub(crate) async fn begin<F: Future>(
        &self,
        mut request: Pin<&mut F>,
    ) -> (u32, Poll<F::Output>) {
        std::future::poll_fn(|cx| {
            let mut order = self.lock();
            let place = order.requests;
            order.requests = order.requests.wrapping_add(1);
            Poll::Ready((place, request.as_mut().poll(cx)))
        })
        .await
    }

    /// The request in this place became this channel.
    pub(crate) fn opened(&self, place: u32, channel: u32) {
        let mut order = self.lock();
        order.first = order.rank(channel).wrapping_sub(place);
    }

    /// The server has opened a channel.
    pub(crate) fn note_theirs(&self, channel: u32) {
        let mut order = self.lock();
        if order.theirs.len() >= MAX_THEIRS && order.theirs.pop_front().is_some() {
            order.forgotten += 1;
        }
        order.theirs.push_back(channel);
    }

    /// The server has refused a channel with these words.
    pub(crate) fn note_refusal(&self, channel: u32, words: &str) {
        let mut order = self.lock();
        let place = order.rank(channel).wrapping_sub(order.first);
        if order.unfetched.len() >= MAX_WORDS
            && let Some(oldest) = order.unfetched.pop_front()
        {
            order.words.remove(&oldest);
        }
        order.unfetched.push_back(place);
        order.words.insert(place, clip(&printable(words), 200));
        drop(order);
        self.noted.notify_waiters();
    }

    /// The server's words for the refusal of the request in this place.
    pub(crate) async fn words(&self, place: u32) -> Option<String> {
        let fetch = || {
            let mut order = self.lock();
            let words = order.words.remove(&place)?;
            order.unfetched.retain(|of| *of != place);
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
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::pin::pin;

    async fn request(openings: &Openings) -> u32 {
        openings.begin(pin!(ready(()))).await.0
    }

    #[tokio::test]
    async fn each_request_gets_its_own_words_whoever_opens_channels_between() {
        let openings = Openings::default();
        let (a, b) = (request(&openings).await, request(&openings).await);
        // 2 and 3 are ours, 4 is the server's, 5 is ours.
        openings.note_theirs(4);
        let c = request(&openings).await;
        openings.note_refusal(5, "third");
        openings.note_refusal(3, "second");
        openings.note_refusal(2, "first");
        assert_eq!(openings.words(a).await.as_deref(), Some("first"));
        assert_eq!(openings.words(b).await.as_deref(), Some("second"));
        assert_eq!(openings.words(c).await.as_deref(), Some("third"));
        assert_eq!(openings.words(c).await, None);
    }

    #[tokio::test]
    async fn a_success_shows_where_the_numbers_begin() {
        let openings = Openings::default();
        let (a, b) = (request(&openings).await, request(&openings).await);
        openings.opened(a, 17);
        openings.note_refusal(18, "no");
        assert_eq!(openings.words(b).await.as_deref(), Some("no"));
    }
}
