//! The promise: an agent's keys are used, one by one, whatever else it has; and an agent that
//! lies, hangs, or is not there ends in bounded time and memory with its own message.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use russh::keys::PublicKey;
use russh::keys::signature::Verifier;
use russh::keys::ssh_encoding::Decode;
use russh::keys::ssh_key::Signature;
use tempfile::TempDir;
use tunneld_core::failure::Class;
use tunneld_lab::agent::{AgentFault, LabAgent, SecurityKey, SshAgent, wire_string};
use tunneld_lab::keys::{KeyFiles, KeyType, certify, ssh_keygen};

use super::*;

fn key(dir: &TempDir, kind: KeyType, name: &str) -> KeyFiles {
    ssh_keygen(kind, dir.path(), name, "", &[])
}

/// An agent in this process with one Ed25519 key.
fn agent_with_a_key() -> (TempDir, LabAgent, KeyFiles) {
    let dir = tempfile::tempdir().unwrap();
    let agent = LabAgent::start(&dir.path().join("agent.sock"));
    let files = key(&dir, KeyType::Ed25519, "key");
    agent.add(&files);
    (dir, agent, files)
}

async fn dialled(socket: &Path) -> Agent {
    let at = IdentityAgent::Socket(socket.to_owned());
    Agent::connect(&at).await.unwrap()
}

/// What is wrong, without the name of the agent in front.
fn said(socket: &Path, problem: &AgentProblem) -> String {
    let text = problem.to_string();
    let name = format!("agent {}", socket.display());
    text.strip_prefix(&name).unwrap().to_owned()
}

/// Asks an agent with this fault for its keys.
async fn listing(fault: AgentFault) -> String {
    let (_dir, agent, _) = agent_with_a_key();
    agent.set_fault(Some(fault));
    let problem = dialled(agent.socket()).await.keys().await.unwrap_err();
    said(agent.socket(), &problem)
}

/// Has the agent sign with each hash, and checks the signatures with the library.
async fn signs(agent: &mut Agent, key: &AgentKey) {
    let (identity, data) = (key.identity(), b"what is signed".to_vec());
    for hash in [HashAlg::Sha256, HashAlg::Sha512] {
        let signed = agent.sign(&identity, Some(hash), data.clone());
        let signed = signed.await.unwrap();
        let mut rest = signed.strip_prefix(data.as_slice()).unwrap();
        let blob = Vec::<u8>::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        let signature = Signature::try_from(blob.as_slice()).unwrap();
        key.key_data().verify(&data, &signature).unwrap();
        if let Algorithm::Rsa { hash: used } = signature.algorithm() {
            assert_eq!(used, Some(hash));
        }
    }
}

#[tokio::test]
async fn the_real_agent_lists_keys_and_certificates_and_signs_with_each() {
    // RSA with the hash that is asked for; certificates as their own entries.
    let dir = tempfile::tempdir().unwrap();
    let real = SshAgent::start(&dir.path().join("agent.sock"));
    let authority = key(&dir, KeyType::Ed25519, "authority");
    let kinds = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa];
    let mut expected = Vec::new();
    for kind in kinds {
        let files = key(&dir, kind, kind.as_str());
        certify(&authority, &files.public, "id", &["-n", "me"]);
        real.add(&files.private);
        expected.extend([files.fingerprint(), files.fingerprint()]);
    }
    let mut agent = dialled(real.socket()).await;
    let keys = agent.keys().await.unwrap();
    let found: Vec<_> = keys.iter().map(AgentKey::fingerprint).collect();
    assert_eq!(found, expected);
    let names: Vec<_> = keys.iter().map(AgentKey::type_name).collect();
    let expected = [
        "ED25519",
        "ED25519 certificate",
        "ECDSA nistp256",
        "ECDSA nistp256 certificate",
        "RSA",
        "RSA certificate",
    ];
    assert_eq!(names, expected);
    assert_eq!(keys[0].comment(), "ed25519");
    for key in &keys {
        signs(&mut agent, key).await;
    }
}

#[tokio::test]
async fn security_keys_and_their_certificates_are_keys_like_others() {
    // The flags and the counter of the signature stay with it.
    let (dir, lab, _) = agent_with_a_key();
    let authority = key(&dir, KeyType::Ed25519, "authority");
    for kind in [SecurityKey::Ed25519, SecurityKey::Ecdsa] {
        let public = dir.path().join(format!("{kind:?}.pub"));
        fs::write(&public, lab.add_security_key(kind, "ssh:")).unwrap();
        lab.add_certificate(&certify(&authority, &public, "id", &["-n", "me"]));
    }
    let mut agent = dialled(lab.socket()).await;
    let keys = agent.keys().await.unwrap();
    let names: Vec<_> = keys.iter().map(AgentKey::type_name).collect();
    let expected = [
        "ED25519",
        "ED25519-SK",
        "ED25519-SK certificate",
        "ECDSA-SK",
        "ECDSA-SK certificate",
    ];
    assert_eq!(names, expected);
    for key in &keys {
        signs(&mut agent, key).await;
    }
}

