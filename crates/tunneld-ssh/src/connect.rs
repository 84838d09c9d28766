//! From a tunnel's specification to a live session.
//!
//! One deadline runs over everything: resolver, TCP, key exchange, host key, authentication.
//! Whatever is given up is ended: russh's tasks survive the futures that started them, so the
//! socket under them is killed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client;
use tunneld_core::config::{Keepalive, Target, TunnelSpec, Via, host_port};
use tunneld_core::failure::{Failure, Stage};

use crate::algorithms;
use crate::auth;
use crate::error::{SessionError, os_reason, session_failure, timeout_failure};
use crate::further_keys;
use crate::handler::Handler;
use crate::host_key::TrustCommand;
use crate::known_hosts::{KnownAs, KnownHosts};
use crate::link::{KillOnDrop, Link};
use crate::road::{self, Bastions, Under};
use crate::session::{Pace, Session};
use crate::shared::Shared;
use crate::trace::{Step, Trace};

/// The channel window: how much a server may send before it waits for us (RFC 4254 section 5.2).
const WINDOW: u32 = 2 << 20;
/// The largest packet we take, as OpenSSH's.
const PACKET: u32 = 32 << 10;

/// Makes a session as `spec` says, within its `connect_timeout`. Jump hosts are shared through
/// `bastions`.
///
/// # Errors
///
/// A [`Failure`] that says at which stage the attempt failed, at which jump host if it was one, and
/// whether waiting can fix it. Dropping the future gives the attempt up.
pub async fn connect(spec: &TunnelSpec, bastions: &Bastions) -> Result<Session, Failure> {
    connect_traced(spec, bastions, Trace::default()).await
}

/// As [`connect`], and `trace` is told of each step. The steps with jump hosts are told to the
/// trace of `bastions`.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_traced(
    spec: &TunnelSpec,
    bastions: &Bastions,
    trace: Trace,
) -> Result<Session, Failure> {
    let trust = TrustCommand::of(&spec.name);
    let progress = Progress::new(trust, spec.connect_timeout, trace);
    let attempt = establish(&spec.target, spec.keepalive, bastions, &progress);
    match tokio::time::timeout(spec.connect_timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(progress.timed_out(spec.connect_timeout)),
    }
}

/// Makes a session with `target`, for as long as it takes.
pub(crate) async fn establish(
    target: &Target,
    keepalive: Keepalive,
    bastions: &Bastions,
    progress: &Progress,
) -> Result<Session, Failure> {
    let shared = Shared::new(progress.trace.of(&host_port(&target.host, target.port)));
    let rehearsed = rehearsed(target, &shared.trace);
    let target = rehearsed.as_ref().unwrap_or(target);
    progress.at(Where::Server(Arc::clone(&shared)));
    shared.set_stage(Stage::HostKey);
    let known = read_known_hosts(target).await?;
    let config = config(target, &known);
    offers_a_host_key(&config.preferred)?;
    let trust = progress.trust().clone();
    let (further_keys, learner) = further_keys::learner(target, &trust).unzip();
    let handler = Handler::new(
        target.clone(),
        trust,
        known,
        further_keys,
        Arc::clone(&shared),
    );
    let client = (config, handler);
    let mut met = meet(target, keepalive, bastions, progress, &shared, client).await?;
    let road = met.road;
    shared.set_stage(Stage::Authenticate);
    let connection = auth::Connection {
        handle: &mut met.handle,
        target,
        shared: &shared,
        link: &met.link,
        tunnel: progress.trust().tunnel(),
    };
    auth::authenticate(connection, progress.patience())
        .await
        .map_err(|failure| road.1.explain(failure))?;
    shared.trace.note(|| Step::Authenticated);
    shared.set_stage(Stage::Session);
    met.guard.disarm();
    let pace = Pace {
        keepalive,
        rekey_limit: target.rekey_limit,
    };
    let mut session = Session::start(met.handle, road, pace, met.link, shared);
    session.learn_further_keys(learner);
    Ok(session)
}

/// The server of a rehearsal, which writes down no keys that it announces.
fn rehearsed(target: &Target, trace: &Trace) -> Option<Target> {
    trace.rehearsal().map(|_| Target {
        update_host_keys: false,
        ..target.clone()
    })
}

/// A server that keys were exchanged with, and that nobody has logged in to.
pub(crate) struct Met<H: client::Handler> {
    handle: client::Handle<H>,
    link: Arc<Link>,
    guard: KillOnDrop,
    /// What was reached, for people, and what the way to it rests on.
    road: (String, Under),
}

