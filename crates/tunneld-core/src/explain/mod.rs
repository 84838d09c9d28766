//! Where the bytes of a tunnel go, for people who do not know `-L` from `-R`, and the ssh command that
//! does the same.

mod command;
mod drawing;
mod flow;
mod page;
mod reach;
#[cfg(test)]
mod tests;

pub use command::{in_full, in_short};
pub use page::{Style, legend, page};
