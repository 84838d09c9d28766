//! Public keys and certificates as they lie in files, for whoever has to be told of them: they are
//! no secret, and anybody may read them.

use std::fmt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};

use crate::identity::certificate::{self, CertificateProblem, MAX_FILE_LEN};
use crate::identity::{KeyFile, public_key};
use crate::known_hosts::fingerprint;
use crate::secret_file::{self, FileFault};
use tunneld_core::text::printable;

/// What a file has that can be told to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Public {
    /// A public key.
    Key(PublicLine),
    /// A certificate of a user's key.
    Certificate(Box<Certified>),
}

/// A public key as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicLine {
    /// `ssh-ed25519 AAAA…`, with the comment behind it if there is one.
    pub line: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// `SHA256:…` of the key that it certifies.
    pub fingerprint: String,
    /// Whoever signed it.
    pub authority: PublicLine,
    /// The names that it is for; empty: it says none.
    pub principals: Vec<String>,
    /// The command that it forces.
    pub force_command: Option<String>,
    /// Whether it lets a server forward ports (`permit-port-forwarding`).
    pub forwards: bool,
}

impl PublicLine {
    fn of(key: &KeyData, comment: &str) -> Result<Self, String> {
        let key = PublicKey::new(key.clone(), "");
        let text = key.to_openssh().map_err(|e| e.to_string())?;
        let line = format!("{} {}", text.trim_end(), printable(comment));
        Ok(PublicLine {
            line: line.trim_end().to_owned(),
            fingerprint: fingerprint(key.key_data()),
        })
    }

    /// The public half of a private key, as far as its file shows it.
    ///
    /// # Errors
    ///
    /// When the file does not show it, or it cannot be told.
    pub fn of_key_file(file: &KeyFile) -> Result<Self, String> {
        let comment = match file {
            KeyFile::Open(identity) => identity.key().comment().as_str_lossy(),
            KeyFile::Locked(_) | KeyFile::Public { .. } => "",
        };
        match (file.public(), file) {
            (Some(key), _) => PublicLine::of(key, comment),
            (None, KeyFile::Locked(locked)) => Err(locked.without_passphrase().to_string()),
            (None, _) => Err("it shows no public half".to_owned()),
        }
    }
}

impl Public {
    /// Reads the first key or certificate of a file: `KEY.pub`, `KEY-cert.pub`. Blocks.
    ///
    /// # Errors
    ///
    /// When there is none, or a certificate that no server takes: damaged, or out of date.
    pub fn read(path: &Path) -> Result<Self, PublicProblem> {
        let problem = |missing, reason| PublicProblem {
            path: path.to_owned(),
            missing,
            reason,
        };
        let file = secret_file::read(path, MAX_FILE_LEN, None)
            .map_err(|fault| problem(fault == FileFault::Missing, fault.to_string()))?;
        let text = std::str::from_utf8(&file.bytes)
            .map_err(|_| problem(false, "binary data, not a public key".to_owned()))?;
        Public::parse(path, text).map_err(|reason| problem(false, reason))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim);
        let line = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or("it is empty")?;
        let mut words = line.splitn(3, [' ', '\t']);
        if words.next().is_some_and(|kind| kind.contains("-cert-v01@")) {
            let reason = |problem: CertificateProblem| {
                let text = problem.kind.to_string();
                text.trim_start_matches([':', ' ']).to_owned()
            };
            let certificate = certificate::usable(path).map_err(reason)?;
            return certified(certificate.certificate());
        }
        let key = public_key(line).ok_or("not an OpenSSH public key")?;
        let comment = words.nth(1).unwrap_or_default();
        PublicLine::of(key.key_data(), comment).map(Public::Key)
    }
}

fn certified(certificate: &Certificate) -> Result<Public, String> {
    let id = format!("CA of {}", certificate.key_id());
    Ok(Public::Certificate(Box::new(Certified {
        fingerprint: fingerprint(certificate.public_key()),
        authority: PublicLine::of(certificate.signature_key(), &id)?,
        principals: certificate.valid_principals().to_vec(),
        force_command: certificate.critical_options().get("force-command").cloned(),
        forwards: certificate
            .extensions()
            .contains_key("permit-port-forwarding"),
    })))
}

/// Why a file gives no public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicProblem {
    path: PathBuf,
    missing: bool,
    reason: String,
}

impl PublicProblem {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        self.missing
    }
}

impl fmt::Display for PublicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for PublicProblem {}

#[cfg(test)]
mod tests;
