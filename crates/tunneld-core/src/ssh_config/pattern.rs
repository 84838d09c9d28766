//! Patterns of ssh_config(5): `*` is any number of characters, `?` is one, `!` in front excludes.

/// Whether a pattern without `!` is all of `text`.
pub(super) fn matches(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut t, mut p) = (0, 0);
    // Where to go on when the last `*` has to take one character more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some('?') => (t, p) = (t + 1, p + 1),
            Some(c) if text.get(t) == Some(c) => (t, p) = (t + 1, p + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (t, p) = (taken + 1, after);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|c| *c == '*')
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
    fn a_star_is_anything_and_a_question_mark_is_one_character() {
        for (text, pattern, wanted) in [
            ("", "", true),
            ("", "*", true),
            ("", "?", false),
            ("db", "db", true),
            ("db", "DB", false),
            ("db", "d", false),
            ("db", "d?", true),
            ("db", "??", true),
            ("db", "???", false),
            ("db.example.com", "*.example.com", true),
            ("example.com", "*.example.com", false),
            ("a.b.a.b.c", "*a.b.c", true),
            ("a.b.a.b.d", "*a.b.c", false),
            ("aaa", "*a*a*a*", true),
            ("aa", "*a*a*a*", false),
            ("ü", "?", true),
        ] {
            assert_eq!(matches(text, pattern), wanted, "{text} {pattern}");
        }
    }

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

    /// A pattern of many stars does not take for ever.
    #[test]
    fn many_stars_are_no_burden() {
        let text = "a".repeat(10_000);
        assert!(!matches(&text, &format!("{}b", "*a".repeat(2_000))));
    }
}
