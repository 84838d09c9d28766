//! SSH sessions and forwards: the only crate that names russh.
//!
//! ```text
//!   connect(spec) ──▶ Session ──▶ Opener ──watch──▶ forwards ──▶ pump: bytes both ways
//!     dial: resolver and TCP          └── keepalive, rekey: beside the session
//!     handler: host key, channels
//!     auth: keys
//! ```
//!
//! - [`connect`]: one deadline over resolver, TCP, key exchange, host key and authentication
//! - [`session`]: a live session, why it ended, the order in which it is closed
//! - [`forward`]: listening places that outlive sessions
//! - [`identity`], [`known_hosts`], [`host_key`]: who we are, and who the server is
//! - [`error`]: errors of russh and of the system as failures with a stage and a class

mod algorithms;
mod asked;
mod auth;
mod connect;
mod dial;
pub mod error;
pub mod forward;
mod handler;
pub mod host_key;
pub mod identity;
mod keepalive;
pub mod known_hosts;
mod link;
mod opener;
mod openings;
mod pump;
mod rekey;
mod road;
pub mod session;
mod shared;
pub mod trace;
mod wait;
mod wire;

pub use algorithms::has_aes_hardware;
pub use connect::{connect, connect_traced};
pub use opener::{OpenError, Opener};
pub use road::Bastions;
pub use session::Session;
pub use shared::Facts;
