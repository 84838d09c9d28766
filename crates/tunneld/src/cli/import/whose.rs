//! Who runs a command line: the login name, the home directory and the keys are theirs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::account::Account;
use crate::config_file;

/// The keys that ssh tries by itself, those that are likely first.
const DEFAULT_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

/// Who runs a command line.
pub(super) struct Whose {
    pub(super) user: String,
    pub(super) uid: u32,
    pub(super) home: Option<PathBuf>,
    /// What is only likely, for people.
    pub(super) guess: Option<String>,
}

impl Whose {
    /// Whoever has typed the command.
    pub(super) fn ours() -> Self {
        let surroundings = config_file::surroundings();
        Whose {
            user: surroundings.user.unwrap_or_else(|| "root".to_owned()),
            uid: rustix::process::geteuid().as_raw(),
            home: surroundings.home,
            guess: None,
        }
    }

    /// The user with this number, where there is one.
    pub(super) fn numbered(uid: u32) -> Self {
        match Account::of(uid) {
            Some(account) => Self::of(account),
            None => Self::ours(),
        }
    }

    /// The user of this name or number. A unit may be from another machine.
    pub(super) fn named(user: &str) -> Self {
        let number = user.parse().ok().and_then(Account::of);
        if let Some(account) = Account::named(user).or(number) {
            return Self::of(account);
        }
        let home = PathBuf::from("/home").join(user);
        let guess = format!(
            "there is no user `{}` here: {} is taken for their home",
            user.escape_debug(),
            home.display()
        );
        Whose {
            user: user.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            home: Some(home),
            guess: Some(guess),
        }
    }

    fn of(account: Account) -> Self {
        Whose {
            user: account.name,
            uid: account.uid,
            home: Some(account.home),
            guess: None,
        }
    }

    /// Those of their keys that ssh tries by itself.
    pub(super) fn default_keys(&self) -> Vec<PathBuf> {
        let home = self.home.iter();
        let keys = home.flat_map(|home| DEFAULT_KEYS.map(|key| home.join(key)));
        keys.filter(|key| key.is_file()).collect()
    }

    /// What the service manager adds to the variables of a service.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let home = self.home.as_ref().map(|home| home.display().to_string());
        let all = [
            ("HOME", home),
            ("USER", Some(self.user.clone())),
            ("LOGNAME", Some(self.user.clone())),
        ];
        let set = all
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        set.collect()
    }
}

/// The variables of whoever has typed the command. The agent of a login is gone with it.
pub(super) fn variables() -> BTreeMap<String, String> {
    let all = std::env::vars_os();
    let text =
        all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| name != "SSH_AUTH_SOCK").collect()
}
