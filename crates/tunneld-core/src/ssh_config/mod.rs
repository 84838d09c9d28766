//! ssh_config(5): what the files of ssh say about a host.
//!
//! A tunnel with `ssh_config = "FILE"` takes from it what tunneld.toml does not say. The rules are
//! those of ssh: `Host` and `Match` blocks, `Include`, and of each keyword the first value. What
//! tunneld does not support is a [`Problem`] where it would have an effect, never passed over in
//! silence.
//!
//! ```text
//!   text ──▶ Sources::new ──▶ Sources::missing ──▶ (the caller reads) ──▶ Sources::add ─┐
//!                                   ▲──────────────────────────────────────────────────┘
//!   Sources::problems: what is wrong for every host       evaluate(Sources, Query) ──▶ Answer
//! ```
//!
//! Differences to ssh: relative names in `Include` are below the folder of the file that
//! `ssh_config` names (for ~/.ssh/config and /etc/ssh/ssh_config that is where ssh looks); the
//! system's file is read only if it is named; `Port` takes no name of a service; `BindAddress` no
//! name of a host; relative names of keys and known hosts are errors.

mod answer;
mod block;
mod evaluate;
mod expand;
mod finish;
mod gather;
mod judge;
mod keywords;
mod lex;
mod parse;
mod pattern;
mod setting;
mod sources;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Found, Place, Unused, Way};
pub use evaluate::{Query, evaluate};
pub use expand::Environment;
pub(crate) use keywords::FORWARDS;
pub use sources::{MAX_FILE_LEN, Problem, Sources};
