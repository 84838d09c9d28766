//! Proving who we are (RFC 4252).
//!
//! Keys are read afresh at every attempt. A later method is a function beside
//! [`public_key`] and a line in [`authenticate`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{MethodKind, MethodSet};
use tunneld_core::config::Target;
use tunneld_core::failure::{Failure, Stage};

use crate::error::SessionError;
use crate::error::session_failure;
use crate::handler::Handler;
use crate::identity::{Identity, IdentityProblem};
use crate::shared::Shared;
use crate::trace::{Answer, Step};

/// How long to wait for the reason why a server closed the connection.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

/// What one method came to.
enum Outcome {
    Accepted,
    Rejected,
}

/// What the attempts so far have shown.
#[derive(Default)]
struct Tried {
    /// Fingerprints of the keys that the server rejected.
    rejected: Vec<String>,
    /// Keys that could not be used.
    problems: Vec<IdentityProblem>,
    /// What the server says it would accept.
    accepts: Option<MethodSet>,
}

/// Authenticates as the target says.
pub(crate) async fn authenticate(
    handle: &mut Handle<Handler>,
    target: &Target,
    shared: &Shared,
) -> Result<(), Failure> {
    let mut tried = Tried::default();
    for file in &target.identity_file {
        let identity = match read(&file.value).await? {
            Ok(identity) => identity,
            Err(problem) if target.identity_file_is_default && problem.is_missing() => continue,
            Err(problem) => {
                shared.trace.note(|| Step::Tried {
                    method: "publickey",
                    with: file.value.display().to_string(),
                    answer: Answer::Skipped {
                        reason: problem.to_string(),
                    },
                });
                tried.problems.push(problem);
                continue;
            }
        };
        match public_key(handle, target, &identity, &mut tried, shared).await? {
            Outcome::Accepted => return Ok(()),
            Outcome::Rejected if !tried.may_go_on() => break,
            Outcome::Rejected => {}
        }
    }
    Err(tried.into_failure(target))
}

async fn read(path: &Path) -> Result<Result<Identity, IdentityProblem>, Failure> {
    let path = path.to_owned();
    // Decryption and slow disks must not hold up the runtime.
    tokio::task::spawn_blocking(move || Identity::read(&path))
        .await
        .map_err(|_| Failure::transient(Stage::Authenticate, "reading a key was interrupted"))
}

async fn public_key(
    handle: &mut Handle<Handler>,
    target: &Target,
    identity: &Identity,
    tried: &mut Tried,
    shared: &Shared,
) -> Result<Outcome, Failure> {
    let key = identity.key();
    // An RSA key without a hash signs with SHA-1, which nobody should accept any more.
    let hash = if key.algorithm().is_rsa() {
        let supported = handle.best_supported_rsa_hash().await;
        let supported = supported.map_err(|e| session_failure(Stage::Authenticate, &e.into()))?;
        Some(supported.flatten().unwrap_or(russh::keys::HashAlg::Sha512))
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
    let result = handle.authenticate_publickey(&target.user, key).await;
    let fingerprint = identity.fingerprint().to_owned();
    tracing::debug!(
        user = %target.user,
        key = %fingerprint,
        accepted = result.as_ref().is_ok_and(AuthResult::success),
        "tried a key"
    );
    if let (Ok(said), false) = (&result, handle.is_closed()) {
        shared.trace.note(|| Step::Tried {
            method: "publickey",
            with: format!(
                "{} {fingerprint} ({})",
                identity.type_name(),
                identity.path().display()
            ),
            answer: answer(said),
        });
    }
    match result {
        Ok(AuthResult::Success) => Ok(Outcome::Accepted),
        // A session that died looks like a rejection, so the session is asked first.
        Ok(AuthResult::Failure { .. }) if handle.is_closed() => Err(why_closed(shared).await),
        Ok(AuthResult::Failure {
            remaining_methods,
            partial_success: true,
        }) => Err(more_wanted(&fingerprint, &remaining_methods)),
        Ok(AuthResult::Failure {
            remaining_methods, ..
        }) => {
            tried.rejected.push(fingerprint);
            tried.accepts = Some(remaining_methods);
            Ok(Outcome::Rejected)
        }
        Err(_) => Err(why_closed(shared).await),
    }
}

fn answer(result: &AuthResult) -> Answer {
    match result {
        AuthResult::Success => Answer::Accepted,
        AuthResult::Failure {
            remaining_methods,
            partial_success: true,
        } => Answer::Partial {
            wanted: names(remaining_methods),
        },
        AuthResult::Failure {
            remaining_methods, ..
        } => Answer::Rejected {
            accepts: names(remaining_methods),
        },
    }
}

/// The key was right, and is not enough (`AuthenticationMethods` of sshd_config(5)).
fn more_wanted(fingerprint: &str, wanted: &MethodSet) -> Failure {
    let cause = format!(
        "the server accepted the key {fingerprint} and wants more: {}",
        names(wanted)
    );
    Failure::blocked(Stage::Authenticate, cause)
        .with_hint("tunneld authenticates with a key alone; see AuthenticationMethods in the server's sshd_config")
}

fn names(methods: &MethodSet) -> String {
    let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
    names.join(", ")
}

async fn why_closed(shared: &Shared) -> Failure {
    let mut ended = shared.ended();
    let reason = tokio::time::timeout(REASON_PATIENCE, ended.wait_for(Option::is_some)).await;
    match reason {
        Ok(Ok(failure)) => failure.clone(),
        _ => None,
    }
    .unwrap_or_else(|| {
        let closed = SessionError::Ssh(russh::Error::Disconnect);
        session_failure(Stage::Authenticate, &closed)
    })
}

impl Tried {
    fn may_go_on(&self) -> bool {
        self.accepts
            .as_ref()
            .is_none_or(|methods| methods.contains(&MethodKind::PublicKey))
    }

    fn into_failure(self, target: &Target) -> Failure {
        let Target { user, host, .. } = target;
        if self.rejected.is_empty() {
            let mut problems = self.problems.into_iter();
            return match problems.next() {
                Some(problem) => problem.into_failure(),
                None => Failure::blocked(Stage::Authenticate, "there is no key to try")
                    .with_hint("make one with ssh-keygen, and name it in `identity_file`"),
            };
        }
        let accepts = match self.accepts.filter(|m| !m.is_empty()) {
            Some(methods) => names(&methods),
            None => "nothing more".to_owned(),
        };
        let mut cause = format!(
            "server rejected every key (tried {}: {}); it accepts: {accepts}",
            self.rejected.len(),
            self.rejected.join(", "),
        );
        for problem in &self.problems {
            cause.push_str(&format!("; not tried: {problem}"));
        }
        Failure::blocked(Stage::Authenticate, cause).with_hint(format!(
            "add the public key to ~{user}/.ssh/authorized_keys on {host}, or correct `user`"
        ))
    }
}
