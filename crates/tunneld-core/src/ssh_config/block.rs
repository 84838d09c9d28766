//! `Host` and `Match`: for which hosts the lines of a block hold.

use std::ops::Range;

use super::lex::Word;
use super::pattern::{host_matches, list_matches, list_matches_any_case};
use super::setting::{Wrong, wrong};
use crate::config::quoted;
use crate::config::values::ValueError;

/// The line that begins a block.
#[derive(Debug, Clone)]
pub(super) enum Block {
    /// `Host`, with its patterns.
    Host(Vec<String>),
    /// `Match`: each of these has to hold.
    Match(Vec<Test>),
}

/// One criterion of `Match`.
#[derive(Debug, Clone)]
pub(super) struct Test {
    negated: bool,
    criterion: Criterion,
    /// Its bytes in the file.
    span: Range<usize>,
}

#[derive(Debug, Clone)]
enum Criterion {
    All,
    /// `final` asks for a second pass over the files, and holds in that one.
    Final,
    /// As `final`, and asks for nothing.
    Canonical,
    Host(String),
    OriginalHost(String),
    User(String),
    LocalUser(String),
    /// One that ssh decides by what is not known here: by its name.
    Unknowable(&'static str),
}

/// What a block is compared with.
pub(super) struct Facts<'a> {
    /// The host: as written, or what `HostName` has made of it.
    pub(super) host: &'a str,
    /// What `Match host` sees.
    pub(super) host_name: &'a str,
    pub(super) original_host: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) local_user: Option<&'a str>,
    /// Whether this is the second pass.
    pub(super) last: bool,
}

/// Whether a block holds.
pub(super) enum Verdict<'a> {
    Yes,
    No,
    /// It would if these held, which cannot be known: which criterion, and where it is.
    Unknown(&'a Range<usize>, &'static str),
}

/// Criteria that depend on commands, networks, the command line or the version of ssh.
const UNKNOWABLE: [&str; 6] = [
    "exec",
    "localnetwork",
    "tagged",
    "command",
    "sessiontype",
    "version",
];

impl Block {
    /// The patterns of `Host`.
    pub(super) fn host(words: &[Word]) -> Result<Self, Wrong> {
        match words.iter().find(|w| w.text.is_empty()) {
            Some(empty) => Err(wrong(empty, "has an empty pattern")),
            None if words.is_empty() => Err(ValueError::new("has no pattern").into()),
            None => Ok(Block::Host(words.iter().map(|w| w.text.clone()).collect())),
        }
    }

    /// The criteria of `Match`.
    pub(super) fn criteria(words: &[Word]) -> Result<Self, Wrong> {
        let mut tests = Vec::new();
        let mut words = split_equals(words).into_iter();
        while let Some(word) = words.next() {
            let (negated, name) = match word.text.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, word.text.as_str()),
            };
            let name = name.to_ascii_lowercase();
            let criterion = match name.as_str() {
                "all" if tests.len() > 1 || words.next().is_some() => {
                    return Err(wrong(&word, "has `all` beside other criteria"));
                }
                "all" => Criterion::All,
                "final" => Criterion::Final,
                "canonical" => Criterion::Canonical,
                _ => argument(&name, &word, words.next())?,
            };
            tests.push(Test {
                negated,
                criterion,
                span: word.span,
            });
        }
        match tests.is_empty() {
            true => Err(ValueError::new("has no criterion").into()),
            false => Ok(Block::Match(tests)),
        }
    }

    /// Whether the lines of this block hold.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Verdict<'_> {
        let tests = match self {
            Block::Host(patterns) => {
                let patterns = patterns.iter().map(String::as_str);
                return match host_matches(facts.host, patterns) {
                    true => Verdict::Yes,
                    false => Verdict::No,
                };
            }
            Block::Match(tests) => tests,
        };
        let mut unknown = None;
        for test in tests {
            match test.criterion.holds(facts) {
                Ok(holds) if holds == test.negated => return Verdict::No,
                Ok(_) => {}
                Err(name) => unknown = unknown.or(Some((&test.span, name))),
            }
        }
        match unknown {
            Some((span, name)) => Verdict::Unknown(span, name),
            None => Verdict::Yes,
        }
    }

    /// Whether it asks for a second pass over the files.
    pub(super) fn wants_last_pass(&self) -> bool {
        let is_final = |test: &Test| matches!(test.criterion, Criterion::Final);
        matches!(self, Block::Match(tests) if tests.iter().any(is_final))
    }
}

impl Criterion {
    /// Whether it holds, or the name of what would have to be known.
    fn holds(&self, facts: &Facts<'_>) -> Result<bool, &'static str> {
        match self {
            Criterion::All => Ok(true),
            Criterion::Final | Criterion::Canonical => Ok(facts.last),
            Criterion::Host(list) => Ok(list_matches_any_case(facts.host_name, list)),
            Criterion::OriginalHost(list) => Ok(list_matches_any_case(facts.original_host, list)),
            Criterion::User(list) => match facts.user {
                Some(user) => Ok(list_matches(user, list)),
                None => Err("user"),
            },
            Criterion::LocalUser(list) => match facts.local_user {
                Some(user) => Ok(list_matches(user, list)),
                None => Err("localuser"),
            },
            Criterion::Unknowable(name) => Err(name),
        }
    }
}

/// A criterion with its argument.
fn argument(name: &str, word: &Word, argument: Option<Word>) -> Result<Criterion, Wrong> {
    let unknowable = UNKNOWABLE.into_iter().find(|known| *known == name);
    let make = match (name, unknowable) {
        (_, Some(known)) => {
            return match argument {
                Some(_) => Ok(Criterion::Unknowable(known)),
                None => Err(wrong(word, format!("has nothing after `{known}`"))),
            };
        }
        ("host", _) => Criterion::Host,
        ("originalhost", _) => Criterion::OriginalHost,
        ("user", _) => Criterion::User,
        ("localuser", _) => Criterion::LocalUser,
        _ => {
            let said = format!("has a criterion that is not known: {}", quoted(name));
            return Err(wrong(word, said));
        }
    };
    match argument {
        Some(list) if !list.text.is_empty() => Ok(make(list.text)),
        _ => Err(wrong(word, format!("has nothing after `{name}`"))),
    }
}

/// `host=a`, `host =a` and `host = a` are `host a`.
fn split_equals(words: &[Word]) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::with_capacity(words.len());
    let mut is_name = true;
    for word in words {
        let part = |text: &str| Word {
            text: text.to_owned(),
            span: word.span.clone(),
        };
        let bare = word.text.trim_start_matches('!').to_ascii_lowercase();
        match (is_name, word.text.split_once('=')) {
            (true, Some((name, value))) => {
                found.push(part(name));
                is_name = !value.is_empty();
                found.extend((!value.is_empty()).then(|| part(value)));
            }
            (true, None) => {
                found.push(word.clone());
                is_name = matches!(bare.as_str(), "all" | "final" | "canonical");
            }
            (false, _) => {
                let value = word.text.strip_prefix('=').unwrap_or(&word.text);
                let lone = value.is_empty() && word.text == "=";
                found.extend((!lone).then(|| part(value)));
                is_name = !lone;
            }
        }
    }
    found
}
