//! Which algorithms are offered, and in which order.

use std::borrow::Cow;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Preferred, cipher, compression, kex, mac};
use tunneld_core::config::algorithms::Kind;
use tunneld_core::config::{Algorithms, Target};
use tunneld_core::text::clip;

use crate::host_key;
use crate::known_hosts::rsa_bits;

/// What is offered to a server: what `wanted` allows. `known` are the types of the host keys that
/// known_hosts has for it: they come first, as OpenSSH does, so that a server with several keys
/// shows one that can be checked.
pub(crate) fn preferred(known: &[Algorithm], wanted: &Algorithms) -> Preferred {
    let compressions: &[compression::Name] = match wanted.compression {
        // `zlib` without a domain compresses before the server knows who asks.
        true => &[compression::ZLIB_LEGACY, compression::NONE],
        false => &[compression::NONE],
    };
    let methods = names(Kind::Kex, &wanted.kex, |n| kex::Name::try_from(n).ok());
    Preferred {
        key: Cow::Owned(host_key::order(&host_keys(&wanted.host_keys), known)),
        cipher: names(Kind::Cipher, &wanted.ciphers, |n| {
            cipher::Name::try_from(n).ok()
        })
        .into(),
        mac: names(Kind::Mac, &wanted.macs, |n| mac::Name::try_from(n).ok()).into(),
        kex: methods.into_iter().chain(markers()).collect(),
        compression: Cow::Borrowed(compressions),
        ..Preferred::DEFAULT
    }
}

/// The names of a list of the file, or of all that there is, as russh has them.
fn names<T>(kind: Kind, wanted: &Option<Vec<String>>, known: impl Fn(&str) -> Option<T>) -> Vec<T> {
    match wanted {
        Some(names) => names.iter().filter_map(|n| known(n)).collect(),
        None => {
            let all = kind.defaults(has_aes_hardware());
            all.into_iter().filter_map(known).collect()
        }
    }
}

/// The types of plain host key that are accepted; a list of the file has those of certificates, too.
fn host_keys(wanted: &Option<Vec<String>>) -> Vec<Algorithm> {
    let plain = |name: &str| {
        let mut all = HOST_KEYS.iter();
        all.find(|a| a.to_string() == name).cloned()
    };
    names(Kind::HostKey, wanted, plain)
}

/// The markers among the key exchange methods: that we take extensions (RFC 8308), and that the
/// order of packets is checked (OpenSSH's answer to CVE-2023-48795).
fn markers() -> Vec<kex::Name> {
    let all = Preferred::DEFAULT.kex.iter();
    all.filter(|name| is_marker(name.as_ref()))
        .copied()
        .collect()
}

/// Whether the name among key exchange methods is none, but says what else a side can do.
pub(crate) fn is_marker(name: &str) -> bool {
    name.starts_with("ext-info-") || name.starts_with("kex-strict-")
}

/// What to do where nothing is in common with a server since the file leaves out what it has.
pub(crate) fn restriction(
    wanted: &Algorithms,
    kind: &AlgorithmKind,
    theirs: &[String],
) -> Option<String> {
    let (kind, allowed) = match kind {
        AlgorithmKind::Kex => (Kind::Kex, &wanted.kex),
        AlgorithmKind::Key => (Kind::HostKey, &wanted.host_keys),
        AlgorithmKind::Cipher => (Kind::Cipher, &wanted.ciphers),
        AlgorithmKind::Mac => (Kind::Mac, &wanted.macs),
        AlgorithmKind::Compression => return None,
    };
    let allowed = clip(&allowed.as_ref()?.join(","), 200);
    let key = kind.key();
    let ours = kind.defaults(has_aes_hardware());
    let common = theirs.iter().find(|name| ours.contains(&name.as_str()));
    Some(match common {
        Some(name) => format!("`{key}` allows only {allowed}; add {name} to it"),
        None => format!("`{key}` allows only {allowed}, and tunneld has none of the server's"),
    })
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
        && rsa_bits(key).is_none_or(|bits| bits >= host_key::least_rsa_bits(target))
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

    fn shown<T: AsRef<str>>(names: &[T]) -> Vec<String> {
        names.iter().map(|name| name.as_ref().to_owned()).collect()
    }

    fn written(names: &[&str]) -> Option<Vec<String>> {
        Some(shown(names))
    }

    #[test]
    fn the_key_type_that_can_be_checked_is_asked_for_first_and_sha1_never() {
        let known = [Algorithm::Rsa { hash: None }];
        let order = preferred(&known, &Algorithms::default()).key;
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
    fn every_name_that_the_file_may_have_is_offered_in_the_default_order() {
        // russh knows each of them: what it does not know would be left out.
        let offered = preferred(&[], &Algorithms::default());
        let all = |kind: Kind| shown(&kind.defaults(has_aes_hardware()));
        assert_eq!(shown(&offered.cipher), all(Kind::Cipher));
        assert_eq!(shown(&offered.mac), all(Kind::Mac));
        let (kex, markers) = offered.kex.split_at(all(Kind::Kex).len());
        assert_eq!(shown(kex), all(Kind::Kex));
        assert_eq!(shown(&markers[..1]), ["ext-info-c"]);
        assert!(markers.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
        let certificates = HOST_KEYS.iter().map(Algorithm::to_certificate_type);
        let plain = offered.key.iter().map(ToString::to_string);
        let types: Vec<String> = certificates.chain(plain).collect();
        assert_eq!(types, all(Kind::HostKey));
        assert_eq!(shown(&offered.compression), ["none"]);
    }

    #[test]
    fn a_list_of_the_file_is_all_that_is_offered_and_the_markers_stay() {
        let wanted = Algorithms {
            ciphers: written(&["aes256-ctr", "aes128-ctr"]),
            macs: written(&["hmac-sha2-256"]),
            kex: written(&["ecdh-sha2-nistp256"]),
            host_keys: written(&["rsa-sha2-256", "ssh-ed25519-cert-v01@openssh.com"]),
            compression: true,
        };
        let offered = preferred(&[Algorithm::Ed25519], &wanted);
        assert_eq!(shown(&offered.cipher), ["aes256-ctr", "aes128-ctr"]);
        assert_eq!(shown(&offered.mac), ["hmac-sha2-256"]);
        assert_eq!(
            shown(&offered.kex[..2]),
            ["ecdh-sha2-nistp256", "ext-info-c"]
        );
        let sha2 = Some(HashAlg::Sha256);
        assert_eq!(offered.key[..], [Algorithm::Rsa { hash: sha2 }]);
        assert_eq!(shown(&offered.compression), ["zlib@openssh.com", "none"]);
    }

    #[test]
    fn a_list_of_the_file_that_leaves_out_what_the_server_has_is_named() {
        let wanted = Algorithms {
            ciphers: written(&["aes256-ctr"]),
            ..Algorithms::default()
        };
        let hint =
            |kind: AlgorithmKind, theirs: &[&str]| restriction(&wanted, &kind, &shown(theirs));
        assert_eq!(
            hint(AlgorithmKind::Cipher, &["3des-cbc", "aes128-ctr"]).unwrap(),
            "`ciphers` allows only aes256-ctr; add aes128-ctr to it"
        );
        assert_eq!(
            hint(AlgorithmKind::Cipher, &["3des-cbc"]).unwrap(),
            "`ciphers` allows only aes256-ctr, and tunneld has none of the server's"
        );
        assert_eq!(hint(AlgorithmKind::Mac, &["hmac-md5"]), None);
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
}
