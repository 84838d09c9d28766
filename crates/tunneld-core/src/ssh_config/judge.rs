//! Keywords that change how a connection is made or checked in a way that tunneld does not have.
//! A value that says what tunneld does anyway is fine; any other is an error, not a surprise.

use super::evaluate::Query;
use super::pattern::list_matches;

/// What a keyword that is not taken over is measured by.
#[derive(Debug)]
pub(super) struct Judge {
    /// Whether its words make no difference.
    fine: fn(&[&str], &Query<'_>) -> bool,
    /// Why any other value cannot be followed.
    because: &'static str,
    /// What a person can do about it.
    help: &'static str,
}

impl Judge {
    /// Why the words of a line cannot be followed, and what to do; `None` where they can.
    pub(super) fn complaint(
        &self,
        words: &[&str],
        query: &Query<'_>,
    ) -> Option<(&'static str, &'static str)> {
        (!(self.fine)(words, query)).then_some((self.because, self.help))
    }
}

pub(super) const BIND_INTERFACE: Judge = Judge {
    fine: |_, _| false,
    because: "tunneld binds to addresses, not to interfaces",
    help: "write `BindAddress` and an address of that interface",
};

pub(super) const CA_SIGNATURE_ALGORITHMS: Judge = Judge {
    fine: |words, _| leaves(words, SIGNATURES),
    because: "it leaves out signatures that tunneld accepts of certificate authorities",
    help: "remove the line, or trust only those authorities in known_hosts that sign as you want",
};

pub(super) const CANONICALIZE_HOSTNAME: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "tunneld does not complete names of hosts",
    help: "write the whole name as `HostName`",
};

pub(super) const CANONICALIZE_PERMITTED_CNAMES: Judge = Judge {
    fine: |words, _| is(words, &["none"]),
    because: "tunneld does not follow names of hosts",
    help: "write the name that is wanted as `HostName`",
};

pub(super) const CHECK_HOST_IP: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "tunneld looks host keys up by name, not also by address",
    help: "remove the line, as ssh does without it since OpenSSH 8.5",
};

pub(super) const HOSTBASED_AUTHENTICATION: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "tunneld cannot log in by the key of this machine",
    help: "name a private key in `IdentityFile`, and remove the line",
};

pub(super) const KNOWN_HOSTS_COMMAND: Judge = Judge {
    fine: |words, _| is(words, &["none"]),
    because: "tunneld runs no command for host keys",
    help: "put the keys into a file, and name it in `UserKnownHostsFile`",
};

pub(super) const NO_HOST_AUTHENTICATION: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "host keys are always checked, also those of this machine",
    help: "give each host behind a port of this machine a `HostKeyAlias`",
};

pub(super) const PASSWORD_AUTHENTICATION: Judge = Judge {
    fine: |words, query| !query.has_password || is(words, &["yes", "true"]),
    because: "there is a `password_credential`, which is for this method",
    help: "remove the one or the other",
};

pub(super) const PKCS11_PROVIDER: Judge = Judge {
    fine: |words, _| is(words, &["none"]),
    because: "tunneld loads no library for keys",
    help: "give the keys to an agent with `ssh-add -s`, and name it in `IdentityAgent`",
};

pub(super) const PREFERRED_AUTHENTICATIONS: Judge = Judge {
    fine: |words, query| {
        let has = |method| words.iter().any(|list| list_matches(method, list));
        let password = has("password") && has("keyboard-interactive");
        has("publickey") && (!query.has_password || password)
    },
    because: "it leaves out methods that tunneld tries",
    help: "remove the line: keys are tried first, and a password only where \
           `password_credential` names one",
};

pub(super) const PROXY_USE_FDPASS: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "tunneld speaks with a `ProxyCommand` over its standard input and output only",
    help: "use a command that carries the bytes itself, such as `nc %h %p` without `-F`",
};

pub(super) const PUBKEY_ACCEPTED_ALGORITHMS: Judge = Judge {
    fine: |words, _| leaves(words, SIGNATURES) && leaves(words, CERTIFICATES),
    because: "it leaves out algorithms that tunneld logs in with",
    help: "remove the line, and name only the keys that you want in `IdentityFile`",
};

pub(super) const PUBKEY_AUTHENTICATION: Judge = Judge {
    fine: |words, _| is(words, &["yes", "true", "unbound", "host-bound"]),
    because: "tunneld always tries its keys",
    help: "remove the line; `IdentityFile none` leaves no key to try",
};

pub(super) const REFUSE_CONNECTION: Judge = Judge {
    fine: |_, _| false,
    because: "this host is not to be connected to",
    help: "remove the line, or the tunnel",
};

