//! `tunneld test NAME`: one attempt apart from the daemon, watched step by step.

mod daemon;
mod fixes;
mod forwards;
mod page;
mod report;
mod way;
mod whose;

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tunneld_core::config::TunnelSpec;
use tunneld_core::failure::Failure;
use tunneld_ssh::trace::{Entry, Rehearsal, Trace};
use tunneld_ssh::{Bastions, Session, connect_traced};

use super::Places;
use crate::config_file;
use crate::exit::Exit;
use crate::logging::{self, Format, Verbosity};
use crate::signals::Requests;
use daemon::Daemon;
pub(super) use daemon::owner;
use fixes::Asked;
pub(super) use fixes::name;
use forwards::Trial;
use page::Page;
use report::Report;
use way::Way;

/// How long the sessions with jump hosts may take to end.
const GOODBYES: Duration = Duration::from_secs(3);
/// How many forwards are tried at once: each that gets no answer takes its time.
const AT_ONCE: usize = 8;

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Who tests: the test runs as whoever types it, and so may not be able to read what the service can,
and what the file leaves out (`user`, keys in ~/.ssh) is that of another user; a note says so.
`sudo -u tunneld tunneld test NAME` goes as the service does; its systemd credentials are there only
with `systemd-run --pipe --uid=tunneld -p LoadCredential=… tunneld test NAME`.

What is tried of a forward:
  local    the server connects to the target, and its probe is answered
  dynamic  nothing: clients say where to
  remote   the server listens and stops again, and the target is reached from here. A port that the
           running daemon has for this tunnel is left alone. A unix socket is only looked at, and
           a probe is not tried: its way is back through the server.

--json prints one object, once all is done; a field without a value is left out:
  tunnel, ok, failure (the first of all), notes[] (on the test itself), and
  hosts[]     host, user, steps[]; of each step: step (resolve, connect, host-key, key-exchange,
              authenticate), ok, ms since the step before, and what belongs to it:
    resolved  name, addresses[]
    peer      what was reached, and over what
    host_key  key, by (FILE:LINE, or the pin)
    agreed    kex, post_quantum, cipher, host_key, server
    tried[]   method, with, answer (accepted, partial, rejected, skipped), detail, ms
    failure   stage, class (transient, blocked), cause, hint
  forwards[]  name, kind (local, remote, dynamic), listen, connect, ok, note, checks[]; of each
              check: check (listen, target, probe), ok, ms, port, failure";

/// How a test came to its end.
enum Done {
    Report(Report),
    /// By a signal.
    Interrupted,
}

