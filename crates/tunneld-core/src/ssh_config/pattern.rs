//! Patterns of ssh_config(5): `*` is any number of characters, `?` is one, `!` in front excludes.

use crate::text::glob_matches;

/// Whether a pattern without `!` is all of `text`.
fn matches(text: &str, pattern: &str) -> bool {
    glob_matches(pattern.as_bytes(), text.as_bytes())
}

/// Whether a host is meant by the words of a `Host` line. Their case counts.
pub(super) fn host_matches<'p>(host: &str, patterns: impl Iterator<Item = &'p str>) -> bool {
    any(host, patterns)
}

/// Whether a text is meant by a list of patterns with commas between them.
pub(super) fn list_matches(text: &str, list: &str) -> bool {
    any(text, list.split(','))
}

/// As [`list_matches`], whatever the case of the two.
pub(super) fn list_matches_any_case(text: &str, list: &str) -> bool {
    list_matches(&text.to_ascii_lowercase(), &list.to_ascii_lowercase())
}

/// One pattern has to match, and none of those that exclude.
fn any<'p>(text: &str, patterns: impl Iterator<Item = &'p str>) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(excluded) if matches(text, excluded) => return false,
            Some(_) => {}
            None => found |= matches(text, pattern),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_with_an_exclamation_mark_only_excludes() {
        for (text, list, wanted) in [
            ("a", "a,b", true),
            ("a", "!a,a", false),
            ("a", "a,!a", false),
            ("a", "!b", false),
            ("a", "!b,*", true),
            ("A", "a", false),
            ("a", "a, b", true),
            ("b", "a, b", false),
            ("a", "", false),
        ] {
            assert_eq!(list_matches(text, list), wanted, "{text} {list}");
        }
        assert!(list_matches_any_case("DB.Example", "db.*"));
        assert!(host_matches("a", ["x", "?", "!b"].into_iter()));
    }
}
