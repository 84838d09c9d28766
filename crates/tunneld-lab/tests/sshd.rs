//! The real OpenSSH server can be logged in to, frozen, killed, and started again.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tunneld_lab::keys::{KeyType, generate, ssh_keygen};
use tunneld_lab::process::{printed, run, wait_exit};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, try_connect};
use tunneld_lab::target::{TIMEOUT, connect, echoes, free_addr, read_exact};

fn login(sshd: &Sshd) -> Command {
    let mut command = sshd.ssh_command();
    command.arg("echo in");
    command
}

/// `ssh -N -L` that ends with the test.
struct Tunnel(Child);

impl Tunnel {
    fn to(sshd: &Sshd, listen: std::net::SocketAddr, target: std::net::SocketAddr) -> Self {
        let mut command = sshd.ssh_command();
        let child = command
            .args(["-N", "-v", "-o", "ExitOnForwardFailure=yes"])
            .args(["-L", &format!("{listen}:{target}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tunnel = Tunnel(child);
        let log = tunneld_lab::process::LineLog::default();
        log.follow(tunnel.0.stderr.take().unwrap());
        let up = log.wait_for_line(0, "Entering interactive session", TIMEOUT);
        assert!(up.is_some(), "{}", log.text());
        tunnel
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_real_client_logs_in_with_each_type_of_key() {
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        let sshd = Sshd::builder()
            .host_keys(&[kind])
            .client_key(kind)
            .config("GatewayPorts yes")
            .start();
        assert_eq!(sshd.connections_authenticated(), 0);
        assert_eq!(run(&mut login(&sshd)), "in\n");
        assert_eq!(sshd.connections_authenticated(), 1);
    }
}

#[test]
fn two_servers_live_side_by_side() {
    let (one, two) = (Sshd::start(), Sshd::start());
    assert_ne!(one.addr(), two.addr());
    assert_eq!(run(&mut login(&one)), "in\n");
    assert_eq!(run(&mut login(&two)), "in\n");
}

#[test]
fn only_authorized_keys_log_in() {
    let sshd = Sshd::start();
    let other = generate(sshd.dir(), "other");
    let mut command = login(&sshd);
    command.arg("-i").arg(&other.private);
    sshd.authorize_nobody();
    let output = command.output().unwrap();
    assert!(
        printed(&output).contains("Permission denied"),
        "{}",
        printed(&output)
    );
    sshd.authorize(&other.public_line());
    let mut command = sshd.ssh_command();
    assert_eq!(
        run(command.arg("-i").arg(&other.private).arg("echo in")),
        "in\n"
    );
}

#[test]
fn killed_it_refuses_and_its_sessions_end_and_restarted_it_is_the_same_server() {
    let mut sshd = Sshd::start();
    let echo = EchoServer::start();
    let listen = free_addr();
    let mut tunnel = Tunnel::to(&sshd, listen, echo.addr());
    echoes(listen).unwrap();
    sshd.kill9();
    assert!(wait_exit(&mut tunnel.0, TIMEOUT).is_some());
    assert!(try_connect(sshd.addr()).is_err());
    sshd.restart();
    assert_eq!(run(&mut login(&sshd)), "in\n");
    assert_eq!(sshd.connections_authenticated(), 2);
}

#[test]
fn killed_sessions_leave_a_listener_that_serves() {
    let sshd = Sshd::start();
    let mut tunnel = Tunnel::to(&sshd, free_addr(), free_addr());
    sshd.kill_sessions();
    assert!(wait_exit(&mut tunnel.0, TIMEOUT).is_some());
    assert_eq!(run(&mut login(&sshd)), "in\n");
}

#[test]
fn frozen_it_says_nothing_and_thawed_it_goes_on() {
    let sshd = Sshd::start();
    let echo = EchoServer::start();
    let listen = free_addr();
    let _tunnel = Tunnel::to(&sshd, listen, echo.addr());
    echoes(listen).unwrap();
    sshd.freeze();
    let mut client = connect(sshd.addr());
    let error = read_exact(&mut client, 1, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    sshd.thaw();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut banner = [0; 8];
    client.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    echoes(listen).unwrap();
}

#[test]
fn a_new_host_key_is_refused_until_it_is_trusted() {
    let mut sshd = Sshd::start();
    let old = sshd.known_hosts_lines();
    sshd.restart_with_new_host_key();
    assert_ne!(sshd.known_hosts_lines(), old);
    let output = login(&sshd).output().unwrap();
    assert!(printed(&output).contains("HOST IDENTIFICATION HAS CHANGED"));
    sshd.trust_current_host_keys();
    assert_eq!(run(&mut login(&sshd)), "in\n");
}

#[test]
fn a_key_with_a_passphrase_does_not_log_in_without_it() {
    let sshd = Sshd::start();
    let locked = ssh_keygen(
        KeyType::Ed25519,
        sshd.dir(),
        "locked",
        "secret",
        &["-a", "1"],
    );
    sshd.authorize_nobody();
    sshd.authorize(&locked.public_line());
    let mut command = sshd.ssh_command();
    let output = command.arg("-i").arg(locked.private).arg("true").output();
    assert!(printed(&output.unwrap()).contains("Permission denied"));
}

#[test]
#[should_panic(expected = "install openssh-server (apt-get install openssh-server)")]
fn a_missing_sshd_says_what_to_install() {
    Sshd::builder().program(Path::new("/nowhere/sshd")).start();
}
