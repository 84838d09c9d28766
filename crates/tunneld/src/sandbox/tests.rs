//! What can be written once the rights are given up. The kernel of the tests has Landlock, and what a
//! thread gives up is its own affair.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;
use crate::config_file;

/// A folder with a configuration in it whose tunnel has these lines, and that configuration.
fn bed(lines: &str) -> (TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display().to_string();
    let lines = lines.replace("DIR", &place);
    let file = dir.path().join("t.toml");
    let text = format!(
        "[daemon]\ncontrol_socket = '{place}/run/s'\n[tunnels.db]\nhost = 'a'\nuser = 'u'\n\
         local_forward = '1:a:1'\n{lines}"
    );
    fs::write(&file, text).unwrap();
    for folder in ["run", "ssh"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let loaded = config_file::load(&file).unwrap();
    (dir, loaded.config)
}

fn rights(config: &Config, state: Option<PathBuf>) -> Rights {
    Rights::of(Needs::of(config), config, None, state)
}

/// What becomes of it in a thread that has these rights.
fn within<T: Send>(rights: &Rights, tries: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        assert!(rights.restrict().unwrap().is_some());
        tries()
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
}

fn is_denied<T>(tried: io::Result<T>) -> bool {
    tried.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn append(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(file)?;
    file.set_len(0)
}

#[test]
fn known_hosts_are_added_to_and_nothing_beside_them_is_touched() {
    // Whoever writes `authorized_keys` or `sshd_config` has the account, or the machine.
    let (dir, config) = bed("known_hosts = 'DIR/ssh/known_hosts'\nupdate_host_keys = true\n");
    let ssh = dir.path().join("ssh");
    let [known, other] = ["known_hosts", "authorized_keys"].map(|name| ssh.join(name));
    fs::write(&known, "").unwrap();
    fs::write(&other, "").unwrap();
    let rights = rights(&config, None);
    assert!(rights.places().contains("ssh/known_hosts"));
    within(&rights, || {
        append(&known).unwrap();
        assert!(is_denied(append(&other)));
        assert!(is_denied(append(&ssh.join("rc"))));
        assert!(is_denied(fs::remove_file(&known)));
        assert!(is_denied(fs::rename(&known, &other)));
    });
}

#[test]
fn nothing_can_be_written_where_no_keys_are_learnt() {
    // The folders of the files that are there by default among it.
    let (dir, config) = bed("known_hosts = 'DIR/ssh/known_hosts'\n");
    let known = dir.path().join("ssh/known_hosts");
    fs::write(&known, "").unwrap();
    let rights = rights(&config, None);
    let home = config_file::surroundings().home.unwrap();
    let folders = [PathBuf::from("/etc/ssh"), PathBuf::from("/etc/tunneld")];
    let folders = folders.into_iter().chain([home.join(".ssh")]);
    let mut files = folders.map(|folder| folder.join("tunneld-test"));
    within(&rights, || {
        assert!(is_denied(append(&known)));
        // One that is not there has nothing in it either.
        assert!(files.all(|file: PathBuf| append(&file).is_err()));
    });
}

#[test]
fn a_file_for_new_hosts_is_made_for_it_to_be_given_alone() {
    // One whose folder is not there is not given, and what wants it has to be told.
    let lines = "known_hosts = 'DIR/ssh/known_hosts'\nstrict_host_key_checking = 'accept-new'\n\
                 proxy_jump = [{ host = 'b', known_hosts = 'DIR/none/k' }]\n";
    let (dir, config) = bed(lines);
    let known = dir.path().join("ssh/known_hosts");
    let rights = rights(&config, None);
    assert_eq!(fs::metadata(&known).unwrap().mode() & 0o777, 0o600);
    within(&rights, || {
        append(&known).unwrap();
        assert!(is_denied(append(&dir.path().join("ssh/authorized_keys"))));
    });
    let beyond = Needs::of(&config).beyond(&rights.given).unwrap();
    let missing = dir.path().join("none/k");
    assert_eq!(beyond, format!("writing to {}", missing.display()));
}

#[test]
fn a_state_directory_is_made_and_nothing_above_it_is_given() {
    let (dir, config) = bed("");
    let state = dir.path().join("a/b/state");
    let rights = rights(&config, Some(state.clone()));
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    within(&rights, || {
        append(&state.join("x")).unwrap();
        fs::create_dir(state.join("history")).unwrap();
        assert!(is_denied(append(&dir.path().join("x"))));
        assert!(is_denied(append(&dir.path().join("a/b/x"))));
    });
    // One that cannot be made: its place is a file's.
    let file = dir.path().join("t.toml");
    let rights = self::rights(&config, Some(file.join("state")));
    within(&rights, || assert!(is_denied(append(&file))));
}

#[test]
fn a_file_that_a_socket_has_left_can_be_removed_and_no_other_be_made_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s");
    fs::write(&file, "").unwrap();
    let rights = Rights {
        left: vec![dir.path().to_owned()],
        ..Rights::default()
    };
    within(&rights, || {
        assert!(is_denied(append(&file)));
        fs::remove_file(&file).unwrap();
        assert!(is_denied(append(&file)));
    });
}
