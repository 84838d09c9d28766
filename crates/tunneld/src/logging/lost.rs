//! The line that says how many are missing.

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tunneld_core::events;

/// What is said once lines are taken again.
pub(super) fn message(lost: u64, why: &str) -> String {
    format!("log lines lost before this one: {lost}; {why}")
}

/// It of lines on stderr.
pub(super) fn message_on_stderr(lost: u64) -> String {
    message(lost, "stderr did not take them")
}

/// As the other lines of `--log-format json`.
#[derive(Serialize)]
struct Json {
    timestamp: String,
    level: &'static str,
    message: String,
    message_id: &'static str,
    suppressed: u64,
}

/// It among the lines of `--log-format json`.
pub(super) fn json(lost: u64) -> String {
    let mut timestamp = String::new();
    // Neither that nor what is below can fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = Json {
        timestamp,
        level: "WARN",
        message: message_on_stderr(lost),
        message_id: events::LOG_LINES_LOST,
        suppressed: lost,
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}
