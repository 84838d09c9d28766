//! The environment variables of autossh(1), and what does their work here.

use std::collections::BTreeMap;

use super::note::Note;

/// Each variable, and why it is not needed.
const VARIABLES: &[(&str, &str)] = &[
    ("AUTOSSH_DEBUG", "`tunneld run --log-level debug`"),
    (
        "AUTOSSH_FIRST_POLL",
        "the session is asked, see `server_alive_interval`",
    ),
    (
        "AUTOSSH_GATETIME",
        "a first attempt that fails is retried like any other",
    ),
    ("AUTOSSH_LOGFILE", "the journal: `journalctl -u tunneld`"),
    ("AUTOSSH_LOGLEVEL", "`tunneld run --log-level`"),
    (
        "AUTOSSH_MAXLIFETIME",
        "it does not end by itself: `systemctl stop`, or a timer",
    ),
    ("AUTOSSH_MAXSTART", "it never gives up"),
    (
        "AUTOSSH_MESSAGE",
        "nothing is sent through a monitoring port",
    ),
    ("AUTOSSH_NTSERVICE", "it is a service of systemd"),
    ("AUTOSSH_PATH", "it does not run ssh"),
    ("AUTOSSH_PIDFILE", "systemd knows the process"),
    (
        "AUTOSSH_POLL",
        "the session is asked, see `server_alive_interval`",
    ),
    (
        "AUTOSSH_PORT",
        "no monitoring port is needed: the session itself is asked",
    ),
    (
        "SSH_ASKPASS",
        "nobody is asked: `password_credential`, `passphrase_credential`",
    ),
    (
        "SSHPASS",
        "a password is a credential: `password_credential = \"NAME\"`",
    ),
];

/// What is said of the variables of a command.
pub(super) fn notes(variables: &BTreeMap<String, String>, notes: &mut Vec<Note>) {
    for (name, why) in VARIABLES {
        let Some(value) = variables.get(*name) else {
            continue;
        };
        // What a variable of a secret has in it is not shown.
        let shown = match name.starts_with("AUTOSSH_") {
            true => format!("{name}={value}"),
            false => (*name).to_owned(),
        };
        notes.push(Note::dropped(&shown, why));
    }
}
