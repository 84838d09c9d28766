//! What to do about a file of the configuration that this user may not read.

use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use tunneld_core::text::shell_word;

use crate::account::{Account, Group};

/// What the unit hides from the daemon (systemd.exec(5): ProtectHome=): nobody is to be let in there
/// for a file of ours.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Whether this user may not read a file, or not enter its folder.
pub(crate) fn is_denied(file: &Path) -> bool {
    is_closed(file, Access::READ_OK)
}

/// What lets a daemon read a file that root has made with a umask of 077, or in a folder made so.
pub(crate) fn way_in(file: &Path) -> Option<String> {
    let user = Account::of(geteuid().as_raw())?.name;
    let group = shell_word(&Group::of(getegid().as_raw())?.name);
    let (closed, bits) = closed(file)?;
    if HOMES.iter().any(|home| closed == Path::new(home)) {
        return Some(format!(
            "{user} cannot look into {}, which the unit hides (ProtectHome=): keep the file in \
             /etc/tunneld",
            closed.display()
        ));
    }
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
    let other = service.is_some_and(|service| service.uid != geteuid().as_raw());
    if other && !tunneld_ssh::calling::is_daemon() {
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
    let (to, bits) = match path.is_dir() {
        true => (Access::READ_OK | Access::EXEC_OK, "rx"),
        false => (Access::READ_OK, "r"),
    };
    is_closed(&path, to).then_some((path, bits))
}

fn is_closed(path: &Path, to: Access) -> bool {
    rustix::fs::access(path, to) == Err(Errno::ACCESS)
}
