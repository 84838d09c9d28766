//! What a stream takes, and which characters there are.

use std::io::IsTerminal;

/// Whether a stream takes colour: a terminal does, unless `NO_COLOR` is set to something.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
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
