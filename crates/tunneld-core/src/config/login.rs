//! How to log in at a server: keys, certificates, an agent, and where secrets are.

use std::path::{Path, PathBuf};

use super::items::{Base, MAX_PATH_LEN, is_default, path, paths};
use super::places::MAX_SOCKET_PATH;
use super::raw::{Cursor, Item, Problems};
use super::render::quoted;
use super::settings::{or, truth};
use super::ssh_layer::decided;
use super::values::ValueError;
use super::way_forms::is_none;
use super::{Credential, IdentityAgent, Sourced, Target};

/// The longest name of a credential, in bytes (systemd's `credential_name_valid`).
const MAX_NAME_LEN: usize = 255;

/// What one table says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    /// Within it `None`: the default keys.
    pub(super) identity_file: Option<Sourced<Option<Vec<Sourced<PathBuf>>>>>,
    pub(super) certificate_file: Option<Sourced<Vec<Sourced<PathBuf>>>>,
    pub(super) identity_agent: Option<Sourced<Option<IdentityAgent>>>,
    pub(super) identities_only: Option<Sourced<bool>>,
    pub(super) passphrase: Option<Sourced<Option<Credential>>>,
    pub(super) password: Option<Sourced<Option<Credential>>>,
}

impl Login {
    /// Takes the keys out of a table.
    pub(super) fn take(keys: &mut Cursor<'_, '_>, base: Base<'_>, problems: &mut Problems) -> Self {
        Login {
            identity_file: keys.take("identity_file", problems, |item, problems| {
                identity_file(item, base, problems)
            }),
            certificate_file: keys.take("certificate_file", problems, |item, problems| {
                match written_none(item) {
                    true => Some(Vec::new()),
                    false => paths(item, base, problems),
                }
            }),
            identity_agent: keys.take("identity_agent", problems, |item, problems| {
                identity_agent(item, base, problems)
            }),
            identities_only: keys.take("identities_only", problems, truth),
            passphrase: keys.take("passphrase_credential", problems, |item, problems| {
                credential(item, base, problems)
            }),
            password: keys.take("password_credential", problems, |item, problems| {
                credential(item, base, problems)
            }),
        }
    }

    /// This, and where it says nothing what `defaults` says.
    pub(super) fn or(self, defaults: &Login) -> Self {
        Login {
            identity_file: or(self.identity_file, &defaults.identity_file),
            certificate_file: or(self.certificate_file, &defaults.certificate_file),
            identity_agent: or(self.identity_agent, &defaults.identity_agent),
            identities_only: or(self.identities_only, &defaults.identities_only),
            passphrase: or(self.passphrase, &defaults.passphrase),
            password: or(self.password, &defaults.password),
        }
    }

    /// What a jump host says, and where it says nothing what holds for it. The password of a tunnel
    /// is never shown to its jump hosts; that it wants none holds for them, too. Certificates, an
    /// agent and a passphrase belong to keys: a jump host with keys of its own takes none of the
    /// tunnel's. That only named keys are tried is no key: it holds for all hosts on the way.
    pub(super) fn of_hop(&self, tunnel: &Login, defaults: &Login) -> Self {
        let keys = match self.identity_file {
            Some(_) => self.clone(),
            None => self.clone().or(tunnel),
        };
        let wants_none = tunnel.password.as_ref().is_some_and(|v| v.value.is_none());
        let passwords = if wants_none { tunnel } else { defaults };
        Login {
            identities_only: or(self.identities_only.clone(), &tunnel.identities_only),
            password: or(self.password.clone(), &passwords.password),
            ..keys
        }
    }

    /// The keywords of ssh_config(5) that this decides.
    pub(super) fn decided(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.identity_file.is_some(), "IdentityFile"),
            (self.certificate_file.is_some(), "CertificateFile"),
            (self.identity_agent.is_some(), "IdentityAgent"),
            (self.identities_only.is_some(), "IdentitiesOnly"),
        ];
        decided(all)
    }

    /// Whether there is a password to log in with.
    pub(super) fn has_password(&self) -> bool {
        self.password.as_ref().is_some_and(|v| v.value.is_some())
    }

    /// Completes a target. `home` is where the default keys are.
    pub(super) fn fill(&self, target: &mut Target, home: Option<&Path>) {
        let keys = self.identity_file.as_ref();
        let keys = keys.and_then(|written| written.value.clone());
        target.identity_file_is_default = keys.is_none();
        target.identity_file = keys.unwrap_or_else(|| default_keys(home));
        let certificates = self.certificate_file.as_ref();
        target.certificate_file = certificates.map(|v| v.value.clone()).unwrap_or_default();
        let agent = self.identity_agent.as_ref();
        target.identity_agent = agent.and_then(|v| v.value.clone());
        target.identities_only = self.identities_only.as_ref().is_some_and(|v| v.value);
        target.passphrase_credential = named(&self.passphrase);
        target.password_credential = named(&self.password);
    }
}

