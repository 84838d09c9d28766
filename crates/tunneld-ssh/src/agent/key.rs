//! A key of an agent's list that sessions can use.

use std::fmt;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_encoding::Decode;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PublicKey};
use tunneld_core::text::{clip, printable};

use super::MAX_NAME;
use super::frames::Listed;
use crate::identity::certificate;
use crate::known_hosts::{fingerprint, type_name};

/// The longest comment that is kept, in characters.
const MAX_COMMENT: usize = 100;

/// A key that an agent has, and what its owner calls it.
#[derive(Debug, Clone)]
pub enum AgentKey {
    /// A key.
    Key(PublicKey, String),
    /// A certificate for a key.
    Certificate(Box<Certificate>, String),
}

impl AgentKey {
    /// Reads a key of the list.
    ///
    /// # Errors
    ///
    /// What it is instead, for a message: an agent may have keys that ssh cannot use, or that are
    /// newer than we are, beside those that are wanted.
    pub fn read(listed: Listed) -> Result<Self, String> {
        let Listed { blob, comment } = listed;
        let comment = clip(&printable(&comment), MAX_COMMENT);
        let name = String::decode(&mut blob.as_slice()).map_err(|_| "damaged")?;
        if name.contains("-cert-v0") {
            let certificate = certificate::decode(&blob).map_err(|e| e.to_string())?;
            return Ok(AgentKey::Certificate(Box::new(certificate), comment));
        }
        let foreign = || format!("of type `{}`", clip(&printable(&name), MAX_NAME));
        if !Algorithm::new(&name).is_ok_and(|algorithm| is_usable(&algorithm)) {
            return Err(foreign());
        }
        let mut rest = blob.as_slice();
        let data = KeyData::decode(&mut rest).map_err(|_| "damaged")?;
        let key = PublicKey::from(data);
        // The agent finds the key by its bytes, and so has to be sent the same.
        match key.to_bytes() {
            Ok(again) if again == blob => Ok(AgentKey::Key(key, comment)),
            _ => Err("damaged".to_owned()),
        }
    }

    /// The key itself; of a certificate, the one that it certifies.
    pub fn key_data(&self) -> &KeyData {
        match self {
            AgentKey::Key(key, _) => key.key_data(),
            AgentKey::Certificate(certificate, _) => certificate.public_key(),
        }
    }

    /// `SHA256:…` of the key; a certificate has that of the key that it certifies.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.key_data())
    }

    /// What it is, as messages name it: `ED25519`, `RSA certificate`.
    pub fn type_name(&self) -> String {
        let kind = type_name(&self.key_data().algorithm());
        match self {
            AgentKey::Key(..) => kind,
            AgentKey::Certificate(..) => format!("{kind} certificate"),
        }
    }

    /// What its owner calls it: one line, short.
    pub fn comment(&self) -> &str {
        match self {
            AgentKey::Key(_, comment) | AgentKey::Certificate(_, comment) => comment,
        }
    }

    /// The same in the form that `Agent::sign` takes.
    pub fn identity(&self) -> AgentIdentity {
        match self {
            AgentKey::Key(key, _) => key.clone().into(),
            AgentKey::Certificate(certificate, _) => certificate.as_ref().clone().into(),
        }
    }
}

impl fmt::Display for AgentKey {
    /// `ED25519 SHA256:… (COMMENT)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.type_name(), self.fingerprint())?;
        match self.comment() {
            "" => Ok(()),
            comment => write!(f, " ({comment})"),
        }
    }
}

/// Whether a server may take a key of this type: not DSA, which nobody accepts any more.
pub(crate) fn is_usable(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Ed25519
            | Algorithm::Ecdsa { .. }
            | Algorithm::Rsa { .. }
            | Algorithm::SkEd25519
            | Algorithm::SkEcdsaSha2NistP256
    )
}
