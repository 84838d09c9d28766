//! Secrets stay secret: with everything logged, no passphrase, no password and no piece of a key is
//! on the screen, in a field of the journal, in the status or in the daemon's answers.

use std::fs;

use tunneld_lab::asking::Asking;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::journal::Journal;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::login::Passwords;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::free_addr;

use crate::support::{LONG, Table, daemon, secret, text, unauthenticated, up};

const PHRASE: &str = "open-sesame-of-the-key";
const PASSWORD: &str = "hunter2-of-the-server";

/// Everything that the daemon says to anybody.
fn everything(daemon: &Daemon) -> String {
    let mut all = daemon.log_text();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["check", "--print"],
        &["reload", "--dry-run"],
    ] {
        let output = daemon.cli(args);
        all.push_str(&String::from_utf8_lossy(&output.stdout));
        all.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    all
}

fn assert_silent(said: &str, key: &KeyFiles) {
    for word in [PHRASE, PASSWORD] {
        assert!(!said.contains(word), "{word}");
        // As bytes are printed by `{:?}`: 104, 117, …
        let bytes = format!("{:?}", word.as_bytes());
        assert!(!said.contains(bytes.trim_matches(['[', ']'])), "{word}");
    }
    let text = fs::read_to_string(&key.private).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('-')) {
        assert!(!said.contains(line), "{line}");
    }
}

#[test]
fn no_secret_is_in_anything_that_is_said_with_everything_logged() {
    // All of them in one login: the key is opened, and then the password is asked for twice.
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
    let table = Table::to(&sshd)
        .set("identity_file", text(key.private.display()))
        .set(
            "passphrase_credential",
            secret(sshd.dir(), "phrase", PHRASE),
        )
        .set(
            "password_credential",
            secret(sshd.dir(), "password", PASSWORD),
        )
        .forward(free_addr(), free_addr());
    let journal = Journal::start();
    let everything = |daemon: &Daemon| {
        let fields = journal.journalctl(&["-o", "export"]);
        everything(daemon) + &fields
    };
    for format in ["human", "json", "journal"] {
        let run = daemon().log_filter("debug").prefix(&journal.exec_prefix());
        let run = run.args(&["--log-format", format]);
        let daemon = run.config(&table.toml()).start();
        up(&daemon, "t");
        let said = everything(&daemon);
        // It is what is meant: the tries are in it.
        assert!(said.contains(&key.fingerprint()), "{format}: {said}");
        assert_silent(&said, &key);

        // Nor where each of them is wrong, which is when they are talked about.
        let write = |phrase: &str, password: &str| {
            secret(sshd.dir(), "phrase", phrase);
            secret(sshd.dir(), "password", password);
        };
        passwords.set("changed");
        sshd.kill_sessions();
        unauthenticated(&daemon);
        assert_silent(&everything(&daemon), &key);
        // Before the server takes the password again: a try in between would get in.
        write(PASSWORD, PASSWORD);
        passwords.set(PASSWORD);
        let wrong = |t: &tunneld_core::status::TunnelStatus| {
            let failure = t.failure.as_ref();
            failure.is_some_and(|f| f.cause.contains("wrong passphrase"))
        };
        daemon.wait_for("t", LONG, wrong);
        assert_silent(&everything(&daemon), &key);
        write(PHRASE, PASSWORD);
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
    let table = Table::new(server.addr(), "anyone", &missing, &known_hosts)
        .set(
            "password_credential",
            secret(dir.path(), "password", PASSWORD),
        )
        .forward(free_addr(), free_addr());
    let daemon = daemon().log_filter("debug").config(&table.toml()).start();
    up(&daemon, "t");
    assert_eq!(server.answers(), [PASSWORD]);
    assert_silent(&everything(&daemon), &key);
}
