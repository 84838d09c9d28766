//! `tunneld test` by one user for the daemon of another: what of it is different is said, with the
//! command that tests as the daemon.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tunneld_lab::keys::KeyType;
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};
use tunneld_lab::unix::UnixServer;

use crate::gateway::gateway;
use crate::support::{Table, daemon, text, up};
use crate::tested::{File, command, ends_with, line, marked, said, tested};
use crate::ways::{Everybody, blocked, hop};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// As whom a command runs.
fn nobody() -> Vec<String> {
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    words.map(str::to_owned).to_vec()
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), None).unwrap();
}

/// A file with a tunnel that `nobody` can read all of, and may use.
fn open_to_nobody(sshd: &Sshd, table: &Table) -> File {
    open(sshd.dir(), 0o755);
    open(&sshd.known_hosts(), 0o644);
    give(sshd.client_key());
    let file = File::new(table);
    open(file.dir.path(), 0o755);
    file
}

#[test]
fn what_the_file_leaves_to_the_daemons_user_is_told_with_the_command_that_tests_as_it_does() {
    // By root, for a daemon that runs as nobody and logs in under that name; its remote port is in
    // use, not held by a stranger.
    let (everybody, echo, far) = (Everybody::new(), EchoServer::start(), free_addr());
    let sshd = everybody.sshd();
    open(sshd.dir(), 0o755);
    open(&sshd.known_hosts(), 0o644);
    give(&everybody.key.private);
    let table = Table::new(
        sshd.addr(),
        "?",
        &everybody.key.private,
        &sshd.known_hosts(),
    );
    let table = table.without("user").remote(far, echo.addr());
    let builder = daemon().prefix(&nobody()).config(&table.toml());
    give(builder.dir());
    let daemon = builder.start();
    assert_eq!(
        up(&daemon, "t").destination,
        format!("nobody@{}", sshd.addr())
    );

    let page = said(&daemon.cli(&["test", "t"]), 0);
    let note = format!(
        "\n  note: `user` taken from root; the daemon takes it from nobody: \
         sudo -u nobody tunneld test t --config {} --socket {}\n",
        daemon.config_path().display(),
        daemon.socket().display()
    );
    assert!(page.contains(&note), "{page}");
    let in_use = "target reached; in use by the running daemon";
    let remote = line(&page, "✓", "remote");
    assert!(
        remote.ends_with(&format!("{in_use}, which goes there as nobody")),
        "{page}"
    );
    let report = said(&daemon.cli(&["test", "t", "--json"]), 0);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["notes"].as_array().unwrap().len(), 1, "{report:#}");

    // As it does: nothing is different.
    let output = command(&nobody(), daemon.config_path(), &[])
        .output()
        .unwrap();
    let page = said(&output, 0);
    assert!(!page.contains("note: "), "{page}");
    assert!(line(&page, "✓", "remote").ends_with(in_use), "{page}");
}

#[test]
fn a_daemon_that_never_ran_is_that_of_whoever_has_the_file() {
    // And it logs in as that one.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let file = File::new(&table.without("user"));
    fs::remove_file(&file.socket).unwrap();
    give(&file.path());
    let page = said(&file.command(&[], &[]).output().unwrap(), 3);
    let note = format!(
        "  note: `user` taken from root; the daemon takes it from nobody: \
         sudo -u nobody tunneld test t --config {}\n",
        file.path().display()
    );
    assert!(page.contains(&note), "{page}");
}

#[test]
fn files_of_ssh_are_those_of_whoever_runs_it() {
    // Ours names the user; the daemon's may name another, or none.
    let sshd = Sshd::start();
    let home = tempfile::tempdir().unwrap();
    let ssh_config = home.path().join("config");
    fs::write(&ssh_config, format!("Host *\nUser {}\n", sshd.user())).unwrap();
    open(&ssh_config, 0o600);
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let table = table.without("user").set("ssh_config", text("~/config"));
    let file = File::new(&table);
    give(&file.socket);
    let mut test = file.command(&[], &[]);
    let page = said(&test.env("HOME", home.path()).output().unwrap(), 3);
    assert!(
        line(&page, "✓", "authenticate").contains("publickey"),
        "{page}"
    );
    let note = "  note: the daemon runs as nobody, for whom the file may say something else: \
                sudo -u nobody tunneld test t ";
    assert!(page.contains(note), "{page}");
}

#[test]
fn a_file_that_only_the_daemons_user_may_read_is_told_with_whom_to_test_as() {
    // By nobody: the key is root's, then another user's, then so is the file with the tunnel.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let file = open_to_nobody(&sshd, &table);
    let command = |user: &str| {
        let config = file.path();
        format!("sudo {user}tunneld test t --config {}", config.display())
    };
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let first = users.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        rest.starts_with("x:1:").then(|| format!("-u {name} "))
    });
    for (uid, user) in [(0, String::new()), (1, first.unwrap())] {
        chown(sshd.client_key(), Some(uid), None).unwrap();
        let output = file.command(&nobody(), &[]).output().unwrap();
        let (_, fix) = ends_with(&said(&output, 3), "authenticate");
        let advice = format!(
            "to test as the user who may read {}: {}",
            sshd.client_key().display(),
            command(&user)
        );
        assert!(fix.ends_with(&advice), "{fix}");
    }
    open(&file.path(), 0o600);
    let socket = file.socket.to_str().unwrap();
    let mut tests = file.command(&nobody(), &["--socket", socket]);
    let output = tests.output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", printed(&output));
    let error = String::from_utf8(output.stderr).unwrap();
    let hint = format!(
        "permission denied\nhint: to test as the user who may read {}: {} --socket {socket}\n",
        file.path().display(),
        command("")
    );
    assert!(error.ends_with(&hint), "{error}");
}

