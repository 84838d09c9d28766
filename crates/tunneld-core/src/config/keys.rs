//! The names of keys: which belong where, and what somebody may have meant by another.

use super::render::quoted;

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The file itself.
    Root,
    /// A file that it includes.
    Included,
    /// `[daemon]`.
    Daemon,
    /// `[defaults]`.
    Defaults,
    /// `[tunnels.NAME]`.
    Tunnel,
    /// `reconnect = { … }`.
    Reconnect,
    /// `proxy_jump = [{ … }]`.
    Hop,
    /// `local_forward = [{ … }]`.
    LocalForward,
    /// `remote_forward = [{ … }]`.
    RemoteForward,
    /// `dynamic_forward = [{ … }]`.
    DynamicForward,
    /// `probe = { … }`.
    Probe,
    /// `on_up = { … }`, `on_down = { … }`.
    Hook,
}

impl Place {
    const ALL: [Place; 12] = [
        Place::Root,
        Place::Included,
        Place::Daemon,
        Place::Tunnel,
        Place::Defaults,
        Place::Reconnect,
        Place::Hop,
        Place::LocalForward,
        Place::RemoteForward,
        Place::DynamicForward,
        Place::Probe,
        Place::Hook,
    ];

    /// The keys of this table.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Place::Root => &["include", "daemon", "defaults", "tunnels"],
            Place::Included => &["defaults", "tunnels"],
            Place::Daemon => &[
                "control_socket",
                "metrics_listen",
                "state_directory",
                "ready_when",
                "start_timeout",
                "drain_timeout",
                "watch",
                "sandbox",
            ],
            Place::Defaults => SETTINGS,
            Place::Tunnel => TUNNEL,
            Place::Reconnect => &["initial", "max", "multiplier", "jitter", "reset_after"],
            Place::Hop => HOP,
            Place::LocalForward => &[
                "name",
                "listen",
                "connect",
                "while_down",
                "wait_timeout",
                "max_connections",
                "idle_timeout",
                "allow",
                "socket_mode",
                "socket_owner",
                "probe",
            ],
            Place::RemoteForward => &[
                "name",
                "listen",
                "connect",
                "max_connections",
                "idle_timeout",
                "allow",
                "probe",
            ],
            Place::DynamicForward => &[
                "name",
                "listen",
                "while_down",
                "wait_timeout",
                "max_connections",
                "idle_timeout",
                "allow",
                "socket_mode",
                "socket_owner",
            ],
            Place::Probe => &["interval", "timeout", "expect", "path"],
            Place::Hook => &["command", "timeout"],
        }
    }

    /// The table as it is written.
    fn shown(self) -> &'static str {
        match self {
            Place::Root => "the file itself",
            Place::Included => "an included file",
            Place::Daemon => "[daemon]",
            Place::Defaults => "[defaults]",
            Place::Tunnel => "[tunnels.NAME]",
            Place::Reconnect => "reconnect = { … }",
            Place::Hop => "a table of proxy_jump",
            Place::LocalForward => "a table of local_forward",
            Place::RemoteForward => "a table of remote_forward",
            Place::DynamicForward => "a table of dynamic_forward",
            Place::Probe => "probe = { … }",
            Place::Hook => "on_up = { … } or on_down = { … }",
        }
    }
}

/// The tables of the file, as they are written in messages, and the keys that each may have: for
/// documents that are to be in step with them.
pub fn tables() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    // What an included file may have, the file itself has too.
    let places = Place::ALL.into_iter().filter(|p| *p != Place::Included);
    places.map(|place| (place.shown(), place.keys()))
}

/// `[tunnels.NAME]`: what is only there, and then the settings.
const TUNNEL: &[&str] = &[
    "host",
    "local_forward",
    "remote_forward",
    "dynamic_forward",
    "port",
    "user",
    "identity_file",
    "certificate_file",
    "identity_agent",
    "identities_only",
    "passphrase_credential",
    "password_credential",
    "known_hosts",
    "strict_host_key_checking",
    "host_key_fingerprint",
    "host_key_alias",
    "update_host_keys",
    "required_rsa_size",
    "ciphers",
    "macs",
    "kex_algorithms",
    "host_key_algorithms",
    "compression",
    "rekey_limit",
    "address_family",
    "bind_address",
    "proxy_jump",
    "proxy",
    "proxy_command",
    "ssh_config",
    "connect_timeout",
    "server_alive_interval",
    "server_alive_count_max",
    "certificate_expiry_warning",
    "min_sessions",
    "max_sessions",
    "stall_timeout",
    "reconnect",
    "on_up",
    "on_down",
    "enabled",
];

