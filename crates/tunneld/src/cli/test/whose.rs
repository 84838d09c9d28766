//! What of a tunnel depends on who runs it: what the file leaves out, it has from its user.

use std::path::{Path, PathBuf};

use tunneld_core::config::{Credential, IdentityAgent, Sourced, Target};

/// Whether two users have the same.
type Same = fn(&Target, &Target) -> bool;

/// The keys of the file that come to something else for the daemon.
const KEYS: [(&str, Same); 9] = [
    ("host", |a, b| a.host == b.host),
    ("port", |a, b| a.port == b.port),
    ("user", |a, b| a.user == b.user),
    ("identity_file", |a, b| {
        paths(&a.identity_file).eq(paths(&b.identity_file))
    }),
    ("certificate_file", |a, b| {
        paths(&a.certificate_file).eq(paths(&b.certificate_file))
    }),
    ("identity_agent", |a, b| {
        let variable = matches!(a.identity_agent, Some(IdentityAgent::Variable(_)));
        !variable && a.identity_agent == b.identity_agent
    }),
    ("passphrase_credential", |a, b| {
        secret(&a.passphrase_credential) == secret(&b.passphrase_credential)
    }),
    ("password_credential", |a, b| {
        secret(&a.password_credential) == secret(&b.password_credential)
    }),
    ("known_hosts", |a, b| {
        paths(&a.known_hosts).eq(paths(&b.known_hosts))
    }),
];

/// Those of them that differ for a target, or for a host on the way to it.
pub(super) fn differing(ours: &Target, theirs: &Target) -> Vec<&'static str> {
    let way = |target: &Target| target.hops().len();
    let way = (way(ours) != way(theirs)).then_some("proxy_jump");
    let first = (ours.first_via() != theirs.first_via()).then_some("proxy_command");
    let pairs: Vec<_> = hosts(ours).zip(hosts(theirs)).collect();
    let differs = |same: Same| pairs.iter().any(|(a, b)| !same(a, b));
    let keys = KEYS.into_iter().filter(|(_, same)| differs(*same));
    let keys = keys.map(|(key, _)| key);
    way.into_iter().chain(first).chain(keys).collect()
}

/// The server first: the ways of two users may be of different lengths.
fn hosts(target: &Target) -> impl Iterator<Item = &Target> {
    [target].into_iter().chain(target.hops().into_iter().rev())
}

/// The files, wherever they are named.
fn paths(list: &[Sourced<PathBuf>]) -> impl Iterator<Item = &Path> {
    list.iter().map(|file| file.value.as_path())
}

fn secret(written: &Option<Sourced<Credential>>) -> Option<&Credential> {
    written.as_ref().map(|written| &written.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::config::{Origin, Surroundings, load};

    fn target(text: &str, user: &str, home: &str) -> Target {
        let surroundings = Surroundings {
            user: Some(user.to_owned()),
            home: Some(home.into()),
            ..Surroundings::default()
        };
        let text = format!("[tunnels.t]\nhost = \"h\"\nlocal_forward = \"1:a:1\"\n{text}");
        let config = load(&text, &Origin::of_file("/t.toml".as_ref()), &surroundings).unwrap();
        config.tunnels.into_values().next().unwrap().target
    }

    fn of(text: &str) -> Vec<&'static str> {
        let ours = target(text, "alice", "/home/alice");
        let theirs = target(text, "svc", "/var/lib/svc");
        differing(&ours, &theirs)
    }

    #[test]
    fn what_the_file_leaves_to_its_user_differs_and_what_it_says_does_not() {
        assert_eq!(of(""), ["user", "identity_file", "known_hosts"]);
        let all = "user = \"u\"\nidentity_file = \"/k\"\nknown_hosts = \"/h\"\n";
        assert_eq!(of(all), [""; 0]);
        let homely = "user = \"u\"\nidentity_file = \"~/k\"\nknown_hosts = \"/h\"\n";
        assert_eq!(of(homely), ["identity_file"]);
        let agent = format!("{all}identity_agent = \"SSH_AUTH_SOCK\"\n");
        assert_eq!(of(&agent), ["identity_agent"]);
        let hop = format!("{all}proxy_jump = \"bastion\"\n");
        assert_eq!(of(&hop), ["user"]);
        let alike = target("", "alice", "/home/alice");
        assert_eq!(differing(&alike, &alike), [""; 0]);
        let jump = target("proxy_jump = \"alice@bastion\"\n", "alice", "/home/alice");
        assert_eq!(differing(&alike, &jump), ["proxy_jump"]);
    }
}
