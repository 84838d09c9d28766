//! The forms in which private keys lie in files, told apart before anything is decoded, so that
//! each gets its own message.
//!
//! The text is decoded here and only the bytes are handed on, because russh's own reader keeps
//! copies of the text that are not wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::Cipher;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use tunneld_core::text::{clip, printable};
use zeroize::Zeroizing;

use super::locked::Locked;
use super::{IdentityProblemKind, WayOut, short_scalar};
use crate::agent::is_usable;
use crate::host_key::MIN_RSA_BITS;
use crate::known_hosts::{rsa_bits, type_name};

/// What an OpenSSH private key begins with, once decoded.
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

/// What the name of each certificate's type has in it: a private key is none, and one inside
/// another would be followed without end.
const MARK: &[u8] = b"-cert-v0";

type Problem = IdentityProblemKind;

/// What a key file holds.
pub(super) enum Content {
    /// A key.
    Open(Box<PrivateKey>),
    /// A key that needs its passphrase.
    Locked(Locked),
    /// A public key, and why there is no more.
    Public(PublicKey, Problem),
}

/// Reads the key, or says what the file is instead.
pub(super) fn decode(bytes: &[u8]) -> Result<Content, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| not_a_key("binary data, not a key file"))?;
    if text.trim().is_empty() {
        return Err(not_a_key("the file is empty"));
    }
    if let Some(problem) = other_than_pem(text) {
        return match public_key(text) {
            Some(key) => Ok(Content::Public(key, problem)),
            None => Err(problem),
        };
    }
    let (label, body) = private_block(text)?;
    if label == "DSA PRIVATE KEY" {
        return Err(unsupported("a DSA key", WayOut::NewKey));
    }
    let blob = base64_of(body)?;
    if body
        .lines()
        .any(|l| l.starts_with("Proc-Type:") && l.contains("ENCRYPTED"))
    {
        return Locked::pem(label, body, blob).map(Content::Locked);
    }
    let key = match label {
        "OPENSSH PRIVATE KEY" => return openssh(&blob),
        "ENCRYPTED PRIVATE KEY" => return Locked::pkcs8(blob).map(Content::Locked),
        "RSA PRIVATE KEY" => pkcs8(&in_pkcs8(&blob), "an RSA PEM key")?,
        "EC PRIVATE KEY" => pkcs8(&blob, "an EC PEM key")?,
        "PRIVATE KEY" => pkcs8(&blob, "a PKCS#8 key")?,
        other => return Err(unsupported(format!("`{other}`"), WayOut::Rewrite)),
    };
    usable(&key)?;
    Ok(Content::Open(Box::new(key)))
}

/// The public key of a `.pub` file: its first line that says anything, as ssh does.
pub(crate) fn public_key(text: &str) -> Option<PublicKey> {
    let mut words = after_comments(text).lines().next()?.split_whitespace();
    let (kind, data) = (words.next()?, words.next()?);
    // Judged by its name before it is decoded: a certificate can hold another, and so on.
    let blob = STANDARD.decode(data).ok()?;
    let plain = Algorithm::new(kind).is_ok_and(|algorithm| is_usable(&algorithm));
    let same = string(&blob).is_some_and(|(name, _)| name == kind.as_bytes());
    (plain && same).then(|| PublicKey::from_bytes(&blob).ok())?
}

fn after_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    while rest.starts_with('#') {
        rest = rest
            .split_once('\n')
            .map_or("", |(_, rest)| rest)
            .trim_start();
    }
    rest
}

/// What the file is, where it is a well-known thing other than a PEM private key.
fn other_than_pem(text: &str) -> Option<Problem> {
    let start = after_comments(text);
    if start.starts_with("PuTTY-User-Key-File-") {
        return Some(unsupported("a PuTTY key", WayOut::Puttygen));
    }
    if start.starts_with("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----") {
        return Some(unsupported("an ssh.com key", WayOut::Import));
    }
    let public_block = start.starts_with("---- BEGIN SSH2 PUBLIC KEY ----")
        || start.starts_with("-----BEGIN PUBLIC KEY-----")
        || start.starts_with("-----BEGIN RSA PUBLIC KEY-----");
    let kind = start.split([' ', '\t']).next().unwrap_or_default();
    let public_line = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix));
    if public_line && kind.contains("-cert-v01@") {
        return Some(Problem::Public {
            what: "a certificate",
        });
    }
    (public_block || public_line).then_some(Problem::Public {
        what: "a public key",
    })
}

/// The label and the inside of the first PEM block that is a private key; other blocks, as openssl
/// writes them before an EC key, are passed over.
fn private_block(text: &str) -> Result<(&str, &str), Problem> {
    let mut rest = text;
    let mut other = None;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, after)) = after.split_once("-----") else {
            break;
        };
        if label.ends_with("PRIVATE KEY") {
            let end = format!("-----END {label}-----");
            let Some((body, _)) = after.split_once(&end) else {
                return Err(not_a_key(format!("cut short: `{end}` is missing")));
            };
            return Ok((label, body));
        }
        other.get_or_insert(label);
        rest = after;
    }
    Err(match other {
        Some("CERTIFICATE") => not_a_key("an X.509 certificate, not a private key"),
        _ => not_a_key("no private key in it"),
    })
}

fn base64_of(body: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    for line in body.lines().map(str::trim).filter(|l| !l.contains(':')) {
        joined.push_str(line);
    }
    let mut blob = Zeroizing::new(Vec::with_capacity(joined.len()));
    match STANDARD.decode_vec(joined.as_bytes(), &mut blob) {
        Ok(()) if !blob.is_empty() => Ok(blob),
        _ => Err(not_a_key("damaged: its contents are not base64")),
    }
}

