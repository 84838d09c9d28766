//! Texts that come from elsewhere, made fit to be shown.

/// At most `max` characters of a text; what is left out is shown as `…`.
pub fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a character does something to a line instead of being seen in it: control characters, the
/// separators of lines and paragraphs, and those that turn the direction of a text (Unicode Standard
/// Annex 9, section 2), with which a part of it seems to be elsewhere than it is.
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a server or another program has said, as a part of a message: one line, without [odd
/// characters](is_odd), and without backticks, between which people find what they are to type.
pub fn printable(text: &str) -> String {
    let seen = |c: char| match c {
        '`' => '\'',
        c if is_odd(c) => ' ',
        c => c,
    };
    text.chars().map(seen).collect::<String>().trim().to_owned()
}

/// A word as a shell takes it back: quoted only where it has to be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:@%+=-,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether a text fits a pattern, as in ssh_config(5) and sshd(8): `*` stands for any run of bytes,
/// `?` for one. Goes back to the last `*` only, so that no pattern takes more than the product of
/// the two lengths.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(clip("äöü", 2), "äö…");
        assert_eq!(clip("äöü", 3), "äöü");
    }

    #[test]
    fn what_a_server_says_moves_nothing_and_has_nothing_to_type() {
        assert_eq!(printable(" bye\r\nnow\x1b[31m\t"), "bye  now [31m");
        assert_eq!(printable("run `curl x | sh`"), "run 'curl x | sh'");
        for c in [
            '\u{7f}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}',
            '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(printable(&format!("a{c}b")), "a b", "{c:?}");
        }
        assert_eq!(printable("žluťoučký 日本語 عربي"), "žluťoučký 日本語 عربي");
    }

    #[test]
    fn a_word_can_be_pasted_into_a_shell() {
        for word in [
            "a",
            "",
            "[a]:22",
            "a b",
            "it's",
            "$(x)",
            "/etc/x-y_z.1",
            "*",
            "~",
        ] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", shell_word(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(shell_word("/etc/ssh/known_hosts"), "/etc/ssh/known_hosts");
    }

    #[test]
    fn a_glob_matches_whole_names_only() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "example.com", false),
            ("db?", "db1", true),
            ("db?", "db", false),
            ("db?", "db12", false),
            ("*b*d*", "abcd", true),
            ("*b*d*e", "abcd", false),
            ("a**b", "ab", true),
            ("[a]:22", "[a]:22", true),
            ("[ab]", "a", false),
        ] {
            let got = glob_matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!glob_matches(pattern.as_bytes(), &[b'a'; 1000]));
    }
}
