//! Checking the files that a configuration names: keys, certificates, secrets, known_hosts, and the
//! programs of hooks.

mod programs;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use tunneld_core::config::{Config, Diagnostic, Diagnostics, Sourced, Target, TunnelSpec};
use tunneld_core::events;
use tunneld_core::name::TunnelName;
use tunneld_ssh::known_hosts::KnownHosts;
use tunneld_ssh::{KeyChecks, credential};

use super::Loaded;

/// What is wrong with the files.
#[derive(Debug)]
pub(crate) struct Found {
    /// All of it, in the order of the configuration.
    pub(crate) all: Diagnostics,
    /// What stays wrong until somebody mends it.
    pub(crate) lasting: Diagnostics,
    /// The rest, which time decides: the dates of certificates, an agent that may be starting.
    pub(crate) passing: Diagnostics,
}

impl Loaded {
    /// Checks the files that the tunnels name which `wanted` picks. Blocks.
    pub(crate) fn check_files(
        &self,
        keys: &mut KeyChecks,
        wanted: impl Fn(&TunnelSpec) -> bool,
    ) -> Found {
        self.check_some(keys, &wanted, &wanted)
    }

    /// Checks the files of the tunnels that `touched` picks, and programs of hooks that `old` did not
    /// have: to take those over needs no new session. Blocks.
    pub(crate) fn check_changes(
        &self,
        keys: &mut KeyChecks,
        old: &Config,
        touched: impl Fn(&TunnelName) -> bool,
    ) -> Found {
        let same = |old: &TunnelSpec, new: &TunnelSpec| {
            (&old.on_up, &old.on_down) == (&new.on_up, &new.on_down)
        };
        let has_other_hooks = |spec: &TunnelSpec| {
            let before = old.tunnels.get(&spec.name);
            spec.enabled && before.is_some_and(|before| !same(before, spec))
        };
        let touched = |spec: &TunnelSpec| touched(&spec.name);
        self.check_some(keys, touched, |spec| touched(spec) || has_other_hooks(spec))
    }

    fn check_some(
        &self,
        keys: &mut KeyChecks,
        wanted: impl Fn(&TunnelSpec) -> bool,
        hooks: impl Fn(&TunnelSpec) -> bool,
    ) -> Found {
        let mut items = Vec::new();
        for spec in self.config.tunnels.values().filter(|t| hooks(t)) {
            programs::check(spec, &mut items);
        }
        for spec in self.config.tunnels.values().filter(|t| wanted(t)) {
            for target in spec.target.hops().into_iter().chain([&spec.target]) {
                let mut check = Check {
                    spec,
                    target,
                    header: self.config.provenance.of_tunnel(&spec.name),
                    items: &mut items,
                };
                check.keys(keys);
                check.credentials();
                check.known_hosts();
            }
        }
        // A file that `[defaults]` names, or a tunnel for its jump hosts too, is one problem.
        let mut seen = HashSet::new();
        items.retain(|(item, _)| seen.insert((item.span.clone(), item.message.clone())));
        let these = |wanted: &dyn Fn(bool) -> bool| {
            let items = items.iter().filter(|(_, passes)| wanted(*passes));
            let items = items.map(|(item, _)| item.clone()).collect();
            Diagnostics::within(self.texts.clone(), self.origin.clone(), items)
        };
        Found {
            all: these(&|_| true),
            lasting: these(&|passes| !passes),
            passing: these(&|passes| passes),
        }
    }
}

/// Tells the journal: none of this keeps the other tunnels down. `suppressed` times it was not told
/// before.
pub(crate) fn warn(problems: &Diagnostics, suppressed: u32) {
    for problem in problems {
        tracing::warn!(
            message_id = events::KEY_PROBLEM,
            tunnel = problem.tunnel.as_ref().map(tracing::field::display),
            hint = problem.help.as_deref(),
            suppressed,
            "{}",
            problem.message
        );
    }
}

/// The files of one server.
struct Check<'a> {
    spec: &'a TunnelSpec,
    target: &'a Target,
    /// Where the tunnel is written.
    header: Option<Range<usize>>,
    /// And whether it passes by itself.
    items: &'a mut Vec<(Diagnostic, bool)>,
}

impl Check<'_> {
    /// What an attempt would say of its keys, its certificates and its agent.
    fn keys(&mut self, keys: &mut KeyChecks) {
        let target = self.target;
        let inspected = tunneld_ssh::inspect(target, keys);
        for finding in inspected.findings {
            let span = finding.file.as_deref().and_then(|file| self.place(file));
            let failure = finding.failure;
            self.found(&span, failure.cause, failure.hint, finding.passes);
        }
        let other = target.identity_agent.is_some() || target.password_credential.is_some();
        // Keys that are named and cannot be used were reported, each in its place.
        let unnamed = target.identity_file_is_default || target.identity_file.is_empty();
        if unnamed && !inspected.has_key && !other {
            let name = &self.spec.name;
            let message = format!("tunnel `{name}` has no key to authenticate with");
            let hint = "make one with ssh-keygen, and name it in `identity_file`".to_owned();
            self.report(&self.header.clone(), message, Some(hint));
        }
    }

    /// Where a key or certificate is named.
    fn place(&self, file: &Path) -> Option<Range<usize>> {
        let target = self.target;
        let mut named = target.identity_file.iter().chain(&target.certificate_file);
        named.find(|named| named.value == file)?.span.clone()
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
        self.found(span, message, hint, false);
    }

    fn found(
        &mut self,
        span: &Option<Range<usize>>,
        message: String,
        hint: Option<String>,
        passes: bool,
    ) {
        let item = Diagnostic {
            span: span.clone(),
            help: hint,
            ..Diagnostic::new(message)
        };
        self.items
            .push((item.with_tunnel(self.spec.name.clone()), passes));
    }
}
