//! What the daemon tells the world: the service manager, metrics, health and the status page. Reads
//! snapshots; nothing but `daemon.rs` knows it.

mod health;
pub(crate) mod history;
mod manager;
pub(crate) mod notify;
pub(crate) mod page;
pub(crate) mod readiness;
mod scrape;
pub(crate) mod web;
