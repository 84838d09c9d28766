//! What is forwarded: where it listens, and where its connections end up.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Sourced, host_port};
use crate::name::ForwardName;

/// One forward: where it listens, and where its connections end up.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardSpec {
    /// Unique within the tunnel; made from its listening place unless the file names it.
    pub name: ForwardName,
    /// What it does.
    pub kind: ForwardKind,
    /// How many connections are carried at once; more are reset.
    pub max_connections: u32,
    /// A connection without a byte in either direction for so long is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Where clients may come from; empty: from anywhere.
    pub allow: Vec<IpNet>,
    /// How its far end is checked.
    pub probe: Option<Probe>,
}

impl ForwardSpec {
    /// `local`, `remote` or `dynamic`.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            ForwardKind::Local(LocalForward {
                connect: Goal::Asked,
                ..
            }) => "dynamic",
            ForwardKind::Local(_) => "local",
            ForwardKind::Remote(_) => "remote",
        }
    }

    /// Where its connections end up.
    pub fn goal(&self) -> &Goal {
        self.kind.goal()
    }

    /// Whether both listen at the same place, on the same side.
    pub fn listens_as(&self, other: &ForwardSpec) -> bool {
        match (&self.kind, &other.kind) {
            (ForwardKind::Local(a), ForwardKind::Local(b)) => a.listen == b.listen,
            (ForwardKind::Remote(a), ForwardKind::Remote(b)) => a.listen == b.listen,
            _ => false,
        }
    }

    /// Its listening place in words.
    pub fn listen_text(&self) -> String {
        match &self.kind {
            ForwardKind::Local(local) => local.listen.value.to_string(),
            ForwardKind::Remote(remote) => remote.listen.value.to_string(),
        }
    }
}

/// The kinds of forward.
#[derive(Debug, Clone, PartialEq)]
pub enum ForwardKind {
    /// Listens here, connects at the server's side: `ssh -L`, and `ssh -D` where the goal is asked.
    Local(LocalForward),
    /// Listens at the server's side, connects here: `ssh -R`.
    Remote(RemoteForward),
}

impl ForwardKind {
    /// Where its connections end up.
    pub fn goal(&self) -> &Goal {
        match self {
            ForwardKind::Local(local) => &local.connect,
            ForwardKind::Remote(remote) => &remote.connect,
        }
    }

    /// Where its listening place is written in the file.
    pub fn listen_span(&self) -> Option<&Range<usize>> {
        match self {
            ForwardKind::Local(local) => local.listen.span.as_ref(),
            ForwardKind::Remote(remote) => remote.listen.span.as_ref(),
        }
    }
}

/// `local_forward` and `dynamic_forward`.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalForward {
    /// Where clients connect to, on this machine.
    pub listen: Sourced<Listen>,
    /// Where the server connects to.
    pub connect: Goal,
    /// What happens to a client while there is no session.
    pub while_down: WhileDown,
    /// How long `while_down = "wait"` holds a client.
    pub wait_timeout: Duration,
}

/// `remote_forward`.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteForward {
    /// Where the server listens.
    pub listen: Sourced<RemoteListen>,
    /// Where we connect to.
    pub connect: Goal,
}

/// Where the connections of a forward end up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// At one place.
    To(Destination),
    /// Where each client asks to be connected to, by SOCKS or HTTP CONNECT.
    Asked,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::To(destination) => destination.fmt(f),
            Goal::Asked => f.pad("SOCKS"),
        }
    }
}

/// A listening place on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port.
    Tcp(TcpListen),
    /// A unix socket.
    Unix(UnixListen),
    /// A socket that the service manager passes: the name of its descriptor (`FileDescriptorName=`
    /// of systemd.socket(5)).
    Fd(String),
}

/// A TCP port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpListen {
    /// On which addresses.
    pub host: ListenHost,
    /// TCP port; never 0.
    pub port: u16,
}

/// A unix socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixListen {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Whom it is given to; `None`: whoever runs tunneld.
    pub owner: Option<SocketOwner>,
}

/// `socket_owner`: `USER`, `USER:GROUP` or `:GROUP`, by name or number, as chown(1) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOwner {
    /// The user, if it is to change.
    pub user: Option<String>,
    /// The group, if it is to change.
    pub group: Option<String>,
}

impl fmt::Display for SocketOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.as_deref().unwrap_or_default())?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

/// The addresses of a listening place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenHost {
    /// 127.0.0.1 and ::1, as ssh does.
    Localhost,
    /// Every address of the machine, IPv4 and IPv6: `*`, or an empty bind address.
    Any,
    /// One address.
    Ip(IpAddr),
}

impl fmt::Display for TcpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            ListenHost::Localhost => write!(f, "localhost:{}", self.port),
            ListenHost::Any => write!(f, "*:{}", self.port),
            ListenHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(place) => place.fmt(f),
            Listen::Unix(place) => place.path.display().fmt(f),
            Listen::Fd(name) => write!(f, "fd:{name}"),
        }
    }
}

/// A listening place at the server's side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RemoteListen {
    /// A TCP port.
    Tcp {
        /// The address to bind as the request carries it (RFC 4254 section 7.1): empty for every
        /// address, `localhost` for the loopback addresses, or an address.
        bind: String,
        /// The port; 0: the server chooses one.
        port: u16,
    },
    /// A unix socket (`streamlocal-forward@openssh.com`, PROTOCOL section 2.4 of OpenSSH).
    Unix(String),
}

impl RemoteListen {
    /// Where the server itself reaches a listener with this bind address.
    pub fn reached_at(bind: &str) -> &str {
        match bind {
            "" | "*" | "0.0.0.0" | "::" => "localhost",
            bind => bind,
        }
    }
}

impl fmt::Display for RemoteListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteListen::Tcp { bind, port } if bind.is_empty() => write!(f, "*:{port}"),
            RemoteListen::Tcp { bind, port } => f.write_str(&host_port(bind, *port)),
            RemoteListen::Unix(path) => f.write_str(path),
        }
    }
}

/// Where a connection ends up, as the side that connects understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A host name or address, and a port.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// TCP port; never 0.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(String),
}

impl Destination {
    /// A host and a port.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Destination::Tcp {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Tcp { host, port } => f.write_str(&host_port(host, *port)),
            Destination::Unix(path) => f.write_str(path),
        }
    }
}

/// How the far end of a forward is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How often.
    pub interval: Duration,
    /// How long it may take.
    pub timeout: Duration,
    /// What has to come back; `None`: it is enough that a connection can be made.
    pub expect: Option<Expect>,
}

/// What a probe has to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The first line that the target sends by itself begins so.
    FirstLine(String),
    /// The answer to `GET path` has this status.
    Http {
        /// The status, 100 to 599.
        status: u16,
        /// The path that is asked for.
        path: String,
    },
}

/// What happens to a client that comes while there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhileDown {
    /// It is held for up to `wait_timeout`, and carried when the session is there.
    Wait,
    /// It is reset at once.
    Refuse,
}
