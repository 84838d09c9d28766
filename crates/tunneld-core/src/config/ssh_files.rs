//! The files of ssh that a configuration takes values from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Origin};
use super::include;
use super::items::{Base, completed};
use super::raw::{Item, Problems};
use super::resolve::Surroundings;
use super::texts::Texts;
use super::way_forms::is_none;
use super::{MAX_FILE_LEN, Sourced};
use crate::ssh_config::{Found, Problem, Sources};

/// What was read of the files of ssh: by the path in `ssh_config`, or why it cannot be read.
pub type SshConfigs = BTreeMap<PathBuf, Result<Sources, String>>;

/// The paths that a text and those that it includes have for `ssh_config`, whatever else is wrong with
/// them: these files have to be read before the configuration is checked.
pub fn ssh_config_paths(
    bytes: &[u8],
    origin: &Origin,
    surroundings: &Surroundings,
) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    add_paths(bytes, origin, surroundings, &mut paths);
    let included = surroundings.includes.iter();
    for file in included.flat_map(|i| i.found.iter().flatten()) {
        let origin = Origin::of_file(&file.path);
        add_paths(&file.bytes, &origin, surroundings, &mut paths);
    }
    paths
}

fn add_paths(
    bytes: &[u8],
    origin: &Origin,
    surroundings: &Surroundings,
    paths: &mut BTreeSet<PathBuf>,
) {
    let text = String::from_utf8_lossy(bytes.get(..MAX_FILE_LEN).unwrap_or(bytes));
    let (table, _) = DeTable::parse_recoverable(&text);
    let table = table.get_ref();
    let inner = |name: &str| table.get(name).and_then(|t| t.get_ref().as_table());
    let tunnels = inner("tunnels")
        .into_iter()
        .flat_map(|tunnels| tunnels.iter());
    let tunnels = tunnels.filter_map(|(_, tunnel)| tunnel.get_ref().as_table());
    let written = inner("defaults").into_iter().chain(tunnels);
    let written = written.filter_map(|table| table.get("ssh_config")?.get_ref().as_str());
    let written = written.filter(|text| !is_none(text));
    paths.extend(written.filter_map(|text| completed(text, origin, surroundings).ok()));
}

/// Where each file of ssh begins among all the texts, by the path in `ssh_config`.
pub(super) type Starts = BTreeMap<PathBuf, Vec<usize>>;

impl Texts {
    /// The text of a configuration, and those of the files that were read for it.
    pub fn with_all(origin: &Origin, text: impl Into<String>, surroundings: &Surroundings) -> Self {
        laid_out(origin, text, surroundings).texts
    }
}

/// All the texts, and where they begin.
pub(super) struct LaidOut {
    pub(super) texts: Texts,
    /// Where the included files begin, in their order.
    pub(super) included: Vec<usize>,
    /// Where the files of ssh begin.
    pub(super) ssh: Starts,
}

/// Lays out the texts one after the other.
pub(super) fn laid_out(
    origin: &Origin,
    text: impl Into<String>,
    surroundings: &Surroundings,
) -> LaidOut {
    let mut texts = Texts::new(origin, text);
    let included = include::laid_out(&mut texts, &surroundings.includes);
    let mut ssh = Starts::new();
    for (path, read) in &surroundings.ssh_configs {
        let files = read.iter().flat_map(|sources| sources.files());
        let begin = files.map(|(file, text)| texts.add(file.display().to_string(), text));
        ssh.insert(path.clone(), begin.collect());
    }
    LaidOut {
        texts,
        included,
        ssh,
    }
}

/// A file of ssh with those that it includes, as one tunnel sees them.
#[derive(Clone, Copy)]
pub(super) struct SshFiles<'a> {
    pub(super) sources: &'a Sources,
    starts: &'a [usize],
}

impl<'a> SshFiles<'a> {
    /// The files that `ssh_config` names. That they cannot be read, and what is wrong in them
    /// whatever the host is, is reported.
    pub(super) fn named(
        written: &Sourced<Option<PathBuf>>,
        base: Base<'a>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let path = written.value.as_deref()?;
        let read = base.surroundings.ssh_configs.get(path);
        let sources = match read {
            Some(Ok(sources)) => sources,
            Some(Err(reason)) => {
                problems.report(unreadable(path, reason, written));
                return None;
            }
            None => {
                problems.report(unreadable(path, "it was not looked for", written));
                return None;
            }
        };
        let files = SshFiles {
            sources,
            starts: base.starts.get(path).map_or(&[], Vec::as_slice),
        };
        for problem in sources.problems() {
            problems.report(files.diagnostic(problem));
        }
        Some(files)
    }

    /// A value of theirs with its place among all the texts.
    pub(super) fn sourced<T>(&self, found: Found<T>) -> Sourced<T> {
        let span = found.place.span;
        Sourced {
            value: found.value,
            span: Some(self.among_all(found.place.file, span.start, span.end)),
        }
    }

    /// A problem of theirs, in its place among all the texts.
    pub(super) fn diagnostic(&self, problem: Problem) -> Diagnostic {
        let span = self.among_all(problem.file, problem.start, problem.end);
        Diagnostic {
            help: problem.help,
            ..Diagnostic::at(span, problem.message)
        }
    }

    fn among_all(&self, file: usize, start: usize, end: usize) -> Range<usize> {
        let begin = self.starts.get(file).copied().unwrap_or_default();
        begin + start..begin + end
    }
}

fn unreadable(path: &Path, reason: &str, written: &Sourced<Option<PathBuf>>) -> Diagnostic {
    let said = format!("cannot read {}: {reason}", path.display());
    Diagnostic {
        span: written.span.clone(),
        ..Diagnostic::new(said)
    }
}

/// `ssh_config`: a path, or `none`.
pub(super) fn ssh_config(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Option<PathBuf>> {
    match item.get() {
        DeValue::String(text) if is_none(text) => Some(None),
        _ => super::items::path(item, base, problems).map(Some),
    }
}
