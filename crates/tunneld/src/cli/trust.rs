//! `tunneld trust NAME`

mod page;
mod question;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory};
use hyper::Method;
use tunneld_core::config::values::parse_fingerprint;
use tunneld_core::config::{Fingerprint, Sourced, Target, TunnelSpec, host_port};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};
use tunneld_ssh::host_key::Verdict;
use tunneld_ssh::known_hosts::{KnownHosts, LearnError};
use tunneld_ssh::scan::{self, HostKey};
use tunneld_ssh::{Bastions, error::os_reason};

use super::{Cli, Places};
use crate::control::client::call;
use crate::exit::Exit;
use crate::sshfp;
use page::Page;

/// Which host it is about, and what was agreed to beforehand.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// The tunnel.
    #[arg(value_name = "NAME")]
    name: String,
    /// A jump host of the tunnel, instead of the host behind it.
    #[arg(long, value_name = "HOST[:PORT]")]
    hop: Option<String>,
    /// Do not ask: add the keys that `--fingerprint` names, and no other.
    #[arg(long)]
    yes: bool,
    /// The fingerprint of a key that is right; may be given several times.
    #[arg(long, value_name = "SHA256:…", requires = "yes", value_parser = fingerprint)]
    fingerprint: Vec<Fingerprint>,
}

impl Request {
    /// The command that asks the same host.
    fn command(&self) -> String {
        let hop = self.hop.as_ref().map(|hop| format!(" --hop {hop}"));
        format!("tunneld trust {}{}", self.name, hop.unwrap_or_default())
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    parse_fingerprint(text).map_err(|e| e.message)
}

pub(super) fn run(places: &Places, request: &Request) -> Exit {
    if request.yes && request.fingerprint.is_empty() {
        let kind = clap::error::ErrorKind::MissingRequiredArgument;
        let said = "--yes without --fingerprint would trust whoever answers";
        Cli::command().error(kind, said).exit();
    }
    let spec = match tunnel(places, &request.name) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let done = host(&spec, request).and_then(|target| {
        let page = ask_host(&spec, target, request)?;
        match super::print(&page.render()) {
            Exit::Done => decide(places, &page, request),
            exit => Ok(exit),
        }
    });
    match done {
        Ok(exit) => exit,
        Err(refusal) => refusal.print(),
    }
}

/// Why nothing was added.
#[derive(Debug)]
struct Refusal {
    cause: String,
    hints: Vec<String>,
}

impl Refusal {
    fn new(cause: impl Into<String>) -> Self {
        Refusal {
            cause: cause.into(),
            hints: Vec::new(),
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    fn print(&self) -> Exit {
        eprintln!("error: {}", self.cause);
        for hint in &self.hints {
            eprintln!("hint: {hint}");
        }
        Exit::Failed
    }
}

/// The tunnel of this name in the file.
fn tunnel(places: &Places, name: &str) -> Result<TunnelSpec, Exit> {
    let config = super::load(&places.config)?.config;
    super::named(&config, name).cloned().map_err(|e| {
        eprintln!("error: {e}");
        Exit::Failed
    })
}

/// The host that the request is about: the tunnel's own, or one of its jump hosts.
fn host<'a>(spec: &'a TunnelSpec, request: &Request) -> Result<&'a Target, Refusal> {
    let Some(wanted) = &request.hop else {
        return Ok(&spec.target);
    };
    let hops = spec.target.hops();
    let is_wanted = |hop: &&&Target| {
        hop.host.eq_ignore_ascii_case(wanted)
            || host_port(&hop.host, hop.port).eq_ignore_ascii_case(wanted)
    };
    let mut found = hops.iter().filter(is_wanted);
    match (found.next(), found.next()) {
        (Some(hop), None) => Ok(hop),
        (Some(_), Some(_)) => Err(Refusal::new(format!(
            "`{}` goes over `{wanted}` more than once: say the port, too",
            spec.name
        ))),
        (None, _) if hops.is_empty() => Err(Refusal::new(format!(
            "`{}` goes over no jump host",
            spec.name
        ))),
        (None, _) => {
            let names = hops.iter().map(|hop| host_port(&hop.host, hop.port));
            let names: Vec<String> = names.collect();
            Err(Refusal::new(format!(
                "`{}` does not go over `{wanted}`; it goes over {}",
                spec.name,
                names.join(", ")
            )))
        }
    }
}

/// Asks the host for its keys, and whoever knows something about them.
fn ask_host<'a>(
    spec: &TunnelSpec,
    target: &'a Target,
    request: &Request,
) -> Result<Page<'a>, Refusal> {
    let known = read_known_hosts(target, |_| true)?;
    let common = read_known_hosts(target, |file| !is_only_ours(file))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Refusal::new(os_reason(&e)))?;
    let (shown, sshfp) = runtime.block_on(async {
        let bastions = Bastions::default();
        let scan = scan::scan(target, spec.keepalive, spec.connect_timeout, &bastions);
        let asked = tokio::join!(scan, sshfp::look_up(target));
        bastions.closed().await;
        asked
    });
    // A resolver may still be waiting for its answer; nobody else does.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let shown = shown.map_err(|failure| unreached(spec, target, failure))?;
    let judged = |key: &HostKey| match key.judge(target, &known) {
        Verdict::Trusted { .. } => key.judge(target, &common),
        verdict => verdict,
    };
    Ok(Page {
        command: request.command(),
        target,
        verdicts: shown.keys.iter().map(judged).collect(),
        keys: shown.keys,
        cut_short: shown.cut_short,
        sshfp,
    })
}

