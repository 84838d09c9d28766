//! Checking the files that a configuration names: keys, certificates, secrets and known_hosts.

use std::collections::HashSet;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tunneld_core::config::{Credential, Diagnostic, Diagnostics, Sourced, Target, TunnelSpec};
use tunneld_ssh::error::os_reason;
use tunneld_ssh::host_key::shell_word;
use tunneld_ssh::identity::{self, IdentityProblem, IdentityProblemKind};
use tunneld_ssh::known_hosts::KnownHosts;

use super::{Loaded, open};

impl Loaded {
    /// Checks the files that the tunnels name which `wanted` picks.
    pub(crate) fn check_files(&self, wanted: impl Fn(&TunnelSpec) -> bool) -> Diagnostics {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let mut items = Vec::new();
        for spec in self.config.tunnels.values().filter(|t| wanted(t)) {
            for target in spec.target.hops().into_iter().chain([&spec.target]) {
                let mut check = Check {
                    spec,
                    target,
                    items: &mut items,
                };
                check.keys();
                check.certificates();
                check.credentials(credentials.as_deref());
                check.known_hosts();
            }
        }
        // A file that `[defaults]` names, or a tunnel for its jump hosts too, is one problem.
        let mut seen = HashSet::new();
        items.retain(|item| seen.insert((item.span.clone(), item.message.clone())));
        Diagnostics::new(self.origin.clone(), self.text.clone(), items)
    }
}

/// The files of one server.
struct Check<'a> {
    spec: &'a TunnelSpec,
    target: &'a Target,
    items: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn keys(&mut self) {
        let target = self.target;
        let mut usable = 0;
        for file in &target.identity_file {
            match identity::inspect(&file.value) {
                Ok(()) => usable += 1,
                Err(problem) if target.identity_file_is_default && problem.is_missing() => {}
                Err(problem) if works_with_more(target, &problem) => usable += 1,
                Err(problem) => {
                    let hint = problem.hint();
                    self.report(&file.span, problem.to_string(), hint);
                }
            }
        }
        let other = target.identity_agent.is_some() || target.password_credential.is_some();
        let names_keys = !target.identity_file_is_default && !target.identity_file.is_empty();
        if !names_keys && usable == 0 && !other {
            let name = &self.spec.name;
            let message = format!("tunnel `{name}` has no key to authenticate with");
            let hint = "make one with ssh-keygen, and name it in `identity_file`".to_owned();
            self.report(&None, message, Some(hint));
        }
    }

    fn certificates(&mut self) {
        for file in &self.target.certificate_file {
            if let Err(e) = open(&file.value) {
                let path = file.value.display();
                let said = format!("certificate file {path}: {}", os_reason(&e));
                self.report(&file.span, said, None);
            }
        }
    }

    /// `directory` is that of systemd: a person who runs `check` has none, and then what is in it
    /// is not known.
    fn credentials(&mut self, directory: Option<&Path>) {
        let target = self.target;
        for Sourced { value, span } in [&target.passphrase_credential, &target.password_credential]
            .into_iter()
            .flatten()
        {
            let problem = match (value, directory) {
                (Credential::File(path), _) => secret_file(path),
                (Credential::Named(name), Some(directory)) => passed(name, directory),
                (Credential::Named(_), None) => None,
            };
            if let Some((message, hint)) = problem {
                self.report(span, message, hint);
            }
        }
    }

    fn known_hosts(&mut self) {
        for file in &self.target.known_hosts {
            if let Err(e) = KnownHosts::read(std::slice::from_ref(&file.value)) {
                self.report(&file.span, e.to_string(), e.hint());
            }
        }
    }

    fn report(&mut self, span: &Option<Range<usize>>, message: String, hint: Option<String>) {
        let item = Diagnostic {
            span: span.clone(),
            help: hint,
            ..Diagnostic::new(message)
        };
        self.items.push(item.with_tunnel(self.spec.name.clone()));
    }
}

/// Whether a file that is no key to sign with alone is one together with what else is named: an
/// encrypted key with its passphrase, or the public half of a key that an agent has.
fn works_with_more(target: &Target, problem: &IdentityProblem) -> bool {
    match problem.kind {
        IdentityProblemKind::Encrypted => {
            target.passphrase_credential.is_some() || target.identity_agent.is_some()
        }
        IdentityProblemKind::Public { .. } => target.identity_agent.is_some(),
        _ => false,
    }
}

/// What is wrong with a file that has a secret, and what to do about it.
fn secret_file(path: &Path) -> Option<(String, Option<String>)> {
    let shown = path.display().to_string();
    let mode = match open(path).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata.mode() & 0o7777,
        Err(e) => return Some((format!("credential file {shown}: {}", os_reason(&e)), None)),
    };
    (mode & 0o077 != 0).then(|| {
        let message = format!("credential file {shown} is open to others: mode {mode:04o}");
        (message, Some(format!("chmod 600 {}", shell_word(&shown))))
    })
}

/// What is wrong with a credential that systemd should have passed.
fn passed(name: &str, directory: &Path) -> Option<(String, Option<String>)> {
    let e = open(&directory.join(name)).err()?;
    let message = format!(
        "credential \"{name}\" in $CREDENTIALS_DIRECTORY: {}",
        os_reason(&e)
    );
    let hint =
        format!("LoadCredential={name}:PATH in the unit passes the file PATH under this name");
    Some((message, Some(hint)))
}