pub(super) fn run(places: &Places, name: &str, json: bool, log: Option<Verbosity>) -> Exit {
    if let Some(verbosity) = log {
        logging::init(Format::Human, verbosity.into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(test(places, name, json));
    // A resolver may still be waiting for its answer; nobody else does.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

async fn test(places: &Places, name: &str, json: bool) -> Exit {
    let daemon = Daemon::find(places.socket(), &places.config);
    let asked = Asked {
        places,
        tunnel: name,
        daemon: &daemon,
    };
    let loaded = match super::load_or(&places.config, || asked.advice(&places.config)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let spec = match super::named(&loaded.config, name) {
        Ok(spec) => spec,
        Err(said) => {
            eprintln!("error: {said}");
            return Exit::Failed;
        }
    };
    let test = Test {
        spec,
        notes: notes(spec, &asked),
        asked,
        page: Page::new(json),
    };
    test.run(json).await
}

/// Where the daemon goes another way than this test.
fn notes(spec: &TunnelSpec, asked: &Asked<'_>) -> Vec<String> {
    if asked.daemon.is_ours() {
        return Vec::new();
    }
    let uid = asked.daemon.uid();
    let (us, them) = (rustix::process::geteuid().as_raw(), uid);
    let (us, them, command) = (fixes::name(us), fixes::name(them), asked.as_user(uid));
    let theirs = config_file::load_as(&asked.places.config, uid).ok();
    let theirs = theirs.and_then(|mut loaded| loaded.config.tunnels.remove(&spec.name));
    let Some(theirs) = theirs else {
        // It is wrong for want of a name to log in with, or has to do with files of theirs.
        let said = format!("the daemon runs as {them}, for whom the file may say something else");
        return vec![format!("{said}: {command}")];
    };
    let keys = whose::differing(&spec.target, &theirs.target);
    let it = if keys.len() == 1 { "it" } else { "them" };
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let keys = keys.join(", ");
    vec![format!(
        "{keys} taken from {us}; the daemon takes {it} from {them}: {command}"
    )]
}

struct Test<'a> {
    spec: &'a TunnelSpec,
    asked: Asked<'a>,
    /// What is to be known of the test itself.
    notes: Vec<String>,
    page: Page,
}

impl Test<'_> {
    async fn run(mut self, json: bool) -> Exit {
        let mut signals = match Requests::install() {
            Ok(signals) => signals,
            Err(e) => {
                eprintln!("error: cannot handle signals: {e}");
                return Exit::Failed;
            }
        };
        let report = match self.test(&mut signals).await {
            Done::Report(report) => report,
            Done::Interrupted => {
                eprintln!("error: interrupted");
                return Exit::Failed;
            }
        };
        let printed = match json {
            true => super::print_json(&report),
            false => self.page.exit(),
        };
        match printed {
            Exit::Done if !report.ok => Exit::NotUp,
            exit => exit,
        }
    }

    async fn test(&mut self, signals: &mut Requests) -> Done {
        let name = self.spec.name.clone();
        self.page
            .say(&format!("{name}: testing, apart from the daemon\n"));
        for note in &self.notes {
            self.page.say(&format!("  note: {note}\n"));
        }
        let (trace, entries) = Trace::rehearsing(match self.asked.daemon.is_ours() {
            true => Rehearsal::AsDaemon,
            false => Rehearsal::AsAnother,
        });
        let bastions = Bastions::traced(trace.clone());
        let mut way = Way::new(&self.spec.target, Instant::now());
        let made = tokio::select! {
            made = self.connect(&mut way, &bastions, trace, entries) => Some(made),
            _ = signals.next() => None,
        };
        let mut tried = Vec::new();
        let mut interrupted = made.is_none();
        if let Some(Some(session)) = made {
            tokio::select! {
                () = self.try_forwards(&session, &mut tried) => {}
                _ = signals.next() => interrupted = true,
            }
            // What the server was asked for, and was not taken back, ends here.
            session.close().await;
        }
        // A jump host that does not take its goodbye has had its time.
        let _ = tokio::time::timeout(GOODBYES, bastions.closed()).await;
        if interrupted {
            return Done::Interrupted;
        }
        let hosts = way.hosts().cloned().collect();
        let report = Report {
            notes: std::mem::take(&mut self.notes),
            ..Report::new(name.clone(), hosts, tried)
        };
        let said = match report.failures().count() {
            0 => "everything works".to_owned(),
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        self.page.say(&format!("{name}: {said}\n"));
        Done::Report(report)
    }

    /// Makes the session, and shows each step as it is done.
    async fn connect(
        &mut self,
        way: &mut Way,
        bastions: &Bastions,
        trace: Trace,
        mut entries: Receiver<Entry>,
    ) -> Option<Session> {
        let attempt = connect_traced(self.spec, bastions, trace);
        tokio::pin!(attempt);
        let made: Result<Session, Failure> = loop {
            tokio::select! {
                biased;
                Some(entry) = entries.recv() => way.take(entry),
                made = &mut attempt => break made,
            }
            self.page.catch_up(way.hosts());
        };
        while let Ok(entry) = entries.try_recv() {
            way.take(entry);
        }
        let session = match made {
            Ok(session) => Some(session),
            Err(failure) => {
                let at = way.whose(&failure);
                let failure = self.asked.explain(failure, &self.spec.target, at);
                way.fail(failure, Instant::now());
                None
            }
        };
        self.page.catch_up(way.hosts());
        session
    }

    async fn try_forwards(&mut self, session: &Session, tried: &mut Vec<report::Forward>) {
        let trial = Trial {
            spec: self.spec,
            session,
            daemon: self.asked.daemon,
        };
        self.page.begin_forwards(&self.spec.forwards);
        let all = stream::iter(&self.spec.forwards).map(|forward| trial.of(forward));
        // In the order of the file, whichever is the first to be done.
        let mut found = all.buffered(AT_ONCE);
        while let Some(found) = found.next().await {
            self.page.forward(&found);
            tried.push(found);
        }
    }
}
