//! What the daemon tells the world: log lines, the service manager, metrics and health. Reads
//! snapshots; nothing but `daemon.rs` knows it.

mod health;
pub(crate) mod history;
pub(crate) mod logging;
pub(crate) mod notify;
pub(crate) mod page;
pub(crate) mod readiness;
mod scrape;
pub(crate) mod web;
