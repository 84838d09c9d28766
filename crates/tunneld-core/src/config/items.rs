//! Values as they stand in the tables of the file: each of them reports what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::Sourced;
use super::diagnostic::Origin;
use super::keys::nearest;
use super::raw::{Item, Problems};
use super::render::quoted;
use super::resolve::Surroundings;
use super::ssh_files::Starts;
use super::values::{ValueError, check_duration, parse_duration};

/// How many entries a list may have.
pub(super) const MAX_LIST: usize = 100;

/// The longest path, in bytes: PATH_MAX of Linux.
pub(super) const MAX_PATH_LEN: usize = 4095;

/// What a path of the file is completed with.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) origin: &'a Origin,
    pub(super) surroundings: &'a Surroundings,
    /// Where the files of ssh begin.
    pub(super) starts: &'a Starts,
}

/// A string that `parse` understands.
pub(super) fn parsed<T>(
    item: Item<'_, '_>,
    wanted: &str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
    problems: &mut Problems,
) -> Option<T> {
    let text = item.text(wanted, problems)?;
    parse(text).map_err(|e| problems.report(item.error(e))).ok()
}

/// A duration; a bare number is seconds, as in ssh_config(5).
pub(super) fn duration(item: Item<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    const HELP: &str = r#"write "15s", "500ms" or "1m30s"; a bare number is seconds"#;
    let found = match item.get() {
        DeValue::String(text) => parse_duration(text),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(seconds) if seconds < 0 => {
                problems.report(item.wrong("cannot be negative").with_help(HELP));
                return None;
            }
            Ok(seconds) => check_duration(Duration::from_secs(
                u64::try_from(seconds).unwrap_or(u64::MAX),
            )),
            Err(_) => check_duration(Duration::MAX),
        },
        _ => {
            problems.report(item.wants("a duration").with_help(HELP));
            return None;
        }
    };
    found.map_err(|e| problems.report(item.error(e))).ok()
}

/// A duration that is more than nothing.
pub(super) fn positive(item: Item<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    let found = duration(item, problems)?;
    if found.is_zero() {
        problems.report(item.wrong("has to be more than 0"));
        return None;
    }
    Some(found)
}

/// A duration that is not shorter than `least`.
pub(super) fn at_least(
    least: Duration,
    item: Item<'_, '_>,
    problems: &mut Problems,
) -> Option<Duration> {
    let found = duration(item, problems)?;
    if found < least {
        let least = humantime::format_duration(least);
        problems.report(item.wrong(&format!("has to be at least {least}")));
        return None;
    }
    Some(found)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    item: Item<'_, '_>,
    words: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
    let wanted = one_of(&names);
    let text = item.text(&wanted, problems)?;
    let found = words.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let mut wrong = item.wrong(&format!("wants {wanted}, not {}", quoted(text)));
        if let Some(near) = nearest(&names, text) {
            wrong = wrong.with_label(format!("did you mean `{near}`?"));
        }
        problems.report(wrong);
    }
    found.map(|(_, value)| *value)
}

/// `"a", "b" or "c"`.
fn one_of(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Whether a value says that the default holds, whatever a table above it says.
pub(super) fn is_default(item: Item<'_, '_>) -> bool {
    item.get().as_str() == Some("default")
}

/// The items of a list, unless it is too long.
pub(super) fn list<'t, 'i>(
    item: Item<'t, 'i>,
    problems: &mut Problems,
) -> Option<Vec<Item<'t, 'i>>> {
    let items = item.each();
    if items.len() > MAX_LIST {
        let said = format!("has {} entries, at most {MAX_LIST} are taken", items.len());
        problems.report(item.wrong(&said));
        return None;
    }
    Some(items)
}

pub(super) fn paths(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Vec<Sourced<PathBuf>>> {
    let items = list(item, problems)?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        found.extend(path(*item, base, problems).map(|value| Sourced {
            value,
            span: Some(item.span()),
        }));
    }
    (found.len() == items.len()).then_some(found)
}

/// A path: absolute, below the home directory (`~/`), or relative to the file's directory.
pub(super) fn path(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let wanted = match item.key {
        "control_socket" | "ssh_config" | "state_directory" => "a path",
        _ => "a path or an array of paths",
    };
    parsed(
        item,
        wanted,
        |text| completed(text, base.origin, base.surroundings),
        problems,
    )
}

/// A path as it is written, made a whole one.
pub(super) fn completed(
    text: &str,
    origin: &Origin,
    surroundings: &Surroundings,
) -> Result<PathBuf, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("is an empty path"));
    }
    if text.len() > MAX_PATH_LEN {
        return Err(ValueError::new(format!(
            "has more than {MAX_PATH_LEN} bytes"
        )));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(ValueError::new(format!("has a control character: {c:?}")));
    }
    let Some(below) = text.strip_prefix('~') else {
        return Ok(origin.dir.join(text));
    };
    match (below.strip_prefix('/'), surroundings.home.as_deref()) {
        (Some(below), Some(home)) => Ok(join(home, below)),
        (Some(_), None) => {
            let error = ValueError::new("is in the home directory, and there is none");
            Err(error.with_help("write the whole path"))
        }
        (None, _) => {
            let error = ValueError::new("has a `~` that is not followed by `/`");
            Err(error.with_help("write the whole path, or `./~…` for a file of that name"))
        }
    }
}

/// `~//x` is below the home directory too: joining an absolute path would leave it.
fn join(home: &Path, below: &str) -> PathBuf {
    home.join(below.trim_start_matches('/'))
}
