//! What a server goes by in known_hosts and in host certificates.
//!
//! As with ssh and `CheckHostIP no`, its default since OpenSSH 8.5, the host counts as the
//! configuration writes it: a name finds the lines of the name, an address those of the address,
//! and neither those of the other. There is no `NoHostAuthenticationForLocalhost`: the machine's
//! own addresses are hosts like all others.

use tunneld_core::config::Target;

/// The port at which a host goes by its bare name.
const SSH_PORT: u16 = 22;

/// The names of a server, all lowercase, as ssh compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAs {
    name: String,
    bare: Option<String>,
    principal: String,
}

impl KnownAs {
    /// The names of the server of `target`: its host and port, or its `host_key_alias`.
    pub fn of(target: &Target) -> Self {
        match &target.host_key_alias {
            Some(alias) => KnownAs::alias(alias),
            None => KnownAs::host(&target.host, target.port),
        }
    }

    /// A host at a port.
    pub fn host(host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        let (name, bare) = match port {
            SSH_PORT => (host.clone(), None),
            _ => (format!("[{host}]:{port}"), Some(host.clone())),
        };
        KnownAs {
            name,
            bare,
            principal: host,
        }
    }

    /// A `host_key_alias`, which stands for the host and its port alike.
    pub fn alias(alias: &str) -> Self {
        let alias = alias.to_ascii_lowercase();
        KnownAs {
            name: alias.clone(),
            bare: None,
            principal: alias,
        }
    }

    /// The name to look up and to write down: `host`, `[host]:port` or the alias.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host without its port, where `name` has one.
    pub fn bare(&self) -> Option<&str> {
        self.bare.as_deref()
    }

    /// The name that a host certificate has to be for: never with a port.
    pub fn principal(&self) -> &str {
        &self.principal
    }
}
