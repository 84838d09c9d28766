//! What the daemon tells the world: log lines, and the service manager. Reads snapshots; nothing
//! but `daemon.rs` knows it.

pub(crate) mod history;
pub(crate) mod logging;
pub(crate) mod notify;
pub(crate) mod readiness;
pub(crate) mod web;
