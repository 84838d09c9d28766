//! Files of host keys that cannot be relied on, and hosts that are not what they say.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use tunneld_lab::keys::{KeyType, generate};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::{Corpus, set_mode};
use crate::support::{Table, text};

#[test]
fn a_known_hosts_file_of_no_use_is_told_as_written() {
    let sshd = Sshd::start();
    let mut corpus = Corpus::about("known_hosts_files", &sshd);
    let lines = sshd.known_hosts_lines();
    let table = Table::to(&sshd).dynamic(free_addr());
    let at = |path: &Path| {
        let table = table.clone();
        table.set("known_hosts", text(path.display()))
    };
    let file = |name: &str, contents: &[u8]| {
        let path = sshd.dir().join(name);
        fs::write(&path, contents).unwrap();
        at(&path)
    };
    let closed = file("closed", lines.as_bytes());
    set_mode(&sshd.dir().join("closed"), 0o600);
    chown(sshd.client_key(), Some(65_534), None).unwrap();
    corpus.case_as_nobody("A file that cannot be read.", &closed);
    let large = file("large", b"");
    let data = fs::File::options();
    let data = data.clone().write(true).open(sshd.dir().join("large"));
    data.unwrap().set_len(9 << 20).unwrap();
    corpus.case("A file of nine mebibytes.", &large);
    corpus.case("A directory.", &at(sshd.dir()));
    let with = |name: &str, line: &str| file(name, format!("{lines}{line}\n").as_bytes());
    let no_key = with("no_key", "db.example.com ssh-ed25519");
    corpus.case("A line without a key.", &no_key);
    let key = "db.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2+B12iGc6ubL7k";
    corpus.case("A line that is cut short.", &with("cut", key));
    let marker = "@trusted db.example.com ssh-ed25519 AAAA";
    let marker = with("marker", marker);
    corpus.case("A marker that does not exist.", &marker);
    let binary = file("binary", &[lines.as_bytes(), b"\xff\xfe\n"].concat());
    corpus.case("A line that is not text.", &binary);
    let windows = file("windows", lines.replace('\n', "\r\n").as_bytes());
    corpus.case("Lines that end with CR LF, as Windows has them.", &windows);
    corpus.compare();
}

#[test]
fn a_host_that_is_not_trusted_is_told_as_written() {
    let mut sshd = Sshd::builder()
        .host_keys(&[KeyType::Ed25519, KeyType::Ecdsa])
        .start();
    let mut corpus = Corpus::about("hosts", &sshd);
    let lines = sshd.known_hosts_lines();
    let table = Table::to(&sshd).dynamic(free_addr());
    let known = |text: &str| fs::write(sshd.known_hosts(), text).unwrap();
    known("");
    corpus.case("A host that no line knows.", &table);
    let missing = sshd.dir().join("missing");
    let missing = text(missing.display());
    let missing = table.clone().set("known_hosts", missing);
    corpus.case("A host, and there is no known_hosts yet.", &missing);
    let (ed25519, _) = lines.split_once('\n').unwrap();
    known(&format!("{lines}@revoked {ed25519}\n"));
    let only = |name| table.clone().set("host_key_algorithms", text(name));
    corpus.case("A revoked key.", &only("ssh-ed25519"));
    known(&format!("{ed25519}\n"));
    let title = "A key of another type than the one that is known.";
    corpus.case(title, &only("ecdsa-sha2-nistp256"));
    let pin = generate(sshd.dir(), "pinned").fingerprint();
    let pinned = table.clone().set("host_key_fingerprint", text(pin));
    corpus.case("Another key than the one that is pinned.", &pinned);

    known(&lines);
    sshd.restart_with_new_host_key();
    corpus.case("A changed key.", &table);
    let shared = lines.replace('[', "gateway,[");
    fs::write(sshd.known_hosts(), shared).unwrap();
    let title = "A changed key, whose line is for other hosts too.";
    corpus.case(title, &table);
    corpus.compare();
}
