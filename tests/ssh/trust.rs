//! `tunneld trust`: a host's keys are shown as ssh-keygen shows them, and written down only when
//! somebody who knows them has agreed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::process::{poll, prefixed, printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;
use tunneld_lab::terminal::Terminal;

use crate::host_keys::trust;
use crate::relay::{once, saying};
use crate::support::{LONG, NEVER, Table, text};
use crate::ways::logins;

const ALL: [KeyType; 3] = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];

/// What the question ends in.
const QUESTION: &str = "[y/N/fingerprint";

/// A file with a tunnel `t`, and `tunneld trust` for it.
pub(crate) struct Desk {
    pub(crate) config: PathBuf,
    pub(crate) prefix: Vec<String>,
    _dir: TempDir,
}

impl Desk {
    pub(crate) fn new(table: &Table) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = dir.path().join("tunneld.toml");
        let socket = dir.path().join("control.sock");
        let table = table.clone().forward(free_addr(), free_addr());
        let daemon = format!("[daemon]\ncontrol_socket = {socket:?}\n");
        fs::write(&config, table.toml() + &daemon).unwrap();
        Desk {
            config,
            prefix: Vec::new(),
            _dir: dir,
        }
    }

    /// With these words in front of the command.
    pub(crate) fn below(mut self, prefix: &[String]) -> Self {
        self.prefix = prefix.to_vec();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
        let mut command = prefixed(&self.prefix, binary);
        command.args(["trust", "t"]).args(arguments);
        command.arg("--config").arg(&self.config);
        command
            .env_remove("TUNNELD_SOCKET")
            .env("HOME", "/nonexistent");
        command
    }

    /// The command, as hints have it.
    pub(crate) fn again(&self) -> String {
        format!("tunneld trust t --config {}", self.config.display())
    }

    /// Without anybody to ask.
    pub(crate) fn trust(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same, which has to end like this; what was printed.
    #[track_caller]
    pub(crate) fn ends(&self, arguments: &[&str], code: i32) -> String {
        let output = self.trust(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        printed(&output)
    }

    /// With somebody at a terminal, who answers this; how it ended, and the screen.
    fn answered(&self, arguments: &[&str], answer: &str) -> (Option<i32>, String) {
        let mut terminal = Terminal::run(self.command(arguments));
        terminal.wait_for(QUESTION, LONG);
        terminal.type_line(answer);
        let (status, screen) = terminal.wait_exit(LONG);
        (status.code(), screen)
    }
}

/// A server with a key of each type, which nobody knows, and the desk of a tunnel to it.
pub(crate) fn unknown() -> (Sshd, Desk) {
    let sshd = Sshd::builder().host_keys(&ALL).start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let desk = Desk::new(&Table::to(&sshd));
    (sshd, desk)
}

pub(crate) fn known(sshd: &Sshd) -> String {
    fs::read_to_string(sshd.known_hosts()).unwrap()
}

pub(crate) fn fingerprints(sshd: &Sshd) -> Vec<String> {
    sshd.host_keys()
        .iter()
        .map(|key| key.fingerprint())
        .collect()
}

#[track_caller]
pub(crate) fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn every_key_is_shown_as_ssh_keygen_shows_it_and_written_once_somebody_agrees_to_all() {
    // The same lines and pictures; the file is then what a tunnel needs; nobody has logged in, and
    // nothing was asked more often than there is an answer.
    let (sshd, desk) = unknown();
    let (code, screen) = desk.answered(&[], "all");
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(known(&sshd), sshd.known_hosts_lines());
    let mut keygen = Command::new("ssh-keygen");
    let pictures = run(keygen.arg("-lvf").arg(sshd.known_hosts()));
    let lines: Vec<&str> = pictures.lines().collect();
    assert_eq!(lines.len(), 3 * 12, "{pictures}");
    for picture in lines.chunks(12) {
        has(&screen, &[&format!("{}\nnew\n", picture.join("\n"))]);
    }
    let file = sshd.known_hosts().display().to_string();
    has(
        &screen,
        &[
            &format!("{} has shown 3 host keys\n", sshd.addr()),
            "Only if each of the keys above is one that the host itself prints, answer `all`:\n",
            "  for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\n",
            &format!("Add the ED25519 key to {file}? [y/N/fingerprint/all] all\n"),
            &format!("added to {file}: ED25519, ECDSA, RSA\n"),
            "SSHFP: not asked: the host is an address\n",
        ],
    );
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
    let met = sshd.log().matches("Connection from").count();
    assert_eq!(met, 4, "{}", sshd.log());
    drop(Table::to(&sshd).forward(free_addr(), free_addr()).up());
    // A second time there is nothing to ask.
    let said = desk.ends(&[], 0);
    has(
        &said,
        &[&format!("already trusted: {file}:1\n"), "nothing to add\n"],
    );
}

#[test]
fn a_server_with_a_key_of_every_type_shows_all_of_them_and_is_met_once_for_each() {
    // Each curve is a type of its own. With all of them shown there is nothing left to ask for.
    let dir = tempfile::tempdir().unwrap();
    let curve = |bits| ssh_keygen(KeyType::Ecdsa, dir.path(), bits, "", &["-b", bits]);
    let curves = ["384", "521"].map(curve);
    let line = |key: &KeyFiles| format!("HostKey {}\n", key.private.display());
    let sshd = Sshd::builder()
        .config(&curves.each_ref().map(line).concat())
        .host_keys(&ALL)
        .start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let said = Desk::new(&Table::to(&sshd)).ends(&[], 1);
    for key in sshd.host_keys().iter().chain(&curves) {
        let mut keygen = Command::new("ssh-keygen");
        let picture = run(keygen.arg("-lvf").arg(&key.public));
        let (_, drawn) = picture.split_once('\n').unwrap();
        has(&said, &[&key.fingerprint(), drawn]);
    }
    has(
        &said,
        &["384 SHA256:", "521 SHA256:", "+---[ECDSA 521]---+"],
    );
    let met = sshd.log().matches("Connection from").count();
    assert_eq!(met, 5, "{}", sshd.log());
}

#[test]
fn only_keys_that_the_tunnel_would_accept_are_asked_for() {
    // `host_key_algorithms` of the file; with nothing but certificates in it there is no key to trust.
    let (sshd, _) = unknown();
    let only = |names: &str| {
        let table = Table::to(&sshd).set("host_key_algorithms", text(names));
        Desk::new(&table).ends(&[], 1)
    };
    let said = only("rsa-sha2-256");
    let keys = fingerprints(&sshd);
    has(&said, &["has shown 1 host key\n", &keys[2]]);
    let said = only("ssh-ed25519-cert-v01@openssh.com");
    has(
        &said,
        &[
            "`host_key_algorithms` allows only certificates, which have no line of their own",
            "hint: add an @cert-authority line",
        ],
    );
    let met = sshd.log().matches("Connection from").count();
    assert_eq!(met, 1, "{}", sshd.log());
}

#[test]
fn a_yes_adds_the_key_that_was_asked_about_and_the_daemon_learns_the_others_with_a_proof() {
    // Whoever sits between could show the true key first, and others of their own after it.
    let (sshd, _) = unknown();
    let table = Table::to(&sshd).set("update_host_keys", "true");
    let (code, screen) = Desk::new(&table).answered(&[], "y");
    assert_eq!(code, Some(0), "{screen}");
    let fingerprint = &fingerprints(&sshd)[0];
    has(
        &screen,
        &[
            &format!("what does this print, is it {fingerprint}?\n"),
            "  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n",
            "tunneld adds the others once the host has proved to have them",
        ],
    );
    let lines = sshd.known_hosts_lines();
    let (first, _) = lines.split_once('\n').unwrap();
    assert_eq!(known(&sshd).trim_end(), first);
    let _daemon = table.forward(free_addr(), free_addr()).up();
    let learnt = poll(LONG, || (known(&sshd).lines().count() == 3).then_some(()));
    assert!(learnt.is_some(), "{}", known(&sshd));
}

#[test]
fn whatever_is_not_a_clear_yes_writes_nothing() {
    // The default, a no, and a fingerprint that is none of theirs.
    let (sshd, desk) = unknown();
    let foreign = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    for answer in ["", "n", "maybe", foreign] {
        let (code, screen) = desk.answered(&[], answer);
        assert_eq!(code, Some(1), "{screen}");
        has(&screen, &["nothing was added"]);
        assert_eq!(known(&sshd), "");
    }
}

#[test]
fn a_fingerprint_for_an_answer_adds_the_key_that_has_it_and_no_other() {
    // As ssh's own question takes it.
    let (sshd, desk) = unknown();
    let (code, screen) = desk.answered(&[], &fingerprints(&sshd)[1]);
    assert_eq!(code, Some(0), "{screen}");
    let lines = sshd.known_hosts_lines();
    assert_eq!(known(&sshd).trim_end(), lines.lines().nth(1).unwrap());
    // The others are new beside it.
    let (code, screen) = desk.answered(&[], "all");
    assert_eq!(code, Some(0), "{screen}");
    has(&screen, &["Add the ED25519 key to ", ": ED25519, RSA\n"]);
    assert_eq!(known(&sshd).lines().count(), 3);
}

#[test]
fn without_a_terminal_nothing_is_written_and_what_to_do_is_said() {
    // It still shows the keys.
    let (sshd, desk) = unknown();
    let said = desk.ends(&[], 1);
    let fingerprints = fingerprints(&sshd);
    for fingerprint in &fingerprints {
        has(&said, &[fingerprint]);
    }
    has(
        &said,
        &[
            "no terminal",
            &format!("`{} --yes --fingerprint SHA256:…`", desk.again()),
        ],
    );
    assert_eq!(known(&sshd), "");
    // Nor where the page goes elsewhere: nobody is asked about keys that they do not see.
    let elsewhere = ["sh", "-c", "exec \"$0\" \"$@\" >/dev/null"].map(str::to_owned);
    let desk = desk.below(&elsewhere);
    let (status, screen) = Terminal::run(desk.command(&[])).wait_exit(LONG);
    assert_eq!(status.code(), Some(1), "{screen}");
    has(&screen, &["error: there is no terminal to ask on"]);
    assert!(!screen.contains(QUESTION), "{screen}");
}

#[test]
fn automation_adds_the_keys_that_it_names_and_refuses_when_none_is_there() {
    // Again and again with the same result.
    let (sshd, desk) = unknown();
    let right = fingerprints(&sshd);
    let wrong = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let said = desk.ends(&["--yes", "--fingerprint", wrong], 1);
    has(
        &said,
        &["nothing was added", wrong, &right[0], &right[1], &right[2]],
    );
    assert_eq!(known(&sshd), "");
    let named = ["--yes", "--fingerprint", &right[2], "--fingerprint", wrong];
    let missing = format!(
        "hint: {} has shown no key with the fingerprint {wrong}\n",
        sshd.addr()
    );
    has(&desk.ends(&named, 0), &[": RSA\n", &missing]);
    let lines = sshd.known_hosts_lines();
    assert_eq!(known(&sshd).trim_end(), lines.lines().nth(2).unwrap());
    has(&desk.ends(&named, 0), &["nothing to add"]);
    // Also when the host is known already.
    desk.ends(&["--yes", "--fingerprint", wrong], 1);
    assert_eq!(known(&sshd).lines().count(), 1);
}

#[test]
fn a_host_with_an_alias_is_known_by_that_alone() {
    // Looked up and written without the port, as ssh does; the tunnel then finds it.
    let (sshd, _) = unknown();
    let table = Table::to(&sshd).set("host_key_alias", text("Alias.test"));
    let (code, screen) = Desk::new(&table).answered(&[], "all");
    assert_eq!(code, Some(0), "{screen}");
    has(&screen, &[" alias.test (ED25519)\n"]);
    let lines = known(&sshd);
    assert!(
        lines.lines().all(|l| l.starts_with("alias.test ")),
        "{lines}"
    );
    has(
        &Desk::new(&table).ends(&[], 0),
        &["known_hosts:3\n", "nothing to add"],
    );
    table.forward(free_addr(), free_addr()).up();
}

#[test]
fn a_tunnel_with_pins_needs_no_line_and_a_host_without_a_pinned_key_is_refused() {
    // The pin speaks for one key, and not against the host's others.
    let sshd = Sshd::builder().host_keys(&ALL).start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let pin = fingerprints(&sshd)[0].clone();
    let table = Table::to(&sshd).set("host_key_fingerprint", text(&pin));
    let said = Desk::new(&table).ends(&[], 0);
    let trusted = format!("already trusted: host_key_fingerprint {pin}\n");
    has(
        &said,
        &[&trusted, "host key not pinned: ", "nothing to add\n"],
    );
    let wrong = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let table = table.set("host_key_fingerprint", text(wrong));
    has(&Desk::new(&table).ends(&[], 1), &["host key not pinned: "]);
    assert_eq!(known(&sshd), "");
}

#[test]
fn a_jump_host_that_is_unknown_comes_first_and_its_session_is_then_shared() {
    // The message has the command; every question goes over one login at the jump host.
    let (bastion, sshd) = (Sshd::start(), Sshd::builder().host_keys(&ALL).start());
    for sshd in [&bastion, &sshd] {
        fs::write(sshd.known_hosts(), "").unwrap();
    }
    let desk = Desk::new(&Table::to(&sshd).over(&[&bastion]));
    let said = desk.ends(&[], 1);
    let first = format!(
        "that host first: `{} --hop {}` ",
        desk.again(),
        bastion.addr()
    );
    has(
        &said,
        &[
            &format!("jump host {}: unknown host", bastion.addr()),
            &first,
        ],
    );
    logins(&bastion, 0);
    let at = bastion.addr().to_string();
    let with_user = format!("{}@{}", bastion.user(), bastion.host());
    for hop in [bastion.host(), at, with_user] {
        let arguments = ["--hop", &hop, "--yes", "--fingerprint"];
        let fingerprint = &fingerprints(&bastion)[0];
        desk.ends(&[&arguments[..], &[fingerprint]].concat(), 0);
        assert_eq!(known(&bastion), bastion.known_hosts_lines());
    }
    let (code, screen) = desk.answered(&[], "all");
    assert_eq!(code, Some(0), "{screen}");
    has(&screen, &["SSHFP: not asked"]);
    assert_eq!(known(&sshd), sshd.known_hosts_lines());
    logins(&bastion, 1);
    logins(&sshd, 0);
    // Nobody is learnt on the way, whatever the file says.
    fs::write(bastion.known_hosts(), "").unwrap();
    let table = Table::to(&sshd).over(&[&bastion]);
    let desk = Desk::new(&table.set("strict_host_key_checking", text("accept-new")));
    has(&desk.ends(&[], 1), &[&desk.again(), "that host first: "]);
    assert_eq!(known(&bastion), "");
    // Another host is none of its jump hosts.
    let said = desk.ends(&["--hop", "elsewhere.test"], 1);
    has(
        &said,
        &[
            "does not go over `elsewhere.test`",
            &bastion.addr().to_string(),
        ],
    );
    let said = Desk::new(&Table::to(&sshd)).ends(&["--hop", "elsewhere.test"], 1);
    has(&said, &["`t` goes over no jump host"]);
}

#[test]
fn tunnels_over_an_unknown_jump_host_are_told_the_command_for_it() {
    // They share its session, and its failure: the command of one is good for all.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    fs::write(bastion.known_hosts(), "").unwrap();
    let table = |name: &str| {
        let table = Table::to(&sshd).over(&[&bastion]).set("reconnect", NEVER);
        let toml = table.forward(free_addr(), free_addr()).toml();
        toml.replace("[tunnels.t]", &format!("[tunnels.{name}]"))
    };
    let daemon = crate::support::daemon()
        .config(&(table("a") + &table("b")))
        .start();
    for name in ["a", "b"] {
        let failure = crate::ways::blocked(&daemon, name);
        let hint = failure.hint.unwrap();
        let command = |name: &str| {
            let trust = daemon.command_line(&format!("trust {name}"));
            format!("`{trust} --hop {}`", bastion.addr())
        };
        assert!(
            hint.contains(&command("a")) || hint.contains(&command("b")),
            "{hint}"
        );
        if name == "b" {
            trust(&daemon, &hint, &fingerprints(&bastion)[0]);
        }
    }
    daemon.cli(&["restart", "a", "b"]);
    for name in ["a", "b"] {
        daemon.wait_phase(name, Phase::Up, LONG);
    }
}

#[test]
fn a_server_that_stops_answering_has_shown_what_it_has_shown() {
    // What is known is offered, and that there may be more is said.
    let (sshd, _) = unknown();
    let relay = once(sshd.addr());
    let table = Table::new(relay, sshd.user(), sshd.client_key(), &sshd.known_hosts());
    let desk = Desk::new(&table);
    let named = ["--yes", "--fingerprint", &fingerprints(&sshd)[0]];
    let said = desk.ends(&named, 0);
    has(
        &said,
        &[
            "has shown 1 host key\n",
            "it may have more keys: connection refused\n",
        ],
    );
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    // `connect_timeout` is for each connection, and the first one is the last.
    let silent = saying(b"");
    let (sshd, _) = unknown();
    let key = sshd.client_key();
    let table = Table::new(silent.addr(), "anyone", key, &sshd.known_hosts());
    let desk = Desk::new(&table.set("connect_timeout", text("1s")));
    let said = desk.ends(&[], 1);
    has(
        &said,
        &[
            &format!("cannot ask {} for its keys: ", silent.addr()),
            "did not speak SSH within 1s",
        ],
    );
}

#[test]
fn a_daemon_that_waits_for_the_key_is_told_of_once_it_is_there() {
    // The tunnel is blocked until then; the command in the hint brings it up.
    let sshd = Sshd::start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let table = Table::to(&sshd).set("reconnect", NEVER);
    let daemon = table.forward(free_addr(), free_addr()).start();
    daemon.wait_phase("t", Phase::Blocked, LONG);
    let fingerprint = &fingerprints(&sshd)[0];
    let output = daemon.cli(&["trust", "t", "--yes", "--fingerprint", fingerprint]);
    assert!(output.status.success(), "{}", printed(&output));
    has(&printed(&output), &["hint: `tunneld restart t --config /"]);
    daemon.cli(&["restart", "t"]);
    daemon.wait_phase("t", Phase::Up, LONG);
}
