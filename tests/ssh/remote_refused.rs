//! Remote forwards that the server does not allow: what is said of them, and what goes on.

use std::net::SocketAddr;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::gateway::{command, gateway_with};
use crate::support::{LONG, Table, fails, up};

/// A tunnel with a local forward, and a remote one that the server refuses.
struct Bed {
    daemon: Daemon,
    sshd: Sshd,
    local: SocketAddr,
    listen: SocketAddr,
    _echo: EchoServer,
}

impl Bed {
    fn new(sshd: Sshd) -> Self {
        let echo = EchoServer::start();
        let (local, listen) = (free_addr(), free_addr());
        let table = Table::to(&sshd).remote(listen, echo.addr());
        let daemon = table.forward(local, echo.addr()).start();
        Bed {
            daemon,
            sshd,
            local,
            listen,
            _echo: echo,
        }
    }

    /// It is degraded, and says where to look; nothing is said of the other forward.
    fn is_refused(&self, word: &str) {
        let status = self.daemon.wait_phase("t", Phase::Degraded, LONG);
        let failure = status.failure.clone().unwrap();
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Forward, Class::Transient)
        );
        let cause = format!("the server refuses to listen on {}", self.listen);
        assert_eq!(failure.cause, cause);
        assert!(failure.hint.as_ref().unwrap().contains(word), "{failure:?}");
        assert_eq!(refusal(&status, "remote"), Some(&failure));
        assert_eq!(refusal(&status, "local"), None);
        self.daemon.wait_for_log(&cause, LONG);
    }

    /// It is up, and the server's port is there.
    fn works(&self) {
        let status = up(&self.daemon, "t");
        assert_eq!(refusal(&status, "remote"), None);
        echoes(self.listen).unwrap();
    }
}

/// What is wrong with the forward of this kind.
fn refusal<'a>(status: &'a TunnelStatus, kind: &str) -> Option<&'a Failure> {
    let mut forwards = status.forwards.iter();
    forwards.find(|f| f.kind == kind).unwrap().failure.as_ref()
}

#[test]
fn a_server_that_forwards_nothing_says_so_and_is_used_once_it_does() {
    // By itself, after the restart that gives it another configuration.
    let mut bed = Bed::new(gateway_with("AllowTcpForwarding no"));
    bed.is_refused("AllowTcpForwarding");
    bed.sshd.restart_with("AllowTcpForwarding yes");
    bed.works();
}

#[test]
fn a_server_that_forwards_only_from_here_says_so_and_those_forwards_work() {
    let mut bed = Bed::new(gateway_with("AllowTcpForwarding local"));
    bed.is_refused("AllowTcpForwarding");
    echoes(bed.local).unwrap();
    bed.sshd.restart_with("AllowTcpForwarding all");
    bed.works();
}

#[test]
fn a_port_that_the_server_does_not_permit_says_so_and_other_forwards_work() {
    let mut bed = Bed::new(gateway_with("PermitListen 127.0.0.1:1"));
    bed.is_refused("PermitListen");
    echoes(bed.local).unwrap();
    bed.sshd
        .restart_with(&format!("PermitListen {}", bed.listen));
    bed.works();
}

#[test]
fn a_port_that_the_key_may_not_open_says_so_and_a_better_key_line_is_used_on_restart() {
    // authorized_keys is read at login: `tunneld restart` logs in again.
    let sshd = gateway_with("");
    sshd.set_key_options("permitlisten=\"127.0.0.1:1\"");
    let bed = Bed::new(sshd);
    bed.is_refused("permitlisten");
    echoes(bed.local).unwrap();
    let options = format!("permitlisten=\"{}\"", bed.listen);
    bed.sshd.set_key_options(&options);
    command(&bed.daemon, &["restart", "t"]);
    bed.works();
}

#[test]
fn a_port_that_is_forbidden_after_it_worked_is_not_called_held() {
    // The server lets us look: nothing listens there.
    let mut bed = Bed::new(gateway_with(""));
    bed.works();
    bed.sshd.restart_with("PermitListen 127.0.0.1:1");
    fails(&bed.daemon, "t", "the server refuses to listen on");
    let log = bed.daemon.log_text();
    assert!(!log.contains("remote port held"), "{log}");
}

#[test]
fn a_port_that_worked_and_cannot_be_looked_at_is_held_or_forbidden_and_both_are_said() {
    // The server forbids everything now, the look too.
    let mut bed = Bed::new(gateway_with(""));
    bed.works();
    bed.sshd.restart_with("AllowTcpForwarding no");
    let failure = fails(
        &bed.daemon,
        "t",
        "remote port held, or not allowed any more",
    );
    let hint = failure.hint.unwrap();
    assert!(
        hint.contains("ClientAliveInterval") && hint.contains("AllowTcpForwarding"),
        "{hint}"
    );
}
