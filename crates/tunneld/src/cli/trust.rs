//! `tunneld trust NAME`

mod page;
mod question;
mod reader;

use std::path::Path;
use std::time::Duration;

use clap::{Args, CommandFactory};
use hyper::Method;
use tunneld_core::config::values::parse_fingerprint;
use tunneld_core::config::{Fingerprint, Target, TunnelSpec, host_port};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};
use tunneld_ssh::host_key::{TrustCommand, Verdict};
use tunneld_ssh::known_hosts::{KnownHosts, LearnError};
use tunneld_ssh::scan::{self, HostKey};
use tunneld_ssh::{Bastions, error::os_reason};

use super::{Cli, Places, completions, hops};
use crate::control::client::call;
use crate::exit::Exit;
use crate::sshfp;
use page::Page;
use reader::Reader;

/// Which host it is about, and what was agreed to beforehand.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// The tunnel.
    #[arg(value_name = "NAME", add = completions::names())]
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
    let command = super::command_again(places, &["trust", &request.name]);
    let desk = Desk {
        places,
        request,
        command: TrustCommand::written(command),
        reader: Reader::find(places),
    };
    let done = host(&spec, request).and_then(|target| {
        let page = desk.ask_host(&spec, target)?;
        match super::print(&page.render()) {
            Exit::Done => desk.decide(&page),
            exit => Ok(exit),
        }
    });
    match done {
        Ok(exit) => exit,
        Err(refusal) => refusal.print(),
    }
}

/// What was asked for, and where.
struct Desk<'a> {
    places: &'a Places,
    request: &'a Request,
    /// The command for the host at the end of the tunnel.
    command: TrustCommand,
    reader: Reader,
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
    let mut found = hops.iter().filter(|hop| hops::goes_by(hop, wanted));
    match (found.next(), found.next()) {
        (Some(hop), None) => Ok(hop),
        (Some(_), Some(_)) => Err(Refusal::new(format!(
            "`{}` goes over `{wanted}` more than once: say the port and the user, too",
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

impl Desk<'_> {
    /// Asks the host for its keys, and whoever knows something about them.
    fn ask_host<'a>(&self, spec: &TunnelSpec, target: &'a Target) -> Result<Page<'a>, Refusal> {
        let known = read_known_hosts(target, |_| true)?;
        let common = read_known_hosts(target, |file| self.reader.has(file))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Refusal::new(os_reason(&e)))?;
        let (shown, sshfp) = runtime.block_on(async {
            let bastions = Bastions::default();
            let (patience, command) = (spec.connect_timeout, &self.command);
            let scan = scan::scan(target, spec.keepalive, patience, &bastions, command);
            let asked = tokio::join!(scan, sshfp::look_up(target));
            bastions.closed().await;
            asked
        });
        // A resolver may still be waiting for its answer; nobody else does.
        runtime.shutdown_timeout(Duration::from_millis(100));
        let shown = shown.map_err(|failure| unreached(target, failure))?;
        let command = match self.request.hop {
            Some(_) => self.command.at_hop(target),
            None => self.command.clone(),
        };
        let judged = |key: &HostKey| match key.judge(target, &known, &command) {
            // What the daemon does not see trusts nothing for it, but may well warn.
            Verdict::Trusted { .. } => key.judge(target, &common, &command),
            verdict => verdict,
        };
        Ok(Page {
            target,
            verdicts: shown.keys.iter().map(judged).collect(),
            command,
            keys: shown.keys,
            cut_short: shown.cut_short,
            sshfp,
        })
    }

    /// What comes of the keys that were shown.
    fn decide(&self, page: &Page) -> Result<Exit, Refusal> {
        page.objection()?;
        let given = &self.request.fingerprint;
        let mut wanted = page.new_keys();
        if self.request.yes {
            let missing: Vec<_> = given.iter().filter(|f| !page.shows(f)).collect();
            if missing.len() == given.len() {
                return Err(none_shown(page, given));
            }
            for fingerprint in missing {
                let place = page.place();
                eprintln!("hint: {place} has shown no key with the fingerprint {fingerprint}");
            }
            wanted.retain(|key| given.iter().any(|f| f.as_str() == key.fingerprint()));
        }
        if wanted.is_empty() {
            return Ok(super::print("nothing to add\n"));
        }
        if let Some(file) = page.target.known_hosts.first() {
            self.reader
                .look_at(&file.value, &page.command.to_string())?;
        }
        if !self.request.yes {
            wanted = question::ask(page, wanted)?;
        }
        scan::write_down(page.target, &wanted).map_err(|e| unwritten(page, &e))?;
        let kinds = words(wanted.iter().map(|key| key.kind().to_owned()));
        let exit = super::print(&format!("added to {}: {kinds}\n", page.file()));
        if is_blocked(self.places, &self.request.name) {
            let restart = super::command_again(self.places, &["restart", &self.request.name]);
            eprintln!("hint: `{restart}` makes the daemon try at once; else it tries in a while");
        }
        Ok(exit)
    }
}

fn read_known_hosts(
    target: &Target,
    wanted: impl Fn(&Path) -> bool,
) -> Result<KnownHosts, Refusal> {
    let files = target.known_hosts.iter().map(|file| file.value.clone());
    let files: Vec<_> = files.filter(|file| wanted(file)).collect();
    KnownHosts::read(&files).map_err(|e| {
        let refusal = Refusal::new(e.to_string());
        match e.hint() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    })
}

/// Why the host could not be asked.
fn unreached(target: &Target, mut failure: Failure) -> Refusal {
    let place = host_port(&target.host, target.port);
    let refusal = Refusal::new(format!("cannot ask {place} for its keys: {failure}"));
    match failure.hint.take() {
        // On the way to it, a jump host whose key is not trusted is the one to begin with.
        Some(hint) if failure.stage == Stage::HostKey && failure.hop().is_some() => {
            refusal.hint(format!("that host first: {hint}"))
        }
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// None of the keys that somebody knows to be right is there.
fn none_shown(page: &Page, given: &[Fingerprint]) -> Refusal {
    let shown = |key: &HostKey| format!("{} {}", key.kind(), key.fingerprint());
    Refusal::new(format!(
        "{} has shown no key with the fingerprint {}, but {}; nothing was added",
        page.place(),
        words(given.iter().map(Fingerprint::to_string)),
        words(page.keys.iter().map(shown)),
    ))
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
