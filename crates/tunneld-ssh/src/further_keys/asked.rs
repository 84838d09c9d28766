//! Which proofs were asked for.
//!
//! OpenSSH's server ends the session when it cannot sign, as when the agent that has its keys is
//! gone. To ask again in the next session would keep the tunnel from ever being up.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tunneld_core::failure::Failure;

/// How many questions are remembered. Beyond that, all may be asked again.
const MOST: usize = 1000;

/// By the question: how the session fares that it was asked in. It goes with the answer.
static ASKED: Mutex<BTreeMap<String, watch::Receiver<Option<Failure>>>> =
    Mutex::new(BTreeMap::new());

/// Whether a proof may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Yes,
    /// Another session is at it.
    NotNow,
    /// A session has ended over it.
    Never,
}

/// Whether the question may be asked in the session that `ended` is of; if so, it counts as asked
/// until it is [`answered`].
pub(super) fn may_ask(question: &str, ended: watch::Receiver<Option<Failure>>) -> Ask {
    let mut asked = lock();
    match asked.get(question) {
        Some(ended) if ended.borrow().is_some() => return Ask::Never,
        Some(_) => return Ask::NotNow,
        None => {}
    }
    if asked.len() >= MOST {
        asked.clear();
    }
    asked.insert(question.to_owned(), ended);
    Ask::Yes
}

/// The session has lived to see an answer, or none in time.
pub(super) fn answered(question: &str) {
    lock().remove(question);
}

/// Changed in one step: a panic elsewhere cannot leave it half changed.
fn lock() -> MutexGuard<'static, BTreeMap<String, watch::Receiver<Option<Failure>>>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::failure::Stage;

    #[test]
    fn what_a_session_has_ended_over_is_not_asked_again_and_the_rest_is_one_at_a_time() {
        let ended = watch::Sender::new(None);
        let ask = |question| may_ask(question, ended.subscribe());
        assert_eq!((ask("a"), ask("b")), (Ask::Yes, Ask::Yes));
        assert_eq!(ask("a"), Ask::NotNow);
        answered("a");
        assert_eq!(ask("a"), Ask::Yes);
        answered("a");
        ended.send_replace(Some(Failure::transient(Stage::Session, "closed")));
        assert_eq!((ask("a"), ask("b")), (Ask::Yes, Ask::Never));
    }
}
