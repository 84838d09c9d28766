//! What every server of HTTP in the daemon shares: clients that are bounded in number, size and time,
//! whom it answers, and how. What there is to tell of tunnels comes from elsewhere.

pub(crate) mod answers;
pub(crate) mod clients;
pub(crate) mod error;
pub(crate) mod hosts;
pub(crate) mod serve;
pub(crate) mod shared;
mod stalled;
