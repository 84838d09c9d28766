//! The server's key: what is not the host's own is refused, and what to do about it is said.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::KeyType;
use tunneld_lab::process::{Signal, printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, is_reset};

use crate::support::{
    Broken, LONG, NEVER, Table, carried, daemon, ending, exchange, fails, text, up,
};

/// Waits until the tunnel is blocked over the host's key.
fn blocked(daemon: &Daemon) -> Failure {
    let failure = daemon
        .wait_phase("t", Phase::Blocked, LONG)
        .failure
        .unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::HostKey, Class::Blocked),
        "{failure:?}"
    );
    failure
}

/// Runs a command that the tunnel said, as a person would.
fn obey(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", printed(&output));
}

/// Runs the command of a hint that has the key trusted, as a person would who knows its fingerprint.
#[track_caller]
pub(crate) fn trust(daemon: &Daemon, hint: &str, fingerprint: &str) {
    let (_, command) = hint.split_once("`tunneld ").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    let line = format!("tunneld {command} --yes --fingerprint {fingerprint}");
    let output = daemon.typed(&line);
    assert!(output.status.success(), "{line}: {}", printed(&output));
}

#[test]
fn a_host_key_that_changes_under_a_running_tunnel_blocks_the_next_session_only() {
    // The session goes on until it ends; then the key is refused, and trusted once the file is
    // corrected.
    let broken = Broken::new(None);
    let daemon = broken.table.clone().up();
    let mut client = carried(broken.listen);
    broken.server.change_host_key();
    exchange(&mut client, b"the old session goes on");
    echoes(broken.listen).unwrap();
    assert_eq!(daemon.tunnel("t").phase, Phase::Up);
    broken.server.drop_connections();
    let failure = blocked(&daemon);
    assert!(
        failure.cause.starts_with("host key changed: "),
        "{failure:?}"
    );
    let error = ending(&mut client).unwrap_err();
    assert!(is_reset(&error), "{error}");
    fs::write(&broken.known_hosts, broken.server.host_key_line()).unwrap();
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
    echoes(broken.listen).unwrap();
}

#[test]
fn a_changed_host_key_is_told_with_both_fingerprints_the_line_and_commands_that_work() {
    // What a person reads is enough to act, and the commands do what they say.
    let mut sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let other = "# a comment\nother.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2+B12iGc6ubL7kTXfWFrGjLkrkOWTGmgAqcVNlvv3z\n";
    let text = format!("{other}{}", sshd.known_hosts_lines());
    fs::write(sshd.known_hosts(), text).unwrap();
    let old = sshd.host_keys()[0].fingerprint();
    let table = Table::to(&sshd).set("reconnect", NEVER);
    let daemon = table.forward(listen, echo.addr()).up();
    sshd.restart_with_new_host_key();
    // The end of the session was not the key's fault: the attempt after it is.
    daemon.wait_phase("t", Phase::Waiting, LONG);
    daemon.signal(Signal::USR1);
    let failure = blocked(&daemon);
    let new = sshd.host_keys()[0].fingerprint();
    let file = sshd.known_hosts().display().to_string();
    let place = format!("{file}:3");
    for part in [&old, &new, &place, &sshd.addr().to_string()] {
        assert!(failure.cause.contains(part.as_str()), "{part}: {failure:?}");
    }
    let hint = failure.hint.clone().unwrap();
    let remove = format!(
        "ssh-keygen -R '[{}]:{}' -f {file}",
        sshd.host(),
        sshd.port()
    );
    let then = format!("{remove}, then `{}`", daemon.command_line("trust t"));
    assert!(hint.contains(&then), "{hint}");
    let log = daemon.wait_for_log("tunnel blocked", LONG);
    assert!(
        log.contains(&old) && log.contains(&new) && log.contains(&remove),
        "{log}"
    );
    obey(&remove);
    trust(&daemon, &hint, &new);
    assert!(fs::read_to_string(&file).unwrap().starts_with(other));
    let output = daemon.cli(&["restart", "t"]);
    assert!(output.status.success(), "{}", printed(&output));
    up(&daemon, "t");
    echoes(listen).unwrap();
}

#[test]
fn an_unknown_host_is_refused_with_its_fingerprint_and_a_command_that_works() {
    // Another failure than a changed key.
    let sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    fs::write(sshd.known_hosts(), "").unwrap();
    let daemon = Table::to(&sshd).forward(listen, echo.addr()).start();
    let failure = blocked(&daemon);
    let start = format!("unknown host {}: it offers ED25519 SHA256:", sshd.addr());
    assert!(failure.cause.starts_with(&start), "{failure:?}");
    let fingerprint = sshd.host_keys()[0].fingerprint();
    assert!(failure.cause.contains(&fingerprint), "{failure:?}");
    let hint = failure.hint.unwrap();
    trust(&daemon, &hint, &fingerprint);
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
    echoes(listen).unwrap();
}

