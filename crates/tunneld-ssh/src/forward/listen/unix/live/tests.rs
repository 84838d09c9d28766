use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::unistd::{Uid, setfsuid};
use tempfile::TempDir;
use tunneld_core::config::UnixListen;

use super::super::judge;
use super::*;

const NAME: &str = "web.sock";

/// A folder in which sockets are that nobody may connect to, for as long as this thread lives: also
/// for root, who then reads files as another user.
fn denied() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join(NAME);
    (folder, path)
}

/// Binds a socket that nobody may connect to.
fn bind(at: &Path) -> UnixListener {
    let socket = UnixListener::bind(at).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o000)).unwrap();
    socket
}

/// What is said of a socket that nobody may connect to; empty where it may be replaced.
fn said(path: &Path, owner: Ids) -> String {
    let place = UnixListen {
        path: path.to_owned(),
        mode: 0o600,
        owner: None,
    };
    let folder = Folder::open(path.parent().unwrap()).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        setfsuid(Uid::from_raw(65534));
    }
    let judged = judge(&place, owner, &folder, NAME.as_ref(), None);
    if root {
        setfsuid(Uid::from_raw(0));
    }
    judged.err().map(|e| e.cause).unwrap_or_default()
}

fn assert_untold(said: &str) {
    let untold = ": cannot tell whether something listens there: permission denied";
    assert!(said.ends_with(untold), "{said}");
}

/// A process that another test starts has a copy of every socket until it has become its own program.
fn assert_free(path: &Path) {
    let free = || said(path, Ids::default()).is_empty().then_some(());
    let patience = std::time::Duration::from_secs(60);
    assert!(tunneld_lab::process::poll(patience, free).is_some());
}

#[test]
fn a_socket_given_away_is_replaced_once_nobody_has_it_open() {
    // Under its own name, and under the temporary one that tunneld's sockets are bound to.
    for bound in [NAME, ".web.sock.tunneld-4242", ".tunneld-4242"] {
        let (folder, path) = denied();
        let bound = folder.path().join(bound);
        let live = bind(&bound);
        fs::rename(bound, &path).unwrap();
        assert_untold(&said(&path, Ids::default()));
        drop(live);
        assert_free(&path);
    }
}

#[test]
fn a_socket_of_the_same_name_elsewhere_does_not_count() {
    let (folder, path) = denied();
    drop(bind(&path));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let _live = bind(&other.join(NAME));
    assert_free(&path);
}

#[test]
fn what_somebody_else_may_have_put_there_is_not_replaced() {
    let (folder, path) = denied();
    drop(bind(&path));
    assert_free(&path);
    // It would not be given to this one.
    let owner = Ids {
        user: Some(rustix::fs::Uid::from_raw(4242)),
        group: None,
    };
    assert_untold(&said(&path, owner));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_untold(&said(&path, Ids::default()));
}

#[test]
fn a_list_that_is_not_clear_leaves_everything_as_it_is() {
    let socket = Id {
        device: 1,
        inode: 2,
    };
    let free = |lines: &str| {
        let table = format!("Num       RefCount Protocol Flags    Type St Inode Path\n{lines}");
        is_free(table.as_bytes(), NAME.as_ref(), socket).unwrap()
    };
    let row = |state: &str, path: &str| {
        format!("0000000000000000: 00000002 00000000 00010000 0001 {state} 12345{path}\n")
    };
    assert!(free(""));
    assert!(free(&row("01", "")));
    assert!(free(&row("01", " /nowhere/other.sock")));
    assert!(free(&row("01", " /nowhere/my web.sock")));
    // Connections of a listener that has gone.
    assert!(free(&row("03", " /nowhere/web.sock")));
    // A folder of another mount namespace; one that a process was in; a descriptor of its own.
    assert!(!free(&row("01", " /nowhere/web.sock")));
    assert!(!free(&row("01", " web.sock")));
    assert!(!free(&row("01", " /proc/self/fd/7/.tunneld-4242")));
    // A line break in a path, a line that is cut short, and more than is read.
    assert!(!free(&row("01", " /nowhere/\nweb.sock")));
    assert!(!free(row("01", " /nowhere/other.sock").trim_end()));
    let long = row("01", " /nowhere/other.sock").repeat(120_000);
    assert!(long.len() as u64 > MAX_TABLE);
    assert!(!free(&long));
}
