//! What is said once, however many sessions find it.
//!
//! Some of what a session finds is still so for the next one, and no session remembers another.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How many sayings are remembered. Beyond that, all may be said again.
const MOST: usize = 1000;

static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this has not been said yet; now it has.
pub(crate) fn is_news(saying: &str) -> bool {
    // Changed in one step: a panic elsewhere cannot leave it half changed.
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= MOST {
        said.clear();
    }
    said.insert(saying.to_owned())
}
