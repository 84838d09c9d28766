//! The server of this process serves the real client, and breaks as it is told to.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use tunneld_lab::fault::{Fault, KexPoint, Refusal};
use tunneld_lab::keys::{KeyFiles, generate};
use tunneld_lab::process::{LineLog, poll, printed, wait_exit};
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::{AfterEof, EchoServer, TIMEOUT, half_close_exchange, is_reset};
use tunneld_lab::target::{connect, echoes, free_addr, pattern, read_all, try_connect};

struct Lab {
    server: LabServer,
    key: KeyFiles,
    dir: TempDir,
}

impl Lab {
    fn new(fault: Option<Fault>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = generate(dir.path(), "key");
        let mut options = LabOptions::for_key(&key);
        options.fault = fault;
        let server = LabServer::start(options);
        let lab = Lab { server, key, dir };
        std::fs::write(lab.known_hosts(), lab.server.host_key_line()).unwrap();
        lab
    }

    fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-v", "-N", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=2"])
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                self.known_hosts().display()
            ))
            .arg("-i")
            .arg(&self.key.private)
            .args(["-p", &self.server.addr().port().to_string()])
            .arg(format!("anyone@{}", self.server.ip()))
            .stdin(Stdio::null());
        command
    }

    /// The output of a client that the server does not let in.
    fn refused(&self) -> String {
        let output: Output = self.ssh().output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{}", printed(&output));
        printed(&output)
    }

    fn forward(&self, target: SocketAddr) -> Tunnel {
        let listen = free_addr();
        let mut command = self.ssh();
        let mut child = command
            .args(["-L", &format!("{listen}:{target}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = LineLog::default();
        log.follow(child.stderr.take().unwrap());
        let tunnel = Tunnel { child, listen, log };
        let up = tunnel.log.wait_for_line(0, "Entering interactive", TIMEOUT);
        assert!(up.is_some(), "{}", tunnel.log.text());
        tunnel
    }
}

struct Tunnel {
    child: Child,
    listen: SocketAddr,
    log: LineLog,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_forwards_for_the_real_client_and_carries_half_close() {
    let lab = Lab::new(None);
    let (echo, after) = (EchoServer::start(), AfterEof::start());
    let tunnel = lab.forward(echo.addr());
    let bytes = pattern(3_000_000, 5);
    assert!(half_close_exchange(tunnel.listen, &bytes).unwrap() == bytes);
    let tunnel = lab.forward(after.addr());
    assert!(half_close_exchange(tunnel.listen, &bytes).unwrap() == bytes);
    assert_eq!((lab.server.authenticated(), lab.server.channels()), (2, 2));
    assert_eq!(lab.server.accepted(), 2);
    let closed = poll(TIMEOUT, || (after.open() == 0).then_some(()));
    assert!(closed.is_some(), "a finished connection stays open");
}

#[test]
fn killed_it_resets_and_refuses_and_restarted_it_has_the_same_key() {
    let mut lab = Lab::new(None);
    let echo = EchoServer::start();
    let mut tunnel = lab.forward(echo.addr());
    let mut bystander = connect(lab.server.addr());
    bystander.read_exact(&mut [0; 8]).unwrap();
    lab.server.kill();
    assert_eq!(lab.server.open(), 0);
    assert!(is_reset(&read_all(&mut bystander, TIMEOUT).unwrap_err()));
    assert!(wait_exit(&mut tunnel.child, TIMEOUT).is_some());
    assert!(try_connect(lab.server.addr()).is_err());
    lab.server.restart();
    echoes(lab.forward(echo.addr()).listen).unwrap();
}

#[test]
fn dropped_connections_end_and_new_ones_are_served() {
    let lab = Lab::new(None);
    let echo = EchoServer::start();
    let mut tunnel = lab.forward(echo.addr());
    lab.server.drop_connections();
    assert!(wait_exit(&mut tunnel.child, TIMEOUT).is_some());
    echoes(lab.forward(echo.addr()).listen).unwrap();
}

#[test]
fn faults_before_and_within_the_key_exchange() {
    let lab = Lab::new(Some(Fault::NotSsh));
    let said = |part: &str| {
        let text = lab.refused();
        assert!(text.contains(part), "{text}");
    };
    said("HTTP/1.1 400");
    lab.server.set_fault(Some(Fault::AcceptAndNeverSpeak));
    said("timed out");
    lab.server.set_fault(Some(Fault::EndlessBanner));
    said("banner");
    lab.server.set_fault(Some(Fault::ResetOnAccept));
    said("reset");
    for point in [KexPoint::AfterVersions, KexPoint::AfterKexInit] {
        lab.server.set_fault(Some(Fault::CloseDuringKex(point)));
        said("SSH2_MSG_KEXINIT sent");
    }
    lab.server.set_fault(None);
    lab.server.change_host_key();
    said("HOST IDENTIFICATION HAS CHANGED");
    assert_eq!(lab.server.authenticated(), 0);
}

#[test]
fn faults_of_the_authentication() {
    let lab = Lab::new(Some(Fault::DropEachAuthentication));
    let text = lab.refused();
    assert!(text.contains("Connection closed by"), "{text}");
    assert_eq!(lab.server.authentication_requests(), 1);
    lab.server.set_fault(Some(Fault::RejectEveryKey));
    let text = lab.refused();
    assert!(text.contains("Permission denied"), "{text}");
    lab.server.set_fault(None);
    let stranger = Lab {
        key: generate(lab.dir.path(), "stranger"),
        ..lab
    };
    let text = stranger.refused();
    assert!(text.contains("Permission denied"), "{text}");
    assert_eq!(stranger.server.authenticated(), 0);
}

#[test]
fn channels_are_refused_for_the_reason_that_was_asked_for() {
    let lab = Lab::new(None);
    let tunnel = lab.forward(EchoServer::start().addr());
    for (refusal, words) in [
        (
            Refusal::AdministrativelyProhibited,
            "administratively prohibited",
        ),
        (Refusal::ConnectFailed, "connect failed"),
        (Refusal::UnknownChannelType, "unknown channel type"),
        (Refusal::ResourceShortage, "resource shortage"),
    ] {
        lab.server.set_fault(Some(Fault::RefuseChannels(refusal)));
        assert!(echoes(tunnel.listen).is_err());
        let line = tunnel.log.wait_for_line(0, words, TIMEOUT);
        assert!(line.is_some(), "{words}: {}", tunnel.log.text());
    }
    lab.server.set_fault(Some(Fault::NeverAnswerChannels));
    let mut client = connect(tunnel.listen);
    client.write_all(b"x").unwrap();
    let asked = poll(TIMEOUT, || (lab.server.channels() == 5).then_some(()));
    assert!(asked.is_some());
}

#[test]
fn a_target_that_nobody_listens_on_is_a_failed_connect() {
    let lab = Lab::new(None);
    let tunnel = lab.forward(free_addr());
    assert!(echoes(tunnel.listen).is_err());
    let line = tunnel.log.wait_for_line(0, "connect failed", TIMEOUT);
    assert!(line.is_some(), "{}", tunnel.log.text());
}
