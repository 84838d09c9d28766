//! What a stream takes.

use std::io::IsTerminal;

/// Whether a stream takes colour: a terminal does, unless `NO_COLOR` is set to something.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
