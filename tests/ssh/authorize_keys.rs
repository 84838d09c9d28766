//! Who may log in with what `tunneld authorize` prints, and that nobody gets more than forwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::process::{printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_low_port};

use crate::authorized::{By, authorized, each_by};
use crate::gateway::named;
use crate::intruder::Intruder;
use crate::support::{LONG, Table, fails, up};

#[test]
fn neither_a_display_nor_an_agent_is_forwarded() {
    // The line refuses what a client asks for beside a command, the block already the way to ask.
    each_by(|by| {
        let builder = Sshd::builder()
            .config("X11Forwarding yes")
            .log_level("DEBUG1");
        let mut sshd = builder.start();
        let table = Table::to(&sshd).forward(free_addr(), free_addr());
        by.put(&mut sshd, &table.toml(), &["t"]);
        let said = Intruder::at(&sshd).asks_for_x11_and_agent();
        let has = |part: &str| assert!(said.contains(part), "{by:?}: no {part} in {said}");
        if by == By::Line {
            has("Requesting X11 forwarding");
            has("X11 forwarding disabled by key options");
            has("Requesting authentication agent forwarding");
            sshd.wait_for_log("agent forwarding disabled", LONG);
        } else {
            has("channel 0: open failed");
            assert!(!said.contains("Requesting X11"), "{said}");
            assert!(!said.contains("Requesting auth"), "{said}");
        }
        assert!(!said.contains("uid="), "{said}");
    });
}

/// A CA, and what it says of a server's key.
struct Authority {
    ca: KeyFiles,
    key: PathBuf,
}

impl Authority {
    fn of(sshd: &Sshd) -> Self {
        let ca = ssh_keygen(KeyType::Ed25519, sshd.dir(), "ca", "", &[]);
        Authority {
            ca,
            key: sshd.client_key().to_owned(),
        }
    }

    /// Makes `KEY-cert.pub` beside the key.
    fn signs(&self, options: &[&str]) -> PathBuf {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-I", "the tunnel", "-s"])
            .arg(&self.ca.private);
        run(command.args(options).arg(public_half(&self.key)));
        PathBuf::from(format!("{}-cert.pub", self.key.display()))
    }
}

fn public_half(key: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", key.display()))
}

#[test]
fn a_certificate_is_let_in_by_the_line_of_its_authority_with_the_same_limits() {
    // Only with the name that the line has, and the key alone is not enough.
    let (sshd, place, other) = (Sshd::start(), named("place"), named("other"));
    let authority = Authority::of(&sshd);
    let table = Table::to(&sshd).forward(free_addr(), place.addr());
    let user = sshd.user().to_owned();
    for options in [
        &["-n", &user][..],
        &["-n", "ops,tunnel"],
        &["-n", &user, "-O", "force-command=/bin/echo \"of its own\""],
    ] {
        let certificate = authority.signs(options);
        let line = authorized(&table.toml(), &["t", "--only", "authorized_keys"]);
        assert!(line.contains("\ncert-authority,principals="), "{line}");
        fs::write(sshd.authorized_keys(), line).unwrap();
        let intruder = Intruder::at(&sshd);
        intruder.reaches(&place.addr().to_string(), "place");
        intruder.cannot_open(&other.addr().to_string());
        intruder.cannot_listen(&format!("{}:localhost:22", free_addr()));
        let output = intruder.runs(&["id"]);
        assert!(!printed(&output).contains("uid="), "{}", printed(&output));
        fs::remove_file(&certificate).unwrap();
        refused(&sshd);
    }
    authority.signs(&["-n", "somebody"]);
    refused(&sshd);
}

/// Nobody is let in.
#[track_caller]
fn refused(sshd: &Sshd) {
    let said = printed(&Intruder::at(sshd).runs(&["-N"]));
    assert!(said.contains("Permission denied (publickey)"), "{said}");
}

#[test]
fn a_key_is_good_from_where_it_may_come_and_until_its_time_and_no_longer() {
    // The daemon comes from 127.0.0.1; without --from and --expiry-time there is no such limit.
    let (echo, listen) = (EchoServer::start(), free_addr());
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let put = |args: &[&str]| {
        let args = [&["t", "--only", "authorized_keys"], args].concat();
        let line = authorized(&table.toml(), &args);
        fs::write(sshd.authorized_keys(), line).unwrap();
    };
    for refused in [
        &["--from", "192.0.2.0/24"][..],
        &["--from", "127.*,!127.0.0.1"],
        &["--expiry-time", "20200101"],
        &["--expiry-time", "20200101000000Z"],
    ] {
        put(refused);
        let daemon = table.start();
        fails(&daemon, "t", "server rejected every key");
    }
    for accepted in [
        &["--from", "192.0.2.0/24,127.0.0.0/8"][..],
        &["--from", "*,!192.0.2.1", "--expiry-time", "20991231"],
        &["--expiry-time", "209912312359Z"],
    ] {
        put(accepted);
        let daemon = table.start();
        up(&daemon, "t");
        echoes(listen).unwrap();
    }
}

#[test]
fn a_key_can_still_do_everything_without_what_is_printed() {
    // What the other tests see refused is refused by what is printed, and not by the server.
    let (sshd, place) = (Sshd::start(), named("place"));
    let intruder = Intruder::at(&sshd);
    intruder.reaches(&place.addr().to_string(), "place");
    intruder.may_listen(&format!("{}:localhost:22", free_low_port()));
    let output = intruder.runs(&["id"]);
    assert!(printed(&output).contains("uid="), "{}", printed(&output));
}
