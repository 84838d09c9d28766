//! Servers that offer too little, ask for too much, or do not answer.

use std::fs;

use tunneld_lab::asking::Asking;
use tunneld_lab::fault::{Fault, KexPoint};
use tunneld_lab::keys::{KeyType, generate, ssh_keygen};
use tunneld_lab::login::Passwords;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::{Corpus, PASSWORD};
use crate::support::{Broken, Table, secret, text};

#[test]
fn a_server_that_offers_too_little_is_told_as_written() {
    let mut corpus = Corpus::new("servers_offers");
    let mut case_with = |title: &str, sshd: &Sshd, rsa_size: u16| {
        corpus.sshd(sshd);
        let table = Table::to(sshd).dynamic(free_addr());
        corpus.case(title, &table.set("required_rsa_size", rsa_size));
    };
    let rsa = || Sshd::builder().host_keys(&[KeyType::Rsa]);
    let sha1 = rsa().config("HostKeyAlgorithms ssh-rsa").start();
    case_with("A host key that signs with SHA-1 only.", &sha1, 1024);
    let dir = tempfile::tempdir().unwrap();
    let small = ssh_keygen(KeyType::Rsa, dir.path(), "small", "", &["-b", "1024"]);
    let line = format!("HostKey {}", small.private.display());
    let sshd = Sshd::builder().host_keys(&[]).config(&line).start();
    let place = format!("[{}]:{}", sshd.host(), sshd.port());
    let known = format!("{place} {}\n", small.public_line());
    fs::write(sshd.known_hosts(), known).unwrap();
    let title = "An RSA host key of 1024 bits: as small as ssh and sshd take it.";
    case_with(title, &sshd, 1024);
    let title = "An RSA host key of 1024 bits, where required_rsa_size is 2048.";
    case_with(title, &sshd, 2048);
    let mut case = |title: &str, sshd: &Sshd| case_with(title, sshd, 1024);
    for (title, line) in [
        ("Old ciphers only.", "Ciphers aes256-cbc"),
        (
            "Old MACs only.",
            "Ciphers aes256-ctr\nMACs umac-64@openssh.com",
        ),
        (
            "Old key exchanges only.",
            "KexAlgorithms diffie-hellman-group1-sha1",
        ),
    ] {
        case(title, &Sshd::builder().config(line).start());
    }
    let key_and_more = Passwords::new(PASSWORD);
    let key_and_more =
        key_and_more.sshd("PasswordAuthentication yes\nAuthenticationMethods publickey,password");
    let title = "Keys are not enough, and no password is named.";
    case(title, &key_and_more.start());
    let passwords = Passwords::new(PASSWORD);
    let passwords = passwords.sshd("PasswordAuthentication yes\nPubkeyAuthentication no");
    case("Passwords only, and none is named.", &passwords.start());
    let nothing = "AuthenticationMethods hostbased\nHostbasedAuthentication yes";
    let nothing = Sshd::builder().config(nothing).start();
    case("Methods only that tunneld does not have.", &nothing);
    let denied = Sshd::builder().config("DenyUsers *").start();
    case("A server that lets this user in by no means.", &denied);
    corpus.compare();
}

#[test]
fn a_server_that_asks_too_much_is_told_as_written() {
    let mut corpus = Corpus::new("servers_questions");
    let dir = tempfile::tempdir().unwrap();
    corpus.folder(dir.path());
    let key = generate(dir.path(), "key");
    let nobody = generate(dir.path(), "nobody").public_line();
    let password = secret(dir.path(), "password", PASSWORD);
    let mut case = |title: &str, asking: Asking| {
        let server = LabServer::start(LabOptions {
            authorized: vec![nobody.clone()],
            asking,
            ..LabOptions::default()
        });
        corpus.server(server.addr());
        let known_hosts = dir.path().join("known_hosts");
        fs::write(&known_hosts, server.host_key_line()).unwrap();
        let table = Table::new(server.addr(), "anyone", &key.private, &known_hosts);
        let table = table.set("password_credential", &password);
        corpus.case(title, &table.dynamic(free_addr()));
    };
    let code: [&[&str]; 2] = [&["Password: "], &["Verification code: "]];
    case(
        "A code besides the password.",
        Asking::rounds(PASSWORD, &code),
    );
    let fifty: Vec<String> = (0..50).map(|n| format!("Question {n}? ")).collect();
    let fifty: Vec<&str> = fifty.iter().map(String::as_str).collect();
    case(
        "Fifty questions at once.",
        Asking::rounds(PASSWORD, &[&fifty]),
    );
    let endless = Asking {
        endless: true,
        ..Asking::rounds(PASSWORD, &[&[]])
    };
    case("Rounds without a question, without an end.", endless);
    let mut shown = Asking::rounds(PASSWORD, &[&["User: "]]);
    shown.rounds[0][0].1 = true;
    case("A question whose answer would be shown.", shown);
    let rude = format!("\u{1b}]0;x\u{7}Code\r\nplease {}", "y".repeat(300));
    let mut rude = Asking::rounds(PASSWORD, &[&[&rude]]);
    rude.rounds[0][0].1 = true;
    case("A question with control characters, and no end.", rude);
    corpus.compare();
}

#[test]
fn a_server_that_does_not_answer_is_told_as_written() {
    let mut corpus = Corpus::new("servers_silence");
    for (title, fault) in [
        (
            "A server that accepts and never speaks.",
            Fault::AcceptAndNeverSpeak,
        ),
        ("A web server.", Fault::NotSsh),
        ("A banner without an end.", Fault::EndlessBanner),
        (
            "A server that hangs up after the versions.",
            Fault::CloseDuringKex(KexPoint::AfterVersions),
        ),
        (
            "A server that hangs up within the key exchange.",
            Fault::CloseDuringKex(KexPoint::AfterKexInit),
        ),
        (
            "A server that never answers a login.",
            Fault::NeverAnswerAuthentication,
        ),
        (
            "A server that hangs up at each login.",
            Fault::DropEachAuthentication,
        ),
    ] {
        let broken = Broken::new(Some(fault));
        corpus.broken(&broken);
        let table = broken.table.clone();
        corpus.case(title, &table.set("connect_timeout", text("5s")));
    }
    let broken = Broken::new(None);
    corpus.broken(&broken);
    let nobody = free_addr();
    corpus.server(nobody);
    let table = broken.table.clone().set("host", text(nobody.ip()));
    let table = table.set("port", nobody.port());
    corpus.case("Nobody listens there.", &table);
    corpus.compare();
}
