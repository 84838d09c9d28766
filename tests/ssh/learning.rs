//! `accept-new`: a new host's key is written down, whole, by whoever comes first; where that cannot
//! be, the connection does not go on, and what to do is said.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, Table, daemon, fails, text, up};

/// The user `nobody`.
const NOBODY: u32 = 65534;

fn accept_new(sshd: &Sshd, known_hosts: &Path) -> Table {
    Table::to(sshd)
        .set("known_hosts", text(known_hosts.display()))
        .set("strict_host_key_checking", text("accept-new"))
        .forward(free_addr(), free_addr())
}

/// How a tunnel fails that cannot write known_hosts once `script` was run in its mounts.
fn fails_after(script: &str, sshd: &Sshd, known_hosts: &Path) -> (Failure, Daemon) {
    let script = format!("{script} && exec \"$0\" \"$@\"");
    let daemon = daemon()
        .prefix(&["unshare", "--mount", "sh", "-c", &script])
        .config(&accept_new(sshd, known_hosts).toml())
        .start();
    let status = daemon.wait_phase("t", Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::HostKey, Class::Blocked),
        "{failure:?}"
    );
    (failure, daemon)
}

#[test]
fn a_file_behind_a_link_in_another_folder_is_written() {
    // Also by a daemon that has left itself few places to write in.
    let sshd = Sshd::start();
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (link, real) = (dir.path().join("link"), elsewhere.path().join("real"));
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let daemon = daemon().config(&accept_new(&sshd, &link).toml()).start();
    up(&daemon, "t");
    assert_ne!(fs::read_to_string(&real).unwrap(), "");
    assert!(link.is_symlink());
    daemon.wait_for_log("in a sandbox: ", LONG);
}

#[test]
fn two_daemons_that_learn_at_once_lose_nothing_and_write_nothing_twice() {
    // Eight tunnels in two processes, to four hosts, and one file.
    let servers: Vec<Sshd> = (0..4).map(|_| Sshd::start()).collect();
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    let toml = || -> String {
        let tables = servers.iter().enumerate().map(|(n, sshd)| {
            let table = accept_new(sshd, &known_hosts);
            table.named(&format!("t{n}")).toml()
        });
        tables.collect()
    };
    let daemons = [(); 2].map(|()| daemon().config(&toml()).start());
    for daemon in &daemons {
        for n in 0..servers.len() {
            up(daemon, &format!("t{n}"));
        }
    }
    let mut learnt: Vec<String> = fs::read_to_string(&known_hosts)
        .unwrap()
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    let mut expected: Vec<String> = servers.iter().map(Sshd::known_hosts_lines).collect();
    learnt.sort();
    expected.sort();
    assert_eq!(learnt, expected);
}

#[test]
fn a_file_that_is_learnt_into_stays_the_same_file_of_the_same_owner() {
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, "# mine").unwrap();
    fs::set_permissions(&known_hosts, fs::Permissions::from_mode(0o664)).unwrap();
    chown(&known_hosts, Some(1234), Some(1235)).unwrap();
    let facts = || {
        let of = fs::metadata(&known_hosts).unwrap();
        (of.ino(), of.mode(), of.uid(), of.gid())
    };
    let before = facts();
    accept_new(&sshd, &known_hosts).up();
    assert_eq!(facts(), before);
    let expected = format!("# mine\n{}", sshd.known_hosts_lines());
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), expected);
}

#[test]
fn a_file_of_the_daemons_stays_its_own_or_is_given_back_with_the_commands_that_are_advised() {
    // `ssh-keygen -R` makes the file anew: as root's, where nobody takes care.
    let mut sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(dir.path(), 0o755);
    open(sshd.dir(), 0o755);
    chown(sshd.client_key(), Some(NOBODY), None).unwrap();
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, sshd.known_hosts_lines()).unwrap();
    chown(&known_hosts, Some(NOBODY), Some(NOBODY)).unwrap();
    sshd.restart_with_new_host_key();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let builder = daemon().prefix(&[&["setpriv"], &nobody[..]].concat());
    chown(builder.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let toml = accept_new(&sshd, &known_hosts).toml();
    let mut daemon = builder.config(&toml).start();
    // As typed by root.
    let as_root = |daemon: &Daemon, line: &str| {
        assert!(daemon.typed(&line.replace("sudo ", "")).status.success());
    };
    let failure = fails(&daemon, "t", "host key changed");
    let hint = failure.hint.unwrap();
    let (_, remove) = hint.split_once(": ").unwrap();
    as_root(&daemon, remove.split_once(", then ").unwrap().0);
    assert_eq!(fs::metadata(&known_hosts).unwrap().uid(), NOBODY);

    chown(&known_hosts, Some(0), Some(0)).unwrap();
    daemon.start_again();
    let hint = fails(&daemon, "t", "permission denied").hint.unwrap();
    let give = format!("sudo chown nobody: {}", known_hosts.display());
    assert!(hint.contains(&format!("write it: {give}; or ")), "{hint}");
    as_root(&daemon, &give);
    daemon.start_again();
    up(&daemon, "t");
}

#[test]
fn where_the_file_system_is_read_only_the_way_out_is_said() {
    // As /etc is for the shipped unit.
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    let at = dir.path().display();
    let script = format!("mount --bind {at} {at} && mount -o remount,bind,ro {at}");
    let (failure, _daemon) = fails_after(&script, &sshd, &known_hosts);
    let name = format!("[{}]:{}", sshd.host(), sshd.port());
    let file = known_hosts.display();
    let cause = format!("cannot add {name} to {file}: read-only file system");
    assert_eq!(failure.cause, cause);
    assert_eq!(
        failure.hint.unwrap(),
        "the unit keeps tunneld from writing there: see its ReadWritePaths=; or put a file that it \
         can write first in `known_hosts`, as /var/lib/tunneld/known_hosts, which the unit provides \
         for"
    );
    assert!(!known_hosts.exists());
}

#[test]
fn a_line_that_does_not_fit_on_the_disk_is_taken_back() {
    // The folder is a file system of its own, full but for some bytes of the last page.
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    let (at, copy) = (
        dir.path().display(),
        tempfile::NamedTempFile::new().unwrap(),
    );
    let comment = "#".repeat(4090);
    fs::write(copy.path(), &comment).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4k tmpfs {at} && cp {} {}",
        copy.path().display(),
        known_hosts.display()
    );
    let (failure, daemon) = fails_after(&script, &sshd, &known_hosts);
    let end = format!("to {}: no space left on device", known_hosts.display());
    assert!(failure.cause.ends_with(&end), "{failure:?}");
    let seen = format!("/proc/{}/root{}", daemon.pid(), known_hosts.display());
    assert_eq!(fs::read_to_string(seen).unwrap(), comment);
}
