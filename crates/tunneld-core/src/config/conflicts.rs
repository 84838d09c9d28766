//! Two forwards that listen on the same place: only one of them could ever be up.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::Path;

use super::diagnostic::Diagnostic;
use super::raw::Problems;
use super::{
    Config, ForwardKind, ForwardSpec, Listen, ListenHost, RemoteListen, Target, TcpListen,
    TunnelSpec, Via,
};
use crate::name::TunnelName;

/// A tunnel that would listen.
#[derive(Clone, Copy)]
pub(super) struct Listening<'a> {
    pub(super) tunnel: &'a TunnelName,
    /// Where it goes; `None` where that is not right.
    pub(super) target: Option<&'a Target>,
    pub(super) forwards: &'a [ForwardSpec],
}

/// One listening place of the file.
#[derive(Clone, Copy)]
struct Use<'a> {
    tunnel: &'a TunnelName,
    target: Option<&'a Target>,
    /// Which server the target is, see [`server`].
    server: &'a str,
    forward: &'a ForwardSpec,
}

impl Use<'_> {
    fn span(&self) -> Option<&Range<usize>> {
        self.forward.kind.listen_span()
    }

    fn start(&self) -> usize {
        self.span().map_or(0, |s| s.start)
    }
}

/// Reports each forward that listens where an earlier one in the file listens.
pub(super) fn check<'a>(tunnels: impl Iterator<Item = Listening<'a>>, problems: &mut Problems) {
    let tunnels = with_servers(tunnels);
    let mut uses: Vec<Use<'_>> = uses(&tunnels).collect();
    uses.sort_by_key(Use::start);
    let mut places = Places::default();
    for this in uses {
        if let Some(earlier) = places.holder(&this) {
            problems.report(conflict(earlier, this));
        }
        places.hold(this);
    }
}

/// A tunnel that listens where one of another file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// The tunnel.
    pub(crate) tunnel: TunnelName,
    /// The one of the other file.
    pub(crate) holder: TunnelName,
    /// Where that one listens.
    pub(crate) held: String,
    /// Where the tunnel does.
    pub(crate) wanted: String,
}

/// Each forward of `new`, enabled or not, that listens where an enabled tunnel of `there` does.
pub(crate) fn overlaps(there: &Config, new: &Config) -> Vec<Overlap> {
    let there = there.tunnels.values().filter(|tunnel| tunnel.enabled);
    let there = with_servers(there.map(Listening::of));
    let new = with_servers(new.tunnels.values().map(Listening::of));
    let mut places = Places::default();
    uses(&there).for_each(|this| places.hold(this));
    let overlaps = uses(&new).filter_map(|this| {
        let holder = places.holder(&this)?;
        Some(Overlap {
            tunnel: this.tunnel.clone(),
            holder: holder.tunnel.clone(),
            held: Where(holder).to_string(),
            wanted: Where(this).to_string(),
        })
    });
    overlaps.collect()
}

impl<'a> Listening<'a> {
    fn of(spec: &'a TunnelSpec) -> Self {
        Listening {
            tunnel: &spec.name,
            target: Some(&spec.target),
            forwards: &spec.forwards,
        }
    }
}

fn with_servers<'a>(tunnels: impl Iterator<Item = Listening<'a>>) -> Vec<(Listening<'a>, String)> {
    tunnels.map(|t| (t, server(&t))).collect()
}

