//! `tunneld trust`: a host's keys are shown as ssh-keygen shows them, and written down only when
//! somebody who knows them has agreed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::process::{prefixed, printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;
use tunneld_lab::terminal::Terminal;

use crate::relay::{once, saying};
use crate::support::{LONG, NEVER, Table, text};
use crate::ways::logins;

const ALL: [KeyType; 3] = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];

/// What the question ends in.
const QUESTION: &str = "[y/N/fingerprint] ";

/// A file with a tunnel `t`, and `tunneld trust` for it.
pub(crate) struct Desk {
    config: PathBuf,
    prefix: Vec<String>,
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
fn unknown() -> (Sshd, Desk) {
    let sshd = Sshd::builder().host_keys(&ALL).start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let desk = Desk::new(&Table::to(&sshd));
    (sshd, desk)
}

fn known(sshd: &Sshd) -> String {
    fs::read_to_string(sshd.known_hosts()).unwrap()
}

fn fingerprints(sshd: &Sshd) -> Vec<String> {
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
fn every_key_is_shown_as_ssh_keygen_shows_it_and_written_once_somebody_agrees() {
    // The same lines and pictures; the file is then what a tunnel needs; nobody has logged in, and
    // nothing was asked more often than there is an answer.
    let (sshd, desk) = unknown();
    let (code, screen) = desk.answered(&[], "y");
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
            &format!("Add these 3 keys to {file}? {QUESTION}y\n"),
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
    has(&said, &["`host_key_algorithms` allows only certificates"]);
    let met = sshd.log().matches("Connection from").count();
    assert_eq!(met, 1, "{}", sshd.log());
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
    let (code, screen) = desk.answered(&[], "yes");
    assert_eq!(code, Some(0), "{screen}");
    has(&screen, &["Add these 2 keys", ": ED25519, RSA\n"]);
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
            "`tunneld trust t --yes --fingerprint SHA256:…`",
        ],
    );
    assert_eq!(known(&sshd), "");
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
    has(&desk.ends(&named, 0), &[": RSA\n"]);
    let lines = sshd.known_hosts_lines();
    assert_eq!(known(&sshd).trim_end(), lines.lines().nth(2).unwrap());
    has(&desk.ends(&named, 0), &["nothing to add"]);
    // Also when the host is known already.
    desk.ends(&["--yes", "--fingerprint", wrong], 1);
    assert_eq!(known(&sshd).lines().count(), 1);
}

#[test]
fn a_key_that_has_changed_keeps_every_other_one_out_until_its_line_is_gone() {
    // Whoever shows a wrong key is not to be believed about the others; the hint works.
    let mut sshd = Sshd::start();
    let lines = sshd.known_hosts_lines();
    let old = fingerprints(&sshd);
    sshd.restart_with_new_host_key();
    let new = fingerprints(&sshd);
    let desk = Desk::new(&Table::to(&sshd));
    let named = ["--yes", "--fingerprint", &new[0]];
    for arguments in [&[][..], &named] {
        let said = desk.ends(arguments, 1);
        let place = format!("{}:1 has {}", sshd.known_hosts().display(), old[0]);
        has(&said, &["REFUSED: host key changed: ", &new[0], &place]);
        assert_eq!(known(&sshd), lines);
    }
    let said = desk.ends(&[], 1);
    let (_, hint) = said.split_once("ssh-keygen -R ").unwrap();
    let remove = format!("ssh-keygen -R {}", hint.split(',').next().unwrap());
    run(Command::new("sh").args(["-c", &remove]));
    desk.ends(&named, 0);
    assert_eq!(known(&sshd), sshd.known_hosts_lines());
}