#[tokio::test]
async fn what_we_cannot_use_in_the_list_does_not_hide_what_we_can() {
    // Old types, types of the future, damage, and a comment in another encoding.
    let (_dir, lab, files) = agent_with_a_key();
    let line = fs::read_to_string(&files.public).unwrap();
    let good = PublicKey::from_openssh(&line).unwrap().to_bytes().unwrap();
    let typed = |name: &str| [wire_string(name.as_bytes()), vec![0; 40]].concat();
    let nested = b"ssh-ed25519-cert-v01@openssh.com".repeat(1000);
    for (blob, comment) in [
        (typed("ssh-dss"), &b"old"[..]),
        (typed("ssh-mldsa-65@openssh.com"), b"new"),
        (typed("ssh-ed25519-cert-v01@openssh.com"), b"damaged"),
        (wire_string(&nested), b"bottomless"),
        ([good.clone(), vec![0]].concat(), b"too long"),
        (good[..20].to_vec(), b"too short"),
        (Vec::new(), b""),
        (good, b"caf\xe9\n\x1b[31m"),
    ] {
        lab.add_entry(&blob, comment);
    }
    let mut agent = dialled(lab.socket()).await;
    let keys = agent.keys().await.unwrap();
    let shown: Vec<_> = keys.iter().map(ToString::to_string).collect();
    let name = format!("ED25519 {}", files.fingerprint());
    let first = format!("{name} (caf\u{fffd}  [31m)");
    assert_eq!(shown, [first, format!("{name} (a key)")]);
}

#[tokio::test]
async fn an_agent_that_is_not_there_says_so() {
    // Each with the reason, and whether it may come back by itself.
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.sock");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let dead = dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let endless = dir.path().join("x".repeat(200));
    for (path, cause) in [
        (&missing, ": no such file"),
        (&file, ": connection refused"),
        (&dead, ": connection refused"),
        (&endless, ": path must be shorter than SUN_LEN"),
    ] {
        let at = IdentityAgent::Socket(path.clone());
        let problem = Agent::connect(&at).await.err().unwrap();
        assert_eq!(said(path, &problem), cause);
        assert!(problem.is_passing());
        let failure = problem.into_failure();
        assert_eq!(failure.class, Class::Transient);
        let hint = "start the agent (ssh-agent -a PATH), or correct identity_agent";
        assert_eq!(failure.hint.unwrap(), hint);
    }
}

