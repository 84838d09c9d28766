//! A line of a file as ssh cuts it up: a keyword, and the words after it.
//!
//! The keyword ends at white space or at the first `=`. The rest are words with white space between
//! them: single or double quotes hold white space together, a backslash takes the meaning from a
//! quote, from another backslash and, outside of quotes, from a blank; a word that begins with `#`
//! begins a comment. Commands are not cut: they take the rest of the line as it is.

use std::ops::Range;

/// A word and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes and backslashes.
    pub(super) text: String,
    /// Its bytes in the file.
    pub(super) span: Range<usize>,
}

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'t> {
    /// The keyword as written, and where.
    pub(super) keyword: &'t str,
    pub(super) at: Range<usize>,
    /// What comes after the keyword and its `=`, and where it begins.
    pub(super) rest: &'t str,
    pub(super) rest_at: usize,
}

/// Why a line cannot be cut up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    /// Where the quote is that has no other one.
    pub(super) at: usize,
}

/// White space between a keyword and its words.
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'t> Statement<'t> {
    /// Cuts up the line that begins at byte `start` of the file; `None` for an empty one and for a
    /// comment.
    pub(super) fn new(line: &'t str, start: usize) -> Result<Option<Self>, Unclosed> {
        // A form feed is white space at the end of a line only.
        let line = line.trim_end_matches([' ', '\t', '\r', '\n', '\u{c}']);
        let text = line.trim_start_matches(BLANK);
        let at = start + line.len() - text.len();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let (keyword, len, after) = match text.strip_prefix('"') {
            Some(quoted) => {
                let (keyword, after) = quoted.split_once('"').ok_or(Unclosed { at })?;
                (keyword, keyword.len() + 2, after)
            }
            None => {
                let ends = |c: char| BLANK.contains(&c) || c == '=';
                let end = text.find(ends).unwrap_or(text.len());
                let (keyword, after) = text.split_at(end);
                let after = after.trim_start_matches(BLANK);
                (keyword, end, after.strip_prefix('=').unwrap_or(after))
            }
        };
        let rest = after.trim_start_matches(BLANK);
        Ok(Some(Statement {
            keyword,
            at: at..at + len,
            rest,
            rest_at: start + line.len() - rest.len(),
        }))
    }

    /// The words after the keyword, up to a comment.
    pub(super) fn words(&self) -> Result<Vec<Word>, Unclosed> {
        words(self.rest, self.rest_at)
    }

    /// The rest of the line as one word: a command, with whatever it has in it. ssh passes over any
    /// further `=` before it.
    pub(super) fn whole(&self) -> Word {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
        let end = self.rest_at + self.rest.len();
        Word {
            text: text.to_owned(),
            span: end - text.len()..end,
        }
    }
}

fn words(text: &str, start: usize) -> Result<Vec<Word>, Unclosed> {
    let mut found = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' => continue,
            '#' => break,
            _ => {}
        }
        let mut word = String::new();
        let mut quote: Option<(usize, char)> = None;
        let mut end = text.len();
        let mut next = Some((at, c));
        while let Some((at, c)) = next {
            let blank = quote.is_none() && matches!(c, ' ' | '\t');
            if blank {
                end = at;
                break;
            }
            let follower = chars.peek().map(|(_, c)| *c);
            match (c, follower) {
                ('\\', Some(escaped @ ('\'' | '"' | '\\'))) => {
                    chars.next();
                    word.push(escaped);
                }
                ('\\', Some(' ')) if quote.is_none() => {
                    chars.next();
                    word.push(' ');
                }
                ('"' | '\'', _) if quote.is_none() => quote = Some((at, c)),
                _ if quote.is_some_and(|(_, open)| open == c) => quote = None,
                _ => word.push(c),
            }
            next = chars.next();
        }
        if let Some((at, _)) = quote {
            return Err(Unclosed { at: start + at });
        }
        found.push(Word {
            text: word,
            span: start + at..start + end,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keyword and the words, with `|` between them.
    fn cut(line: &str) -> String {
        let statement = match Statement::new(line, 0) {
            Ok(Some(statement)) => statement,
            Ok(None) => return "nothing".to_owned(),
            Err(Unclosed { at }) => return format!("unclosed at {at}"),
        };
        assert_eq!(
            &line[statement.at.clone()].trim_matches('"'),
            &statement.keyword
        );
        match statement.words() {
            Ok(words) => {
                let words = words.into_iter().map(|w| w.text);
                let all: Vec<_> = std::iter::once(statement.keyword.to_owned())
                    .chain(words)
                    .collect();
                all.join("|")
            }
            Err(Unclosed { at }) => format!("unclosed at {at}"),
        }
    }

    /// Each of these was put to `ssh -G`.
    #[test]
    fn a_line_is_cut_as_ssh_cuts_it() {
        for (line, meaning) in [
            ("", "nothing"),
            (" \t", "nothing"),
            ("# Port 22", "nothing"),
            ("  # Port 22", "nothing"),
            ("Port 22", "Port|22"),
            ("  Port\t22  ", "Port|22"),
            ("Port=22", "Port|22"),
            ("Port = 22\r", "Port|22"),
            ("Port =22\u{c}", "Port|22"),
            ("Port==22", "Port|=22"),
            ("\"Port\" 22", "Port|22"),
            ("\"Port\"=22", "Port|=22"),
            ("Port \"22\"", "Port|22"),
            ("Port 22 # why", "Port|22"),
            ("Port 22#why", "Port|22#why"),
            ("Port", "Port"),
            ("Port # 22", "Port"),
            ("Host a 'b c' \"d e\"", "Host|a|b c|d e"),
            ("Host a\\ b", "Host|a b"),
            (r#"Host "a\ b\"c\\d\e""#, r#"Host|a\ b"c\d\e"#),
            ("Host a\"b c\"d", "Host|ab cd"),
            ("Host \"it's\" x", "Host|it's|x"),
            ("Host \"\"", "Host|"),
            ("Host a \"b c", "unclosed at 7"),
            ("Host it's", "unclosed at 7"),
            ("Host a # it's", "Host|a"),
            ("\"Port 22", "unclosed at 0"),
            ("Host Ü*", "Host|Ü*"),
        ] {
            assert_eq!(cut(line), meaning, "{line}");
        }
    }

    #[test]
    fn a_word_knows_where_it_is() {
        let line = "  Host \"a b\"  c\\ d # x";
        let statement = Statement::new(line, 100).unwrap().unwrap();
        assert_eq!(statement.at, 102..106);
        let spans: Vec<_> = statement.words().unwrap();
        let spans: Vec<_> = spans.into_iter().map(|w| w.span).collect();
        assert_eq!(spans, [107..112, 114..118]);
        assert_eq!(&line[14..18], "c\\ d");
    }

    #[test]
    fn a_command_is_the_rest_of_the_line() {
        let line = "ProxyCommand = = nc \"%h\" # %p \t\r";
        let whole = Statement::new(line, 10).unwrap().unwrap().whole();
        assert_eq!(whole.text, "nc \"%h\" # %p");
        assert_eq!(whole.span, 27..39);
    }
}
