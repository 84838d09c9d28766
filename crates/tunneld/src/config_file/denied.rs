//! What to do about a file of the configuration that this user may not read.

use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use tunneld_core::text::shell_word;

use crate::account::{Account, Group};

/// Whether this user may not read a file, or not enter its folder.
pub(crate) fn is_denied(file: &Path) -> bool {
    is_closed(file, Access::READ_OK)
}

/// What lets a daemon read a file that root has made with a umask of 077, or in a folder made so.
pub(crate) fn way_in(file: &Path) -> Option<String> {
    let user = Account::of(geteuid().as_raw())?.name;
    let group = shell_word(&Group::of(getegid().as_raw())?.name);
    let (closed, bits) = closed(file)?;
    let closed = shell_word(&closed.display().to_string());
    Some(format!(
        "tunneld runs as {user}, who has to be able to read it: sudo chgrp {group} {closed} && \
         sudo chmod g+{bits} {closed}"
    ))
}

/// The same for a file that is included. Beside the packaged service this may be a person, whose group
/// is not to have it.
pub(super) fn help(file: &Path) -> Option<String> {
    let service = Account::of_service();
    if service.is_some_and(|service| service.uid != geteuid().as_raw()) {
        return Some("use sudo".to_owned());
    }
    way_in(file)
}

/// What keeps this user out: the first folder on the way that it may not enter, else the file or folder
/// itself; and what its group has to be allowed.
fn closed(path: &Path) -> Option<(PathBuf, &'static str)> {
    let path = std::path::absolute(path).ok()?;
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    let mut above = above.into_iter().rev();
    if let Some(folder) = above.find(|folder| is_closed(folder, Access::EXEC_OK)) {
        return Some((folder.to_owned(), "rx"));
    }
    match path.is_dir() {
        true => Some((path, "rx")),
        false => is_denied(&path).then_some((path, "r")),
    }
}

fn is_closed(path: &Path, to: Access) -> bool {
    rustix::fs::access(path, to) == Err(Errno::ACCESS)
}
