//! From settings to a [`Target`]: the host of a tunnel, and the hosts on the way to it.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::items::Base;
use super::login::Login;
use super::provenance::{HEADER, Section, Spans};
use super::raw::Problems;
use super::road::Road;
use super::settings::Settings;
use super::ssh_files::SshFiles;
use super::ssh_layer::Layer;
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
    /// Its host as it is written.
    pub(super) host: Option<&'a Sourced<String>>,
    /// What it says, with `[defaults]` filled in.
    pub(super) written: &'a Settings,
    /// What `[defaults]` says.
    pub(super) defaults: &'a Settings,
    /// The files of ssh that say more.
    pub(super) ssh: Option<SshFiles<'a>>,
    /// What they say about its host.
    pub(super) layer: &'a Layer,
    /// What holds: what is written, and where nothing is what the files of ssh say.
    pub(super) settings: &'a Settings,
    pub(super) base: Base<'a>,
}

/// What is said about one of the servers on the way.
struct Said<'a> {
    login: &'a Login,
    trust: &'a Trust,
    transport: &'a Transport,
}

/// The server of a tunnel, and where what is said about it and its jump hosts is written.
pub(super) struct Reached {
    pub(super) target: Target,
    tunnel: Spans,
    /// The first one first.
    hops: Vec<Spans>,
}

impl Reached {
    /// Where all of a tunnel, whose name is written `at` this place, is written, with its forwards.
    pub(super) fn provenance(
        &self,
        name: &TunnelName,
        at: Range<usize>,
        forwards: Vec<Spans>,
    ) -> Vec<(Section, Spans)> {
        let mut tunnel = self.tunnel.clone();
        tunnel.add(HEADER, at);
        let mut all = vec![(Section::Tunnel(name.clone()), tunnel)];
        let hops = self.hops.iter().cloned().enumerate();
        all.extend(hops.map(|(n, spans)| (Section::Hop(name.clone(), n), spans)));
        let forwards = forwards.into_iter().enumerate();
        all.extend(forwards.map(|(n, spans)| (Section::Forward(name.clone(), n), spans)));
        all
    }
}

