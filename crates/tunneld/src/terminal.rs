//! What a stream takes, and which characters there are.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// What a terminal that does not say has.
const USUAL: (usize, usize) = (80, 24);

/// Writes a line to stderr, if that takes it.
pub(crate) fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How many columns a terminal has; `None` for what is none.
pub(crate) fn columns_of(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    stream.is_terminal().then(|| size(stream).0)
}

/// Columns and rows of a terminal: as it says, else as `COLUMNS` and `LINES` do (environ(7)).
pub(crate) fn size(stream: &impl AsFd) -> (usize, usize) {
    let told = tcgetwinsize(stream).map(|told| (told.ws_col, told.ws_row));
    let (columns, rows) = told.unwrap_or_default();
    let by_name = |name: &str| std::env::var(name).ok()?.parse().ok();
    let first = |told: u16, name: &str, usual: usize| {
        let told = Some(usize::from(told)).filter(|n| *n > 0);
        let told = told.or_else(|| by_name(name));
        told.filter(|n| *n > 0).unwrap_or(usual)
    };
    (
        first(columns, "COLUMNS", USUAL.0),
        first(rows, "LINES", USUAL.1),
    )
}

/// The text, where `on` in a colour (SGR of ECMA-48).
pub(crate) fn painted(on: bool, text: &str, colour: &str) -> String {
    match on {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// Whether a stream takes the control sequences of ECMA-48: a terminal does, unless `TERM` says that
/// it has no abilities (`dumb`, term(7)).
pub(crate) fn capable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a stream takes colour: a terminal that can does, unless `NO_COLOR` is set to something.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    capable(stream) && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Whether there is more than ASCII to write with: the character set of the locale, by the first of
/// these variables that says anything (locale(7)).
pub(crate) fn utf8() -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    named.is_some_and(|locale| is_utf8(&locale))
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_says_its_character_set_behind_a_dot() {
        for yes in ["C.UTF-8", "de_DE.utf8", "en_US.UTF-8@x"] {
            assert!(is_utf8(yes), "{yes}");
        }
        for no in ["C", "POSIX", "de_DE", "de_DE.ISO-8859-1"] {
            assert!(!is_utf8(no), "{no}");
        }
    }
}
