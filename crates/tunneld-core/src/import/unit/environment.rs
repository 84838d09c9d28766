//! The variables of a unit: `EnvironmentFile=` of systemd.exec(5), and COMMAND LINES of
//! systemd.service(5) for where they are filled in.

use std::collections::{BTreeMap, BTreeSet};

use super::words;
use crate::import::command::assignment;

/// The variables of an environment file.
pub(super) fn variables(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value = value_of(value, &mut lines);
        if assignment(&format!("{}=", name.trim())).is_some() {
            found.insert(name.trim().to_owned(), value);
        }
    }
    found
}

/// A value: in quotes, or up to the end of the line. A backslash at the end of a line, and a quote that
/// is open there, go on in the next one.
fn value_of<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut value = String::new();
    // What is not in quotes ends without its white space.
    let mut kept = 0;
    let mut quote = None;
    let mut line = first.trim_start();
    loop {
        let mut chars = line.chars();
        let mut goes_on = false;
        while let Some(c) = chars.next() {
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (Some('\''), c) => value.push(c),
                (None, '\\') => match chars.next() {
                    Some(c) => value.push(c),
                    None => goes_on = true,
                },
                (Some(_), '\\') => match chars.next() {
                    Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                    Some(c) => value.extend(['\\', c]),
                    None => goes_on = true,
                },
                (None, c) if c.is_whitespace() => {
                    value.push(c);
                    continue;
                }
                (_, c) => value.push(c),
            }
            kept = value.len();
        }
        if quote.is_some() && !goes_on {
            value.push('\n');
            kept = value.len();
        }
        if !goes_on && quote.is_none() {
            break;
        }
        match lines.next() {
            Some(next) => line = next,
            None => break,
        }
    }
    value.truncate(kept);
    value
}

/// The words with their variables: `${VAR}` anywhere in a word, `$VAR` as a word of its own, which is
/// cut at its white space, and `$$` for a dollar sign. A variable that is not set is empty, and one of
/// `unset`.
pub(super) fn filled_in(
    words: &[String],
    variables: &BTreeMap<String, String>,
    unset: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut value = |name: &str| {
        let value = variables.get(name).map(String::as_str);
        if value.is_none() && assignment(&format!("{name}=")).is_some() {
            unset.insert(name.to_owned());
        }
        value.unwrap_or("")
    };
    let mut found = Vec::new();
    for word in words {
        match word
            .strip_prefix('$')
            .filter(|rest| !rest.starts_with(['{', '$']))
        {
            Some(name) if !name.is_empty() => {
                let inner = words::words(value(name)).unwrap_or_default();
                found.extend(inner.into_iter().map(|word| word.text));
            }
            _ => found.push(inside(word, &mut value)),
        }
    }
    found
}

fn inside<'a>(word: &str, value: &mut impl FnMut(&str) -> &'a str) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|a| a.split_once('}'))
        {
            text.push_str(value(name));
            rest = after;
        } else {
            text.push('$');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_read_as_systemd_reads_it() {
        let text = "# why\n; not\nA=1\n B = two words  \nC=\"a 'b' \\\"c\\\" \\d\" \nD='x\\y'\n\
                    E=one\\\n two\nF=\"first\nsecond\"\nexport G=1\n1H=2\nI=a\\ b\nJ=\n";
        let found = variables(text);
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a 'b' \"c\" \\d"),
            ("D", "x\\y"),
            ("E", "one two"),
            ("F", "first\nsecond"),
            ("I", "a b"),
            ("J", ""),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn variables_are_filled_in_as_systemd_does() {
        let variables = [("A", "x 'y z'"), ("B", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let variables = BTreeMap::from(variables);
        let words = [
            "$A", "${A}", "p${B}q", "$B$B", "$$B", "a$B", "$C", "${C}", "$",
        ];
        let words: Vec<_> = words.map(str::to_owned).to_vec();
        let mut unset = BTreeSet::new();
        assert_eq!(
            filled_in(&words, &variables, &mut unset).join("|"),
            "x|y z|x 'y z'|p1q|$B|a$B||$"
        );
        assert_eq!(unset, BTreeSet::from(["C".to_owned()]));
    }
}
