//! Public keys and certificates as they lie in files, for whoever has to be told of them: they are
//! no secret, and anybody may read them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};
use rustix::fs::{Mode, OFlags};

use crate::error::{os_reason, printable};
use crate::identity::KeyFile;
use crate::known_hosts::fingerprint;

/// The largest file that is read, in bytes.
const MAX_LEN: u64 = 64 << 10;

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
    pub fn read(path: &Path) -> Result<Self, PublicProblem> {
        let problem = |missing, reason| PublicProblem {
            path: path.to_owned(),
            missing,
            reason,
        };
        let text = read_text(path)
            .map_err(|e| problem(e.kind() == io::ErrorKind::NotFound, os_reason(&e)))?;
        Public::parse(&text).map_err(|reason| problem(false, reason))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim);
        let line = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or("it is empty")?;
        let kind = line.split_whitespace().next().unwrap_or_default();
        if !kind.contains("-cert-v01@") {
            let key = PublicKey::from_openssh(line).map_err(|_| "not an OpenSSH public key")?;
            let comment = key.comment().as_str_lossy();
            return PublicLine::of(key.key_data(), comment).map(Public::Key);
        }
        let certificate = Certificate::from_openssh(line);
        certified(&certificate.map_err(|_| "not an OpenSSH certificate")?)
    }
}

fn certified(certificate: &Certificate) -> Result<Public, String> {
    if certificate.cert_type() != CertType::User {
        return Err("the certificate of a host, not of a user".to_owned());
    }
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

/// Opens without waiting for whoever writes to a pipe.
fn read_text(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    match file.take(MAX_LEN).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            Err(io::Error::other("binary data, not a public key"))
        }
        Err(e) => Err(e),
    }
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
