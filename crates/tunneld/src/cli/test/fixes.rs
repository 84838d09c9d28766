//! What to do about a failure, for whoever tests by hand: where the failure itself does not say it, and
//! where the service's user may read what the one who tests may not.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use tunneld_core::config::{Credential, Target, TunnelSpec};
use tunneld_core::failure::{Failure, Stage};

use crate::account::Account;

/// The user that the packaged service runs as.
const SERVICE: &str = "tunneld";

/// The same failure, with more about what to do.
pub(super) fn explain(failure: Failure, spec: &TunnelSpec) -> Failure {
    let all = spec.target.hops().into_iter().chain([&spec.target]);
    let as_owner = match failure.stage {
        Stage::Authenticate | Stage::HostKey => all
            .flat_map(files)
            .find_map(|file| advice(file, spec.name.as_str())),
        _ => None,
    };
    let hint = failure.hint.clone();
    let hint = hint.or_else(|| usual(failure.stage).map(str::to_owned));
    let hints: Vec<String> = hint.into_iter().chain(as_owner).collect();
    match hints.is_empty() {
        true => failure,
        false => failure.with_hint(hints.join("; ")),
    }
}

/// Where to look when a stage fails for a reason that the other side alone knows.
fn usual(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Resolve => {
            Some("correct the name, or the resolver of this machine: getent ahosts NAME")
        }
        Stage::Connect => Some(
            "correct `host` and `port`, or see that the server runs and that no firewall is between",
        ),
        Stage::KeyExchange | Stage::Authenticate => {
            Some("the server's log says why: journalctl -u ssh, on the server")
        }
        Stage::HostKey | Stage::Forward | Stage::Session | Stage::Probe => None,
    }
}

/// What to do about a file that only others may read.
pub(super) fn advice(file: &Path, tunnel: &str) -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root || rustix::fs::access(file, Access::READ_OK) != Err(Errno::ACCESS) {
        return None;
    }
    // In a folder that is closed to us, nothing is known of it. What belongs to root the service
    // reads as a member of its group, if at all.
    let owner = file
        .metadata()
        .ok()
        .map(|of| of.uid())
        .filter(|uid| *uid != 0);
    let owner = owner
        .and_then(|uid| Some(Account::of(uid)?.name))
        .unwrap_or_else(|| SERVICE.to_owned());
    Some(format!(
        "to test as the user who may read {}: sudo -u {owner} tunneld test {tunnel}",
        file.display()
    ))
}

/// The files of a target that are not for everybody.
fn files(target: &Target) -> impl Iterator<Item = &Path> {
    let secrets = [&target.passphrase_credential, &target.password_credential];
    let secrets = secrets.into_iter().flatten();
    let secrets = secrets.filter_map(|secret| match &secret.value {
        Credential::File(path) => Some(path),
        Credential::Named(_) => None,
    });
    let named = [
        &target.identity_file,
        &target.certificate_file,
        &target.known_hosts,
    ];
    let named = named.into_iter().flatten().map(|file| &file.value);
    named.chain(secrets).map(PathBuf::as_path)
}
