//! From the text of a file to its lines, or to everything that is wrong with them.
//!
//! A line that is wrong is wrong for every host, as with ssh: whether it is in a block that holds
//! does not matter.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::block::Block;
use super::expand::{Environment, include_path};
use super::judge::Judge;
use super::keywords::{Known, known};
use super::lex::{Statement, Unclosed, Word};
use super::setting::{Args, Setting, Wrong};
use crate::config::quoted;

/// The longest line that is read, in bytes.
const MAX_LINE_LEN: usize = 16 << 10;

/// How many lines of a file are read.
const MAX_LINES: usize = 50_000;

/// How many problems of a file are kept.
const MAX_PROBLEMS: usize = 1_000;

/// A line of a file that says something.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// Its keyword as it is shown; empty for one that is not known.
    pub(super) keyword: &'static str,
    /// The bytes of its value.
    pub(super) span: Range<usize>,
    pub(super) what: What,
}

/// What a line says.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// The lines after it are for some hosts.
    Block(Block),
    /// These files come in its place.
    Include(Vec<PathBuf>),
    /// A value.
    Set(Setting),
    /// Something that is measured by what tunneld does anyway.
    Judged(&'static Judge, Vec<String>),
    /// Something that has no effect on a tunnel: its words.
    Unused(Vec<String>),
    /// A keyword that ssh does not know, unless it is told to ignore it.
    Unknown(String),
}

/// What is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Fault {
            span,
            message: message.into(),
            help: None,
        }
    }
}

/// The lines of a file, and what is wrong with the others. Relative names of other files are below
/// `dir`.
pub(super) fn parse(text: &str, dir: &Path, environment: &Environment) -> (Vec<Line>, Vec<Fault>) {
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if faults.len() >= MAX_PROBLEMS {
            break;
        }
        if index == MAX_LINES {
            let said = format!("there are more than {MAX_LINES} lines, which is all that is read");
            faults.push(Fault::new(start..start, said));
            break;
        }
        match read(line, start, dir, environment) {
            Ok(Some((keyword, span, what))) => lines.push(Line {
                number: index + 1,
                keyword,
                span,
                what,
            }),
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
        start += line.len();
    }
    (lines, faults)
}

/// A keyword as it is shown, the bytes of its value, and what it says.
type Said = (&'static str, Range<usize>, What);

/// The line that begins at byte `start`; `None` where it says nothing that matters.
fn read(
    line: &str,
    start: usize,
    dir: &Path,
    environment: &Environment,
) -> Result<Option<Said>, Fault> {
    if line.len() > MAX_LINE_LEN {
        let said = format!("this line has more than {MAX_LINE_LEN} bytes");
        return Err(Fault::new(start..start, said));
    }
    if start == 0 && line.starts_with('\u{feff}') {
        return Err(Fault {
            help: Some("save the file without it: ssh does not read it either".to_owned()),
            ..Fault::new(0..3, "the file begins with a byte order mark")
        });
    }
    let unclosed = |Unclosed { at }| {
        let said = "this quote has no other one on its line";
        Fault::new(at..at + 1, said)
    };
    let Some(statement) = Statement::new(line, start).map_err(unclosed)? else {
        return Ok(None);
    };
    let args = Args {
        words: statement.words().map_err(unclosed)?,
        whole: statement.whole(),
    };
    let span = match (args.words.first(), args.words.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => statement.at.clone(),
    };
    // What a comment has in it does no harm.
    let text = line.get(statement.at.start - start..span.end - start);
    if let Some((at, bad)) = text.and_then(unreadable) {
        let at = statement.at.start + at;
        return Err(Fault::new(at..at + bad.len_utf8(), bad_character(bad)));
    }
    let Some((keyword, known)) = known(statement.keyword) else {
        let what = What::Unknown(statement.keyword.to_owned());
        return Ok(Some(("", statement.at, what)));
    };
    match meaning(known, &args, dir, environment) {
        Ok(what) => Ok(what.map(|what| (keyword, span, what))),
        Err(wrong) => Err(Fault {
            help: wrong.error.help,
            ..Fault::new(
                wrong.span.unwrap_or(span),
                format!("`{keyword}` {}", wrong.error.message),
            )
        }),
    }
}

/// What a keyword says with these words; `None` where that does not matter.
fn meaning(
    known: Known,
    args: &Args,
    dir: &Path,
    environment: &Environment,
) -> Result<Option<What>, Wrong> {
    Ok(Some(match known {
        Known::Host => What::Block(Block::host(&args.words)?),
        Known::Match => What::Block(Block::criteria(&args.words)?),
        Known::Include => {
            let paths = args.words()?.iter();
            let paths = paths.map(|word| include_path(word, dir, environment));
            What::Include(paths.collect::<Result<_, _>>()?)
        }
        Known::Judged(judge) => What::Judged(judge, texts(args.words()?)),
        Known::Harmless => What::Unused(texts(&args.words)),
        _ => return Ok(known.read(args)?.map(What::Set)),
    }))
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

/// A character that no value has: what was not UTF-8 has become U+FFFD.
fn unreadable(text: &str) -> Option<(usize, char)> {
    let bad = |c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && !c.is_whitespace());
    text.char_indices().find(|(_, c)| bad(*c))
}

fn bad_character(bad: char) -> String {
    match bad {
        char::REPLACEMENT_CHARACTER => "this line is not UTF-8".to_owned(),
        control => format!(
            "this line has a control character: {}",
            quoted(&control.to_string())
        ),
    }
}
