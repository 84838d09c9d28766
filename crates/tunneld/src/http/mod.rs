//! What every server of HTTP in the daemon shares.

pub(crate) mod hosts;