impl Reach<'_> {
    /// The SSH server of the tunnel; `None` if it is not complete, which was said.
    pub(super) fn target(&self, problems: &mut Problems) -> Option<Reached> {
        let settings = self.settings;
        let road = Road::new(self, problems);
        let via = self.via(&road, problems);
        let user = settings.user.as_ref().map(|v| v.value.clone());
        let user = self.user(user, "", self.at.clone(), problems);
        settings.trust.check("no host key can", problems);
        let port = settings.port.as_ref().map_or(22, |v| v.value);
        let host = self.layer.host.as_ref().or(self.host)?;
        let said = Said {
            login: &settings.login,
            trust: &settings.trust,
            transport: &settings.transport,
        };
        let target = Target::new(&host.value, port, user?);
        let mut target = self.complete(target, &said, &road);
        target.algorithms.compression = settings.compression.as_ref().is_some_and(|v| v.value);
        let hops = road.hops.iter().map(|(hop, layer)| self.spans(hop, layer));
        let tunnel = self.layer.settings.spans.only(&["host"]);
        Some(Reached {
            tunnel: tunnel.or(&road.spans_of_tunnel(&settings.spans)),
            hops: hops.collect(),
            target: Target {
                via: via?,
                ..target
            },
        })
    }

    /// The way to the tunnel's host: its jump hosts, each of them reached over the one before.
    fn via(&self, road: &Road, problems: &mut Problems) -> Option<Via> {
        let mut via = Some(road.first.clone());
        for (hop, layer) in &road.hops {
            let target = self.hop(hop, layer, road, problems);
            via = via
                .zip(target)
                .map(|(via, target)| Via::Jump(Arc::new(Target { via, ..target })));
        }
        via
    }

    /// A jump host. What it does not say is as with the tunnel, except what belongs to another
    /// server: who it is and as whom we come, its key, its name in known_hosts, a password, and the
    /// algorithms that it has. Nothing that goes over it is compressed: it is encrypted already.
    fn hop(
        &self,
        hop: &Hop,
        layer: &Layer,
        road: &Road,
        problems: &mut Problems,
    ) -> Option<Target> {
        let ssh = &layer.settings;
        let who = format!("jump host `{}` of ", hop.host);
        let user = self.user_of(hop).map(str::to_owned);
        let user = user.or_else(|| ssh.user.as_ref().map(|v| v.value.clone()));
        let user = self.user(user, &who, hop.at.clone(), problems);
        let login = self.login_of(hop).or(&ssh.login);
        let trust = hop.trust.of_hop(&self.written.trust).or(&ssh.trust);
        let unchecked = format!("the host key of jump host `{}` cannot", hop.host);
        trust.check(&unchecked, problems);
        let port = self.port_of(hop).or(ssh.port.as_ref().map(|v| v.value));
        let said = Said {
            login: &login,
            trust: &trust,
            transport: &self.transport_of(hop).or(&ssh.transport),
        };
        let host = layer.host.as_ref().map_or(&hop.host, |v| &v.value);
        let target = Target::new(host, port.unwrap_or(22), user?);
        Some(self.complete(target, &said, road))
    }

    /// The login name that is written for a jump host.
    pub(super) fn user_of<'a>(&'a self, hop: &'a Hop) -> Option<&'a str> {
        let theirs = self.defaults.user.as_ref().map(|v| v.value.as_str());
        hop.user.as_deref().or(theirs)
    }

    /// The port that is written for a jump host.
    pub(super) fn port_of(&self, hop: &Hop) -> Option<u16> {
        hop.port.or(self.defaults.port.as_ref().map(|v| v.value))
    }

    /// How to log in at a jump host, as far as it is written.
    pub(super) fn login_of(&self, hop: &Hop) -> Login {
        hop.login.of_hop(&self.written.login, &self.defaults.login)
    }

    /// What may be negotiated with a jump host, as far as it is written.
    pub(super) fn transport_of(&self, hop: &Hop) -> Transport {
        hop.transport.clone().or(&self.defaults.transport)
    }

    /// Where what holds for a jump host is written.
    fn spans(&self, hop: &Hop, layer: &Layer) -> Spans {
        const KEYS: [&str; 4] = [
            "identity_file",
            "certificate_file",
            "identity_agent",
            "passphrase_credential",
        ];
        const INHERITED: [&str; 5] = [
            "known_hosts",
            "strict_host_key_checking",
            "update_host_keys",
            "required_rsa_size",
            "identities_only",
        ];
        const DEFAULTS: [&str; 8] = [
            "port",
            "user",
            "password_credential",
            "ciphers",
            "macs",
            "kex_algorithms",
            "host_key_algorithms",
            "rekey_limit",
        ];
        let tunnels = match hop.spans.has("identity_file") {
            true => Spans::default(),
            false => self.written.spans.only(&KEYS),
        };
        let own = hop.spans.clone().or(&tunnels);
        let defaults = &self.defaults.spans;
        let own = own.or(&defaults.only(&DEFAULTS));
        let own = own.or(&self.written.spans.only(&INHERITED));
        let mut all = own.or(&layer.settings.spans.without(&["host"]));
        if layer.host.is_some() {
            // What `HostName` says stands in place of the name that is written.
            all = layer.settings.spans.only(&["host"]).or(&all);
        }
        all
    }

    /// The server with what is said about it, and with defaults for what is not. Only the first
    /// connection leaves this machine: its addresses are the same whatever it is made for.
    fn complete(&self, mut target: Target, said: &Said<'_>, road: &Road) -> Target {
        let home = self.base.surroundings.home.as_deref();
        said.login.fill(&mut target, home);
        said.trust.fill(&mut target, home);
        said.transport.fill(&mut target);
        road.fill(&mut target);
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