fn openssh(blob: &[u8]) -> Result<Content, Problem> {
    let damaged = || not_a_key("damaged: not what an OpenSSH key holds");
    let rest = blob.strip_prefix(OPENSSH_MAGIC).ok_or_else(damaged)?;
    let (cipher, rest) = string(rest).ok_or_else(damaged)?;
    let (public, section) = halves(rest).ok_or_else(damaged)?;
    let (kind, _) = string(public).ok_or_else(damaged)?;
    if kind.windows(MARK.len()).any(|part| part == MARK) {
        return Err(damaged());
    }
    let cipher = String::from_utf8_lossy(cipher);
    // The library has the name of 3DES, and not the cipher.
    if matches!(Cipher::new(&cipher), Err(_) | Ok(Cipher::TdesCbc)) {
        let what = format!("a key encrypted with `{}`", clip(&printable(&cipher), 60));
        return Err(unsupported(what, WayOut::Rewrite));
    }
    let key = PrivateKey::from_bytes(blob);
    let key = key.or_else(|e| short_scalar::read(&e, section, public).ok_or(e));
    let key = key.map_err(|e| match e {
        russh::keys::ssh_key::Error::AlgorithmUnsupported { algorithm } => {
            let what = format!("a {} key", type_name(&algorithm));
            unsupported(what, WayOut::NewKey)
        }
        russh::keys::ssh_key::Error::AlgorithmUnknown => {
            unsupported("a key of an unknown type", WayOut::NewKey)
        }
        _ => damaged(),
    })?;
    match usable(&key) {
        Ok(()) if key.is_encrypted() => Locked::openssh(key).map(Content::Locked),
        Ok(()) => Ok(Content::Open(Box::new(key))),
        Err(problem) if is_usable(&key.algorithm()) => {
            Ok(Content::Public(key.public_key().clone(), problem))
        }
        Err(problem) => Err(problem),
    }
}

/// The public key in a private one, which comes after the way that it is encrypted, and the section
/// with the secrets (PROTOCOL.key of OpenSSH).
fn halves(after_cipher: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_kdf, rest) = string(after_cipher)?;
    let (_options, rest) = string(rest)?;
    let (_keys, rest) = rest.split_first_chunk::<4>()?;
    let (public, rest) = string(rest)?;
    Some((public, string(rest)?.0))
}

/// Decodes PKCS#8, and SEC 1 for EC keys.
pub(super) fn pkcs8(der: &[u8], what: &str) -> Result<PrivateKey, Problem> {
    if der.first() != Some(&0x30) {
        return Err(not_a_key("damaged: its contents are not DER"));
    }
    russh::keys::pkcs8::decode_pkcs8(der, None).map_err(|e| match e {
        russh::keys::Error::UnknownAlgorithm(oid) => {
            unsupported(format!("a key of another type (OID {oid})"), WayOut::NewKey)
        }
        _ => unsupported(format!("{what} of an unusual kind"), WayOut::Rewrite),
    })
}

/// A PKCS#1 RSA key as PKCS#8 holds it (RFC 5208): version 0, rsaEncryption, the key.
pub(super) fn in_pkcs8(pkcs1: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION_AND_ALGORITHM: &[u8] = &[
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
        0x01, 0x05, 0x00,
    ];
    let key_head = der_head(0x04, pkcs1.len());
    let len = VERSION_AND_ALGORITHM.len() + key_head.len() + pkcs1.len();
    let head = der_head(0x30, len);
    let mut der = Zeroizing::new(Vec::with_capacity(head.len() + len));
    der.extend_from_slice(&head);
    der.extend_from_slice(VERSION_AND_ALGORITHM);
    der.extend_from_slice(&key_head);
    der.extend_from_slice(pkcs1);
    der
}

/// A DER tag and length.
fn der_head(tag: u8, len: usize) -> Vec<u8> {
    let bytes = len.to_be_bytes();
    let used = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    match used {
        [] => vec![tag, 0],
        [short] if *short < 0x80 => vec![tag, *short],
        // At most eight bytes, so that the sum stays a byte.
        long => [&[tag, 0x80 | long.len() as u8][..], long].concat(),
    }
}

/// Whether we can sign with the key.
pub(super) fn usable(key: &PrivateKey) -> Result<(), Problem> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(()),
        Algorithm::Rsa { .. } => match rsa_bits(key.public_key().key_data()) {
            Some(bits) if bits >= MIN_RSA_BITS => Ok(()),
            bits => {
                let bits = bits.unwrap_or_default();
                let what = format!("an RSA key of only {bits} bits");
                Err(unsupported(what, WayOut::NewKey))
            }
        },
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => Err(unsupported(
            "a key that lives on a security key, and needs an agent",
            WayOut::Agent,
        )),
        other => {
            let what = format!("a {} key", type_name(&other));
            Err(unsupported(what, WayOut::NewKey))
        }
    }
}

/// A string of an SSH wire blob, and what follows it.
pub(super) fn string(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = blob.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

pub(super) fn not_a_key(reason: impl Into<String>) -> Problem {
    Problem::NotAKey {
        reason: reason.into(),
    }
}

pub(super) fn unsupported(what: impl Into<String>, way_out: WayOut) -> Problem {
    Problem::Unsupported {
        what: what.into(),
        way_out,
    }
}
