//! Asking a server which host keys it has, as ssh-keyscan(1) does, over the tunnel's own way.
//!
//! A server shows one key in a key exchange (RFC 4253 section 7.1): the first type of the client's
//! list that it has. So it is met again and again, each time without the types that it has shown,
//! until it has none of those that are left: once more than it has keys, and never more often than
//! there are types. One connection follows the other, since a server may count those that have not
//! logged in (MaxStartups of sshd_config(5)). russh has checked the server's signature when a key is
//! shown: the server does have the private half. The connection ends there, before anybody logs in.
//!
//! Jump hosts on the way are logged in to as ever: their own keys must be trusted already, also where
//! `accept-new` would have them learnt.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use tunneld_core::config::{Keepalive, StrictHostKeyChecking, Target, Via};
use tunneld_core::failure::{Class, Failure, Stage};

use crate::connect::{Progress, config, meet};
use crate::error::SessionError;
use crate::host_key::{self, TrustCommand, Verdict, same_type};
use crate::known_hosts::{self, KnownAs, KnownHosts, LearnError, enter, rsa_bits};
use crate::road::{Bastions, Lease};
use crate::shared::Shared;
use crate::trace::Trace;

/// What a server has shown.
#[derive(Debug)]
pub struct Shown {
    /// Its keys, one of each type; there is one at least.
    pub keys: Vec<HostKey>,
    /// Why it may have more keys than these: it could not be asked for the rest.
    pub cut_short: Option<Failure>,
}

/// A key that a server has shown, and has the private half of.
#[derive(Debug, Clone)]
pub struct HostKey(PublicKey);

/// Asks the server of `target` for its host keys. Each connection may take `patience`. `trust` is for
/// whoever has to deal with a jump host first.
///
/// # Errors
///
/// A [`Failure`] when the server has shown no key at all: as of an attempt to make a session.
pub async fn scan(
    target: &Target,
    keepalive: Keepalive,
    patience: Duration,
    bastions: &Bastions,
    trust: &TrustCommand,
) -> Result<Shown, Failure> {
    let target = &over_known_hosts(target);
    let _lease = Lease::take(target, keepalive, bastions, patience, trust);
    let offer = config(target, &KnownHosts::default()).preferred;
    if offer.key.is_empty() {
        return Err(only_certificates());
    }
    let mut left = offer.key.into_owned();
    let mut keys: Vec<HostKey> = Vec::new();
    let mut cut_short = None;
    while !left.is_empty() {
        let progress = Progress::new(trust.clone(), patience, Trace::default());
        match ask(target, keepalive, bastions, &progress, &left).await {
            Ok(key) => {
                let before = left.len();
                left.retain(|kind| !same_type(kind, &key.algorithm()));
                if left.len() == before {
                    cut_short = Some(another_type());
                    break;
                }
                keys.push(HostKey(key));
            }
            Err(failure) if keys.is_empty() => return Err(failure),
            // The key exchange itself was agreed on a moment ago: it has no key of these types.
            Err(failure) if is_disagreement(&failure) => break,
            Err(failure) => {
                cut_short = Some(failure);
                break;
            }
        }
    }
    Ok(Shown { keys, cut_short })
}

/// The same target over jump hosts none of which is learnt on the way, or anything of it: that is
/// what the person is here for, and what root writes the daemon may not be able to read.
fn over_known_hosts(target: &Target) -> Target {
    let Via::Jump(hop) = &target.via else {
        return target.clone();
    };
    let hop = Target {
        strict_host_key_checking: StrictHostKeyChecking::Yes,
        update_host_keys: false,
        ..over_known_hosts(hop)
    };
    Target {
        via: Via::Jump(Arc::new(hop)),
        ..target.clone()
    }
}

fn is_disagreement(failure: &Failure) -> bool {
    failure.stage == Stage::KeyExchange && failure.class == Class::Blocked
}

/// A certificate is trusted by its authority: there is nothing to show and to write down.
fn only_certificates() -> Failure {
    let cause = "`host_key_algorithms` allows only certificates, which have no line of their own in \
                 known_hosts";
    Failure::blocked(Stage::HostKey, cause).with_hint(
        "add an @cert-authority line with the key of whoever signs them, or allow a type of plain key",
    )
}

