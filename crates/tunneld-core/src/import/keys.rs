//! What the lines of ssh say about a server, as keys of the file.

use std::path::PathBuf;

use super::note::Note;
use crate::config::algorithms::{Kind, resolve};
use crate::config::values::ValueError;
use crate::config::{array, check_duration, duration, parse_rekey_limit, resolve_of_ssh, string};
use crate::ssh_config::{Answer, Found};

/// The most unanswered questions that the file takes.
const MAX_ALIVE_COUNT: u32 = 1_000;

/// Keys with their values, as TOML has them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) all: Vec<(&'static str, String)>,
    pub(super) notes: Vec<Note>,
}

impl Keys {
    pub(super) fn add(&mut self, key: &'static str, value: impl ToString) {
        self.all.push((key, value.to_string()));
    }

    fn plain<T: ToString>(&mut self, key: &'static str, found: Option<&Found<T>>) {
        if let Some(found) = found {
            self.add(key, found.value.to_string());
        }
    }

    /// A value that not every file of ssh has right.
    fn checked(&mut self, key: &'static str, keyword: &str, read: Result<String, ValueError>) {
        match read {
            Ok(value) => self.add(key, value),
            Err(error) => self.notes.push(Note::dropped(keyword, &error.message)),
        }
    }

    /// Who we are, whom we trust, and how the session is made: what a jump host has, too.
    pub(super) fn server(&mut self, answer: &Answer) {
        self.files("identity_file", answer.identity_file.as_deref());
        self.files("certificate_file", answer.certificate_file.as_deref());
        if let Some(agent) = &answer.identity_agent {
            let agent = agent.value.as_ref().map(ToString::to_string);
            self.add("identity_agent", string(agent.as_deref().unwrap_or("none")));
        }
        self.plain("identities_only", answer.identities_only.as_ref());
        self.known_hosts(answer);
        if let Some(strict) = &answer.strict_host_key_checking {
            self.add("strict_host_key_checking", string(strict.value.as_str()));
        }
        if let Some(alias) = &answer.host_key_alias {
            self.add("host_key_alias", string(&alias.value));
        }
        self.plain("update_host_keys", answer.update_host_keys.as_ref());
        self.plain("required_rsa_size", answer.required_rsa_size.as_ref());
        self.algorithms(answer);
        if let Some(bytes) = &answer.rekey_bytes {
            let time = answer
                .rekey_time
                .as_ref()
                .map_or("none", |time| &time.value);
            let text = format!("{} {time}", bytes.value);
            let read = parse_rekey_limit(&text).map(|_| string(&text));
            self.checked("rekey_limit", "RekeyLimit", read);
        }
    }

    /// The connection, and the session that carries the bytes.
    pub(super) fn session(&mut self, answer: &Answer) {
        self.plain("compression", answer.compression.as_ref());
        if let Some(family) = &answer.address_family {
            self.add("address_family", string(family.value.as_str()));
        }
        if let Some(address) = &answer.bind_address {
            self.add("bind_address", string(&address.value.to_string()));
        }
        let timeout = answer.connect_timeout.as_ref();
        if let Some(timeout) = timeout.filter(|timeout| !timeout.value.is_zero()) {
            let read = check_duration(timeout.value).map(duration);
            self.checked("connect_timeout", "ConnectTimeout", read);
        }
        if let Some(interval) = &answer.server_alive_interval {
            let read = check_duration(interval.value).map(duration);
            self.checked("server_alive_interval", "ServerAliveInterval", read);
        }
        match &answer.server_alive_count_max {
            Some(count) if count.value > MAX_ALIVE_COUNT => {
                let said = format!("takes at most {MAX_ALIVE_COUNT}");
                let read = Err(ValueError::new(said));
                self.checked("server_alive_count_max", "ServerAliveCountMax", read);
            }
            count => self.plain("server_alive_count_max", count.as_ref()),
        }
    }

    fn files(&mut self, key: &'static str, files: Option<&[Found<PathBuf>]>) {
        match files {
            None => {}
            Some([]) if key == "identity_file" => self.add(key, string("none")),
            Some(files) => {
                self.add(
                    key,
                    one_or_all(files.iter().map(|file| path(&file.value)).collect()),
                );
            }
        }
    }

    /// Those of the user, and those of this machine. /dev/null keeps no key.
    fn known_hosts(&mut self, answer: &Answer) {
        const NOWHERE: &str = "/dev/null";
        let found = |written: &Option<Found<Vec<Found<PathBuf>>>>| {
            let written = written.as_ref()?;
            let files = written.value.iter().map(|file| file.value.clone());
            Some(files.collect::<Vec<_>>())
        };
        let (users, global) = (
            found(&answer.user_known_hosts),
            found(&answer.global_known_hosts),
        );
        if users.is_none() && global.is_none() {
            return;
        }
        let mut files = users.unwrap_or_else(|| vec!["/etc/tunneld/known_hosts".into()]);
        files.extend(global.unwrap_or_else(|| vec!["/etc/ssh/ssh_known_hosts".into()]));
        let all = files.len();
        files.retain(|file| file.as_os_str() != NOWHERE);
        if files.len() < all {
            let why = "a host's key has to be kept: `tunneld trust` puts it into known_hosts";
            self.notes
                .push(Note::dropped(&format!("known hosts in {NOWHERE}"), why));
        }
        let only_global = files.iter().all(|file| file.starts_with("/etc/ssh"));
        if files.len() < all && only_global {
            return;
        }
        self.add("known_hosts", array(files.iter().map(path)));
    }

    fn algorithms(&mut self, answer: &Answer) {
        for (kind, keyword, written) in [
            (Kind::Cipher, "Ciphers", &answer.ciphers),
            (Kind::Mac, "MACs", &answer.macs),
            (Kind::Kex, "KexAlgorithms", &answer.kex_algorithms),
            (
                Kind::HostKey,
                "HostKeyAlgorithms",
                &answer.host_key_algorithms,
            ),
        ] {
            let Some(text) = written.as_ref().map(|written| &written.value) else {
                continue;
            };
            let shown = format!("{keyword} {text}");
            let names = match resolve_of_ssh(kind, text, true) {
                Ok(names) if names == kind.defaults(true) => {
                    let why = "is what is offered anyway; what only ssh has is not supported";
                    self.notes.push(Note::dropped(&shown, why));
                    continue;
                }
                names => names,
            };
            let whole = resolve(kind, text, true).is_ok();
            let read = names.map(|names| match whole {
                true => string(text),
                false => array(names.iter().map(|name| string(name))),
            });
            match read {
                Ok(value) => self.add(kind.key(), value),
                Err(error) => self.notes.push(Note::Lost(shown, error.message)),
            }
        }
    }
}

/// A path as TOML has it.
pub(super) fn path(path: impl AsRef<std::path::Path>) -> String {
    string(&path.as_ref().to_string_lossy())
}

/// A value alone where there is one.
pub(super) fn one_or_all(values: Vec<String>) -> String {
    match values.as_slice() {
        [one] => one.clone(),
        _ => array(values.into_iter()),
    }
}
