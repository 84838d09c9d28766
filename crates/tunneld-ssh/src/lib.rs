//! SSH sessions and forwards: the only crate that names russh.
//!
//! ```text
//!   connect(spec) ──▶ Session ──▶ Opener ──watch──▶ forwards ──▶ pump: bytes both ways
//!     dial: resolver and TCP          └── keepalive, rekey: beside the session
//!     handler: host key, channels
//!     auth: keys, agents, certificates, passwords
//! ```
//!
//! - [`connect`]: one deadline over resolver, TCP, key exchange, host key and authentication
//! - [`session`]: a live session, why it ended, the order in which it is closed
//! - [`scan`]: which host keys a server has
//! - [`forward`]: listening places that outlive sessions
//! - [`trace`], [`tryout`]: an attempt watched step by step, and forwards tried without being put in
//!   place
//! - [`identity`], [`agent`], [`known_hosts`], [`host_key`]: who we are, and who the server is
//! - [`public_key`]: what can be told of a key to others
//! - [`program`]: a child process of which nothing is left behind
//! - [`manager`]: the socket of the service manager
//! - [`sandbox`]: whether this process has given up rights by itself
//! - [`calling`]: the commands that are advised, and the unit
//! - [`error`]: errors of russh and of the system as failures with a stage and a class

pub mod agent;
mod algorithms;
mod asked;
mod auth;
pub mod calling;
mod connect;
pub mod credential;
pub mod descriptors;
mod dial;
pub mod error;
pub mod forward;
mod further_keys;
mod handler;
pub mod host_key;
pub mod identity;
mod keepalive;
pub mod known_hosts;
mod link;
pub mod manager;
mod once;
mod opener;
mod openings;
pub mod program;
pub mod public_key;
mod pump;
mod rekey;
mod rights;
mod road;
pub mod sandbox;
pub mod scan;
mod secret_file;
mod server_key;
pub mod session;
mod shared;
pub mod trace;
pub mod tryout;
mod wait;
mod wire;

pub use algorithms::has_aes_hardware;
pub use auth::{Finding, Inspected, KeyChecks, inspect};
pub use connect::{connect, connect_traced};
pub use opener::{OpenError, Opener};
pub use road::Bastions;
pub use session::Session;
pub use shared::Facts;