/// The keys that `[defaults]` and `[tunnels.NAME]` have in common.
const SETTINGS: &[&str] = TUNNEL.split_at(4).1;

/// A jump host: who it is, how to log in there, which key it has, and what is negotiated with it.
const HOP: &[&str] = &[
    "host",
    "port",
    "user",
    "identity_file",
    "certificate_file",
    "identity_agent",
    "identities_only",
    "passphrase_credential",
    "password_credential",
    "known_hosts",
    "strict_host_key_checking",
    "host_key_fingerprint",
    "host_key_alias",
    "update_host_keys",
    "required_rsa_size",
    "ciphers",
    "macs",
    "kex_algorithms",
    "host_key_algorithms",
    "rekey_limit",
];

/// What people write for keys whose names are too far away to be found by likeness.
const OTHER_NAMES: [(&str, &str); 13] = [
    ("hostname", "host"),
    ("address", "host"),
    ("username", "user"),
    ("login", "user"),
    ("key", "identity_file"),
    ("certificate", "certificate_file"),
    ("agent", "identity_agent"),
    ("kex", "kex_algorithms"),
    ("forward", "local_forward"),
    ("jump", "proxy_jump"),
    ("jumphost", "proxy_jump"),
    ("socks", "dynamic_forward"),
    ("mode", "socket_mode"),
];

/// What ssh has and tunneld does without.
const NOT_NEEDED: [(&str, &str); 2] = [
    (
        "gatewayports",
        "give the address in the forward: \"*:8080:host:80\" listens on every address",
    ),
    (
        "exitonforwardfailure",
        "not needed: the tunnel is `degraded`, and the port is tried again",
    ),
];

/// Longer names than this are not compared: likeness costs the product of the lengths.
const MAX_COMPARED: usize = 64;

/// What there is to say about a key that is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) help: Option<String>,
    /// The key of this table that was probably meant.
    pub(super) meant: Option<&'static str>,
}

/// What there is to say about `key`, which is not a key of `place`.
pub(super) fn unknown(place: Place, key: &str) -> Unknown {
    if place == Place::Included && Place::Root.keys().contains(&key) {
        return Unknown {
            message: format!("an included file cannot have {}", quoted(key)),
            label: Some(format!(
                "`{key}` belongs in the file that includes this one"
            )),
            help: None,
            meant: None,
        };
    }
    let mut said = Unknown {
        message: format!("unknown key {}", quoted(key)),
        label: None,
        help: None,
        meant: None,
    };
    if let Some(near) = same_or_alias(place, key) {
        said.meant = Some(near);
    } else if let Some(help) = not_needed(key) {
        said.help = Some(help.to_owned());
    } else if let Some(home) = belongs(place, key) {
        said.label = Some(home);
    } else if is_secret(key) {
        said.help = Some(
            "secrets are never in this file: `password_credential` and `passphrase_credential` \
             name a credential of systemd or a file that has them"
                .to_owned(),
        );
    } else {
        said.meant = nearest(place.keys(), key);
    }
    if let Some(near) = said.meant {
        said.label = Some(format!("did you mean `{near}`?"));
    }
    said
}

fn not_needed(key: &str) -> Option<&'static str> {
    let key = folded(key);
    let found = NOT_NEEDED.iter().find(|(name, _)| *name == key);
    found.map(|(_, help)| *help)
}

/// Whether a key is named like a secret, or like the place of one.
pub(super) fn is_secret(key: &str) -> bool {
    let key = folded(key);
    ["password", "passwd", "passphrase", "secret"]
        .iter()
        .any(|s| key.contains(s))
}

/// `LocalForward`, `local-forward` and `local_forward` are one.
pub(super) fn folded(key: &str) -> String {
    key.chars()
        .take(MAX_COMPARED)
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

fn same_or_alias(place: Place, key: &str) -> Option<&'static str> {
    let key = folded(key);
    let alias = OTHER_NAMES.iter().find(|(other, _)| *other == key);
    let alias = alias.map(|(_, name)| *name);
    let mut keys = place.keys().iter().copied();
    keys.find(|k| folded(k) == key || alias == Some(*k))
}

