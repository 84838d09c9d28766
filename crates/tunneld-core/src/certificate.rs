//! Certificates that end: when to say so, and in which words.

use std::fmt::Write as _;
use std::time::SystemTime;

/// A point in time as messages show it: `2026-11-20 10:00:00 UTC`.
pub fn date(at: SystemTime) -> String {
    let mut text = String::new();
    // Calendars of four digits end with the year 9999, and the clock of the library with them.
    match write!(text, "{}", humantime::format_rfc3339_seconds(at)) {
        Ok(()) => text.replace('T', " ").replace('Z', " UTC"),
        Err(_) => "the year 10000 or later".to_owned(),
    }
}
