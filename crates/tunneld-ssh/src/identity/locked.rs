//! Keys that are encrypted with a passphrase: OpenSSH's own format, PKCS#8 (PBES2, RFC 8018 section
//! 6.2), and the PEM of old.
//!
//! A passphrase is made slow to try, by as many rounds as the file says. That many are counted
//! before any is run: a second or two is what owners choose, and a file that asks for an hour of
//! work would hold a thread for an hour.

use std::fmt;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf as Pbes2Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use russh::keys::ssh_key::{self, Kdf};
use russh::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::format::{in_pkcs8, not_a_key, pkcs8, unsupported, usable};
use super::{IdentityProblemKind as Problem, WayOut, short_scalar};

/// The most rounds of bcrypt: `ssh-keygen -a`, whose own default is 16. One takes about 10 ms.
const MAX_BCRYPT_ROUNDS: u32 = 1024;

/// The most rounds of PBKDF2: a few seconds, too. OpenSSL's own default is 2,048.
const MAX_PBKDF2_ROUNDS: u32 = 5_000_000;

/// The most that scrypt may cost, N × r × p, and, at 128 bytes each, take of memory. OpenSSL's
/// default is an eighth of it.
const MAX_SCRYPT_COST: u64 = 1 << 20;

/// A key as it lies in the file.
pub(super) enum Locked {
    /// In OpenSSH's format, which shows the public half.
    OpenSsh(Box<PrivateKey>),
    /// In PKCS#8.
    Pkcs8(Zeroizing<Vec<u8>>),
    /// An RSA key in PEM, encrypted with AES-128.
    RsaPem {
        blob: Zeroizing<Vec<u8>>,
        iv: [u8; 16],
    },
}

impl Locked {
    /// A key in OpenSSH's format.
    pub(super) fn openssh(key: PrivateKey) -> Result<Self, Problem> {
        match key.kdf() {
            Kdf::Bcrypt { rounds, .. } if *rounds > MAX_BCRYPT_ROUNDS => {
                let what = format!("a key of {rounds} bcrypt rounds");
                Err(unsupported(what, WayOut::FewerRounds))
            }
            _ => Ok(Locked::OpenSsh(Box::new(key))),
        }
    }

    /// A key in PKCS#8.
    pub(super) fn pkcs8(blob: Zeroizing<Vec<u8>>) -> Result<Self, Problem> {
        if blob.first() != Some(&0x30) {
            return Err(not_a_key("damaged: its contents are not DER"));
        }
        let unusual = || unsupported("a PKCS#8 key encrypted in an unusual way", WayOut::Rewrite);
        let info = EncryptedPrivateKeyInfoRef::try_from(blob.as_slice()).map_err(|_| unusual())?;
        let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
            return Err(unusual());
        };
        match &parameters.kdf {
            Pbes2Kdf::Pbkdf2(kdf) if kdf.iteration_count > MAX_PBKDF2_ROUNDS => {
                let what = format!("a key of {} PBKDF2 rounds", kdf.iteration_count);
                Err(unsupported(what, WayOut::FewerRounds))
            }
            Pbes2Kdf::Scrypt(kdf) => {
                let cost = kdf
                    .cost_parameter
                    .saturating_mul(kdf.block_size.into())
                    .saturating_mul(kdf.parallelization.into());
                if cost > MAX_SCRYPT_COST {
                    let what = format!("a key of scrypt cost {cost}");
                    return Err(unsupported(what, WayOut::FewerRounds));
                }
                Ok(Locked::Pkcs8(blob))
            }
            Pbes2Kdf::Pbkdf2(_) => Ok(Locked::Pkcs8(blob)),
            _ => Err(unusual()),
        }
    }

    /// A key in PEM with `Proc-Type: 4,ENCRYPTED` (RFC 1421): of its many forms the one that
    /// ssh-keygen has written for RSA keys.
    pub(super) fn pem(label: &str, body: &str, blob: Zeroizing<Vec<u8>>) -> Result<Self, Problem> {
        let mut lines = body.lines().map(str::trim);
        let method = lines.find_map(|line| line.strip_prefix("DEK-Info:"));
        let (cipher, iv) = method
            .and_then(|m| m.trim().split_once(','))
            .unwrap_or_default();
        let what = match label {
            "RSA PRIVATE KEY" if cipher == "AES-128-CBC" => {
                let iv = hex16(iv).ok_or_else(|| not_a_key("damaged: `DEK-Info` is wrong"))?;
                return Ok(Locked::RsaPem { blob, iv });
            }
            "RSA PRIVATE KEY" => format!("an RSA PEM key encrypted with {}", word(cipher)),
            "EC PRIVATE KEY" => "an EC PEM key with a passphrase".to_owned(),
            other => format!("`{other}` with a passphrase"),
        };
        Err(unsupported(what, WayOut::Rewrite))
    }

    /// The public half, where it is not encrypted.
    pub(super) fn public(&self) -> Option<&PublicKey> {
        match self {
            Locked::OpenSsh(key) => Some(key.public_key()),
            Locked::Pkcs8(_) | Locked::RsaPem { .. } => None,
        }
    }

    /// What a passphrase takes.
    pub(super) fn rounds(&self) -> String {
        match self {
            Locked::OpenSsh(key) => match key.kdf() {
                Kdf::Bcrypt { rounds, .. } => format!("{rounds} rounds of bcrypt"),
                _ => "one round".to_owned(),
            },
            Locked::Pkcs8(blob) => EncryptedPrivateKeyInfoRef::try_from(blob.as_slice())
                .map_or_else(
                    |_| String::new(),
                    |info| pkcs8_rounds(&info.encryption_algorithm),
                ),
            Locked::RsaPem { .. } => "one round".to_owned(),
        }
    }

    /// Opens the key. Takes as long as its rounds take.
    pub(super) fn unlock(&self, passphrase: &str) -> Result<PrivateKey, Problem> {
        let key = match self {
            Locked::OpenSsh(key) => unlock_openssh(key, passphrase)?,
            Locked::Pkcs8(blob) => unlock_pkcs8(blob, passphrase)?,
            Locked::RsaPem { blob, iv } => unlock_rsa_pem(blob, iv, passphrase)?,
        };
        usable(&key)?;
        Ok(key)
    }
}

