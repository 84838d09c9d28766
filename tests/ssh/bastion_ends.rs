//! What becomes of the tunnels over a jump host when it goes, and when they go.

use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::process::{Signal, children, freeze_tree, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{
    LATE, LONG, NEVER, Rig, Table, carried, exchange, fails, pass, session_lost, text, up,
};
use crate::two::{NAMES, Two, both_up};
use crate::ways::{at_hop, blocked, connections, descriptors, logins, settled};

#[test]
fn a_jump_host_that_dies_takes_both_tunnels_down_for_that_reason_and_is_shared_again() {
    // The reason is the jump host's end, not that of the sessions through it.
    let two = Two::start(|_, t| t.set("reconnect", NEVER));
    both_up(&two.daemon);
    two.bastion.kill_sessions();
    let cause = format!("{}server closed the connection", at_hop(&two.bastion));
    for failure in two.lost() {
        assert_eq!(failure.cause, cause);
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Session, Class::Transient)
        );
    }
    two.daemon.signal(Signal::USR1);
    two.back(1);
}

#[test]
fn a_jump_host_that_is_killed_and_comes_back_carries_both_tunnels_again() {
    // Without anybody's help, and with one login.
    let mut two = Two::new(|t| t);
    two.bastion.kill9();
    let cause = at_hop(&two.bastion);
    for failure in two.lost() {
        assert!(failure.cause.starts_with(&cause), "{failure:?}");
    }
    two.bastion.restart();
    two.back(1);
}

#[test]
fn a_jump_host_that_freezes_takes_both_tunnels_down_for_that_reason_and_is_shared_again() {
    // Whoever notices the silence first: it is the jump host that is silent.
    let two = Two::start(|_, t| t.alive("1s", 1).set("reconnect", NEVER));
    both_up(&two.daemon);
    two.bastion.freeze();
    let cause = format!("{}no reply to 1 keepalive in 2s", at_hop(&two.bastion));
    for failure in two.lost() {
        assert_eq!(failure.cause, cause);
        assert_eq!(failure.stage, Stage::Session);
    }
    two.bastion.thaw();
    two.daemon.signal(Signal::USR1);
    two.back(1);
}

#[test]
fn a_jump_host_with_another_host_key_blocks_both_tunnels_until_it_is_trusted() {
    // Named in the cause; nothing is sent through it.
    let mut two = Two::new(|t| t);
    two.bastion.restart_with_new_host_key();
    let cause = format!("{}host key changed: ", at_hop(&two.bastion));
    for name in NAMES {
        let failure = blocked(&two.daemon, name);
        assert!(failure.cause.starts_with(&cause), "{failure:?}");
        assert_eq!(failure.stage, Stage::HostKey);
    }
    logins(&two.bastion, 1);
    two.bastion.trust_current_host_keys();
    two.back(1);
}

#[test]
fn fifty_reconnects_over_a_jump_host_leave_nothing_behind() {
    // No descriptor here, no process there: half of them are asked for, half are losses.
    let bastion = Sshd::start();
    let rig = Rig::new(|t| t.over(&[&bastion]));
    let pid = rig.daemon.pid();
    drop(carried(rig.listen));
    let before = settled(pid);
    for n in 1..=50 {
        match n % 4 {
            0 => bastion.kill_sessions(),
            2 => rig.sshd.kill_sessions(),
            _ => assert!(rig.daemon.cli(&["restart", "t"]).status.success()),
        }
        let again = |t: &TunnelStatus| t.sessions > n && t.phase == Phase::Up;
        rig.daemon.wait_for("t", LONG, again);
    }
    drop(carried(rig.listen));
    let after = poll(LONG, || (descriptors(pid).len() <= before).then_some(()));
    let left = descriptors(pid);
    assert!(after.is_some(), "{before} descriptors before, now {left:?}");
    connections(&bastion, 1);
    connections(&rig.sshd, 1);
    assert!(children(pid).is_empty());
}