fn uses<'a>(tunnels: &'a [(Listening<'a>, String)]) -> impl Iterator<Item = Use<'a>> {
    tunnels.iter().flat_map(|(t, server)| {
        t.forwards.iter().map(move |forward| Use {
            tunnel: t.tunnel,
            target: t.target,
            server,
            forward,
        })
    })
}

/// What says which server a tunnel goes to: the hosts on the way with their ports, and how the first
/// of them is reached. With what keys and algorithms does not matter. The login names do: a gateway
/// may lead each of them to a machine of its own. Where the target is not right, no other tunnel is
/// known to go there.
fn server(tunnel: &Listening<'_>) -> String {
    let Some(target) = tunnel.target else {
        return format!("tunnel {}", tunnel.tunnel);
    };
    let hosts = target.hops().into_iter().chain([target]);
    let hosts: Vec<String> = hosts.map(Target::to_string).collect();
    let first = match target.first_via() {
        Via::Direct | Via::Jump(_) => String::new(),
        Via::Proxy(proxy) => proxy.to_string(),
        Via::Command(command) => command.to_string(),
    };
    format!("{} by {first}", hosts.join(" "))
}

/// What listens where.
#[derive(Default)]
struct Places<'a> {
    ports: HashMap<u16, Port<'a>>,
    sockets: HashMap<&'a Path, Use<'a>>,
    descriptors: HashMap<&'a str, Use<'a>>,
    /// By place and server.
    remote: HashMap<(&'a RemoteListen, &'a str), Use<'a>>,
}

impl<'a> Places<'a> {
    /// Who has its place, or a part of it.
    fn holder(&self, this: &Use<'a>) -> Option<Use<'a>> {
        let held = match &this.forward.kind {
            ForwardKind::Local(local) => match &local.listen.value {
                Listen::Tcp(listen) => {
                    let port = self.ports.get(&listen.port)?;
                    return addresses(listen).into_iter().find_map(|ip| port.holder(ip));
                }
                Listen::Unix(listen) => self.sockets.get(listen.path.as_path()),
                Listen::Fd(name) => self.descriptors.get(name.as_str()),
            },
            ForwardKind::Remote(remote) => self.remote.get(&(&remote.listen.value, this.server)),
        };
        held.copied()
    }

    /// Gives it its place, unless another one has that.
    fn hold(&mut self, this: Use<'a>) {
        match &this.forward.kind {
            ForwardKind::Local(local) => match &local.listen.value {
                Listen::Tcp(listen) => {
                    let port = self.ports.entry(listen.port).or_default();
                    for ip in addresses(listen) {
                        port.hold(ip, this);
                    }
                }
                Listen::Unix(listen) => {
                    self.sockets.entry(&listen.path).or_insert(this);
                }
                Listen::Fd(name) => {
                    self.descriptors.entry(name).or_insert(this);
                }
            },
            // The server chooses, and never the same port twice.
            ForwardKind::Remote(remote)
                if matches!(remote.listen.value, RemoteListen::Tcp { port: 0, .. }) => {}
            ForwardKind::Remote(remote) => {
                let place = (&remote.listen.value, this.server);
                self.remote.entry(place).or_insert(this);
            }
        }
    }
}

/// What listens on one port: whoever came first, for each family and for each address.
#[derive(Default)]
struct Port<'a> {
    addresses: HashMap<IpAddr, Use<'a>>,
    /// The first on any address of the family: IPv4, IPv6.
    first: [Option<Use<'a>>; 2],
    /// The first on every address of the family.
    every: [Option<Use<'a>>; 2],
}

/// The addresses of a place; the unspecified address of a family stands for all of them, and
/// IPv4 and IPv6 do not get into each other's way: IPv6 sockets are bound for IPv6 alone.
fn addresses(listen: &TcpListen) -> Vec<IpAddr> {
    match listen.host {
        ListenHost::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        ListenHost::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        ListenHost::Ip(ip) => vec![ip.to_canonical()],
    }
}

impl<'a> Port<'a> {
    fn holder(&self, ip: IpAddr) -> Option<Use<'a>> {
        let family = usize::from(ip.is_ipv6());
        if ip.is_unspecified() {
            return self.first[family];
        }
        self.every[family].or_else(|| self.addresses.get(&ip).copied())
    }

    fn hold(&mut self, ip: IpAddr, this: Use<'a>) {
        let family = usize::from(ip.is_ipv6());
        self.first[family].get_or_insert(this);
        if ip.is_unspecified() {
            self.every[family].get_or_insert(this);
        } else {
            self.addresses.entry(ip).or_insert(this);
        }
    }
}

/// The place in words, and on which machine.
struct Where<'a>(Use<'a>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.forward.listen_text();
        match (&self.0.forward.kind, self.0.target) {
            (ForwardKind::Local(_), _) => f.write_str(&place),
            (ForwardKind::Remote(_), Some(target)) => write!(f, "{place} at {}", target.host),
            (ForwardKind::Remote(_), None) => write!(f, "{place} at the server"),
        }
    }
}

fn conflict(earlier: Use<'_>, this: Use<'_>) -> Diagnostic {
    let (first, second) = (Where(earlier).to_string(), Where(this).to_string());
    let (one, other) = (earlier.tunnel, this.tunnel);
    let said = match (one == other, first == second) {
        (true, true) => format!("`{one}` listens on {first} twice"),
        (true, false) => format!("`{one}` listens on {first} and on {second}, which overlap"),
        (false, true) => format!("`{one}` and `{other}` both listen on {first}"),
        (false, false) => {
            format!("`{one}` listens on {first} and `{other}` on {second}, which overlap")
        }
    };
    let span = this.span().cloned().unwrap_or_default();
    let item = Diagnostic::at(span, said).with_tunnel(other.clone());
    match earlier.span() {
        Some(span) => item.with_related(span.clone(), "first used"),
        None => item,
    }
}
