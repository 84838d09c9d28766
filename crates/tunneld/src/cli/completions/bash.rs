//! What bash needs beyond the others: it takes `--config=FILE` for three words, as `=` is in its
//! COMP_WORDBREAKS (bash(1)), and replaces the last of them only.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::engine::complete;
use clap_complete::env::{Bash as Plain, EnvCompleter};

/// Says what stands between the answers.
const SEPARATOR: &str = "_CLAP_IFS";

/// bash, with options and their values put together again.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        Plain.name()
    }

    fn is(&self, name: &str) -> bool {
        Plain.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        Plain.write_registration(var, name, bin, completer, buf)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let typed = super::index().unwrap_or_default();
        let (words, index) = joined(words, typed);
        // What bash keeps of the word, if it was put together.
        let kept = match words.get(index).and_then(|word| word.to_str()) {
            Some(word) if index < typed => word
                .split_once('=')
                .map_or(0, |(option, _)| option.len() + 1),
            _ => 0,
        };
        let separator = std::env::var(SEPARATOR).unwrap_or_else(|_| "\n".to_owned());
        let found = complete(command, words, index, folder)?;
        let found = found
            .iter()
            .map(|candidate| candidate.get_value().to_string_lossy());
        let found: Vec<String> = found
            .map(|value| value.get(kept..).unwrap_or_default().to_owned())
            .collect();
        out.write_all(found.join(&separator).as_bytes())
    }
}

/// `--config`, `=` and `FILE` are one word again. With the place of the word that is typed.
pub(super) fn joined(words: Vec<OsString>, typed: usize) -> (Vec<OsString>, usize) {
    let mut whole: Vec<OsString> = Vec::with_capacity(words.len());
    let mut index = 0;
    let mut open = false;
    for (at, word) in words.into_iter().enumerate() {
        let sign = word == "=" && !open && whole.last().is_some_and(is_option);
        match whole.last_mut() {
            Some(last) if open || sign => last.push(&word),
            _ => whole.push(word),
        }
        open = sign;
        if at <= typed {
            index = whole.len() - 1;
        }
    }
    (whole, index)
}

/// Whether a value can follow it behind a `=`.
fn is_option(word: &OsString) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.starts_with(b"--") && !bytes.contains(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_value_are_one_word() {
        let joined = |words: &[&str], typed| {
            let words = words.iter().map(OsString::from).collect();
            let (words, index) = joined(words, typed);
            let words: Vec<String> = words
                .into_iter()
                .map(|w| w.into_string().unwrap())
                .collect();
            (words.join(" "), index)
        };
        let line = ["t", "--config", "=", "/x", "stop", "a"];
        assert_eq!(joined(&line, 5), ("t --config=/x stop a".to_owned(), 3));
        assert_eq!(joined(&line, 3), ("t --config=/x stop a".to_owned(), 1));
        assert_eq!(joined(&line, 1), ("t --config=/x stop a".to_owned(), 1));
        assert_eq!(joined(&["t", "--a", "="], 2), ("t --a=".to_owned(), 1));
        // Those that are no option's.
        assert_eq!(joined(&["t", "a", "=", "b"], 3), ("t a = b".to_owned(), 3));
        assert_eq!(joined(&["="], 0), ("=".to_owned(), 0));
        assert_eq!(joined(&["t", "--a=b", "="], 2), ("t --a=b =".to_owned(), 2));
        assert_eq!(joined(&[], 0), (String::new(), 0));
    }
}
