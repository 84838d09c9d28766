//! Agents: every key and certificate that one has gets in where the server knows it, whatever else
//! the agent has or does.

use std::fs;
use std::path::Path;

use tunneld_core::failure::Class;
use tunneld_core::status::Phase;
use tunneld_lab::agent::{AgentFault, LabAgent, SecurityKey, SshAgent};
use tunneld_lab::keys::{KeyFiles, KeyType, certify, generate, ssh_keygen};
use tunneld_lab::process::Signal;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, daemon, fails, text, up};

/// A tunnel to the server with this agent, and with a key file that the server does not know.
fn table(sshd: &Sshd, agent: impl std::fmt::Display) -> Table {
    let wrong = sshd.dir().join("wrong");
    if !wrong.exists() {
        generate(sshd.dir(), "wrong");
    }
    Table::to(sshd)
        .set("identity_file", text(wrong.display()))
        .set("identity_agent", text(agent))
        .forward(free_addr(), free_addr())
}

fn agent(sshd: &Sshd) -> LabAgent {
    LabAgent::start(&sshd.dir().join("agent.sock"))
}

fn key(dir: &Path, kind: KeyType, name: &str) -> KeyFiles {
    ssh_keygen(kind, dir, name, "", &[])
}

/// Connects with `agent`, and waits for the server to say that it accepted this.
fn gets_in_as(sshd: &Sshd, agent: &Path, what: &str) {
    let _daemon = table(sshd, agent.display()).up();
    sshd.wait_for_log(&format!("ssh2: {what}"), LONG);
}

#[test]
fn the_real_agents_keys_get_in() {
    // RSA with SHA-2, as this server takes no other.
    let sshd = Sshd::start();
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        let name = kind.as_str();
        let agent = SshAgent::start(&sshd.dir().join(format!("{name}.sock")));
        let files = key(sshd.dir(), kind, name);
        agent.add(&files.private);
        sshd.authorize(&files.public_line());
        let what = format!("{} {}", name.to_uppercase(), files.fingerprint());
        gets_in_as(&sshd, agent.socket(), &what);
    }
}

#[test]
fn an_agent_alone_gets_in_where_no_key_file_is_to_be_used() {
    // IdentityFile none of ssh_config(5).
    let sshd = Sshd::start();
    let agent = SshAgent::start(&sshd.dir().join("agent.sock"));
    agent.add(sshd.client_key());
    let table = table(&sshd, agent.socket().display());
    let _daemon = table.set("identity_file", text("none")).up();
}

#[test]
fn the_real_agents_certificates_get_in() {
    // The server knows the authority alone, and no key.
    let authority = tempfile::tempdir().unwrap();
    let authority = generate(authority.path(), "authority");
    let sshd = knowing(&authority);
    for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
        let name = kind.as_str();
        let agent = SshAgent::start(&sshd.dir().join(format!("{name}.sock")));
        let files = key(sshd.dir(), kind, name);
        certify(&authority, &files.public, "id", &["-n", sshd.user()]);
        agent.add(&files.private);
        let what = format!("{}-CERT {}", name.to_uppercase(), files.fingerprint());
        gets_in_as(&sshd, agent.socket(), &what);
    }
}

/// A server that lets in whom this authority has signed, and nobody else.
fn knowing(authority: &KeyFiles) -> Sshd {
    let line = format!("TrustedUserCAKeys {}", authority.public.display());
    let sshd = Sshd::builder().config(&line).start();
    sshd.authorize_nobody();
    sshd
}

#[test]
fn security_keys_get_in_and_so_do_their_certificates() {
    // What a touched key signs reaches the server as it is, with its flags and its counter.
    let dir = tempfile::tempdir().unwrap();
    let authority = generate(dir.path(), "authority");
    for (kind, name) in [
        (SecurityKey::Ed25519, "ED25519-SK"),
        (SecurityKey::Ecdsa, "ECDSA-SK"),
    ] {
        let sshd = knowing(&authority);
        let agent = agent(&sshd);
        let line = agent.add_security_key(kind, "ssh:");
        let public = sshd.dir().join("sk.pub");
        fs::write(&public, &line).unwrap();
        sshd.authorize(&line);
        gets_in_as(&sshd, agent.socket(), &format!("{name} SHA256:"));
        sshd.authorize_nobody();
        agent.add_certificate(&certify(&authority, &public, "id", &["-n", sshd.user()]));
        gets_in_as(&sshd, agent.socket(), &format!("{name}-CERT SHA256:"));
    }
}

#[test]
fn a_key_for_certain_servers_only_is_used_for_those() {
    // `ssh-add -h`: the agent is told which server it is, and has the server's word for it.
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let agent = SshAgent::start(&sshd.dir().join("agent.sock"));
    let files = key(sshd.dir(), KeyType::Ed25519, "bound");
    for sshd in [&sshd, &other] {
        sshd.authorize(&files.public_line());
    }
    let known = sshd.known_hosts().display().to_string();
    let name = format!("[{}]:{}", sshd.host(), sshd.port());
    let private = files.private.display().to_string();
    agent.ssh_add(&["-H", &known, "-h", &name, &private]);
    gets_in_as(&sshd, agent.socket(), "ED25519 SHA256:");
    let daemon = table(&other, agent.socket().display()).start();
    daemon.wait_phase("t", Phase::Blocked, LONG);
    assert_eq!(other.connections_authenticated(), 0);
}