/// Reaches the server of `target` and exchanges keys with it, as this client.
pub(crate) async fn meet<H>(
    target: &Target,
    keepalive: Keepalive,
    bastions: &Bastions,
    progress: &Progress,
    shared: &Arc<Shared>,
    (config, handler): (client::Config, H),
) -> Result<Met<H>, Failure>
where
    H: client::Handler<Error = SessionError> + 'static,
{
    let road = road::reach(target, keepalive, bastions, progress, shared).await?;
    shared.trace.note(|| connected(target, &road.peer));
    progress.at(Where::Server(Arc::clone(shared)));
    shared.set_stage(Stage::KeyExchange);
    let (stream, link) = Link::new(road.wire);
    link.set_user_timeout(keepalive)
        .map_err(|e| Failure::transient(Stage::Connect, os_reason(&e)))?;
    let guard = KillOnDrop::new(&link);
    let handle = client::connect_stream(Arc::new(config), stream, handler)
        .await
        .map_err(|e| {
            let failure = session_failure(shared.stage(), &e);
            road.under.explain(restricted(target, &e, failure))
        })?;
    Ok(Met {
        handle,
        link,
        guard,
        road: (road.peer, road.under),
    })
}

/// A program that runs is no connection yet.
fn connected(target: &Target, peer: &str) -> Step {
    let peer = peer.to_owned();
    match target.via {
        Via::Command(_) => Step::Started { peer },
        Via::Direct | Via::Proxy(_) | Via::Jump(_) => Step::Connected { peer },
    }
}

/// How far an attempt has come, for whoever gives it up.
pub(crate) struct Progress {
    at: Mutex<Where>,
    /// How a person has the server's key trusted.
    trust: TrustCommand,
    /// How long the attempt may take.
    patience: Duration,
    trace: Trace,
}

/// Where an attempt is.
#[derive(Default)]
pub(crate) enum Where {
    #[default]
    Nowhere,
    /// With the server itself.
    Server(Arc<Shared>),
    /// With what the server is reached over.
    Over {
        /// Begins the cause of what fails there.
        what: String,
        shared: Arc<Shared>,
    },
    /// With a jump host.
    Hop {
        /// `host:port`.
        name: String,
        progress: Arc<Progress>,
    },
}

impl Progress {
    pub(crate) fn new(trust: TrustCommand, patience: Duration, trace: Trace) -> Self {
        Progress {
            at: Mutex::default(),
            trust,
            patience,
            trace,
        }
    }

    pub(crate) fn trust(&self) -> &TrustCommand {
        &self.trust
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn at(&self, at: Where) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// What had not happened when the deadline was over.
    pub(crate) fn timed_out(&self, after: Duration) -> Failure {
        match &*self.at.lock().unwrap_or_else(PoisonError::into_inner) {
            Where::Nowhere => timeout_failure(Stage::Resolve, after),
            Where::Server(shared) => shared.timed_out(after),
            Where::Over { what, shared } => {
                road::failure_of(what, timeout_failure(shared.stage(), after))
            }
            Where::Hop { name, progress } => progress.timed_out(after).at_hop(name),
        }
    }
}

async fn read_known_hosts(target: &Target) -> Result<KnownHosts, Failure> {
    let files: Vec<_> = target.known_hosts.iter().map(|f| f.value.clone()).collect();
    let read = tokio::task::spawn_blocking(move || KnownHosts::read(&files)).await;
    match read {
        Ok(Ok(known)) => Ok(known),
        Ok(Err(e)) => Err(e.into_failure()),
        Err(_) => Err(Failure::transient(
            Stage::HostKey,
            "reading known_hosts was interrupted",
        )),
    }
}

/// A list of the file may have certificates only, which are asked for only where there is an
/// authority.
fn offers_a_host_key(preferred: &russh::Preferred) -> Result<(), Failure> {
    if preferred.key.is_empty() && preferred.host_key_certificates.is_empty() {
        let cause = "`host_key_algorithms` allows only certificates, and known_hosts has no \
                     authority for this host";
        return Err(Failure::blocked(Stage::HostKey, cause)
            .with_hint("add an @cert-authority line for it, or a type of plain key"));
    }
    Ok(())
}

/// The same failure; where it is the file that leaves nothing in common with the server, with the
/// key that does.
fn restricted(target: &Target, e: &SessionError, failure: Failure) -> Failure {
    let SessionError::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) = e else {
        return failure;
    };
    failure.with_any_hint(algorithms::restriction(&target.algorithms, kind, theirs))
}

pub(crate) fn config(target: &Target, known: &KnownHosts) -> client::Config {
    let host = KnownAs::of(target);
    let authority = target.host_key_fingerprint.is_empty() && known.has_authority(&host);
    client::Config {
        client_id: russh::SshId::Standard(
            concat!("SSH-2.0-tunneld_", env!("CARGO_PKG_VERSION")).into(),
        ),
        // russh ends a busy session when it asks for new keys itself while much data is coming in;
        // `rekey.rs` asks in a quiet moment, and the server's own requests are always safe.
        limits: russh::Limits {
            rekey_write_limit: usize::MAX,
            rekey_read_limit: usize::MAX,
            rekey_time_limit: Duration::from_secs(365 * 24 * 3600),
        },
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: russh::Preferred {
            host_key_certificates: algorithms::certificates(target, authority).into(),
            ..algorithms::preferred(&known.known_algorithms(&host), &target.algorithms)
        },
        // Both are done beside the session: see `keepalive.rs`.
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..client::Config::default()
    }
}
