//! The users and groups of this machine, as /etc/passwd and /etc/group have them (passwd(5),
//! group(5)).

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

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// The users that are in it beside those whose own group it is.
    pub(crate) members: Vec<String>,
}

impl Group {
    /// The group with this number.
    pub(crate) fn of(gid: u32) -> Option<Self> {
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let mut groups = groups.lines().filter_map(parse_group);
        groups.find(|(of, _)| *of == gid).map(|(_, group)| group)
    }
}

/// `name:password:gid:user,user`.
fn parse_group(line: &str) -> Option<(u32, Group)> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next()?.split(',').filter(|name| !name.is_empty());
    let members = members.map(str::to_owned).collect();
    Some((gid, Group { name, members }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_a_number_and_members() {
        let group = |members: &[&str]| Group {
            name: "g".to_owned(),
            members: members.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(parse_group("g:x:7:a,b"), Some((7, group(&["a", "b"]))));
        assert_eq!(parse_group("g:x:7:"), Some((7, group(&[]))));
        for line in ["", "g:x", "g:x:y:a", "+:::"] {
            assert_eq!(parse_group(line), None, "{line}");
        }
        assert!(Group::of(0).is_some());
    }

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
