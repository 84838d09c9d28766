//! Users and groups, by name or number.
//!
//! Names are asked of the system's own lookup (nsswitch.conf(5)): users may come from LDAP, or be
//! made by systemd for one service, and then are in no file.

use nix::unistd::{Group, User};
use rustix::fs::{Gid, Uid};
use tunneld_core::config::SocketOwner;

use crate::error::os_reason;

/// Whom a file is given to; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::forward::listen) struct Ids {
    pub(super) user: Option<Uid>,
    pub(super) group: Option<Gid>,
}

/// Why there are no ids.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoIds {
    /// There is no such user or group.
    Unknown(String),
    /// The system cannot say.
    Unanswered(String),
}

/// Looks an owner up; waits for whatever the system asks.
pub(super) fn find(owner: &SocketOwner) -> Result<Ids, NoIds> {
    let by_name = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
    let user = id("user", owner.user.as_deref(), by_name)?;
    let by_name = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
    let group = id("group", owner.group.as_deref(), by_name)?;
    Ok(Ids {
        user: user.map(Uid::from_raw),
        group: group.map(Gid::from_raw),
    })
}

fn id(
    kind: &str,
    wanted: Option<&str>,
    by_name: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<Option<u32>, NoIds> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let found = match wanted.parse() {
        // To chown(2) this number means that nothing is to change.
        Ok(u32::MAX) => None,
        Ok(number) => Some(number),
        Err(_) => by_name(wanted).map_err(|e| {
            let reason = os_reason(&e.into());
            NoIds::Unanswered(format!("cannot look up the {kind} {wanted}: {reason}"))
        })?,
    };
    match found {
        Some(id) => Ok(Some(id)),
        None => Err(NoIds::Unknown(format!("no such {kind}: {wanted}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(user: Option<&str>, group: Option<&str>) -> SocketOwner {
        SocketOwner {
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
        }
    }

    fn ids(user: Option<u32>, group: Option<u32>) -> Ids {
        Ids {
            user: user.map(Uid::from_raw),
            group: group.map(Gid::from_raw),
        }
    }

    #[test]
    fn users_and_groups_go_by_name_and_by_number_each_on_its_own() {
        assert_eq!(find(&owner(Some("root"), None)), Ok(ids(Some(0), None)));
        assert_eq!(find(&owner(None, Some("root"))), Ok(ids(None, Some(0))));
        assert_eq!(
            find(&owner(Some("12345"), Some("54321"))),
            Ok(ids(Some(12345), Some(54321)))
        );
    }

    #[test]
    fn who_does_not_exist_is_named() {
        let unknown = |text: &str| Err(NoIds::Unknown(text.to_owned()));
        assert_eq!(
            find(&owner(Some("no-such-user"), Some("root"))),
            unknown("no such user: no-such-user")
        );
        assert_eq!(
            find(&owner(Some("root"), Some("no-such-group"))),
            unknown("no such group: no-such-group")
        );
        assert_eq!(
            find(&owner(Some("4294967295"), None)),
            unknown("no such user: 4294967295")
        );
    }
}
