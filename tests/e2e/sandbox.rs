//! What the daemon takes away from itself, that it says so, and that nothing it promises is lost by it.
//! The kernel of the tests has Landlock.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::poll;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{
    Bed, Folder, LONG, assert_exit, assert_has, builder, daemon_table, stdout, tunnel,
    tunnel_table, up,
};

/// What the log says where Landlock is in force.
const IN_FORCE: &str = "in a sandbox: no programs, and no writing but in ";
/// What it says where it is not.
const NOT_IN_FORCE: &str = "programs and writing are not restricted by tunneld itself: ";

/// The number behind a word of /proc/PID/status.
fn no_new_privs(status: &str) -> Option<&str> {
    let line = status.lines().find(|l| l.starts_with("NoNewPrivs:"))?;
    line.split_whitespace().nth(1)
}

fn of_daemon(daemon: &Daemon) -> String {
    fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap()
}

/// A program that leaves what it may do in a file.
fn witness(seen: &Path) -> String {
    format!(
        "on_up = ['/bin/sh', '-c', 'cat /proc/self/status >{0}.new; mv {0}.new {0}']\n",
        seen.display()
    )
}

fn wait_for_file(file: &Path) -> String {
    let there = poll(LONG, || file.exists().then_some(()));
    assert!(there.is_some(), "{} is not there", file.display());
    fs::read_to_string(file).unwrap()
}

#[test]
fn who_holds_a_port_is_named_by_its_user() {
    // Other processes are not to be looked into: the kernel tells only whose it is.
    let (bed, taken) = (Bed::new(), free_addr());
    let _holder = TcpListener::bind(taken).unwrap();
    let text = tunnel("db", &bed.sshd, &[(taken, bed.echo.addr())]);
    let daemon = builder().config(&text).start();
    let uid = rustix::process::getuid().as_raw();
    let cause =
        format!("cannot listen on {taken}: address already in use by a process of uid {uid}");
    daemon.wait_for_log(&cause, LONG);
}

/// What runs its programs.
fn down_and_up(daemon: &Daemon) {
    for word in ["stop", "start"] {
        assert_exit(&daemon.cli(&[word, "db"]), 0);
    }
    daemon.wait_phase("db", Phase::Up, LONG);
}

#[test]
fn the_log_says_what_is_in_force_and_it_is() {
    // The folders that can be written in, and the three fields.
    let bed = Bed::new();
    let daemon = bed.up();
    let line = daemon.wait_for_log(IN_FORCE, LONG);
    let own = daemon.dir().display().to_string();
    assert_has(&line, &[&own, "no_new_privs=true", "dumpable=false"]);
    assert!(!line.contains("landlock=0"), "{line}");
    assert_eq!(no_new_privs(&of_daemon(&daemon)), Some("1"));
}

#[test]
fn a_reload_that_wants_more_is_told_so_and_gets_it_after_a_restart() {
    // A first program, and a socket in another folder: the plan, the log and the status name them. Until
    // the restart neither works, and all else does.
    let (bed, folder) = (Bed::new(), Folder::new());
    let (seen, socket) = (folder.at("seen"), folder.at("s"));
    let mut daemon = bed.up();
    let listens = format!(
        "local_forward = '{}:{}'\n",
        socket.display(),
        bed.echo.addr()
    );
    let web = tunnel_table("web", &bed.sshd) + &listens;
    daemon.write_config(&(bed.db() + &witness(&seen) + &web));
    let place = socket.parent().unwrap().display();
    let wanted = format!("also on_up of `db`, sockets in {place}");
    let plan = format!(
        "! [daemon]  after a restart only: systemctl restart tunneld\n\
        \x20     sandbox        as at the start → {wanted}\n"
    );
    for words in [&["reload", "--dry-run"][..], &["reload"]] {
        assert_has(&stdout(&daemon.cli(words)), &[&plan]);
    }
    daemon.wait_for_log(&format!("after a restart: sandbox ({wanted})"), LONG);
    assert_eq!(daemon.status().needs_restart, ["sandbox"]);
    let denied = format!("cannot listen on {}: permission denied", socket.display());
    let status = daemon.command_line("status");
    let hint = &format!("where `{status}` says that `sandbox` needs a restart");
    assert_has(&daemon.wait_for_log(&denied, LONG), &[hint]);
    down_and_up(&daemon);
    let line = daemon.wait_for_log("on_up cannot be started", LONG);
    assert_has(&line, &["permission denied", hint]);
    assert!(!seen.exists() && !socket.exists());
    echoes(bed.listen).unwrap();

    daemon.start_again();
    // The program has all rights that tunneld was started with: of the sandbox nothing is left to it.
    let program = wait_for_file(&seen);
    assert_eq!(no_new_privs(&program), no_new_privs(&own_status()));
    assert!(poll(LONG, || UnixStream::connect(&socket).ok()).is_some());
    let line = daemon.wait_for_log(NOT_IN_FORCE, LONG);
    assert_has(
        &line,
        &[
            "on_up of `db` would inherit it",
            "landlock=0",
            "dumpable=false",
        ],
    );
    assert!(daemon.status().needs_restart.is_empty());
}

fn own_status() -> String {
    fs::read_to_string("/proc/self/status").unwrap()
}

#[test]
fn it_can_be_turned_off_and_then_a_reload_gives_everything() {
    // `sandbox = false`: nothing is taken away, and the log says that, too.
    let (bed, folder) = (Bed::new(), Folder::new());
    let off = daemon_table("sandbox = false");
    let daemon = up(builder().config(&(bed.db() + &off)));
    let line = daemon.wait_for_log(NOT_IN_FORCE, LONG);
    let said = "`sandbox = false` in [daemon]";
    assert_has(&line, &[said, "landlock=0", "dumpable=true"]);
    assert_eq!(
        no_new_privs(&of_daemon(&daemon)),
        no_new_privs(&own_status())
    );
    let seen = folder.at("seen");
    daemon.write_config(&(bed.db() + &witness(&seen) + &off));
    assert_exit(&daemon.reload(), 0);
    assert!(daemon.status().needs_restart.is_empty());
    down_and_up(&daemon);
    wait_for_file(&seen);
    // On again: after a restart.
    daemon.write_config(&bed.db());
    assert_has(
        &stdout(&daemon.reload()),
        &["sandbox        false → true\n"],
    );
}
