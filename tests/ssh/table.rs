//! The table of one tunnel, as a test wants it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;

use crate::support::{QUICK, daemon, up};

/// The table of one tunnel.
#[derive(Clone)]
pub(crate) struct Table {
    name: String,
    keys: BTreeMap<&'static str, String>,
    /// By the key that they are in, in their order.
    forwards: BTreeMap<&'static str, Vec<String>>,
}

impl Table {
    /// A tunnel `t` to this address, with quick delays.
    pub(crate) fn new(addr: SocketAddr, user: &str, key: &Path, known_hosts: &Path) -> Self {
        let table = Table {
            name: "t".to_owned(),
            keys: BTreeMap::new(),
            forwards: BTreeMap::new(),
        };
        table
            .set("host", text(addr.ip()))
            .set("port", addr.port())
            .set("user", text(user))
            .set("identity_file", text(key.display()))
            .set("known_hosts", text(known_hosts.display()))
            .set("reconnect", QUICK)
    }

    /// A tunnel `t` to this server, as its own key and known_hosts allow.
    pub(crate) fn to(sshd: &Sshd) -> Self {
        let known_hosts = sshd.known_hosts();
        Self::new(sshd.addr(), sshd.user(), sshd.client_key(), &known_hosts)
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets a key; `value` as TOML has it.
    pub(crate) fn set(mut self, key: &'static str, value: impl Display) -> Self {
        self.keys.insert(key, value.to_string());
        self
    }

    /// Takes a key out.
    pub(crate) fn without(mut self, key: &'static str) -> Self {
        self.keys.remove(key);
        self
    }

    /// `server_alive_interval` and `server_alive_count_max`.
    pub(crate) fn alive(self, interval: &str, count_max: u32) -> Self {
        self.set("server_alive_interval", text(interval))
            .set("server_alive_count_max", count_max)
    }

    /// A local forward.
    pub(crate) fn forward(self, listen: impl Display, connect: impl Display) -> Self {
        self.forward_with(listen, connect, "")
    }

    /// A local forward with more keys: `max_connections = 2`.
    pub(crate) fn forward_with(
        self,
        listen: impl Display,
        connect: impl Display,
        more: &str,
    ) -> Self {
        self.table("local_forward", listen, Some(&connect), more)
    }

    /// A remote forward.
    pub(crate) fn remote(self, listen: impl Display, connect: impl Display) -> Self {
        self.remote_with(listen, connect, "")
    }

    /// A remote forward with more keys.
    pub(crate) fn remote_with(
        self,
        listen: impl Display,
        connect: impl Display,
        more: &str,
    ) -> Self {
        self.table("remote_forward", listen, Some(&connect), more)
    }

    /// A dynamic forward.
    pub(crate) fn dynamic(self, listen: impl Display) -> Self {
        self.dynamic_with(listen, "")
    }

    /// A dynamic forward with more keys.
    pub(crate) fn dynamic_with(self, listen: impl Display, more: &str) -> Self {
        self.table("dynamic_forward", listen, None, more)
    }

    /// One more entry of `local_forward`, `remote_forward` or `dynamic_forward`, as TOML has it.
    pub(crate) fn raw(mut self, key: &'static str, value: impl Display) -> Self {
        self.forwards
            .entry(key)
            .or_default()
            .push(value.to_string());
        self
    }

    fn table(
        self,
        key: &'static str,
        listen: impl Display,
        connect: Option<&dyn Display>,
        more: &str,
    ) -> Self {
        let mut keys = vec![format!("listen = \"{listen}\"")];
        keys.extend(connect.map(|connect| format!("connect = \"{connect}\"")));
        if !more.is_empty() {
            keys.push(more.to_owned());
        }
        self.raw(key, format_args!("{{ {} }}", keys.join(", ")))
    }

    pub(crate) fn toml(&self) -> String {
        let mut toml = format!("[tunnels.{}]\n", self.name);
        for (key, value) in &self.keys {
            toml.push_str(&format!("{key} = {value}\n"));
        }
        for (key, forwards) in &self.forwards {
            toml.push_str(&format!("{key} = [{}]\n", forwards.join(", ")));
        }
        toml
    }

    /// A daemon with this tunnel alone.
    pub(crate) fn start(&self) -> Daemon {
        daemon().config(&self.toml()).start()
    }

    /// As [`Table::start`], once the tunnel is up.
    pub(crate) fn up(&self) -> Daemon {
        let daemon = self.start();
        up(&daemon, &self.name);
        daemon
    }
}

/// A TOML string.
pub(crate) fn text(value: impl Display) -> String {
    format!("\"{value}\"")
}
