//! The key of a known_hosts line, and how keys are named in messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::quote;

/// What a protocol 1 key (`bits exponent modulus`) is called; nothing has spoken it for years.
const PROTOCOL_1: &str = "rsa1";

/// A key as a known_hosts line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KnownKey {
    /// A key that a server can prove to us, or that an authority can have signed with: those of
    /// security keys do no more than that.
    Usable(KeyData),
    /// A key of another type, on a line that is otherwise sound: nothing that we are offered can
    /// have to do with it, so it matches nothing.
    Foreign(String),
}

impl KnownKey {
    /// Reads the fields after the hosts, `type base64 [comment]`, or says what is wrong with them.
    pub(super) fn parse(kind: &str, data: &str, after: &str) -> Result<Self, String> {
        if is_number(kind) && is_number(data) && is_number(after) {
            return Ok(KnownKey::Foreign(PROTOCOL_1.to_owned()));
        }
        let damaged = || format!("bad {} key {}", printable(kind), quote(data));
        let blob = STANDARD.decode(data).map_err(|_| damaged())?;
        let inner = first_string(&blob).ok_or_else(damaged)?;
        if inner != kind.as_bytes() {
            return Err(format!(
                "the line says {}, its key is {}",
                quote(kind),
                quote(&String::from_utf8_lossy(inner))
            ));
        }
        match Algorithm::new(kind) {
            Ok(
                Algorithm::Ed25519
                | Algorithm::Ecdsa { .. }
                | Algorithm::Rsa { hash: None }
                | Algorithm::SkEd25519
                | Algorithm::SkEcdsaSha2NistP256,
            ) => {
                let key = PublicKey::from_bytes(&blob).map_err(|_| damaged())?;
                Ok(KnownKey::Usable(key.key_data().clone()))
            }
            _ => Ok(KnownKey::Foreign(kind.to_owned())),
        }
    }
}

fn is_number(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit())
}

/// The first string of an SSH wire blob (RFC 4251 section 5): four bytes of length, then the text.
fn first_string(blob: &[u8]) -> Option<&[u8]> {
    let (len, rest) = blob.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

fn printable(kind: &str) -> String {
    quote(kind).replace('`', "")
}

/// The fingerprint of a key, as `ssh-keygen -l` prints it: `SHA256:…`.
pub fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The name of a key type in messages, as ssh prints it: `ED25519`, `RSA`, `ECDSA nistp256`.
pub fn type_name(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Dsa => "DSA".to_owned(),
        Algorithm::Ecdsa { curve } => format!("ECDSA {curve}"),
        Algorithm::SkEd25519 => "ED25519-SK".to_owned(),
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK".to_owned(),
        other => other.to_string(),
    }
}

/// The size of an RSA key in bits; `None` for a key of another type.
pub(crate) fn rsa_bits(key: &KeyData) -> Option<usize> {
    let modulus = key.rsa()?.n().as_positive_bytes()?;
    // The library's own count is rounded up to whole bytes.
    let unused = modulus.first().map_or(0, |b| b.leading_zeros() as usize);
    Some((modulus.len() * 8).saturating_sub(unused))
}