fn pkcs8_rounds(scheme: &EncryptionScheme) -> String {
    match scheme {
        EncryptionScheme::Pbes2(parameters) => match &parameters.kdf {
            Pbes2Kdf::Pbkdf2(kdf) => format!("{} rounds of PBKDF2", kdf.iteration_count),
            Pbes2Kdf::Scrypt(kdf) => format!("{} rounds of scrypt", kdf.cost_parameter),
            _ => "many rounds".to_owned(),
        },
        _ => "many rounds".to_owned(),
    }
}

fn unlock_openssh(key: &PrivateKey, passphrase: &str) -> Result<PrivateKey, Problem> {
    let opened = key.decrypt(passphrase);
    let opened = opened.or_else(|e| short_scalar::unlock(&e, key, passphrase).ok_or(e));
    opened.map_err(|e| match e {
        ssh_key::Error::PublicKey => not_a_key("damaged: its two halves do not belong together"),
        // An unknown cipher was told before; a wrong passphrase makes garbage of any kind.
        _ => Problem::WrongPassphrase,
    })
}

fn unlock_pkcs8(blob: &[u8], passphrase: &str) -> Result<PrivateKey, Problem> {
    let info = EncryptedPrivateKeyInfoRef::try_from(blob).map_err(|_| Problem::WrongPassphrase)?;
    let opened: SecretDocument = info.decrypt(passphrase).map_err(|e| match e {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            unsupported("a PKCS#8 key encrypted in an unusual way", WayOut::Rewrite)
        }
        _ => Problem::WrongPassphrase,
    })?;
    pkcs8(opened.as_bytes(), "a PKCS#8 key")
}

/// The key of AES is one MD5 of the passphrase and the first half of the IV (EVP_BytesToKey(3)). Done
/// here because russh's own reader leaves the decrypted key behind in memory.
fn unlock_rsa_pem(blob: &[u8], iv: &[u8; 16], passphrase: &str) -> Result<PrivateKey, Problem> {
    let mut hash = md5::Context::new();
    hash.consume(passphrase.as_bytes());
    hash.consume(&iv[..8]);
    let key = Zeroizing::new(hash.finalize().0);
    let cipher = cbc::Decryptor::<Aes128>::new((&*key).into(), iv.into());
    let mut plain = Zeroizing::new(blob.to_vec());
    let der = cipher.decrypt_padded::<Pkcs7>(&mut plain);
    let der = der.map_err(|_| Problem::WrongPassphrase)?;
    // What a wrong passphrase makes of it may end as a padding does.
    pkcs8(&in_pkcs8(der), "an RSA PEM key").map_err(|_| Problem::WrongPassphrase)
}

fn hex16(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The name of a cipher, if it looks like one.
fn word(cipher: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if cipher.is_empty() || cipher.len() > 40 || !cipher.bytes().all(plain) {
        return "an unknown cipher";
    }
    cipher
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked")
    }
}
