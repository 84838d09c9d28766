//! Where a session goes: the SSH server, as whom, which of its keys is right, and the way to it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Sourced, host_port};

/// The identity of a session: a session made for one `Target` is never used for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name or address, as written.
    pub host: String,
    /// TCP port of the SSH server.
    pub port: u16,
    /// Login name at the server.
    pub user: String,
    /// Private keys, tried in this order.
    pub identity_file: Vec<Sourced<PathBuf>>,
    /// Whether `identity_file` was written in the file. Default keys that do not exist are passed
    /// over in silence; keys that were asked for are not.
    pub identity_file_is_default: bool,
    /// OpenSSH certificates for the keys; where none is named, those that lie next to a key as
    /// `KEY-cert.pub`, as with ssh.
    pub certificate_file: Vec<Sourced<PathBuf>>,
    /// The agent that is asked for keys; without one none is, whatever the environment says.
    pub identity_agent: Option<IdentityAgent>,
    /// Only keys and certificates that are named are tried, also where the agent has more.
    pub identities_only: bool,
    /// Opens the encrypted ones of the keys.
    pub passphrase_credential: Option<Sourced<Credential>>,
    /// Answers the methods `password` and `keyboard-interactive`.
    pub password_credential: Option<Sourced<Credential>>,
    /// Files of known host keys, looked up in this order.
    pub known_hosts: Vec<Sourced<PathBuf>>,
    /// What to do with a host that is in none of them.
    pub strict_host_key_checking: StrictHostKeyChecking,
    /// Pins: if there are any, the host's key must be one of them, and known_hosts is not asked.
    pub host_key_fingerprint: Vec<Fingerprint>,
    /// The name to look up in the files and in host certificates, in place of the host's.
    pub host_key_alias: Option<String>,
    /// Whether keys that the server announces and proves are written to the file that its present
    /// key was found in (`hostkeys-00@openssh.com`).
    pub update_host_keys: bool,
    /// What may be negotiated.
    pub algorithms: Algorithms,
    /// When new session keys are asked for, where that is said.
    pub rekey_limit: RekeyLimit,
    /// Which addresses the first connection of the way is made to.
    pub address_family: AddressFamily,
    /// The address of this machine that it is made from.
    pub bind_address: Option<IpAddr>,
    /// How the host is reached.
    pub via: Via,
}

impl Target {
    /// A server that is reached directly, with the defaults of everything else and without keys and
    /// known hosts.
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>) -> Self {
        Target {
            host: host.into(),
            port,
            user: user.into(),
            identity_file: Vec::new(),
            identity_file_is_default: false,
            certificate_file: Vec::new(),
            identity_agent: None,
            identities_only: false,
            passphrase_credential: None,
            password_credential: None,
            known_hosts: Vec::new(),
            strict_host_key_checking: StrictHostKeyChecking::Yes,
            host_key_fingerprint: Vec::new(),
            host_key_alias: None,
            update_host_keys: false,
            algorithms: Algorithms::default(),
            rekey_limit: RekeyLimit::default(),
            address_family: AddressFamily::Any,
            bind_address: None,
            via: Via::Direct,
        }
    }

    /// The jump hosts on the way, the first one first.
    pub fn hops(&self) -> Vec<&Target> {
        let mut hops = Vec::new();
        let mut via = &self.via;
        while let Via::Jump(hop) = via {
            hops.push(hop.as_ref());
            via = &hop.via;
        }
        hops.reverse();
        hops
    }

    /// How the first of the hosts on the way is reached; never [`Via::Jump`].
    pub fn first_via(&self) -> &Via {
        let mut via = &self.via;
        while let Via::Jump(hop) = via {
            via = &hop.via;
        }
        via
    }
}

impl fmt::Display for Target {
    /// `user@host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, host_port(&self.host, self.port))
    }
}

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityAgent {
    /// A unix socket.
    Socket(PathBuf),
    /// The unix socket that this environment variable of tunneld names: `SSH_AUTH_SOCK`.
    Variable(String),
}

