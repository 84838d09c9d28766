//! P-256 keys whose secret number is short.
//!
//! OpenSSH writes the number without leading zeros (an mpint, RFC 4251 section 5), so that one of 512
//! keys has fewer than the 32 bytes that its curve has. The library reads no such key, and calls that
//! an error of a length; it is read here then.

use russh::keys::ssh_key::encoding::Error as Encoding;
use russh::keys::ssh_key::private::{EcdsaKeypair, KeypairData};
use russh::keys::ssh_key::public::EcdsaPublicKey;
use russh::keys::ssh_key::{Error, sec1};
use russh::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::format::string;

type Point = sec1::EncodedPoint<sec1::consts::U32>;

/// The bytes of a number of the curve.
const LEN: usize = 32;

/// Whether the library may have failed for this.
fn is_likely(error: &Error) -> bool {
    matches!(error, Error::Encoding(Encoding::Length))
}

/// Reads a key that is not encrypted, for which the library has this `error`: the section with its
/// secrets, and the blob of its public half. `None` where the error is of something else.
pub(super) fn read(error: &Error, section: &[u8], public: &[u8]) -> Option<PrivateKey> {
    if !is_likely(error) {
        return None;
    }
    key(section, point(&PublicKey::from_bytes(public).ok()?)?)
}

/// Opens an encrypted key, for which the library has this `error`. `None` where the error is of
/// something else, as of a wrong passphrase: then the rounds are not run once more.
pub(super) fn unlock(error: &Error, locked: &PrivateKey, passphrase: &str) -> Option<PrivateKey> {
    if !is_likely(error) {
        return None;
    }
    let point = point(locked.public_key())?;
    let cipher = locked.cipher();
    let (secret, iv) = locked.kdf().derive_key_and_iv(cipher, passphrase).ok()?;
    let mut section = Zeroizing::new(locked.key_data().encrypted()?.to_vec());
    let whole = locked.to_bytes().ok()?;
    let tag = whole.last_chunk().copied().map(Into::into);
    let tag = tag.filter(|_| cipher.has_tag());
    cipher.decrypt(&secret, &iv, &mut section, tag).ok()?;
    key(&section, point)
}

fn point(public: &PublicKey) -> Option<&Point> {
    match public.key_data().ecdsa()? {
        EcdsaPublicKey::NistP256(point) => Some(point),
        _ => None,
    }
}

/// What is in a section (PROTOCOL.key of OpenSSH, section 3), if it is a whole key with a short number
/// and with this public half.
fn key(section: &[u8], public: &Point) -> Option<PrivateKey> {
    let (check, rest) = section.split_first_chunk::<4>()?;
    let (same, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = string(rest)?;
    let (curve, rest) = string(rest)?;
    let (point, rest) = string(rest)?;
    let (number, rest) = string(rest)?;
    let (_comment, padding) = string(rest)?;
    // Of whole blocks of the cipher.
    let padded = (1..=16_u8).collect::<Vec<_>>().starts_with(padding);
    let named = kind == b"ecdsa-sha2-nistp256" && curve == b"nistp256";
    if check != same || !named || point != public.as_bytes() || !padded {
        return None;
    }
    // With its first bit set, it would be negative.
    let positive = number.first()? < &0x80 && number.iter().any(|byte| *byte != 0);
    let missing = LEN.checked_sub(number.len()).filter(|_| positive)?;
    let mut scalar = Zeroizing::new([0; LEN]);
    scalar.get_mut(missing..)?.copy_from_slice(number);
    let pair = EcdsaKeypair::NistP256 {
        public: *public,
        private: (*scalar).into(),
    };
    PrivateKey::new(KeypairData::Ecdsa(pair), "").ok()
}