#[test]
fn a_revoked_key_is_refused_although_a_plain_line_trusts_it() {
    // Fail closed.
    let sshd = Sshd::start();
    let lines = sshd.known_hosts_lines();
    fs::write(sshd.known_hosts(), format!("{lines}@revoked {lines}")).unwrap();
    let daemon = Table::to(&sshd).forward(free_addr(), free_addr()).start();
    let failure = blocked(&daemon);
    let place = format!("{}:2", sshd.known_hosts().display());
    assert!(
        failure.cause.starts_with("host key revoked: "),
        "{failure:?}"
    );
    assert!(failure.cause.contains(&place), "{failure:?}");
}

#[test]
fn a_pinned_key_needs_no_known_hosts_and_another_one_is_refused() {
    // Pins decide alone.
    let sshd = Sshd::start();
    let pin = sshd.host_keys()[0].fingerprint();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd)
        .set("known_hosts", "[]")
        .forward(listen, echo.addr());
    let _daemon = table.clone().set("host_key_fingerprint", text(&pin)).up();
    echoes(listen).unwrap();

    let wrong = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let table = Table::to(&sshd).set("host_key_fingerprint", text(wrong));
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = blocked(&daemon);
    assert!(
        failure.cause.starts_with("host key not pinned: "),
        "{failure:?}"
    );
    assert!(
        failure.cause.contains(&pin) && failure.cause.contains(wrong),
        "{failure:?}"
    );
}

#[test]
fn accept_new_learns_a_host_once_and_refuses_another_key_afterwards() {
    // The second start trusts what the first has written, also under `yes`; a change is refused.
    let mut sshd = Sshd::start();
    let known_hosts = sshd.dir().join("learned");
    let accept = |policy: &str| {
        Table::to(&sshd)
            .set("known_hosts", text(known_hosts.display()))
            .set("strict_host_key_checking", text(policy))
            .forward(free_addr(), free_addr())
    };
    let (new, yes) = (accept("accept-new"), accept("yes"));
    drop(new.up());
    assert_eq!(
        fs::read_to_string(&known_hosts).unwrap(),
        sshd.known_hosts_lines()
    );
    drop(yes.up());
    drop(new.up());
    assert_eq!(
        fs::read_to_string(&known_hosts).unwrap(),
        sshd.known_hosts_lines()
    );
    sshd.restart_with_new_host_key();
    let daemon = new.start();
    assert!(blocked(&daemon).cause.starts_with("host key changed: "));
}

#[test]
fn hashed_names_and_patterns_are_understood() {
    // What `ssh-keygen -H` makes, and a wildcard.
    let sshd = Sshd::start();
    let file = sshd.known_hosts();
    run(Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file));
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    drop(table.up());
    let key = sshd.host_keys()[0].public_line();
    fs::write(&file, format!("[127.*]:{}\t{key}\n", sshd.port())).unwrap();
    drop(table.up());
}

#[test]
fn each_type_of_host_key_is_accepted() {
    // Ed25519, ECDSA and RSA; and of several keys the one that is known is asked for.
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        let sshd = Sshd::builder().host_keys(&[kind]).start();
        Table::to(&sshd).forward(free_addr(), free_addr()).up();
    }
    let all = [KeyType::Rsa, KeyType::Ecdsa, KeyType::Ed25519];
    let sshd = Sshd::builder().host_keys(&all).start();
    let lines = sshd.known_hosts_lines();
    for line in lines.lines() {
        fs::write(sshd.known_hosts(), format!("{line}\n")).unwrap();
        Table::to(&sshd).forward(free_addr(), free_addr()).up();
    }
}

#[test]
fn a_server_that_can_only_sign_with_sha1_is_told_apart_with_what_to_do_there() {
    let sshd = Sshd::builder()
        .host_keys(&[KeyType::Rsa])
        .config("HostKeyAlgorithms ssh-rsa")
        .start();
    let daemon = Table::to(&sshd).forward(free_addr(), free_addr()).start();
    let status = daemon.wait_phase("t", Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(failure.stage, Stage::KeyExchange);
    assert_eq!(
        failure.cause,
        "no common host key type; the server offers only ssh-rsa, which signs with SHA-1"
    );
    let hint = failure.hint.unwrap();
    assert!(
        hint.starts_with("on the server: `ssh-keygen -A` makes an Ed25519 key for it, "),
        "{hint}"
    );
}

#[test]
fn a_blocked_tunnel_recovers_without_anybody_once_the_file_is_corrected() {
    // It is retried at the ceiling, and files are read afresh at every attempt.
    let sshd = Sshd::start();
    fs::write(sshd.known_hosts(), "").unwrap();
    let listen: SocketAddr = free_addr();
    let table = Table::to(&sshd).forward(listen, free_addr());
    let daemon = daemon().config(&table.toml()).start();
    fails(&daemon, "t", "unknown host");
    sshd.trust_current_host_keys();
    up(&daemon, "t");
}
