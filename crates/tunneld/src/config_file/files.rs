//! Checking the files that a configuration names: keys, certificates, secrets and known_hosts.

use std::collections::HashSet;
use std::ops::Range;

use tunneld_core::config::{Diagnostic, Diagnostics, Sourced, Target, TunnelSpec};
use tunneld_ssh::credential;
use tunneld_ssh::identity::{self, certificate};
use tunneld_ssh::known_hosts::KnownHosts;

use super::Loaded;

impl Loaded {
    /// Checks the files that the tunnels name which `wanted` picks.
    pub(crate) fn check_files(&self, wanted: impl Fn(&TunnelSpec) -> bool) -> Diagnostics {
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
                check.credentials();
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
            match identity::inspect(&file.value, target) {
                Ok(()) => usable += 1,
                Err(problem) if target.identity_file_is_default && problem.is_missing() => {}
                Err(problem) => {
                    let hint = problem.hint();
                    self.report(&file.span, problem.to_string(), hint);
                }
            }
        }
        let other = target.identity_agent.is_some() || target.password_credential.is_some();
        if target.identity_file_is_default && usable == 0 && !other {
            let name = &self.spec.name;
            let message = format!("tunnel `{name}` has no key to authenticate with");
            let hint = "make one with ssh-keygen, and name it in `identity_file`".to_owned();
            self.report(&None, message, Some(hint));
        }
    }

    fn certificates(&mut self) {
        for file in &self.target.certificate_file {
            if let Err(problem) = certificate::inspect(&file.value) {
                self.report(&file.span, problem.to_string(), problem.hint());
            }
        }
    }

    /// A person who runs `check` has no credentials of systemd: then what is in them is not known.
    fn credentials(&mut self) {
        let target = self.target;
        for Sourced { value, span } in [&target.passphrase_credential, &target.password_credential]
            .into_iter()
            .flatten()
        {
            match credential::read(value) {
                Err(problem) if !problem.is_out_of_sight() => {
                    self.report(span, problem.to_string(), problem.hint());
                }
                _ => {}
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
