//! What every server of HTTP in the daemon shares.

pub(crate) mod hosts;
pub(crate) mod shared;
