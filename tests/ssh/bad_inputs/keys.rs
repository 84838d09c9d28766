//! Key files that are of no use.

use std::fs;
use std::path::Path;

use tunneld_lab::keys::{KeyType, generate, ssh_keygen};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::{Corpus, set_mode};
use crate::support::{Table, secret, text};

fn table(sshd: &Sshd, key: &Path) -> Table {
    let table = Table::to(sshd).dynamic(free_addr());
    table.set("identity_file", text(key.display()))
}

#[test]
fn a_key_file_of_no_use_is_told_as_written() {
    let sshd = Sshd::builder().config("MaxAuthTries 2").start();
    let mut corpus = Corpus::about("keys", &sshd);
    let whole = fs::read_to_string(sshd.client_key()).unwrap();
    let key = |name: &str, text: &str| {
        secret(sshd.dir(), name, text);
        table(&sshd, &sshd.dir().join(name))
    };

    let open = key("open", &whole);
    set_mode(&sshd.dir().join("open"), 0o644);
    corpus.case("A key that others can read: mode 0644.", &open);
    let theirs = "A key of another user, whom tunneld is not, which others can read.";
    corpus.case_as_nobody(theirs, &open);
    let closed = key("closed", &whole);
    corpus.case_as_nobody("A key of another user, who alone can read it.", &closed);

    let cut = key("cut", &whole[..whole.len() / 2]);
    corpus.case("A key that is cut short.", &cut);
    let middle = whole.len() / 2;
    let wrong = format!("{}AAAA{}", &whole[..middle], &whole[middle + 4..]);
    corpus.case("A key with a letter changed.", &key("wrong", &wrong));
    corpus.case("An empty file.", &key("empty", ""));
    corpus.case("A file that is no key.", &key("note", "buy milk\n"));
    let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: k\n";
    corpus.case("A key of PuTTY's.", &key("key.ppk", putty));
    let missing = sshd.dir().join("missing");
    corpus.case("No such file.", &table(&sshd, &missing));
    corpus.case("A directory.", &table(&sshd, sshd.dir()));
    let public = &sshd.client_key_files().public;
    corpus.case("The public half of a key.", &table(&sshd, public));
    let other = generate(sshd.dir(), "other");
    let small = ssh_keygen(KeyType::Rsa, sshd.dir(), "small", "", &["-b", "1024"]);
    sshd.authorize(&small.public_line());
    let small = table(&sshd, &small.private);
    let title = "An RSA key of 1024 bits: as small as ssh and sshd take it.";
    corpus.case(title, &small);

    let none = Table::to(&sshd).without("identity_file");
    let none = none.dynamic(free_addr());
    corpus.case("No key at all, and none is named.", &none);
    let env = [("SSH_AUTH_SOCK", "/run/user/1000/agent")];
    let title = "No key at all, and an agent in the environment that no key names.";
    corpus.case_in(title, &none, &[], &env);

    let unknown = table(&sshd, &other.private);
    corpus.case("A key that the server does not know.", &unknown);
    let more = ["a", "b", "c"].map(|name| text(generate(sshd.dir(), name).private.display()));
    let more = unknown.set("identity_file", format!("[{}]", more.join(", ")));
    corpus.case("More keys than the server lets anybody try.", &more);
    corpus.compare();
}
