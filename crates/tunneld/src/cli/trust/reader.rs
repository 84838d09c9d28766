//! Who reads what is written: the daemon, which may run as another user than whoever types the
//! command, and then has another home.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::Refusal;
use crate::account::Account;
use crate::cli::{DEFAULT_CONFIG, Places};
use crate::control::client::listener_uid;

/// The user that the daemon runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Whoever types the command.
    Us,
    /// This one.
    Other(u32),
    /// Nobody can tell who, but hardly whoever types the command.
    Unknown,
}

impl Reader {
    /// The user of the daemon that runs. Without one that can be asked: of the packaged service,
    /// where it is installed and the file is its own; and a file that root reads is there for some
    /// service, too.
    pub(super) fn find(places: &Places) -> Self {
        // Its instances have their files beside it.
        let is_service = places.config.parent() == Path::new(DEFAULT_CONFIG).parent();
        let service = || Account::of_service().filter(|_| is_service);
        let uid = listener_uid(&places.socket()).or_else(|| service().map(|account| account.uid));
        match uid {
            Some(uid) if uid == geteuid().as_raw() => Reader::Us,
            Some(uid) => Reader::Other(uid),
            None if is_service || geteuid().is_root() => Reader::Unknown,
            None => Reader::Us,
        }
    }

    /// Whether the daemon has a file too, as far as its place tells: what is in our home it has not.
    pub(super) fn has(self, file: &Path) -> bool {
        self == Reader::Us || !is_in(file, &homes())
    }

    /// Refuses to write a file that the daemon does not have, or warns where that is not certain.
    pub(super) fn look_at(self, file: &Path, command: &str) -> Result<(), Refusal> {
        if self.has(file) {
            return Ok(());
        }
        let file = file.display();
        const BETTER: &str =
            "name a file in `known_hosts` that it has, as /etc/tunneld/known_hosts";
        let Reader::Other(uid) = self else {
            eprintln!(
                "warning: {file} is in a home, and a daemon that runs as another user has another \
                 one\nhint: {BETTER}"
            );
            return Ok(());
        };
        let user = Account::of(uid).map_or_else(|| format!("#{uid}"), |account| account.name);
        let cause = format!(
            "{file} is in a home that is not the daemon's, which runs as {user}; nothing was added"
        );
        let refusal = Refusal::new(cause).hint(format!("as that user: `sudo -u {user} {command}`"));
        Err(refusal.hint(format!("or {BETTER}")))
    }
}

/// Our own homes: the one that `~` stands for, and the one of the user that we are.
fn homes() -> Vec<PathBuf> {
    let account = Account::of(geteuid().as_raw()).map(|account| account.home);
    let variable = std::env::var_os("HOME").map(PathBuf::from);
    variable.into_iter().chain(account).collect()
}

/// Whether a file is in one of these folders. Where nobody has a home of their own, `/` stands for
/// one.
fn is_in(file: &Path, homes: &[PathBuf]) -> bool {
    let mut homes = homes.iter().filter(|home| home.parent().is_some());
    homes.any(|home| !home.as_os_str().is_empty() && file.starts_with(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_a_home_and_not_beside_it_and_the_root_is_nobodys_home() {
        let homes = ["/home/a", "", "/"].map(PathBuf::from);
        for (file, wanted) in [
            ("/home/a/.ssh/known_hosts", true),
            ("/home/ab/known_hosts", false),
            ("/etc/tunneld/known_hosts", false),
        ] {
            assert_eq!(is_in(Path::new(file), &homes), wanted, "{file}");
        }
    }

    #[test]
    fn what_is_in_our_home_counts_only_for_ourselves() {
        let ours = homes().swap_remove(0).join("known_hosts");
        assert!(Reader::Us.has(&ours));
        for reader in [Reader::Other(60_000), Reader::Unknown] {
            assert!(!reader.has(&ours));
            assert!(reader.has(Path::new("/etc/tunneld/known_hosts")));
        }
    }
}
