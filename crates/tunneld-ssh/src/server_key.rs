//! The key that a server shows, as the session meets it: judged, learnt where that is allowed, and
//! told of.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tunneld_core::config::{Target, host_port};
use tunneld_core::events;
use tunneld_core::failure::{Failure, Stage};

use crate::host_key::{self, TrustCommand, Verdict};
use crate::known_hosts::{KnownAs, KnownHosts, LearnError, fingerprint};
use crate::once;
use crate::shared::Shared;
use crate::trace::Step;

/// Decides about what the server shows, and writes its key down where `accept-new` says so. Returns
/// the file for further keys of the host, where there is one: that of the line that trusts it.
pub(crate) async fn check(
    target: &Target,
    known: &KnownHosts,
    offered: &PublicKeyOrCertificate,
    trust: &TrustCommand,
    shared: &Shared,
) -> Result<Option<PathBuf>, Failure> {
    let key = offered.public_key();
    let (verdict, problem) = match offered.certificate() {
        Some(certificate) => {
            host_key::judge_certificate(target, known, certificate, SystemTime::now(), trust)
        }
        None => (host_key::judge(target, known, &key, trust), None),
    };
    let (by, known_in) = match verdict {
        Verdict::Trusted { by, known_in } => (by, known_in),
        Verdict::Learn => match shared.trace.rehearsal() {
            Some(rehearsal) => {
                let could = learn(target, &key, host_key::could_learn).await;
                (rehearsal.learnt(could)?, None)
            }
            None => {
                let file = learn(target, &key, host_key::learn).await?;
                tell_learnt(target, trust, &key, &file);
                (format!("{} (learnt just now)", file.display()), Some(file))
            }
        },
        Verdict::Refused(failure) => return Err(failure),
    };
    if let Some(problem) = &problem
        && once::is_news(&format!("{target}: {problem}"))
    {
        tracing::info!(
            message_id = events::HOST_CERTIFICATE_NOT_ACCEPTED,
            tunnel = trust.tunnel(),
            host = %target.host,
            cause = problem,
            by,
            "host certificate not accepted; the key in it is known"
        );
    }
    tracing::debug!(tunnel = trust.tunnel(), host = %target.host, by, "host key trusted");
    shared.trace.note(|| Step::HostKey {
        key: shown(offered, &key),
        by,
    });
    Ok(known_in)
}

/// `ED25519 SHA256:…`, and what its authority calls it where it comes in a certificate.
fn shown(offered: &PublicKeyOrCertificate, key: &PublicKey) -> String {
    let name = host_key::named(key.key_data());
    match offered.certificate() {
        Some(certificate) => format!("{name}, {}", host_key::id(certificate)),
        None => name,
    }
}

/// How a key is written down, or found out whether it could be.
type Learn = fn(&Path, &KnownAs, &PublicKey) -> Result<(), LearnError>;

/// `accept-new`: has the key written down before it is trusted, and says where.
async fn learn(target: &Target, key: &PublicKey, learn: Learn) -> Result<PathBuf, Failure> {
    let place = host_port(&target.host, target.port);
    let Some(file) = target.known_hosts.first().map(|f| f.value.clone()) else {
        let cause = format!("unknown host {place}, and no known_hosts file to add it to");
        return Err(Failure::blocked(Stage::HostKey, cause));
    };
    let (path, host, learnt) = (file.clone(), KnownAs::of(target), key.clone());
    let learning = move || learn(&path, &host, &learnt);
    match tokio::task::spawn_blocking(learning).await {
        Ok(Ok(())) => Ok(file),
        Ok(Err(e)) => Err(e.into_failure()),
        Err(_) => Err(Failure::transient(
            Stage::HostKey,
            format!("adding {place} to known_hosts was interrupted"),
        )),
    }
}

fn tell_learnt(target: &Target, trust: &TrustCommand, key: &PublicKey, file: &Path) {
    tracing::info!(
        message_id = events::HOST_LEARNT,
        tunnel = trust.tunnel(),
        host = %target.host,
        key = %fingerprint(key.key_data()),
        file = %file.display(),
        "new host key learnt"
    );
}