fn belongs(place: Place, key: &str) -> Option<String> {
    let homes: Vec<Place> = Place::ALL
        .into_iter()
        .filter(|p| *p != place && p.keys().contains(&key))
        .collect();
    let home = *homes.first()?;
    let also = home == Place::Tunnel && place != Place::Defaults && SETTINGS.contains(&key);
    let mut shown = vec![home.shown()];
    if also {
        shown.push(Place::Defaults.shown());
    } else if home == Place::LocalForward {
        let others = homes.iter().skip(1);
        shown.extend(others.filter_map(|p| p.shown().strip_prefix("a table of ")));
    }
    let last = shown.pop()?;
    let first = match shown.is_empty() {
        true => String::new(),
        false => format!("{} or ", shown.join(", ")),
    };
    Some(format!("`{key}` belongs in {first}{last}"))
}

/// Which of these is most like what was written, for whoever mistyped it; `None` if none is like it.
pub fn nearest<'a>(keys: &[&'a str], key: &str) -> Option<&'a str> {
    const LIKE: f64 = 0.6;
    if key.len() > MAX_COMPARED {
        return None;
    }
    let key = key.to_lowercase();
    keys.iter()
        .map(|known| {
            let likeness = strsim::normalized_damerau_levenshtein(&known.to_lowercase(), &key);
            (likeness, *known)
        })
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(place: Place, key: &str) -> Option<String> {
        unknown(place, key).label
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        for (key, meant) in [
            ("local_foward", "local_forward"),
            ("prot", "port"),
            ("hsot", "host"),
            ("usr", "user"),
            ("reconect", "reconnect"),
            ("identity_files", "identity_file"),
            ("LocalForward", "local_forward"),
            ("ServerAliveInterval", "server_alive_interval"),
            ("connect-timeout", "connect_timeout"),
            ("hostname", "host"),
        ] {
            let found = label(Place::Tunnel, key);
            assert_eq!(found, Some(format!("did you mean `{meant}`?")), "{key}");
        }
    }

    #[test]
    fn nonsense_finds_nothing() {
        for key in ["foo", "", "x", "colour", "é", &"host".repeat(100_000)] {
            assert_eq!(label(Place::Tunnel, key), None);
        }
    }

    #[test]
    fn a_key_of_another_table_is_sent_there() {
        for (place, key, said) in [
            (Place::Root, "host", "`host` belongs in [tunnels.NAME]"),
            (Place::Defaults, "host", "`host` belongs in [tunnels.NAME]"),
            (
                Place::Daemon,
                "port",
                "`port` belongs in [tunnels.NAME] or [defaults]",
            ),
            (
                Place::Tunnel,
                "drain_timeout",
                "`drain_timeout` belongs in [daemon]",
            ),
            (
                Place::Tunnel,
                "jitter",
                "`jitter` belongs in reconnect = { … }",
            ),
            (
                Place::Tunnel,
                "while_down",
                "`while_down` belongs in a table of local_forward or dynamic_forward",
            ),
            (
                Place::Tunnel,
                "allow",
                "`allow` belongs in a table of local_forward, remote_forward or dynamic_forward",
            ),
            (
                Place::DynamicForward,
                "interval",
                "`interval` belongs in probe = { … }",
            ),
            (
                Place::Hop,
                "proxy_command",
                "`proxy_command` belongs in [tunnels.NAME] or [defaults]",
            ),
            (
                Place::LocalForward,
                "host",
                "`host` belongs in [tunnels.NAME]",
            ),
            (
                Place::Daemon,
                "password_credential",
                "`password_credential` belongs in [tunnels.NAME] or [defaults]",
            ),
            (
                Place::Tunnel,
                "daemon",
                "`daemon` belongs in the file itself",
            ),
        ] {
            assert_eq!(label(place, key).as_deref(), Some(said));
        }
    }

    #[test]
    fn a_key_of_ssh_that_is_not_needed_is_told_why() {
        for (key, help) in [
            ("gateway_ports", "give the address in the forward: "),
            ("GatewayPorts", "give the address in the forward: "),
            ("exit_on_forward_failure", "not needed: the tunnel is "),
        ] {
            let said = unknown(Place::Tunnel, key);
            assert_eq!(said.message, format!("unknown key `{key}`"));
            assert!(said.help.unwrap().starts_with(help));
            assert_eq!(said.meant, None);
        }
    }

    #[test]
    fn a_secret_is_told_where_secrets_are() {
        for key in ["password", "Passphrase", "key_passphrase"] {
            let said = unknown(Place::Tunnel, key);
            assert!(said.message.starts_with("unknown key"));
            assert!(said.help.unwrap().starts_with("secrets are never"));
        }
    }
}
