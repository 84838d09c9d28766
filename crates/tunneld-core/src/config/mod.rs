//! The configuration: what the file says, checked once, in types that cannot be wrong.
//!
//! [`load`] turns the text of a file into a [`Config`], or into every problem it has, each with its
//! place. It reads no files: what a path names is checked by whoever opens it.

mod conflicts;
mod diagnostic;
mod forward;
mod keys;
mod print;
mod raw;
mod render;
mod resolve;
mod settings;
mod syntax;
#[cfg(test)]
mod tests;
pub mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use diagnostic::{Diagnostic, DiagnosticView, Diagnostics, Origin, Related};
pub use print::effective;
pub use resolve::{Surroundings, control_socket, load, load_bytes};

use crate::name::{ForwardName, TunnelName};

/// The largest file that is read, in bytes.
pub const MAX_FILE_LEN: usize = 4 << 20;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: DaemonConfig,
    /// `[tunnels.NAME]`, with `[defaults]` filled in.
    pub tunnels: BTreeMap<TunnelName, TunnelSpec>,
}

/// `[daemon]`: what concerns the process and not one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Where the control socket is.
    pub control_socket: PathBuf,
    /// When the service counts as started.
    pub ready_when: ReadyWhen,
    /// How long the start may take before the service is reported as started all the same.
    pub start_timeout: Duration,
    /// How long connections in flight may go on when a forward or the daemon stops.
    pub drain_timeout: Duration,
}

/// When `READY=1` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyWhen {
    /// Every enabled tunnel is up, or has failed its first attempt.
    Settled,
    /// Every enabled tunnel is up.
    All,
    /// At least one enabled tunnel is up.
    Any,
}

/// One tunnel: where to go over SSH, and what to forward.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelSpec {
    /// The `NAME` of `[tunnels.NAME]`.
    pub name: TunnelName,
    /// A disabled tunnel stays `stopped`.
    pub enabled: bool,
    /// Where to go and as whom. A change of it replaces the session.
    pub target: Target,
    /// One deadline over resolve, TCP, key exchange and authentication.
    pub connect_timeout: Duration,
    /// When a silent server is dead.
    pub keepalive: Keepalive,
    /// How to come back.
    pub reconnect: Reconnect,
    /// How long a connection with a full backlog may stand still before it is reset.
    pub stall_timeout: Duration,
    /// What is forwarded, in the order of the file.
    pub forwards: Vec<ForwardSpec>,
}

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
    /// Files of known host keys, looked up in this order.
    pub known_hosts: Vec<Sourced<PathBuf>>,
    /// What to do with a host that is in none of them.
    pub strict_host_key_checking: StrictHostKeyChecking,
    /// Pins: if there are any, the host's key must be one of them, and known_hosts is not asked.
    pub host_key_fingerprint: Vec<Fingerprint>,
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

/// ServerAliveInterval and ServerAliveCountMax of ssh_config(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which the server is asked; zero turns keepalive off.
    pub interval: Duration,
    /// How many questions in a row may stay without an answer.
    pub count_max: u32,
}

impl Keepalive {
    /// The longest time for which a dead server goes unnoticed: `interval × (count_max + 1)`.
    /// `None` where keepalive is off.
    pub fn detection(&self) -> Option<Duration> {
        (!self.interval.is_zero()).then(|| {
            self.interval
                .saturating_mul(self.count_max.saturating_add(1))
        })
    }
}

/// How to come back: the delay starts at `initial`, is multiplied up to `max`, is spread by
/// `jitter`, and starts over once a session was up for `reset_after`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnect {
    /// The first delay.
    pub initial: Duration,
    /// The ceiling.
    pub max: Duration,
    /// What each delay is multiplied by; at least 1.
    pub multiplier: f64,
    /// Each delay is drawn from `delay × (1 ± jitter)`; 0 to 1.
    pub jitter: f64,
    /// How long a session must have been up for the delay to start over.
    pub reset_after: Duration,
}

/// One forward: where it listens, and where its connections end up.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardSpec {
    /// Unique within the tunnel; its listening place unless the file names it.
    pub name: ForwardName,
    /// What it does.
    pub kind: ForwardKind,
}

/// The kinds of forward.
#[derive(Debug, Clone, PartialEq)]
pub enum ForwardKind {
    /// `ssh -L`: listens here, connects at the server's side.
    Local(LocalForward),
}

/// `local_forward`: as `ssh -L`.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalForward {
    /// Where clients connect to, on this machine.
    pub listen: Sourced<Listen>,
    /// Where the server connects to.
    pub connect: Destination,
    /// What happens to a client while there is no session.
    pub while_down: WhileDown,
    /// How long `while_down = "wait"` holds a client.
    pub wait_timeout: Duration,
    /// How many connections are carried at once; more are reset.
    pub max_connections: u32,
}

/// A listening place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// On which addresses.
    pub host: ListenHost,
    /// TCP port; never 0.
    pub port: u16,
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

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            ListenHost::Localhost => write!(f, "localhost:{}", self.port),
            ListenHost::Any => write!(f, "*:{}", self.port),
            ListenHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// Where a connection ends up: a host name or address, resolved at the far end, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port; never 0.
    pub port: u16,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_port(&self.host, self.port))
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
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

/// A value and the place it was written at. Two of them are equal when the values are: moving a
/// line in the file changes nothing.
#[derive(Debug, Clone)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file; `None` for a default.
    pub span: Option<Range<usize>>,
}

impl<T: PartialEq> PartialEq for Sourced<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Sourced<T> {}