impl fmt::Display for IdentityAgent {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityAgent::Socket(path) => write!(f, "{}", path.display()),
            IdentityAgent::Variable(name) if name == "SSH_AUTH_SOCK" => f.write_str(name),
            IdentityAgent::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// Where a secret is: never in the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A credential of systemd: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Named(String),
    /// A file that only its owner can read.
    File(PathBuf),
}

impl fmt::Display for Credential {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Named(name) => f.write_str(name),
            Credential::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What may be negotiated with a server, each list in the order of preference; `None` where
/// tunneld chooses. The names are the protocol's (RFC 4253 section 6), and tunneld supports each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// `ciphers`.
    pub ciphers: Option<Vec<String>>,
    /// `macs`.
    pub macs: Option<Vec<String>>,
    /// `kex_algorithms`.
    pub kex: Option<Vec<String>>,
    /// `host_key_algorithms`, also those of certificates.
    pub host_keys: Option<Vec<String>>,
    /// `compression`.
    pub compression: bool,
}

/// `rekey_limit`: `None` where tunneld chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RekeyLimit {
    /// After so many bytes in one direction.
    pub bytes: Option<u64>,
    /// After so long.
    pub time: Option<Duration>,
}

/// `address_family`, as in ssh_config(5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

impl AddressFamily {
    /// Every one of them.
    pub(super) const ALL: [AddressFamily; 3] = [
        AddressFamily::Any,
        AddressFamily::Inet,
        AddressFamily::Inet6,
    ];

    /// Whether an address is of this family.
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            AddressFamily::Any => true,
            AddressFamily::Inet => address.is_ipv4(),
            AddressFamily::Inet6 => address.is_ipv6(),
        }
    }

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressFamily::Any => "any",
            AddressFamily::Inet => "inet",
            AddressFamily::Inet6 => "inet6",
        }
    }
}

/// How the SSH server of a [`Target`] is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By a TCP connection of our own.
    Direct,
    /// Over another SSH server (`proxy_jump`), which is reached in its own way.
    Jump(Arc<Target>),
    /// Through a proxy.
    Proxy(Proxy),
    /// Over the standard input and output of a program (`proxy_command`).
    Command(ProxyCommand),
}

/// A proxy that asks for no password: secrets are never in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Its host name or address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            self.kind.as_str(),
            host_port(&self.host, self.port)
        )
    }
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS 5 (RFC 1928); the proxy resolves the name.
    Socks5,
    /// HTTP CONNECT (RFC 9110 section 9.3.6).
    Http,
}

impl ProxyKind {
    /// The scheme of its URL.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        }
    }
}

/// `proxy_command`: its tokens are those of ssh_config(5) that are known without a lookup: `%h` the
/// host, `%n` the host, `%p` the port, `%r` the user, `%%` a percent sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyCommand {
    /// A string: `exec`uted by `/bin/sh`, as ssh does.
    Shell(String),
    /// An array: a program and its arguments, without a shell.
    Argv(Vec<String>),
}

impl fmt::Display for ProxyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyCommand::Shell(line) => f.write_str(line),
            ProxyCommand::Argv(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// `strict_host_key_checking`, as in ssh_config(5). There is no `no`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrictHostKeyChecking {
    /// An unknown host is refused.
    Yes,
    /// An unknown host's key is written to the first known_hosts file; a changed key is refused.
    AcceptNew,
}

impl StrictHostKeyChecking {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            StrictHostKeyChecking::Yes => "yes",
            StrictHostKeyChecking::AcceptNew => "accept-new",
        }
    }
}

/// The SHA-256 digest of a public key, written `SHA256:` and 43 base64 characters, as
/// `ssh-keygen -l` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub(crate) String);

impl Fingerprint {
    /// The fingerprint as `SHA256:…`, without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
