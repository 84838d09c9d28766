//! What to do about a failure, for whoever tests by hand: where the failure itself does not say it, and
//! where the service's user may read what the one who tests may not.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use tunneld_core::config::{Credential, Target, Via};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::shell_word;

use super::daemon::Daemon;
use crate::account::Account;
use crate::cli::{Places, command_again};

/// How the test was asked for: to ask for it as somebody else.
pub(super) struct Asked<'a> {
    pub(super) places: &'a Places,
    pub(super) tunnel: &'a str,
    pub(super) daemon: &'a Daemon,
}

impl Asked<'_> {
    /// The same command, as this user. sudo(8) keeps nothing of the environment.
    pub(super) fn as_user(&self, uid: u32) -> String {
        let user = match uid {
            0 => String::new(),
            _ => format!("-u {} ", shell_word(&name(uid))),
        };
        let again = command_again(self.places, &["test", self.tunnel]);
        format!("sudo {user}{again}")
    }

    /// What to do about a file that only others may read.
    pub(super) fn advice(&self, file: &Path) -> Option<String> {
        let ours = rustix::process::geteuid();
        let access = rustix::fs::access(file, Access::READ_OK);
        if ours.is_root() || access != Err(Errno::ACCESS) {
            return None;
        }
        // In a folder that is closed to us, nothing is known of it. What belongs to root the daemon
        // reads as a member of its group, if at all.
        let owner = file.metadata().ok().map(|of| of.uid());
        let owner = owner.filter(|uid| *uid != 0);
        let user = owner.unwrap_or(self.daemon.uid());
        (user != ours.as_raw()).then(|| {
            format!(
                "to test as the user who may read {}: {}",
                file.display(),
                self.as_user(user)
            )
        })
    }

    /// How to test with a credential that systemd gives to the service alone.
    fn with_credential(&self, failure: &Failure, way: &[&Target]) -> Option<String> {
        if std::env::var_os("CREDENTIALS_DIRECTORY").is_some() {
            return None;
        }
        let missing = |name: &&String| failure.cause.contains(&format!("credential {name:?} "));
        let name = way.iter().flat_map(|of| credentials(of)).find(missing)?;
        let user = shell_word(&self::name(self.daemon.uid()));
        let given = shell_word(&format!("LoadCredential={name}:/path/to/the/file"));
        let again = command_again(self.places, &["test", self.tunnel]);
        Some(format!(
            "to test with it, as the service does: sudo systemd-run --pipe --uid={user} -p {given} {again}"
        ))
    }

    /// The failure of the host that is `at` this place of the way, with more about what to do.
    pub(super) fn explain(&self, failure: Failure, target: &Target, at: usize) -> Failure {
        let mut way = target.hops();
        way.push(target);
        let as_owner = match failure.stage {
            Stage::Authenticate | Stage::HostKey => {
                let mut all = way.iter().flat_map(|target| files(target));
                all.find_map(|file| self.advice(file))
            }
            _ => None,
        };
        let as_service = self.with_credential(&failure, &way);
        let hint = failure.hint.clone();
        let hint = hint.or_else(|| usual(&failure, &way, at));
        let hints: Vec<String> = hint.into_iter().chain(as_owner).chain(as_service).collect();
        match hints.is_empty() {
            true => failure,
            false => failure.with_hint(hints.join("; ")),
        }
    }
}

/// How a user is called.
pub(in crate::cli) fn name(uid: u32) -> String {
    Account::of(uid).map_or_else(|| format!("#{uid}"), |account| account.name)
}

/// Where to look when a stage fails for a reason that the other side alone knows.
fn usual(failure: &Failure, way: &[&Target], at: usize) -> Option<String> {
    let host = way.get(at)?;
    let by_program = matches!(host.via, Via::Command(_));
    match failure.stage {
        Stage::Resolve | Stage::Connect => Some(to_reach(failure, way, at)?),
        Stage::KeyExchange if by_program => Some(
            "see that the program of `proxy_command` leads to the server, whose log says more: \
             journalctl -u ssh, on the server"
                .to_owned(),
        ),
        Stage::KeyExchange => Some(
            "see that an SSH server listens there; its log says why: journalctl -u ssh, on the \
             server"
                .to_owned(),
        ),
        Stage::Authenticate => {
            Some("the server's log says why: journalctl -u ssh, on the server".to_owned())
        }
        Stage::HostKey | Stage::Forward | Stage::Session | Stage::Probe => None,
    }
}

/// The key of the file that leads to where nobody was reached, and what else may be the matter.
fn to_reach(failure: &Failure, way: &[&Target], at: usize) -> Option<String> {
    let (host, is_last) = (way.get(at)?, at + 1 == way.len());
    let server = match is_last {
        true => "`host` and `port`",
        false => "`proxy_jump`",
    };
    // Who was reached, and could not reach the server, says so.
    let is_beyond = failure.cause.contains(": cannot reach ");
    let (key, who, between) = match &host.via {
        Via::Command(_) => {
            return Some(
                "correct `proxy_command`, or see what its program says when you run it yourself"
                    .to_owned(),
            );
        }
        Via::Proxy(_) if is_beyond => (server, "server", "the proxy reaches it"),
        Via::Proxy(_) => ("`proxy`", "proxy", "no firewall is between"),
        Via::Jump(_) => (server, "server", "the jump host reaches it"),
        Via::Direct => (server, "server", "no firewall is between"),
    };
    Some(match failure.stage {
        Stage::Resolve => {
            let key = if key == server && is_last {
                "`host`"
            } else {
                key
            };
            format!("correct {key}, or the resolver of this machine: getent ahosts NAME")
        }
        _ => format!("correct {key}, or see that the {who} runs and that {between}"),
    })
}

