//! `tunneld test NAME`: one attempt apart from the daemon, watched step by step.

mod fixes;
mod forwards;
mod page;
mod report;
mod way;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tunneld_core::config::{Target, TunnelSpec, Via};
use tunneld_core::failure::Failure;
use tunneld_ssh::trace::{Entry, Trace};
use tunneld_ssh::{Bastions, Session, connect_traced};

use super::Places;
use crate::exit::Exit;
use crate::observe::logging::{self, Format, Verbosity};
use crate::signals::Requests;
use forwards::Trial;
use page::Page;
use report::Report;
use way::Way;

/// How long the sessions with jump hosts may take to end.
const GOODBYES: Duration = Duration::from_secs(3);

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Who tests: the test runs as whoever types it, and so may not be able to read what the service can.
`sudo -u tunneld tunneld test NAME` sees its keys; its systemd credentials are there only with
`systemd-run --pipe --uid=tunneld -p LoadCredential=… tunneld test NAME`.

What is tried of a forward:
  local    the server connects to the target, and its probe is answered
  dynamic  nothing: clients say where to
  remote   the server listens and stops again, and the target is reached from here. A port that the
           running daemon has for this tunnel is left alone. A unix socket is only looked at.

--json prints one object, once all is done; a field without a value is left out:
  tunnel, ok, failure (the first of all), and
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
        logging::init(Format::Human, verbosity);
    }
    let config = match super::load(&places.config) {
        Ok(loaded) => loaded.config,
        Err(exit) => {
            if let Some(advice) = fixes::advice(&places.config, name) {
                eprintln!("hint: {advice}");
            }
            return exit;
        }
    };
    let spec = match super::named(&config, name) {
        Ok(spec) => spec,
        Err(said) => {
            eprintln!("error: {said}");
            return Exit::Failed;
        }
    };
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
    let socket = places.socket.clone();
    let test = Test {
        spec: TunnelSpec {
            target: writing_nothing(&spec.target),
            ..spec.clone()
        },
        socket: socket.unwrap_or_else(|| config.daemon.control_socket.clone()),
        page: Page::new(json),
    };
    let exit = runtime.block_on(test.run(json));
    // A resolver may still be waiting for its answer; nobody else does.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

/// The same target; what its servers announce of their keys is not written down.
fn writing_nothing(target: &Target) -> Target {
    let via = match &target.via {
        Via::Jump(hop) => Via::Jump(Arc::new(writing_nothing(hop))),
        via => via.clone(),
    };
    Target {
        update_host_keys: false,
        via,
        ..target.clone()
    }
}

struct Test {
    spec: TunnelSpec,
    socket: std::path::PathBuf,
    page: Page,
}

impl Test {
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
            true => match serde_json::to_string_pretty(&report) {
                Ok(text) => super::print(&(text + "\n")),
                Err(e) => {
                    eprintln!("error: {e}");
                    Exit::Failed
                }
            },
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
        let (trace, entries) = Trace::new();
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
        let report = Report::new(name.clone(), way.hosts().cloned().collect(), tried);
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
        let attempt = connect_traced(&self.spec, bastions, trace);
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
                way.fail(fixes::explain(failure, &self.spec), Instant::now());
                None
            }
        };
        self.page.catch_up(way.hosts());
        session
    }

    async fn try_forwards(&mut self, session: &Session, tried: &mut Vec<report::Forward>) {
        let trial = Trial {
            spec: &self.spec,
            session,
            socket: self.socket.clone(),
        };
        self.page.begin_forwards(&self.spec.forwards);
        for forward in &self.spec.forwards {
            let found = trial.of(forward).await;
            self.page.forward(&found);
            tried.push(found);
        }
    }
}
