//! Secrets stay secret: with everything logged, no passphrase, no password and no piece of a key is
//! in the log, in a field of the journal, on the screen, in the status or in the daemon's answers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use tunneld_lab::agent::SshAgent;
use tunneld_lab::asking::Asking;
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::journal::Journal;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::login::Passwords;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::secrets::Secrets;
use crate::support::{Table, daemon, fails, secret, text, unauthenticated, up};

const PHRASE: &str = "open-sesame-of-the-key";
const PASSWORD: &str = "hunter2-of-the-server";

/// A daemon that logs as much as it can; what other programs log more for is set, too.
fn talkative() -> DaemonBuilder {
    daemon().log_filter("debug").env("RUST_LOG", "trace")
}

/// Everything that the daemon and its commands say to anybody.
fn everything(daemon: &Daemon) -> String {
    let mut all = daemon.log_text();
    for args in [
        &["status"][..],
        &["status", "t"],
        &["status", "--json"],
        &["check"],
        &["check", "--print"],
        &["reload", "--dry-run"],
        &["test", "t", "--log-level", "debug"],
        &["test", "t", "--json", "--log-level", "debug"],
        &["authorize", "t"],
        &["trust", "t"],
    ] {
        let output = daemon.cli(args);
        all.push_str(&String::from_utf8_lossy(&output.stdout));
        all.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    all + &asked(daemon)
}

/// What the control socket answers to whoever asks it directly.
fn asked(daemon: &Daemon) -> String {
    let mut all = String::new();
    for request in ["GET /v1/status", "POST /v1/reload", "GET /nothing"] {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        let head = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0";
        write!(stream, "{request} {head}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
        all.push_str(&String::from_utf8_lossy(&answer));
    }
    all
}

/// The secrets of these tests, this key among them.
fn secrets(key: &KeyFiles, phrase: &str) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.word(PHRASE);
    secrets.word(PASSWORD);
    secrets.ed25519(key, phrase);
    secrets
}

#[test]
fn no_secret_is_in_anything_that_is_said_with_everything_logged() {
    // In one login the key is opened, and the password sent as such or as an answer.
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords
        .sshd(
            "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication yes\n\
             AuthenticationMethods publickey,keyboard-interactive,password",
        )
        .start();
    let args = ["-a", "1"];
    let key = ssh_keygen(KeyType::Ed25519, sshd.dir(), "locked", PHRASE, &args);
    sshd.authorize(&key.public_line());
    let secrets = secrets(&key, PHRASE);
    let file = |name: &str, contents: &str| secret(sshd.dir(), name, contents);
    let table = Table::to(&sshd)
        .set("identity_file", text(key.private.display()))
        .set("passphrase_credential", file("phrase", PHRASE))
        .set("password_credential", file("password", PASSWORD))
        .forward(free_addr(), free_addr());
    let journal = Journal::start();
    for format in ["human", "json", "journal"] {
        let run = talkative().prefix(&journal.exec_prefix());
        let run = run.args(&["--log-format", format]);
        let daemon = run.config(&table.toml()).start();
        let silent = || {
            let fields = journal.journalctl(&["-o", "export"]);
            let said = everything(&daemon) + &fields;
            // It is what is meant: the tries are in it.
            assert!(said.contains(&key.fingerprint()), "{format}: {said}");
            let logged = format == "journal";
            assert_eq!(fields.contains("PRIORITY=7"), logged, "{fields}");
            secrets.assert_not_in(&said);
        };
        up(&daemon, "t");
        silent();

        // Nor where each of them is wrong, which is when they are talked about.
        passwords.set("changed");
        sshd.kill_sessions();
        unauthenticated(&daemon);
        silent();
        // Each in the other's place; before the server takes the password again, since a try in
        // between would get in.
        file("phrase", PASSWORD);
        file("password", PHRASE);
        passwords.set(PASSWORD);
        fails(&daemon, "t", "wrong passphrase");
        silent();
        file("phrase", PHRASE);
        file("password", PASSWORD);
    }
}

#[test]
fn an_answer_to_a_question_is_in_nothing_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = LabServer::start(LabOptions {
        asking: Asking::rounds(PASSWORD, &[&["Password: "]]),
        ..LabOptions::default()
    });
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, server.host_key_line()).unwrap();
    let key = ssh_keygen(KeyType::Ed25519, dir.path(), "key", "", &[]);
    let missing = dir.path().join("missing");
    let password = secret(dir.path(), "password", PASSWORD);
    let table = Table::new(server.addr(), "anyone", &missing, &known_hosts)
        .set("password_credential", password)
        .forward(free_addr(), free_addr());
    let daemon = talkative().config(&table.toml()).start();
    up(&daemon, "t");
    assert_eq!(server.answers(), [PASSWORD]);
    secrets(&key, "").assert_not_in(&everything(&daemon));
}

#[test]
fn a_key_that_is_used_is_in_nothing_that_is_said() {
    // Out of a file without a passphrase, and out of an agent.
    let sshd = Sshd::start();
    let secrets = secrets(sshd.client_key_files(), "");
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let agent = SshAgent::start(&sshd.dir().join("agent"));
    agent.add(sshd.client_key());
    let socket = text(agent.socket().display());
    let of_agent = table.clone().set("identity_agent", socket);
    for table in [table, of_agent.set("identity_file", text("none"))] {
        let daemon = talkative().config(&table.toml()).start();
        up(&daemon, "t");
        secrets.assert_not_in(&everything(&daemon));
    }
}