#[test]
fn an_agent_that_is_named_by_a_variable_is_found() {
    // SSH_AUTH_SOCK of tunneld, as ssh reads it; and where it is not set, that is the cause.
    let sshd = Sshd::start();
    let agent = agent(&sshd);
    agent.add(sshd.client_key_files());
    let toml = table(&sshd, "SSH_AUTH_SOCK").toml();
    let socket = agent.socket().display().to_string();
    let with = daemon().config(&toml).env("SSH_AUTH_SOCK", &socket).start();
    up(&with, "t");
    let without = daemon().config(&toml).env("SSH_AUTH_SOCK", "").start();
    let failure = fails(&without, "t", "agent $SSH_AUTH_SOCK is not set");
    assert_eq!(failure.class, Class::Blocked);
}

#[test]
fn an_agent_is_dialled_afresh_at_each_attempt() {
    // One that was not there yet, and was restarted since.
    let sshd = Sshd::start();
    let socket = sshd.dir().join("agent.sock");
    let daemon = table(&sshd, socket.display()).start();
    fails(&daemon, "t", "no such file");
    let first = LabAgent::start(&socket);
    first.add(sshd.client_key_files());
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
    drop(first);
    fs::remove_file(&socket).unwrap();
    let second = LabAgent::start(&socket);
    second.add(sshd.client_key_files());
    sshd.kill_sessions();
    daemon.wait_for("t", LONG, |t| t.phase == Phase::Up && t.sessions == 2);
    assert_eq!(second.asked().signatures.len(), 1);
}

#[test]
fn an_agent_that_does_not_answer_does_not_hold_key_files_up() {
    // Five seconds, and the file's key is tried.
    let sshd = Sshd::start();
    let agent = agent(&sshd);
    agent.set_fault(Some(AgentFault::NeverAnswer));
    let key = text(sshd.client_key().display());
    table(&sshd, agent.socket().display())
        .set("identity_file", key)
        .up();
}

#[test]
fn an_agent_that_breaks_does_not_hold_key_files_up() {
    // Whatever it says or does instead of an answer, or of a signature.
    let sshd = Sshd::start();
    let agent = agent(&sshd);
    let wanted = generate(sshd.dir(), "wanted");
    agent.add(&wanted);
    sshd.authorize(&wanted.public_line());
    let key = text(sshd.client_key().display());
    for fault in [
        AgentFault::HangUp,
        AgentFault::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        AgentFault::Answer(vec![0, 0, 0, 5, 12, 255, 255, 255, 255]),
        AgentFault::AnswerAndHangUp(vec![0, 0, 0, 9, 12]),
        AgentFault::RefuseToSign,
        AgentFault::SignWithAnotherKey,
        AgentFault::HangUpAtExtensions,
    ] {
        agent.set_fault(Some(fault));
        let table = table(&sshd, agent.socket().display());
        table.set("identity_file", &key).up();
    }
}

#[test]
fn a_locked_agent_gets_in_once_it_is_unlocked() {
    // It shows no keys: the tunnel is blocked, and tried again.
    let sshd = Sshd::start();
    let agent = SshAgent::start(&sshd.dir().join("agent.sock"));
    agent.add(sshd.client_key());
    agent.lock("secret");
    let table = table(&sshd, agent.socket().display());
    let daemon = table.set("reconnect", NEVER).start();
    let failure = fails(&daemon, "t", "; not tried: agent ");
    let shows = format!("agent {} shows no key", agent.socket().display());
    assert!(failure.cause.ends_with(&shows), "{failure:?}");
    let add = format!("SSH_AUTH_SOCK={} ssh-add", agent.socket().display());
    let hint = format!("add one: {add} KEY; or unlock the agent: {add} -X; ");
    assert!(failure.hint.unwrap().starts_with(&hint));
    assert_eq!(failure.class, Class::Blocked);
    agent.unlock("secret");
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}

#[test]
fn a_security_key_that_nobody_touches_ends_with_the_attempt() {
    // The agent may wait for a person, and the tunnel for no more than connect_timeout.
    let sshd = Sshd::start();
    let agent = agent(&sshd);
    sshd.authorize(&agent.add_security_key(SecurityKey::Ed25519, "ssh:"));
    agent.set_fault(Some(AgentFault::NeverSign));
    let table = table(&sshd, agent.socket().display());
    let table = table.set("connect_timeout", text("5s"));
    let daemon = table.set("reconnect", NEVER).start();
    fails(&daemon, "t", "authentication not finished within 5s");
    agent.set_fault(None);
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}