#[test]
fn a_host_with_an_alias_is_known_by_that_alone() {
    // Looked up and written without the port, as ssh does; the tunnel then finds it.
    let (sshd, _) = unknown();
    let table = Table::to(&sshd).set("host_key_alias", text("Alias.test"));
    let (code, screen) = Desk::new(&table).answered(&[], "y");
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
fn a_revoked_key_is_refused() {
    // Also where nothing else is known of the host.
    let sshd = Sshd::start();
    fs::write(
        sshd.known_hosts(),
        format!("@revoked {}", sshd.known_hosts_lines()),
    )
    .unwrap();
    let desk = Desk::new(&Table::to(&sshd));
    let said = desk.ends(&["--yes", "--fingerprint", &fingerprints(&sshd)[0]], 1);
    has(&said, &["REFUSED: host key revoked: ", "nothing was added"]);
    assert_eq!(known(&sshd).lines().count(), 1);
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
fn hashed_names_are_the_hosts_own() {
    // What `ssh-keygen -H` makes.
    let sshd = Sshd::start();
    let file = sshd.known_hosts();
    run(Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file));
    let said = Desk::new(&Table::to(&sshd)).ends(&[], 0);
    has(
        &said,
        &[&format!("already trusted: {}:1\n", file.display())],
    );
}

#[test]
fn what_only_root_trusts_is_new_and_what_only_root_has_revoked_is_refused() {
    // A file in root's home is not the daemon's; but it is a warning.
    let sshd = Sshd::start();
    let home = sshd.dir().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    let mut desk = Desk::new(&Table::to(&sshd).set("known_hosts", "UNSET"));
    let toml = fs::read_to_string(&desk.config).unwrap();
    fs::write(&desk.config, toml.replace("known_hosts = UNSET\n", "")).unwrap();
    desk.prefix = vec!["env".to_owned(), format!("HOME={}", home.display())];
    let lines = sshd.known_hosts_lines();
    fs::write(home.join(".ssh/known_hosts"), &lines).unwrap();
    has(&desk.ends(&[], 1), &["\nnew\n"]);
    fs::write(home.join(".ssh/known_hosts"), format!("@revoked {lines}")).unwrap();
    has(&desk.ends(&[], 1), &["REFUSED: host key revoked: "]);
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
    let first = format!("`tunneld trust t --hop {}` first", bastion.host());
    has(
        &said,
        &[
            &format!("jump host {}: unknown host", bastion.addr()),
            &first,
        ],
    );
    logins(&bastion, 0);
    let at = bastion.addr().to_string();
    for hop in [bastion.host(), at] {
        let arguments = ["--hop", &hop, "--yes", "--fingerprint"];
        let fingerprint = &fingerprints(&bastion)[0];
        desk.ends(&[&arguments[..], &[fingerprint]].concat(), 0);
        assert_eq!(known(&bastion), bastion.known_hosts_lines());
    }
    let (code, screen) = desk.answered(&[], "y");
    assert_eq!(code, Some(0), "{screen}");
    has(&screen, &["SSHFP: not asked"]);
    assert_eq!(known(&sshd), sshd.known_hosts_lines());
    logins(&bastion, 1);
    logins(&sshd, 0);
    // Nobody is learnt on the way, whatever the file says.
    fs::write(bastion.known_hosts(), "").unwrap();
    let table = Table::to(&sshd).over(&[&bastion]);
    let desk = Desk::new(&table.set("strict_host_key_checking", text("accept-new")));
    has(&desk.ends(&[], 1), &[&first]);
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
fn a_new_file_can_be_read_by_the_daemon_and_belongs_to_whom_the_folder_belongs_to() {
    // Root makes it, under whatever umask, for a user that is not root; an old one stays as it is.
    let (sshd, _) = unknown();
    let folder = sshd.dir().join("state");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(60_000), Some(60_001)).unwrap();
    let file = folder.join("known_hosts");
    let table = Table::to(&sshd).set("known_hosts", text(file.display()));
    let strict = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""].map(str::to_owned);
    let desk = Desk::new(&table).below(&strict);
    let all = fingerprints(&sshd);
    desk.ends(&["--yes", "--fingerprint", &all[0]], 0);
    let is = |path: &Path| {
        let is = fs::metadata(path).unwrap();
        (is.uid(), is.gid(), is.mode() & 0o777)
    };
    assert_eq!(is(&file), (60_000, 60_001, 0o644));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
    desk.ends(&["--yes", "--fingerprint", &all[1]], 0);
    assert_eq!(is(&file), (0, 0, 0o600));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[test]
fn a_file_that_cannot_be_written_is_told_with_who_can() {
    // Whoever is not root is told to be; a folder that is not there is told of.
    let (sshd, _) = unknown();
    let file = sshd.dir().join("known_hosts");
    fs::set_permissions(sshd.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let all = fingerprints(&sshd);
    let named = ["--yes", "--fingerprint", &all[0]];
    // With a way to the program, wherever that is.
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ];
    let desk = Desk::new(&Table::to(&sshd)).below(&nobody.map(str::to_owned));
    let said = desk.ends(&named, 1);
    let shown = file.display();
    has(
        &said,
        &[
            &format!("to {shown}: permission denied; nothing was added"),
            "`sudo tunneld trust t`",
        ],
    );
    let away = text(sshd.dir().join("away/known_hosts").display());
    let desk = Desk::new(&Table::to(&sshd).set("known_hosts", away));
    has(
        &desk.ends(&named, 1),
        &["no such file or directory", "make its folder"],
    );
}

#[test]
fn a_known_hosts_file_that_is_broken_is_told_before_anybody_is_asked() {
    // With its line: it may be the one that revokes a key.
    let (sshd, desk) = unknown();
    fs::write(sshd.known_hosts(), "host ssh-ed25519 nonsense\n").unwrap();
    let said = desk.ends(&[], 1);
    has(
        &said,
        &[
            &format!("{}:1: ", sshd.known_hosts().display()),
            "mend the line",
        ],
    );
    assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
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
    has(&printed(&output), &["hint: `tunneld restart t`"]);
    daemon.cli(&["restart", "t"]);
    daemon.wait_phase("t", Phase::Up, LONG);
}
