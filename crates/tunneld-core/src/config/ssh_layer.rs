//! What the files of ssh say about a server, as settings: below what tunneld.toml says, and above
//! the defaults.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::algorithms::{Kind, resolve_of_ssh};
use super::diagnostic::Diagnostic;
use super::items::Base;
use super::login::Login;
use super::provenance::Spans;
use super::raw::Problems;
use super::rekey_limit::parse_rekey_limit;
use super::settings::Settings;
use super::ssh_files::SshFiles;
use super::transport::Transport;
use super::trust::{
    Trust, default_global_known_hosts, default_user_known_hosts, rsa_size as rsa_size_of,
};
use super::values::{ValueError, check_duration};
use super::way::{Hop, MAX_HOPS, Way};
use super::{ProxyCommand, Sourced, Via};
use crate::ssh_config::{Answer, Found, Query, Way as SshWay, evaluate};

/// The most unanswered questions that a tunnel may wait for.
const MAX_ALIVE_COUNT: u32 = 1_000;

/// What the files of ssh say about one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    /// The host to connect to in place of the one that is written.
    pub(super) host: Option<Sourced<String>>,
    pub(super) settings: Settings,
}

/// Those of some keywords that are decided.
pub(super) fn decided<const N: usize>(
    all: [(bool, &'static str); N],
) -> impl Iterator<Item = &'static str> {
    let found = all.into_iter().filter(|(decided, _)| *decided);
    found.map(|(_, keyword)| keyword)
}

impl Layer {
    /// What `files` say about the host of a tunnel, as far as it is not `written`.
    pub(super) fn of_tunnel(
        files: SshFiles<'_>,
        host: &str,
        written: &Settings,
        base: Base<'_>,
        problems: &mut Problems,
    ) -> Self {
        let query = Query {
            host,
            user: written.user.as_ref().map(|v| v.value.as_str()),
            port: written.port.as_ref().map(|v| v.value),
            decided: &written.decided(),
            has_password: written.login.has_password(),
        };
        Layer::new(files, &query, base, problems)
    }

    /// What `files` say about the host of `query`. What is wrong with it, or not supported, is
    /// reported.
    pub(super) fn new(
        files: SshFiles<'_>,
        query: &Query<'_>,
        base: Base<'_>,
        problems: &mut Problems,
    ) -> Self {
        let mut answer = evaluate(files.sources, query);
        for problem in std::mem::take(&mut answer.problems) {
            problems.report(files.diagnostic(problem));
        }
        let mut read = Reader {
            files,
            spans: Spans::default(),
            problems,
        };
        read.layer(answer, base)
    }
}

/// Makes settings of what was found.
struct Reader<'a, 'p> {
    files: SshFiles<'a>,
    spans: Spans,
    problems: &'p mut Problems,
}

impl Reader<'_, '_> {
    fn layer(&mut self, answer: Answer, base: Base<'_>) -> Layer {
        let home = base.surroundings.home.as_deref();
        let mut settings = Settings::default();
        let host = self.plain("host", answer.host_name.clone());
        settings.port = self.plain("port", answer.port.clone());
        settings.user = self.plain("user", answer.user.clone());
        settings.compression = self.plain("compression", answer.compression.clone());
        settings.connect_timeout = self.connect_timeout(answer.connect_timeout.clone());
        settings.server_alive_interval = self.checked(
            "server_alive_interval",
            "ServerAliveInterval",
            answer.server_alive_interval.clone(),
            check_duration,
        );
        settings.server_alive_count_max = self.checked(
            "server_alive_count_max",
            "ServerAliveCountMax",
            answer.server_alive_count_max.clone(),
            alive_count,
        );
        settings.login = self.login(&answer);
        settings.trust = self.trust(&answer, home);
        settings.transport = self.transport(&answer, base.surroundings.aes_hardware);
        settings.way = self.way(answer);
        settings.spans = std::mem::take(&mut self.spans);
        Layer { host, settings }
    }

    fn login(&mut self, answer: &Answer) -> Login {
        Login {
            identity_file: self
                .paths("identity_file", answer.identity_file.clone())
                .map(|Sourced { value, span }| Sourced {
                    value: Some(value),
                    span,
                }),
            certificate_file: self.paths("certificate_file", answer.certificate_file.clone()),
            identity_agent: self.plain("identity_agent", answer.identity_agent.clone()),
            identities_only: self.plain("identities_only", answer.identities_only.clone()),
            passphrase: None,
            password: None,
        }
    }

    fn trust(&mut self, answer: &Answer, home: Option<&Path>) -> Trust {
        let users = self.line("known_hosts", answer.user_known_hosts.clone());
        let global = self.line("known_hosts", answer.global_known_hosts.clone());
        let mut update = self.plain("update_host_keys", answer.update_host_keys.clone());
        // As ssh: only files that somebody has named for the user are not changed unasked.
        if users.is_none() && global.is_some() && update.is_none() {
            update = Some(Sourced::unwritten(true));
        }
        let known_hosts = match (users, global) {
            (None, None) => None,
            (users, global) => {
                let span = users
                    .as_ref()
                    .or(global.as_ref())
                    .and_then(|v| v.span.clone());
                let users = users.map(|v| v.value);
                let global = global.map(|v| v.value);
                let mut value = users.unwrap_or_else(|| default_user_known_hosts(home));
                value.extend(global.unwrap_or_else(default_global_known_hosts));
                Some(Sourced { value, span })
            }
        };
        let alias = answer.host_key_alias.clone();
        let rsa_size = answer.required_rsa_size.clone();
        Trust {
            known_hosts,
            strictness: self.plain(
                "strict_host_key_checking",
                answer.strict_host_key_checking.clone(),
            ),
            pins: None,
            alias: self.checked("host_key_alias", "HostKeyAlias", alias, |name| {
                super::trust::parse_alias(&name)
            }),
            update,
            rsa_size: self.checked(
                "required_rsa_size",
                "RequiredRSASize",
                rsa_size,
                rsa_size_of,
            ),
        }
    }

    fn transport(&mut self, answer: &Answer, aes_hardware: bool) -> Transport {
        let mut names = |kind: Kind, keyword: &str, written: &Option<Found<String>>| {
            self.checked(kind.key(), keyword, written.clone(), |text| {
                resolve_of_ssh(kind, &text, aes_hardware).map(Some)
            })
        };
        let ciphers = names(Kind::Cipher, "Ciphers", &answer.ciphers);
        let macs = names(Kind::Mac, "MACs", &answer.macs);
        let kex = names(Kind::Kex, "KexAlgorithms", &answer.kex_algorithms);
        let host_keys = &answer.host_key_algorithms;
        let host_keys = names(Kind::HostKey, "HostKeyAlgorithms", host_keys);
        let time = answer.rekey_time.as_ref().map(|v| v.value.clone());
        let limit = answer.rekey_bytes.clone();
        let rekey_limit = self.checked("rekey_limit", "RekeyLimit", limit, |bytes| {
            let time = time.unwrap_or_else(|| "none".to_owned());
            parse_rekey_limit(&format!("{bytes} {time}"))
        });
        Transport {
            ciphers,
            macs,
            kex,
            host_keys,
            rekey_limit,
        }
    }

    fn way(&mut self, answer: Answer) -> Way {
        let mut way = Way {
            family: self.plain("address_family", answer.address_family),
            bind: self.checked("bind_address", "BindAddress", answer.bind_address, |a| {
                Ok(Some(a))
            }),
            ..Way::default()
        };
        let Some(found) = answer.way else {
            return way;
        };
        let Sourced { value, span } = self.files.sourced(found);
        let span = span.unwrap_or_default();
        match value {
            SshWay::Direct => {
                self.spans.add("proxy_jump", span.clone());
                self.spans.add("proxy_command", span);
                way.hops = Some(Vec::new());
                way.first = Some(Via::Direct);
            }
            SshWay::Command(line) => {
                self.spans.add("proxy_command", span);
                // Its tokens are expanded: what is left is no token.
                let line = line.replace('%', "%%");
                way.hops = Some(Vec::new());
                way.first = Some(Via::Command(ProxyCommand::Shell(line)));
            }
            SshWay::Jump(hops) => {
                self.spans.add("proxy_jump", span.clone());
                way.hops = self.hops(&hops, span);
            }
        }
        way
    }

    fn hops(&mut self, hops: &[String], span: Range<usize>) -> Option<Vec<Hop>> {
        if hops.len() > MAX_HOPS {
            let said = format!(
                "`ProxyJump` has {} jump hosts, at most {MAX_HOPS} are taken",
                hops.len()
            );
            self.problems.report(Diagnostic::at(span, said));
            return None;
        }
        let parse = |hop: &String| Hop::parse(hop, span.clone()).ok();
        hops.iter().map(parse).collect()
    }

    /// `0` is no timeout with ssh; a tunnel always has one.
    fn connect_timeout(&mut self, written: Option<Found<Duration>>) -> Option<Sourced<Duration>> {
        let written = written.filter(|v| !v.value.is_zero());
        self.checked("connect_timeout", "ConnectTimeout", written, check_duration)
    }

    /// A value as it is.
    fn plain<T>(&mut self, key: &'static str, written: Option<Found<T>>) -> Option<Sourced<T>> {
        let found = self.files.sourced(written?);
        self.note(key, &found);
        Some(found)
    }

    /// A value as `read` makes it.
    fn checked<T, U>(
        &mut self,
        key: &'static str,
        keyword: &str,
        written: Option<Found<T>>,
        read: impl FnOnce(T) -> Result<U, ValueError>,
    ) -> Option<Sourced<U>> {
        let Sourced { value, span } = self.plain(key, written)?;
        match read(value) {
            Ok(value) => Some(Sourced { value, span }),
            Err(error) => {
                self.problems.report(Diagnostic {
                    span,
                    help: error.help,
                    ..Diagnostic::new(format!("`{keyword}` {}", error.message))
                });
                None
            }
        }
    }

    /// Paths of one line, each with its place.
    fn line(
        &mut self,
        key: &'static str,
        written: Option<Found<Vec<Found<PathBuf>>>>,
    ) -> Option<Sourced<Vec<Sourced<PathBuf>>>> {
        let Sourced { value, span } = self.plain(key, written)?;
        let paths = value.into_iter().map(|path| self.files.sourced(path));
        Some(Sourced {
            value: paths.collect(),
            span,
        })
    }

    /// Paths of several lines, each with its place.
    fn paths(
        &mut self,
        key: &'static str,
        written: Option<Vec<Found<PathBuf>>>,
    ) -> Option<Sourced<Vec<Sourced<PathBuf>>>> {
        let found = written?.into_iter().map(|path| self.files.sourced(path));
        let value: Vec<Sourced<PathBuf>> = found.collect();
        for path in &value {
            self.note(key, path);
        }
        let span = value.first().and_then(|path| path.span.clone());
        Some(Sourced { value, span })
    }

    fn note<T>(&mut self, key: &'static str, found: &Sourced<T>) {
        if let Some(span) = &found.span {
            self.spans.add(key, span.clone());
        }
    }
}

fn alive_count(count: u32) -> Result<u32, ValueError> {
    match count <= MAX_ALIVE_COUNT {
        true => Ok(count),
        false => {
            let said = format!("wants a number from 0 to {MAX_ALIVE_COUNT}, not `{count}`");
            Err(ValueError::new(said))
        }
    }
}
