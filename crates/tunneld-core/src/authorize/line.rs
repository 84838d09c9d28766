//! The line of authorized_keys: options, escaped as sshd reads them, and the key.

use super::limits::Limits;
use super::rights::{Open, Place, Rights};
use crate::config::RemoteListen;

/// What takes the place of every command and shell.
pub const NOLOGIN: &str = "/usr/sbin/nologin";

/// Stands for no target at all: TCP does not connect to the broadcast address, and no name is
/// looked up for it.
pub const NO_TARGET: &str = "255.255.255.255:1";

/// Stands for no listening place at all: the address of a request is put into lower case before it
/// is compared, and the pattern is not.
pub const NO_LISTENER: &str = "NONE:1";

/// What authorized_keys has behind the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A key.
    Plain {
        /// `ssh-ed25519 AAAA… comment`.
        line: String,
    },
    /// Whoever signs certificates.
    Authority {
        /// Its public key: `ssh-ed25519 AAAA… comment`.
        line: String,
        /// One of the names that the certificate is for; `None`: it says none.
        principal: Option<String>,
        /// The command that is forced. It is the certificate's own where that has one, for sshd
        /// refuses two that differ; `None`: it can only be left to the certificate.
        command: Option<String>,
    },
}

/// The whole line, without its end.
pub(super) fn line(key: &Key, rights: &Rights, limits: &Limits) -> String {
    let mut options = Vec::new();
    let (line, command) = match key {
        Key::Plain { line } => (line, Some(NOLOGIN)),
        Key::Authority {
            line,
            principal,
            command,
        } => {
            options.push("cert-authority".to_owned());
            options.extend(principal.as_ref().map(|name| option("principals", name)));
            (line, command.as_deref())
        }
    };
    options.push("restrict,port-forwarding".to_owned());
    if let Some(patterns) = rights.open_patterns() {
        options.extend(all("permitopen", patterns, NO_TARGET));
    }
    options.extend(all("permitlisten", rights.listen_patterns(), NO_LISTENER));
    options.extend(command.map(|command| option("command", command)));
    let from = limits
        .from
        .as_ref()
        .map(|from| option("from", from.as_str()));
    options.extend(from);
    let expiry = limits.expiry.as_ref();
    options.extend(expiry.map(|time| option("expiry-time", time.as_str())));
    format!("{} {line}", options.join(","))
}

/// An option for each value, or for what stands for none.
fn all(name: &str, mut values: Vec<String>, none: &str) -> Vec<String> {
    if values.is_empty() {
        values.push(none.to_owned());
    }
    values.iter().map(|value| option(name, value)).collect()
}

/// `name="value"`. Only a quote is escaped: a backslash in front of anything else is a backslash.
/// See [`fits`] for what cannot be written.
fn option(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('"', "\\\""))
}

/// Whether a value that came from elsewhere can be written into a line at all.
fn fits(value: &str) -> bool {
    !value.is_empty() && !value.ends_with('\\') && !value.chars().any(char::is_control)
}

impl Key {
    /// The authority of a certificate that is for these names and may force a command of its own. Of
    /// the names, the user's own is taken before any other.
    pub fn authority(line: String, user: &str, names: &[String], command: Option<&str>) -> Self {
        // sshd splits the option at commas.
        let usable = |name: &&String| fits(name) && !name.contains(',');
        let own = names.iter().find(|name| *name == user).filter(usable);
        let principal = own.or_else(|| names.iter().find(usable));
        let command = Some(command.unwrap_or(NOLOGIN));
        Key::Authority {
            line,
            principal: principal.cloned(),
            command: command.filter(|command| fits(command)).map(str::to_owned),
        }
    }
}

/// What somebody who reads the line should know, each on one line.
pub(super) fn notes(key: &Key, rights: &Rights, user: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if let Key::Authority { principal, .. } = key {
        notes.extend(certificate_notes(principal.as_deref().unwrap_or(user)));
    }
    open_notes(rights, &mut notes);
    listen_notes(rights, &mut notes);
    notes
}

fn certificate_notes(principal: &str) -> Vec<String> {
    vec![
        "the key of whoever signs the certificate; a certificate has no word for places, but can \
         be limited too:"
            .to_owned(),
        format!(
            "  ssh-keygen -s CA -I ID -n {principal} -O clear -O permit-port-forwarding \
             -O force-command={NOLOGIN} KEY.pub"
        ),
        "where TrustedUserCAKeys in sshd_config has that key, this line is not read".to_owned(),
    ]
}

fn open_notes(rights: &Rights, notes: &mut Vec<String>) {
    if rights.open_any {
        let mut said = "no permitopen: the clients of a dynamic forward say where to".to_owned();
        if !rights.opens_unix() {
            said.push_str("; AllowStreamLocalForwarding keeps it from unix sockets");
        }
        notes.push(said);
        return;
    }
    for path in rights.unwritable() {
        notes.push(format!(
            "{path} is not in it: OpenSSH has no way to write that path"
        ));
    }
    if rights.open_patterns().is_some_and(|all| all.is_empty()) {
        notes.push(format!(
            "{NO_TARGET} stands for nowhere: nothing can connect to that address"
        ));
    }
    let written =
        |open: &Open| matches!(open.place, Place::Unix(_)) && open.place.pattern().is_some();
    if rights.open.iter().any(written) {
        let said = "[/path]:* is a unix socket: sshd compares the path as it compares a host";
        notes.push(said.to_owned());
    }
    let for_probes = rights.open.iter().filter(|open| open.for_probe);
    for pattern in for_probes.filter_map(|open| open.place.pattern()) {
        notes.push(format!(
            "permitopen=\"{pattern}\" is for a probe, which comes back through the server"
        ));
    }
}

fn listen_notes(rights: &Rights, notes: &mut Vec<String>) {
    let tcp: Vec<_> = rights.tcp_listeners().collect();
    if tcp.is_empty() {
        notes.push(format!(
            "{NO_LISTENER} stands for nowhere: sshd compares in lower case"
        ));
    }
    if tcp.iter().any(|(bind, _)| bind.is_empty()) {
        let said = "permitlisten without an address is a request for every address";
        notes.push(said.to_owned());
    }
    if tcp.iter().any(|(_, port)| *port == 0) {
        let said = "permitlisten with any port: the server chooses one, and nobody knows which";
        notes.push(said.to_owned());
    }
    let unix = rights.listen.iter().find_map(|place| match place {
        RemoteListen::Unix(path) => Some(path),
        RemoteListen::Tcp { .. } => None,
    });
    notes.push(match unix {
        Some(path) => format!(
            "{path}: no option limits unix sockets that are listened on, \
             the key may make whichever the account may"
        ),
        None => "no option forbids listening on unix sockets: AllowStreamLocalForwarding does"
            .to_owned(),
    });
}
