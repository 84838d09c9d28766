//! What a server has to allow for a tunnel, and nothing else: the line of a key in authorized_keys
//! (AUTHORIZED_KEYS FILE FORMAT of sshd(8)) and the lines of sshd_config(5).
//!
//! OpenSSH decides by comparing texts, so these are the very texts that tunneld sends:
//!
//! - `permitopen` has the host of a request as it is, byte for byte, and its port.
//! - A unix socket as a target is compared in the same way: its path with the host, and a port that
//!   is none with the port. `[/path]:*` allows one socket and no other, and no host has such a name.
//! - `permitlisten` is a pattern for the address of a request in lower case, which is empty where
//!   every address is asked for. A port that the server chooses is 0 in the request, which only `*`
//!   allows.
//! - There is nothing about unix sockets that are listened on, and no way to write "nowhere":
//!   [`NO_TARGET`] and [`NO_LISTENER`] stand for it.
//! - `restrict` leaves commands: a forced one takes their place.

mod limits;
mod line;
mod rights;
mod sshd_config;
#[cfg(test)]
mod tests;

use crate::config::{Target, TunnelSpec, host_port};

pub use limits::{ExpiryTime, FromList, Limits};
pub use line::{Key, NO_LISTENER, NO_TARGET, NOLOGIN};
pub use rights::Rights;

/// What somebody who puts lines into a file should know before all else.
const FIRST: &str =
    "# each line takes the place of an earlier one with its key: sshd reads the first of them";

/// The port of SSH, which nobody mentions.
const SSH_PORT: u16 = 22;

/// The hosts on the way of a tunnel, the first one first, and what is asked of each.
pub fn way(spec: &TunnelSpec) -> Vec<(&Target, Rights)> {
    let mut hosts = spec.target.hops();
    hosts.push(&spec.target);
    let next = hosts.iter().skip(1).map(|next| Rights::on_the_way_to(next));
    let rights: Vec<_> = next.chain([Rights::at_end(spec)]).collect();
    hosts.into_iter().zip(rights).collect()
}

/// An account at a server: what is needed there, and the keys that log in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Host name or address of the server.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// What is needed there, by all of its keys together.
    pub rights: Rights,
    /// Each key, with what is needed of it.
    pub grants: Vec<Grant>,
    /// Where from, and until when.
    pub limits: Limits,
}

/// A key, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub key: Key,
    /// What it may do.
    pub rights: Rights,
}

impl Account {
    /// The account that a session logs in to, without any rights.
    pub fn of(target: &Target) -> Self {
        Account {
            host: target.host.clone(),
            port: target.port,
            user: target.user.clone(),
            rights: Rights::default(),
            grants: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Whether a session logs in to it.
    pub fn is(&self, target: &Target) -> bool {
        (&self.host, self.port, &self.user) == (&target.host, target.port, &target.user)
    }

    /// One of its keys needs this. sshd reads one line for each key, so what a key needs for several
    /// tunnels is in one.
    pub fn grant(&mut self, key: &Key, rights: &Rights) {
        match self.grants.iter_mut().find(|grant| grant.key == *key) {
            Some(grant) => grant.rights.add(rights),
            None => self.grants.push(Grant {
                key: key.clone(),
                rights: rights.clone(),
            }),
        }
    }

    /// The lines of its authorized_keys, below comments that say what they are and why.
    pub fn authorized_keys(&self) -> String {
        let (place, user, version) = (self.place(), &self.user, self.limits.version());
        let mut text = format!(
            "# on {place}, in ~{user}/.ssh/authorized_keys (OpenSSH {version} or later)\n{FIRST}\n"
        );
        let mut said: Vec<String> = Vec::new();
        for grant in &self.grants {
            for note in line::notes(&grant.key, &grant.rights, user) {
                if !said.contains(&note) {
                    text.push_str(&format!("# {note}\n"));
                    said.push(note);
                }
            }
            text.push_str(&line::line(&grant.key, &grant.rights, &self.limits));
            text.push('\n');
        }
        text
    }

    /// The `Match` block of its server's sshd_config, below a comment.
    pub fn sshd_config(&self) -> String {
        let (place, user) = (self.place(), &self.user);
        let anywhere = match self.rights.opens_any() {
            true => ", have it connect to any place,",
            false => "",
        };
        match sshd_config::block(user, &self.rights) {
            Some(block) => format!(
                "# on {place}, at the end of sshd_config; \
                 whoever logs in as {user} can then do this{anywhere} and nothing else\n{block}"
            ),
            None => format!(
                "# on {place}, no lines for sshd_config: \
                 `Match User` takes the name {user} for a pattern\n"
            ),
        }
    }

    /// Whether the `Match` block would keep the administrator out: it is for whoever logs in.
    pub fn is_root(&self) -> bool {
        self.user == "root"
    }

    /// What takes the place of the block where nobody should put it into the file.
    pub fn without_sshd_config(&self) -> String {
        let (place, user) = (self.place(), &self.user);
        format!(
            "# on {place}, no lines for sshd_config: `Match User {user}` would take its shell from\n\
             # {user} itself, and lock you out; better, give the tunnel an account of its own\n"
        )
    }

    fn place(&self) -> String {
        match self.port {
            SSH_PORT => self.host.clone(),
            port => host_port(&self.host, port),
        }
    }
}
