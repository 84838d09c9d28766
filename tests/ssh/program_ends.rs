//! A program that is the way to a server ends with the tunnel, and the tunnel with it; nothing of
//! it is left behind.

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::process::{descendants, kill_tree, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, is_reset};

use crate::program::{RELAY, array, once, running, ssh_through};
use crate::support::{LONG, NEVER, QUICK, Rig, carried, ending, fails, text, up};
use crate::ways::{connections, descriptors, end, settled};

#[test]
fn a_program_that_hangs_is_ended_after_connect_timeout() {
    // None of its processes lives on, and none is left unreaped; the descriptors are closed.
    let (_sshd, daemon) = once(r#""sh -c 'sleep 1000 & wait'""#);
    let pids = running(&daemon, 2);
    let failure = fails(&daemon, "t", "5s");
    let words = "server accepted but did not speak SSH within 5s";
    assert_eq!(failure.cause, words);
    end(&pids);
    let none = poll(LONG, || descendants(daemon.pid()).is_empty().then_some(()));
    assert!(none.is_some(), "{:?}", descendants(daemon.pid()));
}

#[test]
fn a_program_that_does_not_listen_to_the_hangup_is_killed() {
    // It and what it has started.
    let (_sshd, daemon) = once(r#""sh -c 'trap \"\" HUP TERM; sleep 1000 & wait'""#);
    let pids = running(&daemon, 2);
    fails(&daemon, "t", "5s");
    end(&pids);
}

#[test]
fn the_program_ends_with_the_tunnel() {
    // With `tunneld stop`, and with a tunnel that a reload takes away.
    let rig = Rig::new(|t| t.set("proxy_command", text(RELAY.0)));
    let pids = running(&rig.daemon, RELAY.1);
    assert!(rig.daemon.cli(&["stop", "t"]).status.success());
    end(&pids);
    assert!(rig.daemon.cli(&["start", "t"]).status.success());
    up(&rig.daemon, "t");
    let pids = running(&rig.daemon, RELAY.1);
    rig.daemon.write_config("[tunnels]\n");
    assert!(rig.daemon.reload().status.success());
    end(&pids);
    connections(&rig.sshd, 0);
}

#[test]
fn the_program_ends_with_the_daemon() {
    // In good order, with the server's goodbye first.
    let mut rig = Rig::new(|t| t.set("proxy_command", text(RELAY.0)));
    let pids = running(&rig.daemon, RELAY.1);
    assert!(rig.daemon.terminate(LONG).success());
    end(&pids);
    rig.sshd.wait_for_log("closed by tunneld", LONG);
}

#[test]
fn the_program_ends_with_a_daemon_that_is_killed() {
    // Its input ends, which is all that a killed process can still tell.
    let bastion = Sshd::start();
    let words = ssh_through(&bastion);
    let mut rig = Rig::new(|t| t.set("proxy_command", array(&words)));
    let pids = running(&rig.daemon, 1);
    rig.daemon.kill9();
    end(&pids);
    connections(&bastion, 0);
}

#[test]
fn a_program_that_dies_takes_the_tunnel_down_for_that_reason_and_is_started_again() {
    // The client is reset, and not told of an end of file.
    let rig = Rig::new(|t| {
        t.set("proxy_command", text(RELAY.0))
            .set("reconnect", NEVER)
    });
    let mut client = carried(rig.listen);
    let pids = running(&rig.daemon, RELAY.1);
    kill_tree(pids[0]);
    let failure = fails(&rig.daemon, "t", "killed");
    assert_eq!(failure.cause, "proxy command was killed by signal 9");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Session, Class::Transient)
    );
    let error = ending(&mut client).expect_err("an orderly end, not a reset");
    assert!(is_reset(&error), "{error}");
    assert!(rig.daemon.cli(&["restart", "t"]).status.success());
    up(&rig.daemon, "t");
    echoes(rig.listen).unwrap();
}

#[test]
fn a_program_that_ends_because_its_server_died_is_told_with_its_status() {
    // Nothing else is known: the program says nothing, and the server said no goodbye.
    let rig = Rig::new(|t| {
        t.set("proxy_command", text(RELAY.0))
            .set("reconnect", NEVER)
    });
    rig.sshd.kill_sessions();
    let failure = fails(&rig.daemon, "t", "exited");
    assert_eq!(failure.cause, "proxy command exited with status 0");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Session, Class::Transient)
    );
}

#[test]
fn a_frozen_server_behind_the_program_is_found_and_the_program_is_ended() {
    // Keepalive holds on a pipe as on a socket.
    let rig = Rig::new(|t| {
        let table = t.set("proxy_command", text(RELAY.0)).alive("1s", 1);
        table.set("reconnect", NEVER)
    });
    let pids = running(&rig.daemon, RELAY.1);
    rig.sshd.freeze();
    let failure = fails(&rig.daemon, "t", "keepalive");
    assert_eq!(failure.cause, "no reply to 1 keepalive in 2s");
    end(&pids);
}

#[test]
fn fifty_reconnects_over_a_program_leave_nothing_behind() {
    // No descriptor, no process: half of them are asked for, half are losses.
    let rig = Rig::new(|t| {
        t.set("proxy_command", text(RELAY.0))
            .set("reconnect", QUICK)
    });
    let pid = rig.daemon.pid();
    drop(carried(rig.listen));
    let before = settled(pid);
    for n in 1..=50 {
        match n % 4 {
            // Not that of the session before, which may still say goodbye.
            0 => kill_tree(running(&rig.daemon, RELAY.1)[0]),
            2 => rig.sshd.kill_sessions(),
            _ => assert!(rig.daemon.cli(&["restart", "t"]).status.success()),
        }
        let again = |t: &TunnelStatus| t.sessions > n && t.phase == Phase::Up;
        rig.daemon.wait_for("t", LONG, again);
    }
    drop(carried(rig.listen));
    let same = poll(LONG, || (descriptors(pid).len() <= before).then_some(()));
    let left = descriptors(pid);
    assert!(same.is_some(), "{before} descriptors before, now {left:?}");
    running(&rig.daemon, RELAY.1);
    connections(&rig.sshd, 1);
}
