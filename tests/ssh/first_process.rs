//! tunneld as the first process of a container, which is given every process that loses its parent.

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{children, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::program::array;
use crate::support::{LONG, Table, daemon, up};

/// A daemon that is the first of its PID namespace.
const FIRST: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn shell(line: &str) -> String {
    array(["/bin/sh", "-c", line])
}

/// The daemon itself, as this machine counts: the harness knows the process outside.
fn first(daemon: &Daemon) -> u32 {
    children(daemon.pid())[0]
}

fn started(table: &Table) -> Daemon {
    daemon().prefix(&FIRST).config(&table.toml()).start()
}

#[test]
fn what_programs_leave_behind_does_not_stay_a_zombie() {
    // One that stayed in its group and is killed with it, one that did not and ends by itself later.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    // It has left the group before its parent ends.
    let line = format!(
        "cd {}; sleep 1000 & \
         setsid sh -c 'echo >begun; sleep 0.2; echo >left' >/dev/null 2>&1 & \
         until [ -e begun ]; do sleep 0.01; done",
        dir.path().display()
    );
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let daemon = started(&table.set("on_up", shell(&line)));
    up(&daemon, "t");
    assert!(poll(LONG, || left.exists().then_some(())).is_some());
    let none = || children(first(&daemon)).is_empty().then_some(());
    assert!(poll(LONG, none).is_some(), "{:?}", children(first(&daemon)));
    echoes(listen).unwrap();
}

#[test]
fn how_its_own_programs_ended_is_known_all_the_same() {
    // Nobody else waits for them, however many there are and however many orphans come between.
    const ROUNDS: usize = 20;
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd)
        .forward(listen, echo.addr())
        .set("on_up", shell("setsid sleep 0 & sleep 1000 & exit 7"))
        .set("on_down", shell("setsid true & exit 8"));
    let daemon = started(&table);
    for _ in 0..ROUNDS {
        up(&daemon, "t");
        assert!(daemon.cli(&["stop", "t"]).status.success());
        daemon.wait_phase("t", Phase::Stopped, LONG);
        assert!(daemon.cli(&["start", "t"]).status.success());
    }
    up(&daemon, "t");
    for (said, times) in [
        ("exited with status 7", ROUNDS + 1),
        ("exited with status 8", ROUNDS),
    ] {
        let all = || (daemon.log_text().matches(said).count() >= times).then_some(());
        assert!(poll(LONG, all).is_some(), "{said}: {}", daemon.log_text());
    }
    let none = || children(first(&daemon)).is_empty().then_some(());
    assert!(poll(LONG, none).is_some(), "{:?}", children(first(&daemon)));
}
