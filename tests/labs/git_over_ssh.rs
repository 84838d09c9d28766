//! git, by way of an SSH server that is forwarded.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use tunneld_lab::etc::Account;
use tunneld_lab::keys::generate;
use tunneld_lab::pattern::pattern;
use tunneld_lab::process::{prefixed, require, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;

use crate::example::Example;
use crate::support::{Machine, give, known_host, login_server, no_way, server, unknown};

/// Somebody who uses git at a node.
struct Person {
    account: Account,
    prefix: Vec<String>,
}

impl Person {
    fn new(lab: &Topology, node: &str, name: &str) -> Self {
        require("git", "git");
        let account = lab.account(node, name, "/bin/sh");
        let prefix = [lab.exec_prefix(node), account.exec_prefix()].concat();
        Person { account, prefix }
    }

    /// Runs `git WORDS` in this folder of the home.
    fn git(&self, folder: &str, words: &str) -> String {
        let mut command: Command = prefixed(&self.prefix, "git");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Somebody");
            command.env(format!("GIT_{who}_EMAIL"), "somebody@example.com");
        }
        command
            .env("HOME", &self.account.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_SSH_COMMAND")
            .env_remove("SSH_AUTH_SOCK")
            .current_dir(self.account.home.join(folder))
            .args(words.split(' '));
        run(&mut command)
    }

    /// Sets up ~/.ssh as the example says, and lets the key in at the server.
    fn may_use(&self, sshd: &Sshd, name: &str, config: &str) {
        let (home, id) = (&self.account.home, self.account.id);
        let ssh = home.join(".ssh");
        fs::create_dir(&ssh).unwrap();
        let key = generate(&ssh, "id_ed25519");
        sshd.authorize(&key.public_line());
        chown(&key.private, Some(id), Some(id)).unwrap();
        chown(&key.public, Some(id), Some(id)).unwrap();
        give(&ssh.join("config"), &format!("Host {name}\n{config}"), id);
        give(&ssh.join("known_hosts"), &known_host(sshd, name), id);
        chown(&ssh, Some(id), Some(id)).unwrap();
    }

    fn file(&self, path: &str) -> Vec<u8> {
        fs::read(self.account.home.join(path)).unwrap()
    }
}

/// Puts a file into a work tree, as its owner.
fn put(person: &Person, path: &str, bytes: &[u8]) {
    let path: &Path = &person.account.home.join(path);
    fs::write(path, bytes).unwrap();
    chown(path, Some(person.account.id), Some(person.account.id)).unwrap();
}

#[test]
fn git_clones_and_pushes_through_a_forwarded_ssh_server() {
    // With the ssh_config and the command of the example: the key of the server is checked under its
    // own name.
    let mut lab = Topology::new(&["office", "bastion", "git"]);
    lab.link(("office", &["10.1.0.2/24"]), ("bastion", &["10.1.0.1/24"]));
    lab.link(("bastion", &["10.5.0.1/24"]), ("git", &["10.5.0.10/24"]));
    lab.knows("office", "bastion.example.com", "10.1.0.1");
    lab.knows("bastion", "git.internal", "10.5.0.10");
    let host = Person::new(&lab, "git", "git");
    host.git("", "init -q --bare -b main projects/site.git");
    let bastion = server(&lab, "bastion", "10.1.0.1:22", "tunnel", "");
    let sshd = login_server(&lab, "git", "10.5.0.10:22", "");
    no_way(&lab, "office", "10.5.0.10:22");
    unknown(&lab, "office", "git.internal");

    let example = Example::read("git-over-ssh");
    let machine = Machine::new(&lab, "office");
    machine.may_use(&bastion, "bastion.example.com", example.rights()[0]);
    let _daemon = machine.up(&example, "git");
    let person = Person::new(&lab, "office", "somebody");
    let config = example.below("Host git.internal");
    person.may_use(&sshd, "git.internal", &config);

    let clone = example.lines("git clone ")[0];
    let clone = clone.strip_prefix("git ").unwrap();
    person.git("", &format!("{clone} first"));
    let bytes = pattern(3 << 20, 6);
    put(&person, "first/bytes", &bytes);
    person.git("first", "add bytes");
    person.git("first", "commit -q -m bytes");
    person.git("first", "push -q origin HEAD:main");
    person.git("", &format!("{clone} second"));
    assert!(person.file("second/bytes") == bytes, "other bytes came");
    person.git("second", "fsck --strict");
    let head = person.git("first", "rev-parse HEAD");
    assert_eq!(host.git("projects/site.git", "rev-parse main"), head);
}
