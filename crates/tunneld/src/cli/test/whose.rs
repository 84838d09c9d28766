//! What of a tunnel depends on who runs it: what the file leaves out, it has from its user.

use tunneld_core::config::{IdentityAgent, Target};

/// Whether two users have the same.
type Same = fn(&Target, &Target) -> bool;

/// The keys of the file that come to something else for the daemon, with what they come to there;
/// `None` where it finds the file wrong, for it has no name to log in with.
pub(super) fn differing(ours: &Target, theirs: Option<&Target>) -> Vec<&'static str> {
    let Some(theirs) = theirs else {
        return vec!["user"];
    };
    let keys: [(&str, Same); 7] = [
        ("user", |a, b| a.user == b.user),
        ("identity_file", |a, b| a.identity_file == b.identity_file),
        ("certificate_file", |a, b| {
            a.certificate_file == b.certificate_file
        }),
        ("identity_agent", |a, b| {
            let variable = matches!(a.identity_agent, Some(IdentityAgent::Variable(_)));
            !variable && a.identity_agent == b.identity_agent
        }),
        ("passphrase_credential", |a, b| {
            a.passphrase_credential == b.passphrase_credential
        }),
        ("password_credential", |a, b| {
            a.password_credential == b.password_credential
        }),
        ("known_hosts", |a, b| a.known_hosts == b.known_hosts),
    ];
    let pairs: Vec<_> = way(ours).zip(way(theirs)).collect();
    let differs = |same: Same| pairs.iter().any(|(a, b)| !same(a, b));
    let differing = keys.into_iter().filter(|(_, same)| differs(*same));
    differing.map(|(key, _)| key).collect()
}

fn way(target: &Target) -> impl Iterator<Item = &Target> {
    target.hops().into_iter().chain([target])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::config::{Origin, Surroundings, load};

    fn target(text: &str, user: &str, home: &str) -> Target {
        let surroundings = Surroundings {
            user: Some(user.to_owned()),
            home: Some(home.into()),
            aes_hardware: true,
            ..Surroundings::default()
        };
        let text = format!("[tunnels.t]\nhost = \"h\"\nlocal_forward = \"1:a:1\"\n{text}");
        let config = load(&text, &Origin::of_file("/t.toml".as_ref()), &surroundings).unwrap();
        config.tunnels.into_values().next().unwrap().target
    }

    fn of(text: &str) -> Vec<&'static str> {
        let ours = target(text, "alice", "/home/alice");
        let theirs = target(text, "svc", "/var/lib/svc");
        differing(&ours, Some(&theirs))
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
        assert_eq!(differing(&alike, Some(&alike)), [""; 0]);
        assert_eq!(differing(&alike, None), ["user"]);
    }
}