/// What a table says that knows no host, and learns them in this file.
fn learning(sshd: &Sshd, known_hosts: &Path) -> Table {
    Table::to(sshd)
        .set("known_hosts", text(known_hosts.display()))
        .set("strict_host_key_checking", text("accept-new"))
}

const NEW: &str = "new: the daemon learns it at its first connection";

#[test]
fn a_host_that_accept_new_would_learn_is_not_written_down() {
    // Neither the server nor the jump host, and no further key that it announces; both are said to
    // be new.
    let bastion = Sshd::builder()
        .host_keys(&[KeyType::Ed25519, KeyType::Ecdsa])
        .start();
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let missing = sshd.dir().join("missing");
    let way = |table: Table| {
        let more = ", strict_host_key_checking = \"accept-new\", update_host_keys = true }";
        let hop = hop(&bastion, bastion.addr()).replace(" }", more);
        table.set("proxy_jump", format!("[{hop}]"))
    };
    let table = learning(&sshd, &missing).forward(free_addr(), echo.addr());
    let table = way(table);
    fs::write(bastion.known_hosts(), "").unwrap();
    let said = tested(&table, 0);
    let lines = marked(&said, "✓");
    let new = lines.iter().filter(|line| line.ends_with(NEW));
    assert_eq!(new.count(), 2, "{said}");
    assert!(!missing.exists());
    assert_eq!(fs::read_to_string(bastion.known_hosts()).unwrap(), "");

    // Known by one of its keys.
    let known = bastion.known_hosts_lines();
    let one = known.lines().next().unwrap();
    fs::write(bastion.known_hosts(), one).unwrap();
    tested(&table, 0);
    assert_eq!(fs::read_to_string(bastion.known_hosts()).unwrap(), one);
}

#[test]
fn a_new_host_that_cannot_be_written_down_ends_the_way_as_it_ends_the_daemons() {
    // By the user that the daemon runs as.
    let sshd = Sshd::start();
    let file = sshd.dir().join("missing/known_hosts");
    let table = learning(&sshd, &file).forward(free_addr(), free_addr());
    let (failed, _) = ends_with(&tested(&table, 3), "host key");
    let cause = format!(
        "cannot add [{}]:{} to {}: no such file or directory",
        sshd.host(),
        sshd.port(),
        file.display()
    );
    assert!(failed.ends_with(&cause), "{failed}");
    // As the daemon says.
    let daemon = table.start();
    assert_eq!(blocked(&daemon, "t").cause, cause);
}

#[test]
fn what_another_user_can_write_says_nothing_of_what_the_daemon_can() {
    // Neither that it can, by root for nobody's daemon, nor that it cannot, the other way round.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let known_hosts = sshd.dir().join("new");
    let table = learning(&sshd, &known_hosts).forward(free_addr(), echo.addr());
    let file = open_to_nobody(&sshd, &table);
    let by_nobody = said(&file.command(&nobody(), &[]).output().unwrap(), 0);
    let cannot = format!(
        "{NEW} if it can; this user cannot add [{}]:{} to {}: permission denied",
        sshd.host(),
        sshd.port(),
        known_hosts.display()
    );
    assert!(
        line(&by_nobody, "✓", "host key").ends_with(&cannot),
        "{by_nobody}"
    );
    give(&file.socket);
    let by_root = said(&file.command(&[], &[]).output().unwrap(), 0);
    let can = format!("{NEW}, if it can write {}", known_hosts.display());
    assert!(line(&by_root, "✓", "host key").ends_with(&can), "{by_root}");
    assert!(!known_hosts.exists());
}

#[test]
fn a_daemon_that_does_not_tell_what_it_has_may_have_a_port_that_is_held() {
    // One that this user may not ask, and one that does not answer: only the first has to do with
    // groups.
    let (sshd, echo, held) = (gateway(), EchoServer::start(), free_addr());
    let _holder = TcpListener::bind(held).unwrap();
    let table = Table::to(&sshd).remote(held, echo.addr());
    let file = open_to_nobody(&sshd, &table);
    fs::remove_file(&file.socket).unwrap();
    let silent = UnixServer::start(&file.socket, |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    open(&file.socket, 0o660);
    let may = "the running daemon may have it, and ";
    for (prefix, what) in [
        (
            nobody(),
            "does not tell this user: join its group (`tunneld`), or use sudo",
        ),
        (Vec::new(), "cannot be asked: no answer in 5s"),
    ] {
        let said = said(&file.command(&prefix, &[]).output().unwrap(), 3);
        assert!(
            line(&said, "✗", "remote").contains("remote port held: "),
            "{said}"
        );
        let fix = said.lines().find(|line| line.contains("fix: ")).unwrap();
        assert!(fix.ends_with(&format!("; {may}{what}")), "{said}");
    }
    // By root: to see whose it is, and how its tunnel is.
    assert_eq!(silent.accepted(), 2);
}
