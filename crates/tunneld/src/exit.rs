//! What the commands exit with. Scripts depend on these numbers; they are in the manual.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// What was typed makes no sense: clap's own.
    Usage = 2,
    /// Some tunnel is not up, or does not work.
    NotUp = 3,
    /// The daemon cannot be reached.
    Unreachable = 4,
    /// The configuration is bad (`EX_CONFIG` of sysexits.h).
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
