//! How a person calls this program so that it finds the same file and the same daemon, and the unit
//! that runs it: what is advised is typed as it stands, and another daemon may run beside this one.

use std::path::Path;
use std::sync::OnceLock;

use tunneld_core::config::Origin;
use tunneld_core::text::shell_word;

/// Of the whole process: it has one file.
static OURS: OnceLock<Calling> = OnceLock::new();

/// How the program is called, and its unit. Without places: as the package has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calling {
    /// The options that follow the words of a command, for a shell.
    options: String,
    unit: String,
    is_daemon: bool,
}

impl Default for Calling {
    fn default() -> Self {
        Calling::with(None, None)
    }
}

impl Calling {
    /// With a configuration file and a control socket, where they are not the usual ones.
    pub fn with(config: Option<&Path>, socket: Option<&Path>) -> Self {
        let mut options = String::new();
        for (key, path) in [("--config", config), ("--socket", socket)] {
            if let Some(path) = path {
                let path = shell_word(&path.display().to_string());
                options.push_str(&format!(" {key} {path}"));
            }
        }
        let instance = config.and_then(|file| Origin::of_file(file).instance());
        let instance = instance.or_else(|| instance_at(socket?));
        Calling {
            options,
            unit: match instance {
                Some(name) => shell_word(&format!("tunneld@{name}")),
                None => "tunneld".to_owned(),
            },
            is_daemon: false,
        }
    }

    /// The same, of the daemon itself.
    #[must_use]
    pub fn of_daemon(self) -> Self {
        Calling {
            is_daemon: true,
            ..self
        }
    }

    /// A command of ours: `tunneld trust db`. sudo(8) keeps nothing of the environment, so what came
    /// from there is named as well.
    pub fn command(&self, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
        format!("tunneld {}{}", words.join(" "), self.options)
    }

    /// The unit, for systemctl(1) and journalctl(1): `tunneld`, or `tunneld@NAME`.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The command that restarts the daemon.
    pub fn restart(&self) -> String {
        format!("systemctl restart {}", self.unit)
    }
}

/// The instance that has its socket there.
fn instance_at(socket: &Path) -> Option<String> {
    let folder = socket.parent()?.to_str()?;
    let name = folder.strip_prefix("/run/tunneld-")?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

/// To be called once, before anything is advised.
pub fn set(calling: Calling) {
    // Whoever comes second has nothing to say.
    let _ = OURS.set(calling);
}

/// How this process was called.
pub fn ours() -> &'static Calling {
    OURS.get_or_init(Calling::default)
}

/// Whether this process is the daemon.
pub fn is_daemon() -> bool {
    ours().is_daemon
}

/// Whom the files of the daemon have to belong to, where this process is the daemon. Blocks.
pub(crate) fn daemon_user() -> Option<String> {
    is_daemon().then(our_name)
}

/// How our user is called. Blocks.
pub(crate) fn our_name() -> String {
    name_of(nix::unistd::geteuid().as_raw())
}

/// How a user is called. Blocks.
pub(crate) fn name_of(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_called_by_its_file_and_its_unit() {
        let path = |path: &'static str| (!path.is_empty()).then(|| Path::new(path));
        for (config, socket, command, unit) in [
            ("", "", "tunneld trust db", "tunneld"),
            (
                "/etc/tunneld/office.toml",
                "",
                "tunneld trust db --config /etc/tunneld/office.toml",
                "tunneld@office",
            ),
            (
                "",
                "/run/tunneld-office/control.sock",
                "tunneld trust db --socket /run/tunneld-office/control.sock",
                "tunneld@office",
            ),
            (
                "/etc/tunneld/office.toml",
                "/run/o/s",
                "tunneld trust db --config /etc/tunneld/office.toml --socket /run/o/s",
                "tunneld@office",
            ),
            (
                "/srv/my tunnels.toml",
                "/run/a'b",
                r"tunneld trust db --config '/srv/my tunnels.toml' --socket '/run/a'\''b'",
                "tunneld",
            ),
        ] {
            let calling = Calling::with(path(config), path(socket));
            assert_eq!(calling.command(&["trust", "db"]), command);
            assert_eq!(calling.restart(), format!("systemctl restart {unit}"));
        }
    }
}