#[test]
fn a_jump_host_that_freezes_is_named_by_tunnels_whose_keepalives_take_turns() {
    // What the other tunnel has heard in the meantime does not hide who is silent.
    let two = Two::start(|name, t| {
        let t = t.alive("1s", 2).set("reconnect", NEVER);
        t.set("enabled", name == "a")
    });
    up(&two.daemon, "a");
    // Half an interval apart.
    pass(Duration::from_millis(1500));
    assert!(two.daemon.cli(&["start", "b"]).status.success());
    up(&two.daemon, "b");
    two.bastion.freeze();
    let cause = format!("{}no reply to 2 keepalives in 3s", at_hop(&two.bastion));
    for failure in two.lost() {
        assert_eq!(failure.cause, cause);
    }
}

#[test]
fn a_server_that_freezes_behind_a_jump_host_takes_its_own_tunnel_down_and_no_other() {
    // In time, and without a word of the jump host, which lives.
    let two = Two::start(|_, t| t.alive("1s", 2).set("reconnect", NEVER));
    both_up(&two.daemon);
    let mut client = carried(two.listens[1]);
    let mark = two.daemon.log_mark();
    two.hosts[0].freeze();
    let frozen = Instant::now();
    let (line, found) = session_lost(&two.daemon, mark);
    assert!(line.contains("(no reply to 2 keepalives in 3s)"), "{line}");
    let limit = Duration::from_secs(3) + LATE;
    assert!(found - frozen <= limit, "{:?}", found - frozen);
    exchange(&mut client, b"still there");
    let status = two.daemon.tunnel("b");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    logins(&two.bastion, 1);
}

#[test]
fn a_silent_session_with_a_jump_host_is_not_used_again_when_nobody_asks_for_keepalives() {
    // One attempt fails over it, the next one makes a new session.
    let two = Two::start(|_, t| {
        let t = t.set("server_alive_interval", 0);
        t.set("connect_timeout", text("5s"))
    });
    both_up(&two.daemon);
    for pid in two.bastion.sessions() {
        freeze_tree(pid);
    }
    assert!(two.daemon.cli(&["restart", "a"]).status.success());
    let failure = fails(&two.daemon, "a", "timed out");
    let reach = format!("cannot reach {}", two.hosts[0].addr());
    let late = "connection timed out after 5s";
    let cause = format!("{}{reach}: {late}", at_hop(&two.bastion));
    assert_eq!(failure.cause, cause);
    let again = |t: &TunnelStatus| t.sessions == 2 && t.failure.is_none();
    two.daemon.wait_for("a", LONG, again);
    echoes(two.listens[0]).unwrap();
    logins(&two.bastion, 2);
}

#[test]
fn a_tunnel_that_is_stopped_while_its_jump_host_is_silent_gives_the_connection_up() {
    // Nothing is left open here, and nothing there once it speaks again.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    let table = Table::to(&sshd).over(&[&bastion]).set("enabled", false);
    let table = table.forward(free_addr(), free_addr());
    let daemon = table.start();
    let before = settled(daemon.pid());
    bastion.freeze();
    for _ in 0..5 {
        assert!(daemon.cli(&["start", "t"]).status.success());
        daemon.wait_phase("t", Phase::Connecting, LONG);
        let more = || descriptors(daemon.pid()).len() > before + 1;
        assert!(poll(LONG, || more().then_some(())).is_some());
        assert!(daemon.cli(&["stop", "t"]).status.success());
    }
    let gone = || descriptors(daemon.pid()).len() <= before;
    let over = poll(LONG, || gone().then_some(()));
    assert!(over.is_some(), "{before}: {:?}", descriptors(daemon.pid()));
    bastion.thaw();
    connections(&bastion, 0);
    logins(&bastion, 0);
}

#[test]
fn a_daemon_ends_soon_although_its_jump_host_and_servers_are_silent() {
    // Each goodbye has its time, and no more.
    let mut two = Two::new(|t| t);
    two.bastion.freeze();
    let told = Instant::now();
    assert!(two.daemon.terminate(LONG).success());
    let took = told.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}
