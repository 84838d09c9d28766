//! What gives the daemon the right to a file that it needs and is denied, with the commands.
//!
//! What is said of our own user is mostly said by the daemon alone: whoever runs another command of ours
//! may well not be the user whom the file has to belong to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use tunneld_core::text::shell_word;

use crate::calling;

/// What holds of a secret, whoever looks at it.
pub(crate) const MUST_OWN: &str = "the user that tunneld runs as must own it";

/// What the unit hides from the daemon (systemd.exec(5): ProtectHome=).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// For a secret that cannot be read: the owner is the only one who may.
pub(crate) fn to_own(file: &Path) -> String {
    match (calling::daemon_user(), closed_folder(file)) {
        (Some(_), Some(folder)) if HOMES.iter().any(|home| folder == Path::new(home)) => format!(
            "the unit hides {} (ProtectHome=): keep the file in another place, as /etc/tunneld/keys",
            folder.display()
        ),
        (Some(user), Some(folder)) => {
            let elsewhere = || "keep the file in another place, as /etc/tunneld/keys".to_owned();
            let what = entering(&folder).unwrap_or_else(elsewhere);
            format!("{user} cannot enter {}: {what}", folder.display())
        }
        (Some(user), None) => owning(file, &user),
        (None, _) => MUST_OWN.to_owned(),
    }
}

/// The commands that make a secret a user's.
pub(crate) fn owning(file: &Path, user: &str) -> String {
    let (user, file) = (shell_word(user), word(file));
    format!("sudo chown {user} {file} && sudo chmod 600 {file}")
}

/// A command that makes a file, as the daemon can use it: a person makes it as root.
pub(crate) fn made_by_root(command: &str, file: &Path) -> String {
    match calling::daemon_user().filter(|_| !rustix::process::geteuid().is_root()) {
        Some(user) => given_by_root(command, file, &user),
        None => command.to_owned(),
    }
}

/// A command that puts another file in the place of one, which would be root's then: whose it was, it stays.
pub(crate) fn keeping_owner(command: &str, file: &Path) -> String {
    let us = rustix::process::geteuid().as_raw();
    let theirs = |found: &Metadata| found.uid() != 0 && (found.uid() != us || calling::is_daemon());
    match file.metadata().ok().filter(theirs) {
        // By number: to ask for names may take long, and a session waits for this.
        Some(found) => format!(
            "sudo {command} && sudo chown {}:{} {}",
            found.uid(),
            found.gid(),
            word(file)
        ),
        None => command.to_owned(),
    }
}

/// A command that makes a file, for a user who cannot be the one who runs it.
pub(crate) fn given_by_root(command: &str, file: &Path, user: &str) -> String {
    format!(
        "sudo {command} && sudo chown {} {}",
        whole(user),
        word(file)
    )
}

/// For a file that cannot be written and is only the daemon's: whom it has to belong to. `None` where that is
/// not it, or where the file is none of the daemon's own.
pub(crate) fn to_write(file: &Path) -> Option<String> {
    let user = calling::daemon_user()?;
    let found = file.metadata().ok().filter(|found| found.is_file())?;
    let is_shared = file.starts_with("/etc/ssh") || file.iter().any(|part| part == ".ssh");
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    (!is_shared && !is_ours).then(|| format!("sudo chown {} {}", whole(&user), word(file)))
}

/// A user with the login group, as chown(1) takes it: of a number, it knows none.
fn whole(user: &str) -> String {
    match user.parse::<u32>() {
        Ok(_) => user.to_owned(),
        Err(_) => format!("{}:", shell_word(user)),
    }
}

/// The first folder on the way to a file that this process may not enter.
fn closed_folder(file: &Path) -> Option<PathBuf> {
    let denied = |folder: &&Path| {
        let entered = rustix::fs::accessat(CWD, *folder, Access::EXEC_OK, AtFlags::EACCESS);
        entered == Err(Errno::ACCESS)
    };
    // The outermost is the last one.
    let closed = file.ancestors().skip(1).filter(denied).last();
    closed.map(Path::to_owned)
}

/// The commands that let our group enter a folder. `None` where another group would lose it.
fn entering(folder: &Path) -> Option<String> {
    let gid = rustix::process::getegid().as_raw();
    let open = format!("sudo chmod g+x {}", word(folder));
    let found = folder.metadata().ok()?;
    if found.gid() == gid {
        return Some(open);
    }
    if found.mode() & 0o070 != 0 {
        return None;
    }
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid));
    let group = group.ok().flatten().map(|group| group.name);
    let group = group.unwrap_or_else(|| gid.to_string());
    let group = shell_word(&group);
    Some(format!("sudo chgrp {group} {} && {open}", word(folder)))
}

fn word(path: &Path) -> String {
    shell_word(&path.display().to_string())
}
