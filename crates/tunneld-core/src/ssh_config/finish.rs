//! What becomes of the values of a host once all of them are known: tokens are expanded, and what
//! cannot be used is a problem.

use std::net::IpAddr;
use std::path::PathBuf;

use super::answer::{Answer, Found, Place, Way};
use super::evaluate::Query;
use super::expand::{Environment, Tokens, host_name};
use super::gather::Gathered;
use super::parse::Fault;
use super::setting::is_none;
use super::sources::Problem;
use crate::config::values::{ValueError, parse_user};
use crate::config::{IdentityAgent, StrictHostKeyChecking};
use crate::config::{check_host, is_ipv6, parse_hop, quoted};

type Read<T> = Result<T, ValueError>;

/// What the values are completed with, and what was wrong with them.
struct Finish<'a> {
    tokens: Tokens<'a>,
    problems: Vec<Problem>,
}

/// What the files say about the host of `query`.
pub(super) fn finish(
    found: Gathered,
    query: &Query<'_>,
    environment: &Environment,
    problems: Vec<Problem>,
) -> Answer {
    let jumps = found.jumps();
    let mut answer = found.answer;
    let host = host(found.host_name.as_ref(), query);
    let alias = answer.host_key_alias.as_ref().map(|v| v.value.clone());
    let written_user = found.user.as_ref().map(|v| v.value.clone());
    let user = query.user.or(written_user.as_deref());
    let port = query.port.or(answer.port.as_ref().map(|v| v.value));
    let tokens = Tokens {
        host: &host,
        original_host: query.host,
        alias: alias.as_deref(),
        port: port.unwrap_or(22),
        user: user.or(environment.user.as_deref()),
        environment,
    };
    let mut finish = Finish { tokens, problems };
    answer.host_name = finish.one("HostName", found.host_name, |tokens, text| {
        host_name(&text, tokens.original_host).and_then(usable_host)
    });
    answer.user = finish.one("User", found.user, |_, text| usable_user(&text));
    answer.way = match jumps {
        true => finish.one("ProxyJump", found.jump, usable_jump),
        false => {
            let command = finish.one("ProxyCommand", found.command, usable_command);
            command.or_else(|| finish.one("ProxyJump", found.jump, usable_jump))
        }
    };
    answer.identity_file = finish.paths("IdentityFile", written(found.identity_file));
    answer.certificate_file = finish.paths("CertificateFile", written(found.certificate_file));
    answer.identity_agent = finish.one("IdentityAgent", found.identity_agent, usable_agent);
    answer.user_known_hosts = finish.line("UserKnownHostsFile", found.user_known_hosts);
    answer.global_known_hosts = finish.line("GlobalKnownHostsFile", found.global_known_hosts);
    answer.strict_host_key_checking =
        finish.one("StrictHostKeyChecking", found.strictness, usable_strictness);
    answer.bind_address = finish.one("BindAddress", found.bind_address, usable_address);
    answer.problems = finish.problems;
    answer.problems.sort();
    answer.problems.dedup();
    answer
}

/// The host to connect to, in small letters as ssh looks it up.
pub(super) fn host(written: Option<&Found<String>>, query: &Query<'_>) -> String {
    let found = written.and_then(|name| host_name(&name.value, query.host).ok());
    let host = found.unwrap_or_else(|| query.host.to_owned());
    host.to_ascii_lowercase()
}

impl<'a> Finish<'a> {
    /// A value as `read` makes it.
    fn one<T, U>(
        &mut self,
        keyword: &str,
        written: Option<Found<T>>,
        read: impl FnOnce(&Tokens<'a>, T) -> Read<U>,
    ) -> Option<Found<U>> {
        let Found { value, place } = written?;
        match read(&self.tokens, value) {
            Ok(value) => Some(Found { value, place }),
            Err(error) => {
                self.report(keyword, &place, error);
                None
            }
        }
    }

    /// Paths; `none` is not one.
    fn paths(
        &mut self,
        keyword: &str,
        written: Option<Vec<Found<String>>>,
    ) -> Option<Vec<Found<PathBuf>>> {
        let written = written?.into_iter().filter(|path| !is_none(&path.value));
        let read =
            |path: Found<String>| self.one(keyword, Some(path), |tokens, text| tokens.path(&text));
        Some(written.filter_map(read).collect())
    }

    /// Paths of one line.
    fn line(
        &mut self,
        keyword: &str,
        written: Option<Found<Vec<Found<String>>>>,
    ) -> Option<Found<Vec<Found<PathBuf>>>> {
        let Found { value, place } = written?;
        let value = self.paths(keyword, Some(value))?;
        Some(Found { value, place })
    }

    fn report(&mut self, keyword: &str, place: &Place, error: ValueError) {
        let fault = Fault {
            help: error.help,
            ..Fault::new(place.span.clone(), format!("`{keyword}` {}", error.message))
        };
        self.problems.push(Problem::new(place.file, fault));
    }
}

/// A list that begins to count with its first entry.
fn written(all: Vec<Found<String>>) -> Option<Vec<Found<String>>> {
    (!all.is_empty()).then_some(all)
}

fn usable_host(name: String) -> Read<String> {
    let name = name.to_ascii_lowercase();
    check_host(&name)?;
    match name.contains(':') && !is_ipv6(&name) {
        true => Err(ValueError::new(format!("is no host: {}", quoted(&name)))),
        false => Ok(name),
    }
}

/// ssh expands tokens here only since OpenSSH 10.
fn usable_user(text: &str) -> Read<String> {
    if text.contains('%') || text.contains("${") {
        let said = "has a token, which not every version of ssh expands here";
        return Err(ValueError::new(said).with_help("write the name of the user"));
    }
    parse_user(text)
}

fn usable_jump(tokens: &Tokens<'_>, written: Option<String>) -> Read<Way> {
    let Some(text) = written else {
        return Ok(Way::Direct);
    };
    let hops = tokens.command(&text)?;
    let hops = hops.split(',').map(|hop| {
        parse_hop(hop)?;
        Ok(hop.trim().to_owned())
    });
    Ok(Way::Jump(hops.collect::<Read<_>>()?))
}

fn usable_command(tokens: &Tokens<'_>, written: Option<String>) -> Read<Way> {
    match written {
        Some(text) => Ok(Way::Command(tokens.command(&text)?)),
        None => Ok(Way::Direct),
    }
}

/// `none`, a variable that is looked up when the agent is needed, or a socket.
fn usable_agent(tokens: &Tokens<'_>, text: String) -> Read<Option<IdentityAgent>> {
    if is_none(&text) {
        return Ok(None);
    }
    if text == "SSH_AUTH_SOCK" {
        return Ok(Some(IdentityAgent::Variable(text)));
    }
    Ok(Some(match text.strip_prefix('$') {
        Some(name) if !name.starts_with('{') => {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(fits) {
                let said = format!("has {} where a variable is wanted", quoted(name));
                return Err(ValueError::new(said));
            }
            IdentityAgent::Variable(name.to_owned())
        }
        _ => IdentityAgent::Socket(tokens.path(&text)?),
    }))
}

fn usable_strictness(
    _: &Tokens<'_>,
    written: Option<StrictHostKeyChecking>,
) -> Read<StrictHostKeyChecking> {
    written.ok_or_else(|| {
        ValueError::new("cannot be off: host keys are always checked")
            .with_help("write `accept-new` to trust a host's key the first time it is seen")
    })
}

fn usable_address(_: &Tokens<'_>, text: String) -> Read<IpAddr> {
    text.parse().map_err(|_| {
        let said = format!("wants an address of this machine, not {}", quoted(&text));
        ValueError::new(said)
    })
}
