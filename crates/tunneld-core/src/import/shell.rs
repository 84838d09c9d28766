//! One simple command for a shell, as the words that the shell would make of it: SHELL GRAMMAR and
//! QUOTING of sh(1). What only a shell can do is refused, not guessed at.

use std::collections::BTreeMap;

use crate::config::quoted;

/// What makes more of a command than one program and its words.
const OPERATORS: &[char] = &['|', '&', ';', '<', '>', '(', ')', '`', '\n'];

/// The words of a simple command; variables have the values of `variables`, and are empty without.
///
/// # Errors
///
/// A quote that is not closed, and what is not a simple command.
pub(super) fn words(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let mut reader = Reader {
        rest: text.trim(),
        variables,
        words: Vec::new(),
        word: None,
    };
    while let Some(c) = reader.next() {
        reader.step(c)?;
    }
    reader.end_word();
    Ok(reader.words)
}

struct Reader<'a> {
    rest: &'a str,
    variables: &'a BTreeMap<String, String>,
    words: Vec<String>,
    /// The word that is being read; an empty one may have been quoted.
    word: Option<String>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn step(&mut self, c: char) -> Result<(), String> {
        match c {
            ' ' | '\t' => self.end_word(),
            '#' if self.word.is_none() => self.rest = "",
            '\'' => {
                let (inner, after) = self.rest.split_once('\'').ok_or_else(|| unclosed(c))?;
                self.rest = after;
                self.word().push_str(inner);
            }
            '"' => self.double()?,
            '\\' => match self.next() {
                Some('\n') | None => {}
                Some(c) => self.word().push(c),
            },
            '$' => self.variable(false)?,
            _ if OPERATORS.contains(&c) => {
                return Err(format!(
                    "is more than one simple command: it has {}",
                    quoted(&c.to_string())
                ));
            }
            _ => self.word().push(c),
        }
        Ok(())
    }

    /// What is in double quotes.
    fn double(&mut self) -> Result<(), String> {
        self.word();
        loop {
            match self.next().ok_or_else(|| unclosed('"'))? {
                '"' => return Ok(()),
                '\\' => match self.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.word().push(c),
                    Some('\n') | None => {}
                    Some(c) => self.word().extend(['\\', c]),
                },
                '`' => return Err("runs another command: it has `` ` ``".to_owned()),
                '$' => self.variable(true)?,
                c => self.word().push(c),
            }
        }
    }

    /// What stands after a `$`.
    fn variable(&mut self, in_quotes: bool) -> Result<(), String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = match self.rest.strip_prefix('{') {
            Some(rest) => {
                let (name, after) = rest.split_once('}').ok_or("has a `${` without its `}`")?;
                if name.is_empty() || !name.chars().all(fits) {
                    let shown = quoted(&format!("${{{name}}}"));
                    return Err(format!("has {shown}, which only a shell can fill in"));
                }
                self.rest = after;
                name
            }
            None => {
                let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
                let (name, after) = self.rest.split_at(end);
                if name.is_empty() && self.rest.starts_with(['(', '@', '*', '#', '?', '!', '$']) {
                    return Err("has a `$` that only a shell can fill in".to_owned());
                }
                self.rest = after;
                name
            }
        };
        if name.is_empty() {
            self.word().push('$');
            return Ok(());
        }
        let value = self.variables.get(name).map_or("", String::as_str);
        if in_quotes {
            self.word().push_str(value);
            return Ok(());
        }
        // The value is cut at white space, and nothing else in it has a meaning.
        for c in value.chars() {
            match c {
                ' ' | '\t' | '\n' => self.end_word(),
                c => self.word().push(c),
            }
        }
        Ok(())
    }
}

fn unclosed(quote: char) -> String {
    format!("has a {quote} without its other one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> String {
        let variables = [("A", "x y"), ("B", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let words = words(text, &BTreeMap::from(variables));
        words.map_or_else(|e| format!("!{e}"), |words| words.join("|"))
    }

    #[test]
    fn a_simple_command_is_cut_as_a_shell_cuts_it() {
        for (text, meaning) in [
            (r#"exec ssh -o "A b" 'c d' e\ f"#, "exec|ssh|-o|A b|c d|e f"),
            (r#"ssh "it's" 'a"b' ''"#, "ssh|it's|a\"b|"),
            (r#"ssh "a\"b\\c\d""#, r#"ssh|a"b\c\d"#),
            ("ssh $A ${B} \"$A\" '$A' $C x$B", "ssh|x|y|z|x y|$A|xz"),
            ("ssh a#b # why", "ssh|a#b"),
            ("ssh \\\n -N", "ssh|-N"),
            ("ssh a$", "ssh|a$"),
        ] {
            assert_eq!(cut(text), meaning, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_refused() {
        for (text, said) in [
            (
                "ssh a | tee b",
                "is more than one simple command: it has `|`",
            ),
            ("ssh a && b", "is more than one simple command: it has `&`"),
            ("ssh a; b", "is more than one simple command: it has `;`"),
            ("ssh a > b", "is more than one simple command: it has `>`"),
            ("ssh $(cat a)", "has a `$` that only a shell can fill in"),
            (
                "ssh \"$(cat a)\"",
                "has a `$` that only a shell can fill in",
            ),
            (
                "ssh ${A:-b}",
                "has `${A:-b}`, which only a shell can fill in",
            ),
            ("ssh 'a", "has a ' without its other one"),
            ("ssh \"a", "has a \" without its other one"),
        ] {
            assert_eq!(cut(text), format!("!{said}"), "{text}");
        }
    }
}
