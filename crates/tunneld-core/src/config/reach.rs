//! From settings to a [`Target`]: the host of a tunnel, and the hosts on the way to it.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::items::Base;
use super::login::Login;
use super::raw::Problems;
use super::settings::Settings;
use super::transport::Transport;
use super::trust::Trust;
use super::way::Hop;
use super::{Sourced, Target, Via};
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

/// What is said about one of the servers on the way.
struct Said<'a> {
    login: &'a Login,
    trust: &'a Trust,
    transport: &'a Transport,
}

impl Reach<'_> {
    /// The SSH server of the tunnel; `None` if it is not complete, which was said.
    pub(super) fn target(
        &self,
        host: Option<Sourced<String>>,
        problems: &mut Problems,
    ) -> Option<Target> {
        let settings = self.settings;
        settings.way.check(problems);
        let via = self.via(problems);
        let user = settings.user.as_ref().map(|v| v.value.clone());
        let user = self.user(user, "", self.at.clone(), problems);
        settings.trust.check("no host key can", problems);
        let port = settings.port.as_ref().map_or(22, |v| v.value);
        let said = Said {
            login: &settings.login,
            trust: &settings.trust,
            transport: &settings.transport,
        };
        let mut target = self.complete(Target::new(host?.value, port, user?), &said);
        target.algorithms.compression = settings.compression.as_ref().is_some_and(|v| v.value);
        Some(Target {
            via: via?,
            ..target
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

    /// A jump host. What it does not say is as with the tunnel, except what belongs to another
    /// server: who it is and as whom we come, its key, its name in known_hosts, a password, and the
    /// algorithms that it has. Nothing that goes over it is compressed: it is encrypted already.
    fn hop(&self, hop: &Hop, problems: &mut Problems) -> Option<Target> {
        let (settings, defaults) = (self.settings, self.defaults);
        let theirs = defaults.user.as_ref().map(|v| v.value.clone());
        let who = format!("jump host `{}` of ", hop.host);
        let user = hop.user.clone().or(theirs);
        let user = self.user(user, &who, hop.at.clone(), problems);
        let trust = hop.trust.of_hop(&settings.trust);
        let unchecked = format!("the host key of jump host `{}` cannot", hop.host);
        trust.check(&unchecked, problems);
        let port = defaults.port.as_ref().map(|v| v.value);
        let port = hop.port.or(port).unwrap_or(22);
        let said = Said {
            login: &hop.login.of_hop(&settings.login, &defaults.login),
            trust: &trust,
            transport: &hop.transport.clone().or(&defaults.transport),
        };
        Some(self.complete(Target::new(&hop.host, port, user?), &said))
    }

    /// The server with what is said about it, and with defaults for what is not. Only the first
    /// connection leaves this machine: its addresses are the same whatever it is made for.
    fn complete(&self, mut target: Target, said: &Said<'_>) -> Target {
        let home = self.base.surroundings.home.as_deref();
        said.login.fill(&mut target, home);
        said.trust.fill(&mut target, home);
        said.transport.fill(&mut target);
        target.address_family = self.settings.way.address_family();
        target.bind_address = self.settings.way.bind_address();
        target
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
}
