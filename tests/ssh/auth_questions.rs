//! Servers that ask for what nobody is there to answer: the question is quoted, nothing is
//! answered that is not known, and no server keeps a tunnel busy with questions.

use std::fs;

use tempfile::TempDir;
use tunneld_core::failure::Class;
use tunneld_lab::asking::Asking;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::Fault;
use tunneld_lab::keys::{KeyFiles, generate};
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::free_addr;

use crate::support::{NEVER, Table, fails, secret, text, unauthenticated, up};

const PASSWORD: &str = "correct horse battery";

/// A server that asks, and a tunnel to it with a password and a key that it does not know.
struct Bed {
    server: LabServer,
    key: KeyFiles,
    table: Table,
    _dir: TempDir,
}

impl Bed {
    fn new(asking: Asking) -> Self {
        Self::with_fault(asking, None)
    }

    fn with_fault(asking: Asking, fault: Option<Fault>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = LabServer::start(LabOptions {
            authorized: vec![generate(dir.path(), "somebody").public_line()],
            asking,
            fault,
            ..LabOptions::default()
        });
        let known_hosts = dir.path().join("known_hosts");
        fs::write(&known_hosts, server.host_key_line()).unwrap();
        let key = generate(dir.path(), "key");
        let password = secret(dir.path(), "password", PASSWORD);
        let table = Table::new(server.addr(), "anyone", &key.private, &known_hosts)
            .set("password_credential", password)
            .set("reconnect", NEVER)
            .forward(free_addr(), free_addr());
        Bed {
            server,
            key,
            table,
            _dir: dir,
        }
    }

    /// What blocks the tunnel, after the key that was rejected.
    fn refusal(&self) -> String {
        let cause = unauthenticated(&self.table.start()).cause;
        let key = self.key.fingerprint();
        let rejected = format!("server rejected every key (tried 1: {key}); it ");
        cause.strip_prefix(&rejected).expect(&cause).to_owned()
    }

    fn up(&self) -> Daemon {
        let daemon = self.table.start();
        up(&daemon, "t");
        daemon
    }
}

#[test]
fn one_hidden_question_is_answered_with_the_password() {
    // Also where the server has something to say before and after.
    for rounds in [&[&["Password: "][..]][..], &[&[], &["Password: "], &[]]] {
        let bed = Bed::new(Asking::rounds(PASSWORD, rounds));
        bed.up();
        assert_eq!(bed.server.answers(), [PASSWORD]);
    }
}

#[test]
fn a_second_question_is_quoted_and_left_unanswered() {
    let rounds: [&[&str]; 2] = [&["Password: "], &["Verification code: "]];
    let bed = Bed::new(Asking::rounds(PASSWORD, &rounds));
    let expected = "asks for more than a password: \"Verification code:\"; it accepts: publickey, \
                    keyboard-interactive";
    assert_eq!(bed.refusal(), expected);
    assert_eq!(bed.server.answers(), [PASSWORD]);
}

#[test]
fn fifty_questions_are_not_answered() {
    let questions: Vec<String> = (0..50).map(|n| format!("Question {n}? ")).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let bed = Bed::new(Asking::rounds(PASSWORD, &[&questions]));
    let expected = "asks for more than a password: 50 questions at once; it accepts: publickey, \
                    keyboard-interactive";
    assert_eq!(bed.refusal(), expected);
    assert_eq!(bed.server.answers(), Vec::<String>::new());
}

#[test]
fn a_question_whose_answer_would_be_shown_is_not_for_the_password() {
    let mut asking = Asking::rounds(PASSWORD, &[&["User: "]]);
    asking.rounds[0][0].1 = true;
    let bed = Bed::new(asking);
    let expected = "asks for more than a password: \"User:\"; it accepts: publickey, \
                    keyboard-interactive";
    assert_eq!(bed.refusal(), expected);
    assert_eq!(bed.server.answers(), Vec::<String>::new());
}

#[test]
fn after_a_question_too_many_the_password_is_still_sent_as_such() {
    // The round is ended with an empty answer, since the server waits for one.
    let rounds: [&[&str]; 2] = [&["Password: "], &["Code: "]];
    let bed = Bed::new(Asking {
        password: Some(PASSWORD.to_owned()),
        ..Asking::rounds(PASSWORD, &rounds)
    });
    bed.up();
    assert_eq!(bed.server.answers(), [PASSWORD, "", PASSWORD]);
}

#[test]
fn a_server_that_never_stops_asking_is_left() {
    // Round after round without a question.
    let bed = Bed::new(Asking {
        endless: true,
        ..Asking::rounds(PASSWORD, &[&[]])
    });
    let expected = "asks for more than a password: 10 rounds without a question; it accepts: \
                    publickey, keyboard-interactive";
    assert_eq!(bed.refusal(), expected);
}

#[test]
fn a_question_is_shown_as_one_short_line_whatever_the_server_writes() {
    let question = format!("\u{1b}]0;x\u{7}Code\r\nplease {}", "y".repeat(300));
    let bed = Bed::new(Asking::rounds(PASSWORD, &[&[&question, "b"]]));
    assert!(bed.refusal().contains("2 questions at once"));
    let mut asking = Asking::rounds(PASSWORD, &[&[&question]]);
    asking.rounds[0][0].1 = true;
    let refusal = Bed::new(asking).refusal();
    assert!(refusal.contains("\"]0;x Code  please yyy"), "{refusal}");
    assert!(refusal.contains("yyy…\"; it accepts"), "{refusal}");
    assert!(!refusal.contains(char::is_control), "{refusal}");
}

#[test]
fn a_server_that_never_answers_is_left_with_what_it_was_asked() {
    let fault = Some(Fault::NeverAnswerAuthentication);
    let bed = Bed::with_fault(Asking::default(), fault);
    let table = bed.table.clone().set("connect_timeout", text("5s"));
    let failure = fails(&table.start(), "t", "authentication not finished");
    let key = bed.key.fingerprint();
    let cause = format!("authentication not finished within 5s: no answer to the key {key}");
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.class, Class::Transient);
}
