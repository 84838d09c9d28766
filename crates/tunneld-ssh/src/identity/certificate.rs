//! OpenSSH user certificates: a key, and an authority's word for whose it is (PROTOCOL.certkeys,
//! draft-miller-ssh-cert).
//!
//! What the server will make of one, its principals and its authority, is the server's to judge.
//! Here is judged what makes a certificate useless everywhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate};

use crate::known_hosts::fingerprint;
use crate::secret_file;

mod blob;
mod problem;
#[cfg(test)]
mod tests;

pub use blob::Damage;
pub(crate) use blob::decode;
pub use problem::{CertificateProblem, CertificateProblemKind};

/// The largest certificate file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 64 << 10;

/// A user certificate, as it lies in a file.
#[derive(Debug, Clone)]
pub struct UserCertificate {
    path: PathBuf,
    certificate: Certificate,
}

impl UserCertificate {
    /// Reads the file. It may be one that nobody can use yet or any more: see
    /// [`UserCertificate::usable_at`]. Blocks.
    ///
    /// # Errors
    ///
    /// When it is not a user certificate, or a damaged one.
    pub fn read(path: &Path) -> Result<Self, CertificateProblem> {
        let problem = |kind| CertificateProblem::new(path, kind);
        let text = read_text(path).map_err(problem)?;
        let certificate = parse(&text).map_err(problem)?;
        Ok(UserCertificate {
            path: path.to_owned(),
            certificate,
        })
    }

    /// Where the certificate of a key lies unless it is named: `KEY-cert.pub`, where ssh-keygen puts
    /// it; for the public half, `KEY.pub`, too.
    pub fn beside(key: &Path) -> PathBuf {
        let mut path = match key.extension() {
            Some(end) if end == "pub" => key.with_extension("").into_os_string(),
            _ => key.as_os_str().to_owned(),
        };
        path.push("-cert.pub");
        path.into()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key that it certifies.
    pub fn key_data(&self) -> &KeyData {
        self.certificate.public_key()
    }

    /// `SHA256:…` of the key that it certifies.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.key_data())
    }

    /// What the authority calls it in its records.
    pub fn key_id(&self) -> &str {
        self.certificate.key_id()
    }

    /// The users that it is good for; none means every user.
    pub fn principals(&self) -> &[String] {
        self.certificate.valid_principals()
    }

    /// The first moment at which it is valid; `None` where there is no such bound.
    pub fn valid_after(&self) -> Option<SystemTime> {
        valid_after(&self.certificate)
    }

    /// The first moment at which it is not valid any more; `None` when it is valid for ever.
    pub fn valid_before(&self) -> Option<SystemTime> {
        valid_before(&self.certificate)
    }

    /// Whether it is valid at this moment.
    ///
    /// # Errors
    ///
    /// When it is not valid yet, or not any more.
    pub fn usable_at(&self, now: SystemTime) -> Result<(), CertificateProblem> {
        valid_at(&self.certificate, now).map_err(|kind| CertificateProblem::new(&self.path, kind))
    }

    /// Whether it is for the key of this file.
    ///
    /// # Errors
    ///
    /// When it is for another one.
    pub fn certifies(&self, key: &KeyData, file: &Path) -> Result<(), CertificateProblem> {
        if self.key_data() == key {
            return Ok(());
        }
        let kind = CertificateProblemKind::OtherKey {
            key: file.to_owned(),
            certified: self.fingerprint(),
        };
        Err(CertificateProblem::new(&self.path, kind))
    }
}

/// Reads a certificate that can be used now. Blocks.
///
/// # Errors
///
/// As [`UserCertificate::read`] and [`UserCertificate::usable_at`].
pub fn usable(path: &Path) -> Result<UserCertificate, CertificateProblem> {
    let certificate = UserCertificate::read(path)?;
    certificate.usable_at(SystemTime::now())?;
    Ok(certificate)
}

/// Whether it is valid at this moment, wherever it came from.
pub(crate) fn valid_at(
    certificate: &Certificate,
    now: SystemTime,
) -> Result<(), CertificateProblemKind> {
    match (valid_after(certificate), valid_before(certificate)) {
        (_, Some(end)) if end <= now => Err(CertificateProblemKind::Expired { at: end }),
        (Some(start), _) if now < start => Err(CertificateProblemKind::NotYetValid { from: start }),
        _ => Ok(()),
    }
}

fn valid_after(certificate: &Certificate) -> Option<SystemTime> {
    match certificate.valid_after() {
        0 => None,
        seconds => Some(moment(seconds)),
    }
}

fn valid_before(certificate: &Certificate) -> Option<SystemTime> {
    let seconds = certificate.valid_before();
    (seconds <= i64::MAX.unsigned_abs()).then(|| moment(seconds))
}

/// A time of the protocol: seconds since 1970, of which the clock has no more than half.
fn moment(seconds: u64) -> SystemTime {
    let seconds = seconds.min(i64::MAX.unsigned_abs());
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    at.unwrap_or(UNIX_EPOCH)
}

fn read_text(path: &Path) -> Result<String, CertificateProblemKind> {
    let file = secret_file::read(path, MAX_FILE_LEN, None).map_err(CertificateProblemKind::of)?;
    let text = std::str::from_utf8(&file.bytes).map_err(|_| other("binary data"))?;
    Ok(text.to_owned())
}

/// Reads the first line that says anything, as ssh does.
fn parse(text: &str) -> Result<Certificate, CertificateProblemKind> {
    if text.contains("PRIVATE KEY-----") {
        return Err(other("a private key"));
    }
    let mut lines = text.lines().map(str::trim);
    let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) else {
        return Err(other("an empty file"));
    };
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (kind, data) = (words.next().unwrap_or_default(), words.next());
    if Algorithm::new(kind).is_ok() && !kind.contains("-cert-v") {
        return Err(other("a plain public key"));
    }
    if !kind.contains("-cert-v") {
        return Err(other("something else"));
    }
    let damaged = || CertificateProblemKind::Damaged(Damage::NotDecoded);
    let blob = data.and_then(|data| STANDARD.decode(data).ok());
    let blob = blob.ok_or_else(damaged)?;
    let certificate = decode(&blob).map_err(CertificateProblemKind::Damaged)?;
    if certificate.algorithm().to_certificate_type() != kind {
        return Err(damaged());
    }
    match certificate.cert_type() {
        CertType::User => Ok(certificate),
        CertType::Host => Err(other("a host certificate")),
    }
}

fn other(what: &'static str) -> CertificateProblemKind {
    CertificateProblemKind::NotACertificate { what }
}
