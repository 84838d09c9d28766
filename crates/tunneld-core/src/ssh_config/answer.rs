//! What the files say about a host.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::sources::Problem;
use crate::config::{AddressFamily, IdentityAgent, StrictHostKeyChecking};

/// Where a value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which of [`Sources::files`](super::Sources::files).
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
    /// Its bytes in that file.
    pub span: Range<usize>,
}

/// A value, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Straight.
    Direct,
    /// Over other hosts, each `[user@]host[:port]` or `ssh://[user@]host[:port]`, the first one first.
    Jump(Vec<String>),
    /// Over the standard input and output of a command for the shell, its tokens expanded.
    Command(String),
}

/// A line that has no effect on a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its keyword, as ssh_config(5) spells it.
    pub keyword: &'static str,
    /// Its words.
    pub words: Vec<String>,
}

/// What the files say about a host: for each keyword what ssh would use, or `None` where nothing is
/// said. Paths are whole ones, tokens are expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// `HostName`: the host to connect to.
    pub host_name: Option<Found<String>>,
    /// `Port`.
    pub port: Option<Found<u16>>,
    /// `User`.
    pub user: Option<Found<String>>,
    /// `AddressFamily`.
    pub address_family: Option<Found<AddressFamily>>,
    /// `BindAddress`.
    pub bind_address: Option<Found<IpAddr>>,
    /// `ProxyJump` or `ProxyCommand`.
    pub way: Option<Found<Way>>,
    /// `IdentityFile`: all of them, also none.
    pub identity_file: Option<Vec<Found<PathBuf>>>,
    /// `CertificateFile`: all of them, also none.
    pub certificate_file: Option<Vec<Found<PathBuf>>>,
    /// `IdentityAgent`; `None` within it is `none`.
    pub identity_agent: Option<Found<Option<IdentityAgent>>>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<Found<bool>>,
    /// `UserKnownHostsFile`: the line, and each of its files, also none.
    pub user_known_hosts: Option<Found<Vec<Found<PathBuf>>>>,
    /// `GlobalKnownHostsFile`: the line, and each of its files, also none.
    pub global_known_hosts: Option<Found<Vec<Found<PathBuf>>>>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<Found<String>>,
    /// `StrictHostKeyChecking`.
    pub strict_host_key_checking: Option<Found<StrictHostKeyChecking>>,
    /// `UpdateHostKeys`.
    pub update_host_keys: Option<Found<bool>>,
    /// `RequiredRSASize`, in bits.
    pub required_rsa_size: Option<Found<u32>>,
    /// `ConnectTimeout`.
    pub connect_timeout: Option<Found<Duration>>,
    /// `ServerAliveInterval`.
    pub server_alive_interval: Option<Found<Duration>>,
    /// `ServerAliveCountMax`.
    pub server_alive_count_max: Option<Found<u32>>,
    /// `Ciphers`, as written.
    pub ciphers: Option<Found<String>>,
    /// `MACs`, as written.
    pub macs: Option<Found<String>>,
    /// `KexAlgorithms`, as written.
    pub kex_algorithms: Option<Found<String>>,
    /// `HostKeyAlgorithms`, as written.
    pub host_key_algorithms: Option<Found<String>>,
    /// `Compression`.
    pub compression: Option<Found<bool>>,
    /// The bytes of `RekeyLimit`, as written.
    pub rekey_bytes: Option<Found<String>>,
    /// The time of `RekeyLimit`, as written.
    pub rekey_time: Option<Found<String>>,
    /// What has no effect on a tunnel, line by line; also forwards.
    pub unused: Vec<Found<Unused>>,
    /// What is not supported, or wrong for this host, in the order of the files.
    pub problems: Vec<Problem>,
}
