//! Which algorithms are offered, and in which order.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher};

use crate::host_key;

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
    fn the_cipher_is_chosen_by_what_the_processor_does_fast() {
        assert_eq!(cipher_order(true)[0], cipher::AES_128_GCM);
        assert_eq!(cipher_order(false)[0], cipher::CHACHA20_POLY1305);
    }
}