/// A credential and where it was written, unless it is "none".
fn named(written: &Option<Sourced<Option<Credential>>>) -> Option<Sourced<Credential>> {
    let Sourced { value, span } = written.clone()?;
    value.map(|value| Sourced { value, span })
}

fn written_none(item: Item<'_, '_>) -> bool {
    item.get().as_str().is_some_and(is_none)
}

/// Files, "none", or "default".
fn identity_file(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Option<Vec<Sourced<PathBuf>>>> {
    if written_none(item) {
        return Some(Some(Vec::new()));
    }
    if is_default(item) {
        return Some(None);
    }
    let found = paths(item, base, problems)?;
    if found.is_empty() {
        problems.report(item.wrong("names no file").with_help(
            "name a private key, leave the key out to use those in ~/.ssh, or write \
                     `none` to use none",
        ));
        return None;
    }
    Some(Some(found))
}

/// A socket, an environment variable, or `none`.
fn identity_agent(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Option<IdentityAgent>> {
    let text = item.text("a path, \"SSH_AUTH_SOCK\" or \"none\"", problems)?;
    if is_none(text) {
        return Some(None);
    }
    let variable = match text.strip_prefix('$') {
        Some(name) => Some(name),
        None => Some(text).filter(|text| *text == "SSH_AUTH_SOCK"),
    };
    if let Some(name) = variable {
        let found = variable_name(name).map_err(|e| problems.report(item.error(e)));
        return found.ok().map(|name| Some(IdentityAgent::Variable(name)));
    }
    let socket = path(item, base, problems)?;
    let len = socket.as_os_str().len();
    if len > MAX_SOCKET_PATH {
        let said = format!(
            "has a path of {len} bytes, that of a unix socket has at most {MAX_SOCKET_PATH}"
        );
        problems.report(item.wrong(&said));
        return None;
    }
    Some(Some(IdentityAgent::Socket(socket)))
}

/// The name of an environment variable (POSIX, Base Definitions 8.1).
fn variable_name(name: &str) -> Result<String, ValueError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| fits(c) && !c.is_ascii_digit());
    if !begins || !name.chars().all(fits) || name.len() > MAX_NAME_LEN {
        let said = format!(
            "has no environment variable in {}",
            quoted(&format!("${name}"))
        );
        return Err(ValueError::new(said)
            .with_help("write \"$NAME\" for the socket that the variable NAME has, or its path"));
    }
    Ok(name.to_owned())
}

/// Where a secret is, or `none`.
fn credential(
    item: Item<'_, '_>,
    base: Base<'_>,
    problems: &mut Problems,
) -> Option<Option<Credential>> {
    let text = item.text("the name of a credential, or a path", problems)?;
    if is_none(text) {
        return Some(None);
    }
    if text.contains('/') {
        return path(item, base, problems).map(|path| Some(Credential::File(path)));
    }
    let found = credential_name(text).map_err(|e| problems.report(item.error(e)));
    found.ok().map(|name| Some(Credential::Named(name)))
}

/// Whether a text is where a secret is, and no more likely the secret itself.
pub(super) fn is_credential(text: &str) -> bool {
    let is_path = |text: &str| {
        let of_home = !text.starts_with('~') || text.starts_with("~/");
        text.contains('/') && of_home && text.len() <= MAX_PATH_LEN
    };
    is_none(text) || is_path(text) || credential_name(text).is_ok()
}

/// The name of a credential. systemd allows more in it: what has other characters is more likely
/// the secret itself, so it is not repeated.
fn credential_name(name: &str) -> Result<String, ValueError> {
    const HELP: &str = "write the name that LoadCredential= has in the unit, or a path with a `/`; \
                        secrets are never in this file";
    let wrong = |said: String| Err(ValueError::new(said).with_help(HELP));
    if name.is_empty() {
        return wrong("is empty".to_owned());
    }
    if name.len() > MAX_NAME_LEN {
        return wrong(format!("has more than {MAX_NAME_LEN} bytes"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if matches!(name, "." | "..") || !name.chars().all(fits) {
        return wrong("is no name of a credential: letters, digits, `.`, `_` and `-`".to_owned());
    }
    Ok(name.to_owned())
}

fn default_keys(home: Option<&Path>) -> Vec<Sourced<PathBuf>> {
    let names = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
    let paths = home.iter().flat_map(|home| names.map(|n| home.join(n)));
    paths.map(Sourced::unwritten).collect()
}
