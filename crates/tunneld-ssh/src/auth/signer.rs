//! Signing, for keys in files as for those in agents: russh asks for a signature once the server
//! has said that it would take the key.
//!
//! So a private key stays here, and an encrypted one is opened only for a server that wants it. And
//! RSA keys sign with SHA-2 also where they are certified, which russh's own way does not see to.

use std::sync::Arc;

use russh::SendError;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Signature};
use russh::keys::{HashAlg, PrivateKey};
use tokio::task::spawn_blocking;
use tunneld_core::config::Credential;
use tunneld_core::failure::{Failure, Stage};

use super::offers::SignedBy;
use crate::agent::Agent;
use crate::credential;
use crate::identity::{Identity, IdentityProblem, IdentityProblemKind, LockedKey};
use crate::shared::Shared;

/// A private key in a file.
pub(super) enum FileKey {
    Open(Identity),
    Locked(Box<LockedKey>, Credential),
}

impl FileKey {
    /// The key, ready to sign. Blocks: to open one may take a second.
    pub(super) fn open(&self) -> Result<Identity, Failure> {
        match self {
            FileKey::Open(identity) => Ok(identity.clone()),
            FileKey::Locked(key, passphrase) => {
                let secret = credential::read(passphrase).map_err(|e| e.into_failure())?;
                key.unlock(&secret)
                    .map_err(|problem| FileKey::not_opened(problem, passphrase))
            }
        }
    }

    /// What is being done while it is opened, where that takes time.
    pub(super) fn opening(&self) -> Option<String> {
        let FileKey::Locked(key, _) = self else {
            return None;
        };
        let rounds = key.rounds();
        let path = key.path().display();
        Some(format!(
            "key file {path} is still being opened: its passphrase takes {rounds}"
        ))
    }

    /// Why this passphrase does not open a key.
    pub(super) fn not_opened(problem: IdentityProblem, passphrase: &Credential) -> Failure {
        let is_wrong = problem.kind == IdentityProblemKind::WrongPassphrase;
        let mut failure = problem.into_failure();
        if let Some(hint) = failure.hint.as_mut().filter(|_| is_wrong) {
            hint.push_str(&credential::once_changed(passphrase));
        }
        failure
    }
}

/// Signs one message for one offer.
pub(super) struct Signer<'a> {
    pub(super) by: &'a SignedBy,
    /// The connection to the agent, which keys of the agent have.
    pub(super) agent: Option<&'a mut Agent>,
    /// Whoever gives the attempt up hears from it what takes so long.
    pub(super) shared: &'a Shared,
}

/// Why there is no signature.
pub(super) enum Unsigned {
    /// The session has ended.
    Over,
    /// The key cannot be used.
    Problem(Failure),
}

impl From<SendError> for Unsigned {
    fn from(_: SendError) -> Self {
        Unsigned::Over
    }
}

impl russh::Signer for Signer<'_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _shown: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signed = match (self.by, self.agent.as_deref_mut()) {
            (SignedBy::File(key), _) => {
                let waited_for = self.shared.waited_for();
                if let Some(opening) = key.opening() {
                    self.shared.waits_for(opening);
                }
                let signed = by_file(Arc::clone(key), hash, data).await;
                self.shared.waits_for(waited_for);
                signed
            }
            (SignedBy::Agent(key), Some(agent)) => {
                let signed = agent.sign(key, hash, data).await;
                signed.map_err(|e| e.into_failure())
            }
            (SignedBy::Agent(_), None) => Err(interrupted()),
        };
        signed.map_err(Unsigned::Problem)
    }
}

async fn by_file(
    key: Arc<FileKey>,
    hash: Option<HashAlg>,
    data: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let signed = spawn_blocking(move || {
        let identity = key.open()?;
        sign(identity.key(), hash, data).map_err(|e| {
            let cause = format!("key file {}: {e}", identity.path().display());
            Failure::blocked(Stage::Authenticate, cause)
        })
    });
    signed.await.map_err(|_| interrupted())?
}

fn interrupted() -> Failure {
    Failure::transient(Stage::Authenticate, "signing was interrupted")
}

/// The message with its signature as a string at the end (RFC 4252 section 7). `hash` counts for
/// RSA keys alone.
fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, ssh_key::Error> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, Some(hash.unwrap_or(HashAlg::Sha512))).try_sign(&data)?,
        pair => pair.try_sign(&data)?,
    };
    signature.encode_prefixed(&mut data)?;
    Ok(data)
}