pub(super) const REVOKED_HOST_KEYS: Judge = Judge {
    fine: |words, _| is(words, &["none"]),
    because: "tunneld reads no such list",
    help: "write `@revoked * KEY` for each key into a file of `UserKnownHostsFile`",
};

pub(super) const SECURITY_KEY_PROVIDER: Judge = Judge {
    fine: |words, _| is(words, &["none", "internal", "$SSH_SK_PROVIDER"]),
    because: "tunneld loads no library for keys",
    help: "give the keys to an agent, and name it in `IdentityAgent`",
};

pub(super) const VERIFY_HOST_KEY_DNS: Judge = Judge {
    fine: |words, _| is_no(words),
    because: "tunneld does not ask the DNS for host keys when it connects",
    help: "let `tunneld trust` put the host's key into known_hosts: it compares it with the DNS",
};

/// What signatures are made with, by keys of users and of certificate authorities.
const SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// Their names where the key has a certificate.
const CERTIFICATES: &[&str] = &[
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
];

fn is(words: &[&str], wanted: &[&str]) -> bool {
    matches!(words, [word] if wanted.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

fn is_no(words: &[&str]) -> bool {
    is(words, &["no", "false"])
}

/// Whether a list of algorithms leaves each of `names` in: what `+` and `^` are about stays, `-`
/// takes away, and a list without a sign has everything in it.
fn leaves(words: &[&str], names: &[&str]) -> bool {
    let [list] = words else {
        return false;
    };
    match (list.strip_prefix('-'), list.starts_with(['+', '^'])) {
        (Some(taken), _) => !names.iter().any(|name| list_matches(name, taken)),
        (None, true) => true,
        (None, false) => names.iter().all(|name| list_matches(name, list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(judge: &Judge, words: &str, has_password: bool) -> bool {
        let query = Query {
            has_password,
            ..Query::new("db")
        };
        let words: Vec<&str> = words.split(' ').collect();
        judge.complaint(&words, &query).is_none()
    }

    #[test]
    fn what_tunneld_does_anyway_is_fine() {
        for (judge, words, wanted) in [
            (&CHECK_HOST_IP, "no", true),
            (&CHECK_HOST_IP, "FALSE", true),
            (&CHECK_HOST_IP, "yes", false),
            (&CANONICALIZE_HOSTNAME, "always", false),
            (&CANONICALIZE_PERMITTED_CNAMES, "none", true),
            (&CANONICALIZE_PERMITTED_CNAMES, "a:b", false),
            (&PUBKEY_AUTHENTICATION, "unbound", true),
            (&PUBKEY_AUTHENTICATION, "no", false),
            (&KNOWN_HOSTS_COMMAND, "none", true),
            (&KNOWN_HOSTS_COMMAND, "/bin/keys %H", false),
            (&SECURITY_KEY_PROVIDER, "internal", true),
            (&BIND_INTERFACE, "eth0", false),
        ] {
            assert_eq!(fine(judge, words, false), wanted, "{judge:?} {words}");
        }
    }

    #[test]
    fn a_method_for_passwords_matters_where_there_is_one() {
        for (judge, words) in [
            (&PASSWORD_AUTHENTICATION, "no"),
            (&PREFERRED_AUTHENTICATIONS, "publickey"),
            (&PREFERRED_AUTHENTICATIONS, "publickey,password"),
        ] {
            assert!(fine(judge, words, false), "{words}");
            assert!(!fine(judge, words, true), "{words}");
        }
        let all = "gssapi-with-mic,keyboard-interactive,password,publickey";
        assert!(fine(&PREFERRED_AUTHENTICATIONS, all, true));
        assert!(!fine(&PREFERRED_AUTHENTICATIONS, "password", false));
    }

    #[test]
    fn a_list_of_algorithms_is_fine_as_long_as_it_leaves_in_what_is_used() {
        let all = [SIGNATURES, CERTIFICATES].concat().join(",");
        for (list, wanted) in [
            ("+ssh-rsa", true),
            ("^ssh-ed25519", true),
            ("-ssh-dss,ssh-rsa", true),
            ("-rsa-*", false),
            ("ssh-ed25519", false),
            ("*", true),
            (all.as_str(), true),
        ] {
            assert_eq!(
                fine(&PUBKEY_ACCEPTED_ALGORITHMS, list, false),
                wanted,
                "{list}"
            );
        }
        let signatures = SIGNATURES.join(",");
        assert!(fine(&CA_SIGNATURE_ALGORITHMS, &signatures, false));
        assert!(!fine(&PUBKEY_ACCEPTED_ALGORITHMS, &signatures, false));
    }
}