fn read_known_hosts(
    target: &Target,
    wanted: impl Fn(&Sourced<PathBuf>) -> bool,
) -> Result<KnownHosts, Refusal> {
    let files = target.known_hosts.iter().filter(|file| wanted(file));
    let files: Vec<_> = files.map(|file| file.value.clone()).collect();
    KnownHosts::read(&files).map_err(|e| {
        let refusal = Refusal::new(e.to_string());
        match e.hint() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    })
}

/// Whether a file is root's own, and no daemon's that runs as another user: by default everybody
/// has one in their home. What it trusts would still be unknown to the daemon.
fn is_only_ours(file: &Sourced<PathBuf>) -> bool {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    rustix::process::geteuid().is_root()
        && file.span.is_none()
        && home.is_some_and(|home| file.value.starts_with(home))
}

/// Why the host could not be asked. On the way to it, a jump host whose key is not trusted is the
/// one to begin with.
fn unreached(spec: &TunnelSpec, target: &Target, failure: Failure) -> Refusal {
    let place = host_port(&target.host, target.port);
    let refusal = Refusal::new(format!("cannot ask {place} for its keys: {failure}"));
    if failure.stage == Stage::HostKey
        && let Some(place) = failure.hop()
    {
        let hops = spec.target.hops();
        let at = |hop: &&&Target| host_port(&hop.host, hop.port) == place;
        let name = hops.iter().find(at).map_or(place, |hop| &hop.host);
        let same = hops.iter().filter(|hop| hop.host == name).count();
        let name = if same > 1 { place } else { name };
        return refusal.hint(format!("`tunneld trust {} --hop {name}` first", spec.name));
    }
    match failure.hint {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// What comes of the keys that were shown.
fn decide(places: &Places, page: &Page, request: &Request) -> Result<Exit, Refusal> {
    page.objection()?;
    let named = |key: &&HostKey| {
        let shown = key.fingerprint();
        request.fingerprint.iter().any(|f| f.as_str() == shown)
    };
    if request.yes && !page.keys.iter().any(|key| named(&key)) {
        return Err(Refusal::new(format!(
            "{} has shown no key with the fingerprint {}, but {}; nothing was added",
            page.place(),
            words(request.fingerprint.iter().map(Fingerprint::to_string)),
            words(
                page.keys
                    .iter()
                    .map(|k| format!("{} {}", k.kind(), k.fingerprint()))
            ),
        )));
    }
    let mut wanted = page.new_keys();
    if request.yes {
        wanted.retain(named);
    }
    if wanted.is_empty() {
        return Ok(super::print("nothing to add\n"));
    }
    if !request.yes {
        wanted = question::ask(page, wanted)?;
    }
    scan::write_down(page.target, &wanted).map_err(|e| unwritten(page, &e))?;
    let kinds = words(wanted.iter().map(|key| key.kind().to_owned()));
    let exit = super::print(&format!("added to {}: {kinds}\n", page.file()));
    if is_blocked(places, &request.name) {
        eprintln!(
            "hint: `tunneld restart {}` makes the daemon try at once; else it tries in a while",
            request.name
        );
    }
    Ok(exit)
}

/// Why the file was not written, and who can write it.
fn unwritten(page: &Page, e: &LearnError) -> Refusal {
    let refusal = Refusal::new(format!("{e}; nothing was added"));
    match e.remedy() {
        Some(_) if e.is_denied() && !rustix::process::geteuid().is_root() => {
            refusal.hint(format!("as root: `sudo {}`", page.command))
        }
        Some(remedy) => refusal.hint(remedy),
        None => refusal,
    }
}

/// Whether a daemon runs whose tunnel waits for a person to deal with a host key. It may well not
/// run, or not speak to this user: then there is nothing to say.
fn is_blocked(places: &Places, tunnel: &str) -> bool {
    let status = call::<DaemonStatus>(&places.socket(), Method::GET, "/v1/status");
    let over_a_key = |t: &TunnelStatus| {
        let stage = t.failure.as_ref().map(|failure| failure.stage);
        t.name.as_str() == tunnel && t.phase == Phase::Blocked && stage == Some(Stage::HostKey)
    };
    status.is_ok_and(|status| status.tunnels.iter().any(over_a_key))
}

fn words(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
