//! The words of a line, as systemd cuts them: QUOTING of systemd.syntax(7).

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes and backslashes.
    pub(super) text: String,
    /// Whether there was one of them.
    pub(super) quoted: bool,
}

/// The words of a line: quotes hold white space together, and a backslash begins an escape as in C,
/// in quotes and outside of them. One that begins none stays as it is.
///
/// # Errors
///
/// A quote that is not closed.
pub(super) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut found = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if quote.is_none() && c.is_ascii_whitespace() {
            found.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word {
            text: String::new(),
            quoted: false,
        });
        match c {
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                word.quoted = true;
            }
            _ if quote == Some(c) => quote = None,
            '\\' => {
                let (text, used) = escape(rest);
                rest = rest.get(used..).unwrap_or_default();
                word.text.push_str(&text);
                word.quoted = true;
            }
            c => word.text.push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("has a {quote} without its other one"));
    }
    found.extend(word);
    Ok(found)
}

/// What stands for what comes after a backslash, and how many bytes of it are used.
fn escape(rest: &str) -> (String, usize) {
    let Some(c) = rest.chars().next() else {
        return ("\\".to_owned(), 0);
    };
    let one = |text: &str| (text.to_owned(), c.len_utf8());
    match c {
        'a' => one("\u{7}"),
        'b' => one("\u{8}"),
        'f' => one("\u{c}"),
        'n' => one("\n"),
        'r' => one("\r"),
        't' => one("\t"),
        'v' => one("\u{b}"),
        's' => one(" "),
        '\\' | '"' | '\'' | ';' => one(&c.to_string()),
        'x' => number(rest, 1, 2, 16),
        'u' => number(rest, 1, 4, 16),
        'U' => number(rest, 1, 8, 16),
        '0'..='7' => number(rest, 0, 3, 8),
        c => one(&format!("\\{c}")),
    }
}

/// A character by its number, behind `skip` bytes; the backslash as it is where that is none.
fn number(rest: &str, skip: usize, digits: usize, radix: u32) -> (String, usize) {
    let end = skip + digits;
    let number = rest.get(skip..end);
    let number = number.and_then(|digits| u32::from_str_radix(digits, radix).ok());
    match number.filter(|n| *n != 0).and_then(char::from_u32) {
        Some(c) => (c.to_string(), end),
        None => ("\\".to_owned(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_as_systemd_cuts_it() {
        for (line, wanted) in [
            ("ssh  -o \"A b\" 'c d'", "ssh|-o|A b|c d"),
            (
                r#"ssh "it's" 'say "x"' a"b c"d"#,
                r#"ssh|it's|say "x"|ab cd"#,
            ),
            (r"ssh a\x20b\040c\sd\te \;", "ssh|a b c d\te|;"),
            (r#"ssh "a\"b" 'c\'d' \w \x0 \"#, r#"ssh|a"b|c'd|\w|\x0|\"#),
            ("ssh \"\" x", "ssh||x"),
        ] {
            let words = words(line).unwrap();
            let words: Vec<_> = words.into_iter().map(|w| w.text).collect();
            assert_eq!(words.join("|"), wanted, "{line}");
        }
        assert_eq!(
            words("ssh 'a").unwrap_err(),
            "has a ' without its other one"
        );
    }
}