fn another_type() -> Failure {
    let cause = "the server showed a key of another type than was agreed on";
    Failure::blocked(Stage::HostKey, cause)
}

/// The key that the server shows who wants one of these types.
async fn ask(
    target: &Target,
    keepalive: Keepalive,
    bastions: &Bastions,
    progress: &Progress,
    kinds: &[Algorithm],
) -> Result<PublicKey, Failure> {
    let patience = progress.patience();
    let shared = Shared::new(Trace::default());
    let mut config = config(target, &KnownHosts::default());
    config.preferred.key = Cow::Owned(kinds.to_vec());
    config.preferred.host_key_certificates = Cow::Borrowed(&[]);
    let shown = Arc::default();
    let client = (config, Onlooker(Arc::clone(&shown)));
    let meeting = meet(target, keepalive, bastions, progress, &shared, client);
    let met = tokio::time::timeout(patience, meeting).await;
    if let Some(key) = shown.get() {
        return Ok(key.clone());
    }
    Err(match met {
        Ok(Err(failure)) => failure,
        // It was not asked for a certificate.
        Ok(Ok(_)) => another_type(),
        Err(_) => progress.timed_out(patience),
    })
}

/// Takes the server's key down and goes no further.
struct Onlooker(Arc<OnceLock<PublicKey>>);

impl client::Handler for Onlooker {
    type Error = SessionError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, SessionError> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            let _ = self.0.set(key.clone());
        }
        // Ends the connection: no channel is ever opened, whatever russh's defaults would accept.
        Ok(false)
    }
}

/// Writes keys of the host down in the first known_hosts file of `target`: see [`enter`]. Blocks.
///
/// # Errors
///
/// As [`enter`].
pub fn write_down(target: &Target, keys: &[&HostKey]) -> Result<(), LearnError> {
    let Some(file) = target.known_hosts.first() else {
        return Ok(());
    };
    let keys: Vec<PublicKey> = keys.iter().map(|key| key.0.clone()).collect();
    enter(&file.value, &KnownAs::of(target), &keys)
}

impl HostKey {
    /// Its type as `ssh-keygen -l` has it: `ED25519`, `ECDSA`, `RSA`.
    pub fn kind(&self) -> &'static str {
        match self.data() {
            KeyData::Ed25519(_) => "ED25519",
            KeyData::Ecdsa(_) => "ECDSA",
            _ => "RSA",
        }
    }

    /// Its size in bits.
    pub fn bits(&self) -> usize {
        match self.data().algorithm() {
            Algorithm::Ecdsa { curve } => match curve {
                EcdsaCurve::NistP256 => 256,
                EcdsaCurve::NistP384 => 384,
                EcdsaCurve::NistP521 => 521,
            },
            Algorithm::Ed25519 => 256,
            _ => rsa_bits(self.data()).unwrap_or_default(),
        }
    }

    /// `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        known_hosts::fingerprint(self.data())
    }

    /// The picture that `ssh-keygen -lv` draws of it, in eleven lines.
    pub fn picture(&self) -> String {
        let header = format!("[{} {}]", self.kind(), self.bits());
        let fingerprint = self.data().fingerprint(HashAlg::Sha256);
        fingerprint.to_randomart(&header)
    }

    /// What a record of it in the DNS has (RFC 4255, 6594 and 7479): the number of its algorithm,
    /// and its SHA-256.
    pub fn sshfp(&self) -> (u8, [u8; 32]) {
        let number = match self.data() {
            KeyData::Ed25519(_) => 4,
            KeyData::Ecdsa(_) => 3,
            _ => 1,
        };
        let digest = self.data().fingerprint(HashAlg::Sha256).sha256();
        (number, digest.unwrap_or_default())
    }

    /// What known_hosts and the pins say of it. As [`host_key::judge`], for a person who is asked
    /// about each key: a key is new ([`Verdict::Learn`]) if none of its type is known for the host,
    /// whichever others are and whatever `strict_host_key_checking` says.
    pub fn judge(&self, target: &Target, known: &KnownHosts, trust: &TrustCommand) -> Verdict {
        let asked = Target {
            strict_host_key_checking: StrictHostKeyChecking::AcceptNew,
            ..target.clone()
        };
        host_key::judge(&asked, &known.of_type(self.data()), &self.0, trust)
    }

    fn data(&self) -> &KeyData {
        self.0.key_data()
    }
}