fn secrets(target: &Target) -> impl Iterator<Item = &Credential> {
    let secrets = [&target.passphrase_credential, &target.password_credential];
    secrets.into_iter().flatten().map(|secret| &secret.value)
}

/// The names of a target's credentials that systemd passes.
fn credentials(target: &Target) -> impl Iterator<Item = &String> {
    secrets(target).filter_map(|secret| match secret {
        Credential::Named(name) => Some(name),
        Credential::File(_) => None,
    })
}

/// The files of a target that are not for everybody.
fn files(target: &Target) -> impl Iterator<Item = &Path> {
    let secrets = secrets(target).filter_map(|secret| match secret {
        Credential::File(path) => Some(path),
        Credential::Named(_) => None,
    });
    let named = [
        &target.identity_file,
        &target.certificate_file,
        &target.known_hosts,
    ];
    let named = named.into_iter().flatten().map(|file| &file.value);
    named.chain(secrets).map(PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::DEFAULT_CONFIG;
    use std::sync::Arc;
    use tunneld_core::config::{Proxy, ProxyCommand, ProxyKind, Sourced};

    const CONNECT: Stage = Stage::Connect;

    /// What is to be done where this fails at a place of the way to a target.
    fn fix(target: &Target, at: usize, stage: Stage, cause: &str) -> String {
        let mut way = target.hops();
        way.push(target);
        usual(&Failure::transient(stage, cause), &way, at).unwrap()
    }

    fn over(via: Via) -> Target {
        Target {
            via,
            ..Target::new("web", 22, "u")
        }
    }

    #[test]
    fn where_nobody_is_reached_the_key_is_named_that_leads_there() {
        let direct = over(Via::Direct);
        let said = fix(&direct, 0, CONNECT, "connection refused");
        let server = "correct `host` and `port`, or see that the server runs and that ";
        assert_eq!(said, format!("{server}no firewall is between"));
        let said = fix(&direct, 0, Stage::Resolve, "cannot resolve web: no");
        assert!(
            said.starts_with("correct `host`, or the resolver "),
            "{said}"
        );

        let jump = over(Via::Jump(Arc::new(Target::new("bastion", 22, "u"))));
        let said = fix(
            &jump,
            0,
            CONNECT,
            "jump host bastion:22: connection refused",
        );
        assert!(
            said.starts_with("correct `proxy_jump`, or see that the server runs"),
            "{said}"
        );
        let beyond = "jump host bastion:22: cannot reach web:22: connect failed";
        let said = fix(&jump, 1, CONNECT, beyond);
        assert_eq!(said, format!("{server}the jump host reaches it"));

        let proxy = over(Via::Proxy(Proxy {
            kind: ProxyKind::Http,
            host: "p".to_owned(),
            port: 1,
        }));
        let said = fix(&proxy, 0, CONNECT, "proxy http://p:1: connection refused");
        assert!(
            said.starts_with("correct `proxy`, or see that the proxy runs"),
            "{said}"
        );
        let unknown = "proxy http://p:1: cannot resolve p: no addresses";
        let said = fix(&proxy, 0, Stage::Resolve, unknown);
        assert!(
            said.starts_with("correct `proxy`, or the resolver"),
            "{said}"
        );
        let beyond = "proxy http://p:1: cannot reach web:22: 502 Bad Gateway";
        let said = fix(&proxy, 0, CONNECT, beyond);
        assert_eq!(said, format!("{server}the proxy reaches it"));

        let program = over(Via::Command(ProxyCommand::Shell("nc %h %p".to_owned())));
        for (stage, cause) in [
            (CONNECT, "proxy command exited with status 1"),
            (Stage::KeyExchange, "server accepted but did not speak SSH"),
        ] {
            let said = fix(&program, 0, stage, cause);
            assert!(said.contains("`proxy_command`"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_credential_of_the_service_comes_with_the_command_that_passes_it() {
        // systemd gives it to the service alone, whoever tests.
        let mut target = over(Via::Direct);
        target.password_credential = Some(Sourced {
            value: Credential::Named("pw".to_owned()),
            span: None,
        });
        let daemon = nobody();
        let places = Places {
            config: DEFAULT_CONFIG.into(),
            socket: None,
        };
        let asked = Asked {
            places: &places,
            tunnel: "db",
            daemon: &daemon,
        };
        let fix = |cause: &str| {
            let failure = Failure::blocked(Stage::Authenticate, cause.to_owned());
            asked.explain(failure, &target, 0).hint.unwrap()
        };
        let said = fix("credential \"pw\" is missing: $CREDENTIALS_DIRECTORY is not set");
        let end = " -p LoadCredential=pw:/path/to/the/file tunneld test db";
        assert!(said.contains("sudo systemd-run --pipe --uid="), "{said}");
        assert!(said.ends_with(end), "{said}");
        assert!(!fix("server rejected the password").contains("systemd-run"));
    }

    fn nobody() -> Daemon {
        let nowhere = Path::new("/nonexistent/x");
        Daemon::find(nowhere.into(), nowhere)
    }

    #[tokio::test]
    async fn the_command_for_another_user_asks_for_the_same_test() {
        let daemon = nobody();
        let command = |config: &str, socket: Option<&str>| {
            let places = Places {
                config: config.into(),
                socket: socket.map(PathBuf::from),
            };
            let asked = Asked {
                places: &places,
                tunnel: "db",
                daemon: &daemon,
            };
            asked.as_user(0)
        };
        assert_eq!(command(DEFAULT_CONFIG, None), "sudo tunneld test db");
        assert_eq!(
            command("/srv/my tunnels.toml", Some("/run/a'b")),
            r"sudo tunneld test db --config '/srv/my tunnels.toml' --socket '/run/a'\''b'"
        );
    }
}
