//! Whether this process has given up rights by itself: what it is denied then may be its own doing.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::calling;

/// Of the whole process, and for good, as the rights are.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// To be called when this process has given up rights (`sandbox` in tunneld.toml(5)).
pub fn rights_given_up() {
    GIVEN_UP.store(true, Ordering::Relaxed);
}

/// What to do about something that is denied: `text`, and what else it may be where rights were
/// given up.
pub fn hint_of_denial(text: &str) -> String {
    hint(text, "")
}

/// As [`hint_of_denial`], about a file, or what is made in a folder. One that was not there when the
/// rights were given up, or that another has taken the place of, is none of those that were kept.
pub fn hint_of_place(text: &str) -> String {
    hint(text, ", or the place was made or replaced since the start")
}

fn hint(text: &str, or: &str) -> String {
    let ours = calling::ours();
    match GIVEN_UP.load(Ordering::Relaxed) {
        true => format!(
            "{text}; where `{}` says that `sandbox` needs a restart{or}: {}",
            ours.command(&["status"]),
            ours.restart()
        ),
        false => text.to_owned(),
    }
}
