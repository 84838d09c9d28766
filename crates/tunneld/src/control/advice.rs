//! What to do about a daemon that does not answer.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::process::geteuid;
use tunneld_ssh::calling;

use crate::account::{Account, Group};

/// The way out where a group is of no help.
const SUDO: &str = "use sudo";

/// One line about a socket that could not be asked, for this reason.
pub(super) fn advice(socket: &Path, kind: ErrorKind) -> Option<String> {
    let found = std::fs::metadata(socket).ok();
    let is_socket = |found: &Metadata| found.file_type().is_socket();
    if found.as_ref().is_some_and(|found| !is_socket(found)) {
        return Some(
            "that is no socket: see `control_socket` in the file, and --socket".to_owned(),
        );
    }
    let unit = calling::ours().unit();
    match kind {
        ErrorKind::NotFound => Some(format!(
            "is it running? `systemctl status {unit}`; if `control_socket` was changed since it \
             started, --socket names where it was"
        )),
        ErrorKind::ConnectionRefused => Some(format!(
            "it has died and left its socket behind: `systemctl status {unit}` says why, \
             `systemctl restart {unit}` starts it"
        )),
        ErrorKind::PermissionDenied => Some(permission(socket)),
        ErrorKind::TimedOut => Some(format!(
            "it hangs: `journalctl -u {unit} -n 50` may say why, `systemctl restart {unit}` ends \
             it and its connections"
        )),
        ErrorKind::WouldBlock => Some("too many ask it at once: ask again".to_owned()),
        _ => None,
    }
}

/// The group that may use the socket, and how to be in it.
fn permission(socket: &Path) -> String {
    // What keeps us out is the socket, or a folder before it: then that tells whose it is.
    let seen = socket.ancestors().find_map(|path| path.metadata().ok());
    let Some(seen) = seen else {
        return SUDO.to_owned();
    };
    let (read, write, enter) = (0o040, 0o020, 0o010);
    let wanted = match seen.is_dir() {
        true => read | enter,
        false => read | write,
    };
    // Nobody should join root's own group, or one that would not help.
    if seen.gid() == 0 || seen.mode() & wanted != wanted {
        return match Account::of(seen.uid()) {
            Some(owner) if owner.uid != 0 => format!("use sudo, or sudo -u {}", owner.name),
            _ => SUDO.to_owned(),
        };
    }
    let Some(group) = Group::of(seen.gid()) else {
        return format!(
            "join the group {} that it belongs to, or {SUDO}",
            seen.gid()
        );
    };
    let us = Account::of(geteuid().as_raw()).map(|account| account.name);
    let name = &group.name;
    match us {
        Some(us) if group.members.contains(&us) => format!(
            "you are in its group `{name}` from your next login on: log in again, or `newgrp {name}`"
        ),
        us => format!(
            "join its group: `sudo usermod -aG {name} {}` and log in again; or {SUDO}",
            us.as_deref().unwrap_or("$USER")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_group_that_helps_is_named_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let with = |gid, mode| {
            chown(&socket, None, Some(gid)).unwrap();
            std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).unwrap();
            permission(&socket)
        };
        let group = Group::of(1).unwrap().name;
        let us = Account::of(geteuid().as_raw()).unwrap().name;
        let join = format!(
            "join its group: `sudo usermod -aG {group} {us}` and log in again; or use sudo"
        );
        assert_eq!(with(1, 0o660), join);
        for (gid, mode) in [(0, 0o660), (1, 0o600)] {
            assert_eq!(with(gid, mode), "use sudo", "{gid} {mode:o}");
        }
    }

    #[test]
    fn each_reason_has_its_own_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("nothing");
        let said = |kind| advice(&nothing, kind).unwrap_or_default();
        let kinds = [
            ErrorKind::NotFound,
            ErrorKind::ConnectionRefused,
            ErrorKind::PermissionDenied,
            ErrorKind::TimedOut,
            ErrorKind::WouldBlock,
        ];
        for (at, kind) in kinds.into_iter().enumerate() {
            assert!(!said(kind).is_empty(), "{kind}");
            assert!(kinds[..at].iter().all(|other| said(*other) != said(kind)));
        }
        assert_eq!(advice(&nothing, ErrorKind::Other), None);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let said = advice(&file, ErrorKind::ConnectionRefused).unwrap();
        assert!(said.starts_with("that is no socket"), "{said}");
    }
}
