//! Reading the files of ssh that a configuration names, with those that they include.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tunneld_core::config::{SshConfigs, Surroundings};
use tunneld_core::ssh_config::{Environment, MAX_FILE_LEN, Sources};
use tunneld_ssh::error::os_reason;

use super::owner::check_ssh;
use super::pattern::matching;
use super::{open, reason};

/// How many files one `Include` may bring; `Sources` says that there are too many.
const MAX_FOUND: usize = 1_001;

/// Reads each of these files for a tunneld that runs as the user `uid`, or says why it cannot be read.
pub(super) fn read(paths: BTreeSet<PathBuf>, surroundings: &Surroundings, uid: u32) -> SshConfigs {
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = Environment {
        user: surroundings.user.clone(),
        home: surroundings.home.clone(),
        variables: std::env::vars_os().filter_map(variable).collect(),
    };
    let read = paths.into_iter().map(|path| {
        let sources = sources(&path, &environment, uid);
        (path, sources)
    });
    read.collect()
}

fn sources(path: &Path, environment: &Environment, uid: u32) -> Result<Sources, String> {
    let text = text(path, uid).map_err(|e| os_reason(&e))?;
    let mut sources = Sources::new(path, text, environment.clone());
    complete(&mut sources, uid);
    Ok(sources)
}

/// Reads the files that these include, for whoever runs as the user `uid`.
pub(crate) fn complete(sources: &mut Sources, uid: u32) {
    loop {
        let missing = sources.missing();
        if missing.is_empty() {
            return;
        }
        for pattern in missing {
            let found = included(&pattern, uid);
            sources.add(pattern, found);
        }
    }
}

/// The files that match a pattern, in the order of their names.
fn included(pattern: &Path, uid: u32) -> Result<Vec<(PathBuf, String)>, String> {
    let mut found = Vec::new();
    for path in matching(&pattern.to_string_lossy())?.take(MAX_FOUND) {
        let path = path.map_err(|e| reason(e.path(), e.error()))?;
        match text(&path, uid) {
            Ok(text) => found.push((path, text)),
            // As ssh: a folder among the files, or a file that is gone since.
            Err(e) if is_no_file(&e) => {}
            Err(e) => return Err(reason(&path, &e)),
        }
    }
    Ok(found)
}

fn is_no_file(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotFound
    )
}

/// The text of a file that nobody else can change: it names keys, and commands that are run. One
/// byte more than is allowed, so that it is seen to be too much.
fn text(path: &Path, uid: u32) -> io::Result<String> {
    let file = open(path)?;
    check_ssh(path, &file.metadata()?, uid)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
