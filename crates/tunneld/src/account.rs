//! The users of this machine, as /etc/passwd has them (passwd(5)).

use std::path::PathBuf;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The login name.
    pub(crate) name: String,
    /// The number.
    pub(crate) uid: u32,
    /// The home directory.
    pub(crate) home: PathBuf,
}

impl Account {
    /// The user with this number.
    pub(crate) fn of(uid: u32) -> Option<Self> {
        find(|account| account.uid == uid)
    }

    /// The user that the packaged service runs as, where it is installed.
    pub(crate) fn of_service() -> Option<Self> {
        Account::named("tunneld")
    }

    /// The user of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        find(|account| account.name == name)
    }
}

fn find(wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd.lines().filter_map(parse).find(wanted)
}

/// `name:password:uid:gid:comment:home:shell`.
fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let home = fields.nth(2)?.into();
    Some(Account { name, uid, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_a_number_and_a_home() {
        let account = parse("svc:x:990:991:Some, One:/var/lib/svc:/usr/sbin/nologin").unwrap();
        let expected = Account {
            name: "svc".to_owned(),
            uid: 990,
            home: "/var/lib/svc".into(),
        };
        assert_eq!(account, expected);
        for line in ["", "svc", "svc:x:-1:0::/:", "+@nis::::::"] {
            assert_eq!(parse(line), None, "{line}");
        }
        let root = Account::of(0).unwrap();
        assert_eq!(Account::named(&root.name).unwrap().uid, 0);
    }
}