#[test]
fn a_variable_names_the_socket_or_is_not_set() {
    // Empty is not set, as for ssh.
    let at = IdentityAgent::Variable("SSH_AUTH_SOCK".to_owned());
    let set =
        |value: &'static str| move |name: &str| (name == "SSH_AUTH_SOCK").then(|| value.into());
    assert_eq!(socket(&at, set("/run/a")).unwrap(), Path::new("/run/a"));
    for value in [socket(&at, set("")), socket(&at, |_| None)] {
        let problem = value.unwrap_err();
        assert_eq!(problem.to_string(), "agent $SSH_AUTH_SOCK is not set");
        assert!(!problem.is_passing());
        assert!(problem.hint().unwrap().contains("identity_agent"));
    }
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_given_up() {
    // After five seconds in all, of which the list has the same to say; a signature may wait for a
    // person.
    let (_dir, lab, _) = agent_with_a_key();
    lab.set_fault(Some(AgentFault::NeverAnswer));
    let begun = tokio::time::Instant::now();
    let mut agent = dialled(lab.socket()).await;
    agent.announce(&frames::bind(b"key", b"id", b"sig")).await;
    let problem = agent.keys().await.unwrap_err();
    assert_eq!(said(lab.socket(), &problem), ": no answer within 5s");
    assert!(begun.elapsed() < PATIENCE * 2);
}

#[tokio::test]
async fn an_agent_that_lies_is_told_from_one_that_is_gone() {
    // Nothing is waited for, and nothing is kept that its lengths ask for.
    let frame = |body: &[u8]| AgentFault::Answer(wire_string(body));
    let long = |len: u32| AgentFault::Answer(len.to_be_bytes().to_vec());
    for (fault, cause) in [
        (long(300_000), ": sent a frame of 300000 bytes"),
        (long(u32::MAX), ": sent a frame of 4294967295 bytes"),
        (long(0), ": sent an empty frame"),
        (
            AgentFault::Answer(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
            ": sent a frame of 1213486160 bytes",
        ),
        (frame(&[6]), ": answered with message 6"),
        (frame(&[12, 0, 0]), ": sent a damaged answer"),
        (frame(&[12, 0, 0, 0, 1]), ": sent a damaged answer"),
        (
            frame(&[12, 0, 0, 0, 1, 255, 255, 255, 255]),
            ": sent a damaged answer",
        ),
        (
            frame(&[12, 255, 255, 255, 255]),
            ": says that it has 4294967295 keys",
        ),
        (frame(&[5]), " does not say which keys it has"),
        (frame(&[102]), " does not say which keys it has"),
        (
            AgentFault::AnswerAndHangUp(vec![0, 0, 0, 9, 12, 0]),
            ": closed the connection",
        ),
        (AgentFault::HangUp, ": closed the connection"),
    ] {
        assert_eq!(listing(fault).await, cause);
    }
}

#[tokio::test]
async fn a_locked_agent_has_no_keys_and_signs_nothing() {
    // As the real one does it: ssh-add -x.
    let dir = tempfile::tempdir().unwrap();
    let real = SshAgent::start(&dir.path().join("agent.sock"));
    let files = key(&dir, KeyType::Ed25519, "key");
    real.add(&files.private);
    let mut agent = dialled(real.socket()).await;
    let keys = agent.keys().await.unwrap();
    real.lock("secret");
    assert!(agent.keys().await.unwrap().is_empty());
    let nothing = agent.shows_nothing();
    assert_eq!(said(real.socket(), &nothing), " shows no key");
    assert!(nothing.hint().unwrap().contains("ssh-add -X"));
    assert_eq!(nothing.into_failure().class, Class::Blocked);
    let refused = agent.sign(&keys[0].identity(), None, Vec::new()).await;
    let problem = refused.unwrap_err();
    let cause = format!(" refused to sign with {}", files.fingerprint());
    assert_eq!(said(real.socket(), &problem), cause);
    assert!(problem.hint().unwrap().contains("ssh-add -X"));
    assert_eq!(problem.into_failure().class, Class::Blocked);
    real.unlock("secret");
    assert_eq!(agent.keys().await.unwrap().len(), 1);
    signs(&mut agent, &keys[0]).await;
}

#[tokio::test]
async fn an_rsa_signature_of_another_kind_than_asked_is_not_sent() {
    // Agents that know nothing of SHA-2 ignore the flags; servers would call the key rejected.
    let dir = tempfile::tempdir().unwrap();
    let lab = LabAgent::start(&dir.path().join("agent.sock"));
    let files = key(&dir, KeyType::Rsa, "key");
    lab.add(&files);
    let mut agent = dialled(lab.socket()).await;
    let keys = agent.keys().await.unwrap();
    lab.set_fault(Some(AgentFault::IgnoreFlags));
    let identity = keys[0].identity();
    let refused = agent.sign(&identity, Some(HashAlg::Sha512), Vec::new());
    let problem = refused.await.unwrap_err();
    let key = files.fingerprint();
    let cause = format!(" signed with {key} as ssh-rsa, not as rsa-sha2-512");
    assert_eq!(said(lab.socket(), &problem), cause);
    assert!(!problem.is_passing());
    lab.set_fault(None);
    // Without a hash it is never SHA-1.
    agent.sign(&identity, None, Vec::new()).await.unwrap();
    let flags: Vec<_> = lab.asked().signatures.iter().map(|(_, f)| *f).collect();
    assert_eq!(flags, [4, 4]);
}

#[tokio::test]
async fn an_agent_without_the_extension_is_asked_for_its_keys_all_the_same() {
    // Whether it says no, or hangs up.
    let (_dir, lab, _) = agent_with_a_key();
    for fault in [None, Some(AgentFault::HangUpAtExtensions)] {
        lab.set_fault(fault);
        let mut agent = dialled(lab.socket()).await;
        agent.announce(&frames::bind(b"key", b"id", b"sig")).await;
        assert_eq!(agent.keys().await.unwrap().len(), 1);
    }
    assert_eq!(lab.asked().extensions, ["session-bind@openssh.com"]);
    assert_eq!(lab.accepted(), 3);
}

#[tokio::test]
async fn an_answer_that_was_not_waited_for_is_never_taken_for_another() {
    // A request that is dropped half way takes its connection with it.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut agent = dialled(&path).await;
    let (mut server, _) = listener.accept().unwrap();
    let identity = AgentIdentity::from(PublicKey::from_openssh(ED25519).unwrap());
    let signing = agent.sign(&identity, None, b"data".to_vec());
    assert!(timeout(Duration::from_millis(50), signing).await.is_err());
    let mut request = [0; 5];
    server.read_exact(&mut request).unwrap();
    let _ = server.write_all(&wire_string(&[12, 0, 0, 0, 0]));
    let problem = agent.keys().await.unwrap_err();
    assert_eq!(said(&path, &problem), ": closed the connection");
}

#[test]
fn an_agent_of_another_user_that_hangs_up_is_no_matter_of_time() {
    // ssh-agent answers its own user and root alone.
    assert_eq!(closed_by(Some(1000), 0), AgentProblemKind::Closed);
    assert_eq!(closed_by(Some(1000), 1000), AgentProblemKind::Closed);
    assert_eq!(closed_by(None, 1000), AgentProblemKind::Closed);
    let problem = AgentProblem {
        agent: "/a".to_owned(),
        kind: closed_by(Some(0), 1000),
    };
    let failure = problem.into_failure();
    let cause = "agent /a: closed the connection, and is that of another user (uid 0)";
    assert_eq!(failure.cause, cause);
    let hint = "start one as the user that tunneld runs as: an agent answers nobody else";
    assert_eq!(failure.hint.as_deref(), Some(hint));
    assert_eq!(failure.class, Class::Blocked);
}

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzcL39mdb+rOwuTiA/3kaLSGNpAhpNQFzZC4dOcQhZ9";
