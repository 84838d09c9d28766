//! Passphrases and passwords that are missing, wrong, or not enough.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use tunneld_lab::expired::ExpiredPassword;
use tunneld_lab::keys::{KeyType, generate, ssh_keygen};
use tunneld_lab::login::Passwords;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::{Corpus, PASSWORD, PHRASE, set_mode};
use crate::support::{Table, secret, text};

#[test]
fn a_passphrase_of_no_use_is_told_as_written() {
    let sshd = Sshd::start();
    let mut corpus = Corpus::about("passphrases", &sshd);
    let key = ssh_keygen(KeyType::Ed25519, sshd.dir(), "key", PHRASE, &["-a", "1"]);
    sshd.authorize(&key.public_line());
    let table = Table::to(&sshd).dynamic(free_addr());
    let table = table.set("identity_file", text(key.private.display()));
    corpus.case("A key with a passphrase, and none is named.", &table);
    let with = |value: String| table.clone().set("passphrase_credential", value);
    let wrong = with(secret(sshd.dir(), "wrong", PASSWORD));
    corpus.case("A wrong passphrase.", &wrong);

    // A key whose file does not show its public half: that is in the file beside it.
    let args = ["-m", "PEM"];
    let pem = ssh_keygen(KeyType::Rsa, sshd.dir(), "pem", PHRASE, &args);
    let other = generate(sshd.dir(), "other");
    fs::copy(&other.public, &pem.public).unwrap();
    sshd.authorize(&other.public_line());
    let right = with(secret(sshd.dir(), "right", PHRASE));
    let halves = right.set("identity_file", text(pem.private.display()));
    let title = "A key beside the public half of another one.";
    corpus.case(title, &halves);

    // Whoever may not read the credential can read the key.
    chown(&key.private, Some(65_534), None).unwrap();
    credentials(&mut corpus, sshd.dir(), with);
    corpus.compare();
}

#[test]
fn a_password_of_no_use_is_told_as_written() {
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords.sshd("PasswordAuthentication yes").start();
    let mut corpus = Corpus::about("passwords", &sshd);
    let table = Table::to(&sshd).dynamic(free_addr());
    let table = table.without("identity_file");
    let with = |value: String| table.clone().set("password_credential", value);
    let wrong = with(secret(sshd.dir(), "wrong", PHRASE));
    corpus.case("A wrong password.", &wrong);
    let unknown = text(generate(sshd.dir(), "unknown").private.display());
    let both = wrong.set("identity_file", unknown);
    corpus.case("A wrong password beside a key that is not known.", &both);
    credentials(&mut corpus, sshd.dir(), with);

    let title = "A password that is right and has to be changed.";
    let server = ExpiredPassword::start();
    corpus.server(server.addr());
    let known_hosts = sshd.dir().join("another");
    fs::write(&known_hosts, server.known_hosts_line()).unwrap();
    let table = Table::new(server.addr(), "anyone", &known_hosts, &known_hosts);
    let table = table.without("identity_file").dynamic(free_addr());
    let password = secret(sshd.dir(), "password", PASSWORD);
    corpus.case(title, &table.set("password_credential", password));
    corpus.compare();
}

/// What can be wrong with a credential, whatever it is for.
fn credentials(corpus: &mut Corpus, dir: &Path, with: impl Fn(String) -> Table) {
    let named = with(text("db"));
    let title = "A credential of systemd's that the unit does not name: no folder for them.";
    corpus.case(title, &named);
    let title = "A credential of systemd's that the unit does not name: others are there.";
    let folder = dir.display().to_string();
    corpus.case_in(title, &named, &[], &[("CREDENTIALS_DIRECTORY", &folder)]);
    let missing = with(text(dir.join("missing").display()));
    corpus.case("No such file.", &missing);
    let open = with(secret(dir, "open", PHRASE));
    set_mode(&dir.join("open"), 0o644);
    corpus.case("A credential that others can read: mode 0644.", &open);
    let empty = with(secret(dir, "empty", "\n"));
    corpus.case("An empty file.", &empty);
    let binary = with(secret(dir, "binary", "a\0b"));
    corpus.case("A file that is not text.", &binary);
    let large = with(secret(dir, "large", &"x".repeat(1 << 20)));
    corpus.case("A file of a mebibyte.", &large);
    let closed = with(secret(dir, "closed", PHRASE));
    corpus.case_as_nobody("A file of another user, who alone can read it.", &closed);
}
