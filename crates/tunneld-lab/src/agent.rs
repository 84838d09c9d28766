//! Agents: one in this process, with security keys in software and faults, and the real `ssh-agent`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::Decode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PrivateKey, PublicKey};

use crate::keys::KeyFiles;
use crate::unix::UnixServer;

mod program;

pub use program::SshAgent;

/// What is wrong with a [`LabAgent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentFault {
    /// Takes every request and never answers.
    NeverAnswer,
    /// As that, for requests to sign alone: nobody touches the security key.
    NeverSign,
    /// Hangs up at every request.
    HangUp,
    /// Hangs up at extensions, as some agents do that do not know them.
    HangUpAtExtensions,
    /// Answers every request with these bytes, as they are, and stays connected.
    Answer(Vec<u8>),
    /// As that, and hangs up then.
    AnswerAndHangUp(Vec<u8>),
    /// Refuses to sign.
    RefuseToSign,
    /// Signs with a key of its own, which is no key that it lists.
    SignWithAnotherKey,
    /// Ignores the flags of a request and signs with RSA keys as `ssh-rsa`, with SHA-1 in name.
    IgnoreFlags,
}

/// The types of security key that a [`LabAgent`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityKey {
    /// `sk-ssh-ed25519@openssh.com`.
    Ed25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`.
    Ecdsa,
}

/// An agent in this process. Dropped, it stops listening and leaves its file.
pub struct LabAgent {
    server: UnixServer,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    keys: Mutex<Vec<Held>>,
    fault: Mutex<Option<AgentFault>>,
    asked: Mutex<Asked>,
}

/// What an agent was asked for since its start.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// How often for its list.
    pub lists: usize,
    /// `SHA256:…` of the key of each request to sign, and the flags.
    pub signatures: Vec<(String, u32)>,
    /// The extensions, by name.
    pub extensions: Vec<String>,
}

/// An entry of the list.
struct Held {
    blob: Vec<u8>,
    comment: Vec<u8>,
    secret: Option<Secret>,
}

#[derive(Clone)]
struct Secret {
    key: PrivateKey,
    /// Of a security key.
    application: Option<String>,
}

impl LabAgent {
    /// Listens at `path`, where nothing may be, without any key.
    pub fn start(path: &Path) -> Self {
        let state = Arc::<State>::default();
        let theirs = state.clone();
        let server = UnixServer::start(path, move |stream| converse(stream, &theirs));
        LabAgent { server, state }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        self.server.path()
    }

    /// How many connections it has had.
    pub fn accepted(&self) -> u64 {
        self.server.accepted()
    }

    /// Breaks it, or mends it with `None`, for requests that come from now on.
    pub fn set_fault(&self, fault: Option<AgentFault>) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// What it was asked for.
    pub fn asked(&self) -> Asked {
        self.state.asked.lock().unwrap().clone()
    }

    /// Takes a key.
    pub fn add(&self, files: &KeyFiles) {
        let key = russh::keys::load_secret_key(&files.private, None).expect("not a private key");
        self.hold(key.public_key().key_data().clone(), "a key", key, None);
    }

    /// Makes a security key in software, whose every signature says that it was touched; its public
    /// key as `TYPE BASE64`.
    pub fn add_security_key(&self, kind: SecurityKey, application: &str) -> String {
        let algorithm = match kind {
            SecurityKey::Ed25519 => Algorithm::Ed25519,
            SecurityKey::Ecdsa => Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        };
        let key = PrivateKey::random(&mut rand::rng(), algorithm).expect("cannot make a key");
        let public = match key.public_key().key_data() {
            KeyData::Ed25519(key) => KeyData::SkEd25519(SkEd25519::new(*key, application)),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(*point, application))
            }
            other => unreachable!("{other:?}"),
        };
        let application = Some(application.to_owned());
        self.hold(public.clone(), "a security key", key, application);
        let line = PublicKey::new(public, "").to_openssh().expect("no line");
        line.trim().to_owned()
    }

    /// Takes a certificate for one of its keys; the key stays.
    ///
    /// # Panics
    /// When it has no such key.
    pub fn add_certificate(&self, path: &Path) {
        let certificate = Certificate::read_file(path).expect("not a certificate");
        let public = PublicKey::new(certificate.public_key().clone(), "");
        let wanted = public.to_bytes().unwrap();
        let mut keys = self.state.keys.lock().unwrap();
        let held = keys.iter().find(|held| held.blob == wanted);
        let secret = held.expect("no key for the certificate").secret.clone();
        keys.push(Held {
            blob: certificate.to_bytes().unwrap(),
            comment: b"a certificate".to_vec(),
            secret,
        });
    }

    /// Takes an entry for its list that it cannot sign with, in front of all others.
    pub fn add_entry(&self, blob: &[u8], comment: &[u8]) {
        let held = Held {
            blob: blob.to_vec(),
            comment: comment.to_vec(),
            secret: None,
        };
        self.state.keys.lock().unwrap().insert(0, held);
    }

    /// Forgets its keys.
    pub fn remove_all(&self) {
        self.state.keys.lock().unwrap().clear();
    }

    fn hold(&self, public: KeyData, comment: &str, key: PrivateKey, application: Option<String>) {
        let held = Held {
            blob: PublicKey::new(public, "").to_bytes().unwrap(),
            comment: comment.into(),
            secret: Some(Secret { key, application }),
        };
        self.state.keys.lock().unwrap().push(held);
    }
}

/// A string of the protocol (RFC 4251 section 5).
pub fn wire_string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

fn converse(mut stream: UnixStream, state: &State) {
    while let Some(request) = read_frame(&mut stream) {
        let fault = state.fault.lock().unwrap().clone();
        let extension = request.first() == Some(&27);
        match &fault {
            Some(AgentFault::HangUp) => return,
            Some(AgentFault::HangUpAtExtensions) if extension => return,
            Some(AgentFault::NeverAnswer) => continue,
            Some(AgentFault::NeverSign) if request.first() == Some(&13) => continue,
            _ => {}
        }
        let (bytes, stays) = match fault {
            Some(AgentFault::Answer(bytes)) => (bytes, true),
            Some(AgentFault::AnswerAndHangUp(bytes)) => (bytes, false),
            fault => (wire_string(&answer(&request, state, fault.as_ref())), true),
        };
        if stream.write_all(&bytes).is_err() || !stays {
            return;
        }
    }
}

fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn answer(request: &[u8], state: &State, fault: Option<&AgentFault>) -> Vec<u8> {
    const FAILURE: u8 = 5;
    let mut asked = state.asked.lock().unwrap();
    match request.split_first() {
        Some((11, _)) => {
            asked.lists += 1;
            list(&state.keys.lock().unwrap())
        }
        Some((13, mut rest)) => {
            let blob = Vec::<u8>::decode(&mut rest).unwrap();
            let data = Vec::<u8>::decode(&mut rest).unwrap();
            let flags = u32::decode(&mut rest).unwrap();
            asked.signatures.push((fingerprint(&blob), flags));
            let keys = state.keys.lock().unwrap();
            let held = keys.iter().find(|held| held.blob == blob);
            match held.and_then(|held| held.secret.as_ref()) {
                Some(secret) if fault != Some(&AgentFault::RefuseToSign) => {
                    let signature = sign(secret, &data, flags, fault);
                    [vec![14], wire_string(&signature)].concat()
                }
                _ => vec![FAILURE],
            }
        }
        Some((27, mut rest)) => {
            asked.extensions.push(String::decode(&mut rest).unwrap());
            vec![FAILURE]
        }
        _ => vec![FAILURE],
    }
}

fn fingerprint(blob: &[u8]) -> String {
    let data = match Certificate::from_bytes(blob) {
        Ok(certificate) => certificate.public_key().clone(),
        Err(_) => KeyData::decode(&mut &*blob).expect("not a key"),
    };
    data.fingerprint(HashAlg::Sha256).to_string()
}

fn list(keys: &[Held]) -> Vec<u8> {
    let mut body = vec![12];
    body.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
    for held in keys {
        body.extend(wire_string(&held.blob));
        body.extend(wire_string(&held.comment));
    }
    body
}

fn sign(secret: &Secret, data: &[u8], flags: u32, fault: Option<&AgentFault>) -> Vec<u8> {
    if fault == Some(&AgentFault::SignWithAnotherKey) {
        let other = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        return encoded(&other.try_sign(data).unwrap());
    }
    if let Some(application) = &secret.application {
        return sign_as_security_key(&secret.key, application, data);
    }
    let KeypairData::Rsa(rsa) = secret.key.key_data() else {
        return encoded(&secret.key.try_sign(data).unwrap());
    };
    let hash = match flags {
        2 => HashAlg::Sha256,
        _ => HashAlg::Sha512,
    };
    let signature = (rsa, Some(hash)).try_sign(data).unwrap();
    if fault == Some(&AgentFault::IgnoreFlags) {
        let bytes = signature.as_bytes();
        return [wire_string(b"ssh-rsa"), wire_string(bytes)].concat();
    }
    encoded(&signature)
}

fn encoded(signature: &Signature) -> Vec<u8> {
    signature.clone().try_into().unwrap()
}

/// What a security key signs, and what it sends (OpenSSH's PROTOCOL.u2f).
fn sign_as_security_key(key: &PrivateKey, application: &str, data: &[u8]) -> Vec<u8> {
    const TOUCHED: u8 = 1;
    const COUNTER: u32 = 0x0102_0304;
    let hash = |bytes: &[u8]| HashAlg::Sha256.digest(bytes);
    let flags = [&[TOUCHED][..], &COUNTER.to_be_bytes()].concat();
    let signed = [hash(application.as_bytes()), flags.clone(), hash(data)].concat();
    let signature = key.try_sign(&signed).unwrap();
    let name: &[u8] = match signature.algorithm() {
        Algorithm::Ed25519 => b"sk-ssh-ed25519@openssh.com",
        _ => b"sk-ecdsa-sha2-nistp256@openssh.com",
    };
    [wire_string(name), wire_string(signature.as_bytes()), flags].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyType, ssh_keygen};
    use crate::process::run;
    use std::fs;
    use std::process::Command;

    #[test]
    fn the_real_ssh_add_lists_its_keys_and_finds_their_signatures_good() {
        // `ssh-add -T` has the agent sign, and verifies: security keys too.
        let dir = tempfile::tempdir().unwrap();
        let agent = LabAgent::start(&dir.path().join("agent.sock"));
        let mut lines = Vec::new();
        for kind in [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa] {
            let files = ssh_keygen(kind, dir.path(), kind.as_str(), "", &[]);
            agent.add(&files);
            lines.push(files.public_line());
        }
        for kind in [SecurityKey::Ed25519, SecurityKey::Ecdsa] {
            lines.push(agent.add_security_key(kind, "ssh:"));
        }
        let ssh_add = || {
            let mut command = Command::new("ssh-add");
            command.env("SSH_AUTH_SOCK", agent.socket());
            command
        };
        let listed = run(ssh_add().arg("-L"));
        for (number, line) in lines.iter().enumerate() {
            assert!(listed.contains(line), "{listed}");
            let path = dir.path().join(format!("{number}.pub"));
            fs::write(&path, line).unwrap();
            run(ssh_add().arg("-T").arg(&path));
        }
        assert_eq!(agent.asked().signatures.len(), lines.len());
    }
}
