//! A certificate in the protocol's form, from a file or from an agent.

use std::fmt;

use russh::keys::ssh_encoding::Decode;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg};

use crate::agent::is_usable;
use crate::known_hosts::{rsa_bits, type_name};

/// What the name of each certificate's type has in it.
const MARK: &[u8] = b"-cert-v01@";

/// How often it may: once in a certificate that we take, and then where its authority writes it
/// into a text.
const MAX_MARKS: usize = 8;

/// The largest RSA key whose signatures the library checks.
const MAX_CHECKED_RSA_BITS: usize = 8192;

/// Why bytes are no certificate that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// They are not what a certificate holds.
    NotDecoded,
    /// The authority's key is a certificate in its turn, which nobody accepts.
    Nested,
    /// The signature is not that of the key that stands beside it.
    Signature,
    /// It is valid at no time: it ends before it begins.
    NeverValid,
    /// It is for a key of a type that does not work here.
    KeyType(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::NotDecoded => f.write_str("damaged: not what a certificate holds"),
            Damage::Nested => f.write_str("signed by another certificate, not by a key"),
            Damage::Signature => f.write_str("damaged: its signature does not fit"),
            Damage::NeverValid => f.write_str("valid at no time: it ends before it begins"),
            Damage::KeyType(kind) => write!(f, "for a key of type {kind}, which does not work"),
        }
    }
}

/// Reads a certificate that a server could accept.
pub(crate) fn decode(blob: &[u8]) -> Result<Certificate, Damage> {
    // The library follows an authority that is a certificate, however deep: it must not see one
    // that is made to exhaust the stack.
    if blob.windows(MARK.len()).filter(|at| *at == MARK).count() > MAX_MARKS {
        return Err(Damage::Nested);
    }
    let mut rest = blob;
    let certificate = Certificate::decode(&mut rest).map_err(|_| Damage::NotDecoded)?;
    if matches!(certificate.signature_key(), KeyData::Certificate(_)) {
        return Err(Damage::Nested);
    }
    // It goes to the server as the library writes it: in other bytes it would not be the same one.
    if !certificate.to_bytes().is_ok_and(|again| again == blob) {
        return Err(Damage::NotDecoded);
    }
    let algorithm = certificate.algorithm();
    if !is_usable(&algorithm) {
        return Err(Damage::KeyType(type_name(&algorithm)));
    }
    let (start, end) = (certificate.valid_after(), certificate.valid_before());
    if end <= start {
        return Err(Damage::NeverValid);
    }
    if is_checkable(&certificate) {
        // Whether the authority is one that the server knows is the server's to say. At a time at
        // which the certificate is valid, only its signature is left to be checked.
        let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
        let validated = certificate.validate_at(start, [&authority]);
        validated.map_err(|_| Damage::Signature)?;
    }
    Ok(certificate)
}

/// Whether the library knows how to check the signature. Servers may take SHA-1 and larger keys.
fn is_checkable(certificate: &Certificate) -> bool {
    let algorithm = certificate.signature().algorithm();
    let bits = rsa_bits(certificate.signature_key()).unwrap_or_default();
    is_usable(&algorithm)
        && algorithm != Algorithm::Rsa { hash: None }
        && bits <= MAX_CHECKED_RSA_BITS
}
