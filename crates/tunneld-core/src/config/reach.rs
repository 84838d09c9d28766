//! From settings to a [`Target`]: the host of a tunnel, and the hosts on the way to it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::items::Base;
use super::raw::Problems;
use super::settings::Settings;
use super::way::Hop;
use super::{Fingerprint, Sourced, StrictHostKeyChecking, Target, Via};
use crate::name::TunnelName;

/// What a tunnel is reached with.
pub(super) struct Reach<'a> {
    /// The tunnel.
    pub(super) name: &'a TunnelName,
    /// Where its name stands.
    pub(super) at: Range<usize>,
    /// What it says, with `[defaults]` filled in.
    pub(super) settings: &'a Settings,
    /// What `[defaults]` says.
    pub(super) defaults: &'a Settings,
    pub(super) base: Base<'a>,
}

impl Reach<'_> {
    /// The SSH server of the tunnel; `None` if it is not complete, which was said.
    pub(super) fn target(
        &self,
        host: Option<Sourced<String>>,
        problems: &mut Problems,
    ) -> Option<Target> {
        let via = self.via(problems);
        let settings = self.settings;
        let user = settings.user.as_ref().map(|v| v.value.clone());
        let user = self.user(user, "", self.at.clone(), problems);
        let pins = settings.host_key_fingerprint.as_ref();
        let pins = pins.map(|v| v.value.clone()).unwrap_or_default();
        let known_hosts = settings.known_hosts.as_ref();
        checkable(known_hosts, &pins, "no host key can", problems);
        let port = settings.port.as_ref().map_or(22, |v| v.value);
        Some(Target {
            identity_file_is_default: settings.identity_file.is_none(),
            identity_file: self.keys(),
            known_hosts: self.known_hosts(known_hosts),
            strict_host_key_checking: self.strictness(),
            host_key_fingerprint: pins,
            via: via?,
            ..Target::new(host?.value, port, user?)
        })
    }

    /// The way to the tunnel's host: its jump hosts, each of them reached over the one before.
    fn via(&self, problems: &mut Problems) -> Option<Via> {
        let way = &self.settings.way;
        let mut via = Some(way.first.clone().unwrap_or(Via::Direct));
        for hop in way.hops.iter().flatten() {
            let target = self.hop(hop, problems);
            via = via
                .zip(target)
                .map(|(via, target)| Via::Jump(Arc::new(Target { via, ..target })));
        }
        via
    }

    /// A jump host. Keys and files that it does not say are those of the tunnel; its login name and
    /// its port are not, since those of the tunnel belong to another server.
    fn hop(&self, hop: &Hop, problems: &mut Problems) -> Option<Target> {
        let theirs = self.defaults.user.as_ref().map(|v| v.value.clone());
        let who = format!("jump host `{}` of ", hop.host);
        let user = hop.user.clone().or(theirs);
        let user = self.user(user, &who, hop.at.clone(), problems);
        let known_hosts = hop.known_hosts.as_ref();
        let known_hosts = known_hosts.or(self.settings.known_hosts.as_ref());
        let unchecked = format!("the host key of jump host `{}` cannot", hop.host);
        checkable(known_hosts, &hop.host_key_fingerprint, &unchecked, problems);
        let port = self.defaults.port.as_ref().map(|v| v.value);
        let files = hop.identity_file.clone();
        let port = hop.port.or(port).unwrap_or(22);
        Some(Target {
            identity_file_is_default: files.is_none() && self.settings.identity_file.is_none(),
            identity_file: files.unwrap_or_else(|| self.keys()),
            known_hosts: self.known_hosts(known_hosts),
            strict_host_key_checking: hop
                .strict_host_key_checking
                .unwrap_or_else(|| self.strictness()),
            host_key_fingerprint: hop.host_key_fingerprint.clone(),
            ..Target::new(&hop.host, port, user?)
        })
    }

    /// A login name, or that of the user that tunneld runs as.
    fn user(
        &self,
        written: Option<String>,
        who: &str,
        at: Range<usize>,
        problems: &mut Problems,
    ) -> Option<String> {
        let user = written.or_else(|| self.base.surroundings.user.clone());
        if user.is_none() {
            let name = self.name;
            let said =
                format!("{who}tunnel `{name}` has no `user`, and tunneld's own is not known");
            problems.report_absent(Diagnostic::at(at, said).with_help("add user = \"tunnel\""));
        }
        user
    }

    fn strictness(&self) -> StrictHostKeyChecking {
        let written = self.settings.strict_host_key_checking.as_ref();
        written.map_or(StrictHostKeyChecking::Yes, |v| v.value)
    }

    fn keys(&self) -> Vec<Sourced<PathBuf>> {
        let home = self.base.surroundings.home.as_deref();
        match &self.settings.identity_file {
            Some(written) => written.value.clone(),
            None => default_keys(home),
        }
    }

    fn known_hosts(
        &self,
        written: Option<&Sourced<Vec<Sourced<PathBuf>>>>,
    ) -> Vec<Sourced<PathBuf>> {
        let home = self.base.surroundings.home.as_deref();
        match written {
            Some(written) => written.value.clone(),
            None => default_known_hosts(home),
        }
    }
}

/// Reports that there is nothing that a host key could be compared with.
fn checkable(
    known_hosts: Option<&Sourced<Vec<Sourced<PathBuf>>>>,
    pins: &[Fingerprint],
    unchecked: &str,
    problems: &mut Problems,
) {
    if let Some(Sourced { value, span }) = known_hosts
        && value.is_empty()
        && pins.is_empty()
    {
        let said = format!("`known_hosts` names no file, so {unchecked} be checked");
        problems.report(Diagnostic {
            span: span.clone(),
            ..Diagnostic::new(said).with_help(
                "name a file, leave the key out to use the usual ones, or pin the host's key \
                 with `host_key_fingerprint`",
            )
        });
    }
}

fn default_keys(home: Option<&Path>) -> Vec<Sourced<PathBuf>> {
    let names = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
    let paths = home.iter().flat_map(|home| names.map(|n| home.join(n)));
    paths.map(unwritten).collect()
}

fn default_known_hosts(home: Option<&Path>) -> Vec<Sourced<PathBuf>> {
    let ours = home.map(|home| home.join(".ssh/known_hosts"));
    std::iter::once(PathBuf::from("/etc/tunneld/known_hosts"))
        .chain(ours)
        .chain([PathBuf::from("/etc/ssh/ssh_known_hosts")])
        .map(unwritten)
        .collect()
}

fn unwritten(value: PathBuf) -> Sourced<PathBuf> {
    Sourced { value, span: None }
}
