//! Which algorithms are offered, and in which order.

use std::borrow::Cow;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher};
use tunneld_core::config::Target;

use crate::host_key::{self, MIN_RSA_BITS};
use crate::known_hosts::rsa_bits;

/// What is offered to a server. `known` are the types of the host keys that known_hosts has for it:
/// they come first, as OpenSSH does, so that a server with several keys shows one that can be
/// checked.
pub(crate) fn preferred(known: &[Algorithm]) -> Preferred {
    let defaults = Preferred::DEFAULT;
    Preferred {
        key: Cow::Owned(host_key::order(&HOST_KEYS, known)),
        cipher: Cow::Owned(cipher_order(has_aes_hardware())),
        ..defaults
    }
}

/// The types of host certificate to ask for: none unless an authority is known for the host, because
/// nothing could be made of one; then all but those that `host_key_algorithms` leaves out.
pub(crate) fn certificates(target: &Target, authority: bool) -> Vec<Algorithm> {
    let wanted = |a: &&Algorithm| authority && is_wanted(target, &a.to_certificate_type());
    HOST_KEYS.iter().filter(wanted).cloned().collect()
}

/// Whether a server's key of this type and size would be accepted.
pub(crate) fn accepts(target: &Target, key: &KeyData) -> bool {
    let of_type = |a: &&Algorithm| host_key::same_type(a, &key.algorithm());
    let mut names = HOST_KEYS.iter().filter(of_type).map(Algorithm::to_string);
    names.any(|name| is_wanted(target, &name))
        && rsa_bits(key).is_none_or(|bits| bits >= MIN_RSA_BITS)
}

fn is_wanted(target: &Target, name: &str) -> bool {
    let wanted = target.algorithms.host_keys.as_deref();
    wanted.is_none_or(|names| names.iter().any(|wanted| wanted == name))
}

/// The types of host key that are accepted. SHA-1 signatures (`ssh-rsa`) are not.
const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// AES-GCM where the processor does AES, else ChaCha20, which is fast everywhere.
fn cipher_order(aes_hardware: bool) -> Vec<cipher::Name> {
    let gcm = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let chacha = [cipher::CHACHA20_POLY1305];
    let ctr = [
        cipher::AES_128_CTR,
        cipher::AES_192_CTR,
        cipher::AES_256_CTR,
    ];
    let (first, second): (&[_], &[_]) = if aes_hardware {
        (&gcm, &chacha)
    } else {
        (&chacha, &gcm)
    };
    [first, second, &ctr].concat()
}

/// Whether the processor does AES: it decides which ciphers come first.
#[cfg(target_arch = "x86_64")]
pub fn has_aes_hardware() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// Whether the processor does AES: it decides which ciphers come first.
#[cfg(target_arch = "aarch64")]
pub fn has_aes_hardware() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

/// Whether the processor does AES: it decides which ciphers come first.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn has_aes_hardware() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_type_that_can_be_checked_is_asked_for_first_and_sha1_never() {
        let known = [Algorithm::Rsa { hash: None }];
        let order = preferred(&known).key;
        assert_eq!(
            order[0],
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512)
            }
        );
        assert_eq!(order[2], Algorithm::Ed25519);
        assert!(!order.contains(&Algorithm::Rsa { hash: None }));
    }

    #[test]
    fn certificates_are_asked_for_where_an_authority_is_known_and_as_the_file_allows() {
        let mut target = Target::new("db", 22, "tunnel");
        assert!(certificates(&target, false).is_empty());
        assert_eq!(certificates(&target, true), HOST_KEYS);
        let names = ["ssh-ed25519", "rsa-sha2-256-cert-v01@openssh.com"];
        target.algorithms.host_keys = Some(names.map(str::to_owned).to_vec());
        let hash = Some(HashAlg::Sha256);
        assert_eq!(certificates(&target, true), [Algorithm::Rsa { hash }]);
    }

    #[test]
    fn the_cipher_is_chosen_by_what_the_processor_does_fast() {
        assert_eq!(cipher_order(true)[0], cipher::AES_128_GCM);
        assert_eq!(cipher_order(false)[0], cipher::CHACHA20_POLY1305);
    }
}
