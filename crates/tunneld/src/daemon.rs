//! `tunneld run`: what starts in which order, and what stops in which.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::config::{Config, DaemonConfig, ForwardKind, Listen};
use tunneld_core::events;
use tunneld_ssh::forward::{Passed, Taken};
use tunneld_ssh::program::reap_orphans;
use tunneld_ssh::{Bastions, KeyChecks};

use crate::config_file::{self, Loaded};
use crate::control::events::Feed;
use crate::control::server::{Server, reading};
use crate::exit::Exit;
use crate::inject::Inject;
use crate::logging::{Filter, LastWords};
use crate::observe::{history, notify, web};
use crate::pacing::Pacing;
use crate::sandbox::Sandbox;
use crate::signals::{Request, Requests};
use crate::supervisor::{Command, Control, Handles, Request as Reload, Snapshots, Supervisor};
use crate::tunnel::hooks::Turns;
use crate::tunnel::{Said, Surroundings};
use crate::watch;

/// The runtime's threads: one SSH connection keeps one busy, and its clients another.
const WORKERS: usize = 2;
/// How long the sessions with jump hosts may take to end, once the tunnels have.
const GOODBYES: Duration = Duration::from_secs(3);
/// How long tasks have to end once they were told to end at once.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the daemon until it is told to stop.
pub(crate) fn run(
    path: &Path,
    socket: Option<&Path>,
    taken: io::Result<Taken>,
    logged: &Filter,
    last_words: LastWords,
) -> Exit {
    let loaded = match config_file::load(path) {
        Ok(loaded) => loaded,
        Err(e) => {
            let hint = e
                .hint()
                .map(str::to_owned)
                .or_else(|| config_file::way_in(path));
            let hint = hint.map(|hint| format!("\nhint: {hint}"));
            last_words.say(&(e.render(false) + &hint.unwrap_or_default()));
            return Exit::BadConfig;
        }
    };
    // Threads have the rights of the one that makes them: before there are any.
    let sandbox = Sandbox::enter(
        &loaded.config,
        socket,
        history::place(&loaded.config.daemon),
        taken.as_ref().map(Taken::folders).unwrap_or_default(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            last_words.say(&format!("error: cannot start: {e}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(serve(
        path, socket, taken, loaded, sandbox, logged, last_words,
    ));
    // A resolver may still be waiting for its answer; nobody else does.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

async fn serve(
    path: &Path,
    socket: Option<&Path>,
    taken: io::Result<Taken>,
    loaded: Loaded,
    sandbox: Sandbox,
    logged: &Filter,
    last_words: LastWords,
) -> Exit {
    // Signals first: one that comes during the start is not lost.
    let mut requests = match Requests::install() {
        Ok(requests) => requests,
        Err(e) => {
            last_words.say(&format!("error: cannot handle signals: {e}"));
            return Exit::Failed;
        }
    };
    let socket = socket.unwrap_or(&loaded.config.daemon.control_socket);
    let server = match Server::bind(socket) {
        Ok(server) => server,
        Err(e) => {
            let hint = e.hint().map(|hint| format!("\nhint: {hint}"));
            last_words.say(&format!("error: {e}{}", hint.unwrap_or_default()));
            return Exit::Failed;
        }
    };
    tell_start(path, &loaded.config, &sandbox, logged);
    let _files = warn_about_files(loaded.clone());
    let _orphans = (std::process::id() == 1).then(first_process);
    let (passed, _left) = sockets(taken, &loaded.config);
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let bastions = Bastions::default();
    let hooks = Turns::new(path, shutdown.clone(), abort.clone());
    let surroundings = Surroundings {
        pacing: Pacing::default(),
        bastions: bastions.clone(),
        passed: passed.clone(),
        hooks: hooks.clone(),
        shutdown: shutdown.clone(),
        abort: abort.clone(),
        inject: Inject::from_env(),
        said: Said::default(),
    };
    let settings = loaded.config.daemon.clone();
    let (supervisor, handles) =
        Supervisor::new(path.to_owned(), loaded, sandbox.given(), surroundings);
    let control = handles.control.clone();
    let watcher = tokio::spawn(watch::run(
        path.to_owned(),
        control.clone(),
        handles.seen.clone(),
        notify::reloading,
        shutdown.clone(),
    ));
    let observers = Observers::start(&settings, handles, server, &passed);
    let mut supervisor = tokio::spawn(supervisor.run());

    let told = until_stopped(&mut requests, &control, &mut supervisor).await;
    // Clients that come from now on wait for the next process, where the service manager has one.
    passed.leave();
    if told {
        let patience = hooks.patience();
        stop(
            &mut requests,
            &control,
            supervisor,
            patience,
            &shutdown,
            &abort,
        )
        .await;
    }
    if !abort.is_cancelled() {
        hooks.ended().await;
        // A jump host that does not take its goodbye has had its time.
        let _ = tokio::time::timeout(GOODBYES, bastions.closed()).await;
    }
    let _ = tokio::join!(observers.end(), watcher);
    tracing::info!(message_id = events::STOPPED, "tunneld stopped");
    if told { Exit::Done } else { Exit::Failed }
}

fn tell_start(path: &Path, config: &Config, sandbox: &Sandbox, logged: &Filter) {
    tracing::info!(
        message_id = events::STARTED,
        version = env!("CARGO_PKG_VERSION"),
        config = %path.display(),
        tunnels = config.tunnels.len(),
        "tunneld starts"
    );
    sandbox.tell();
    logged.warn_unused(config.tunnels.keys());
}

/// What the service manager passed, and who removes the files of what nobody listens on any more: the
/// tunnels need not wait for a disk.
fn sockets(taken: io::Result<Taken>, config: &Config) -> (Passed, AbortOnDropHandle<()>) {
    let taken = taken.unwrap_or_else(|e| {
        tracing::warn!(
            message_id = events::SOCKETS_UNUSABLE,
            "the sockets that the service manager passed cannot be used: {e}"
        );
        Taken::default()
    });
    let (passed, left) = Passed::of(taken, listens(config), config.daemon.metrics_listen);
    (passed, AbortOnDropHandle::new(tokio::spawn(left)))
}

/// Those that tell others of the tunnels, and go on for as long as there is one.
struct Observers {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Observers {
    fn start(daemon: &DaemonConfig, handles: Handles, server: Server, passed: &Passed) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let control = handles.control;
        let snapshots = || control.snapshots.clone();
        let (heartbeat, reloads) = (handles.heartbeat, handles.reloads);
        tasks.spawn(notify::run(snapshots(), heartbeat, reloads, stop.clone()));
        let state = history::place(daemon);
        tasks.spawn(history::run(state, snapshots(), stop.clone()));
        if let Some(listen) = daemon.metrics_listen {
            tasks.spawn(watched(listen, passed.clone(), snapshots(), stop.clone()));
        }
        tasks.spawn(server.serve(control.clone(), web::routes(), stop.clone()));
        Observers { stop, tasks }
    }

    /// They end by themselves; one that failed has nothing more to say.
    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Where the tunnels will listen on this side.
fn listens(config: &Config) -> impl Iterator<Item = &Listen> {
    let tunnels = config.tunnels.values().filter(|tunnel| tunnel.enabled);
    let forwards = tunnels.flat_map(|tunnel| &tunnel.forwards);
    forwards.filter_map(|forward| match &forward.kind {
        ForwardKind::Local(local) => Some(&local.listen.value),
        ForwardKind::Remote(_) => None,
    })
}

/// What is read over TCP: the daemon, and the tunnels as on the control socket.
async fn watched(
    listen: SocketAddr,
    passed: Passed,
    snapshots: Snapshots,
    stop: CancellationToken,
) {
    let feed = Feed::new(snapshots.clone());
    tokio::select! {
        () = web::run(listen, passed, snapshots, reading(feed.clone()), stop) => {}
        never = feed.run() => match never {},
    }
}

/// A key that is missing must not keep the other tunnels down: it is said, and its tunnel blocked.
/// Beside the tunnels: keys are opened by those that need them, and not here, and a disk may be slow.
fn warn_about_files(loaded: Loaded) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::task::spawn_blocking(move || {
        let mut keys = KeyChecks::without_opening();
        let found = loaded.check_files(&mut keys, |spec| spec.enabled);
        config_file::files::warn(&found.all, 0);
    }))
}

/// The first process of a container is given what its programs leave behind.
fn first_process() -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async {
        let Err(e) = reap_orphans().await;
        tracing::debug!("processes that have lost their parent stay zombies: {e}");
    }))
}

/// Passes signals on until one says stop. Returns `false` if the supervisor itself has failed.
async fn until_stopped(
    requests: &mut Requests,
    control: &Control,
    supervisor: &mut JoinHandle<()>,
) -> bool {
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            _ = &mut *supervisor => {
                tracing::error!(
                    message_id = events::BUG,
                    "the supervisor failed: a bug in tunneld"
                );
                return false;
            }
        };
        match request {
            Request::Stop => return true,
            Request::Reload => {
                notify::reloading().await;
                control.signal(Command::Reload(Reload::default())).await;
            }
            Request::RetryNow => control.signal(Command::RetryNow).await,
        }
    }
}

/// Every tunnel at the same time: stop accepting, drain, say goodbye; then its hooks, which may take
/// as long as `hooks`. A second signal ends it.
async fn stop(
    requests: &mut Requests,
    control: &Control,
    mut supervisor: JoinHandle<()>,
    hooks: Duration,
    shutdown: &CancellationToken,
    abort: &CancellationToken,
) {
    let drain_timeout = control
        .snapshots
        .directory()
        .borrow()
        .daemon()
        .map(|daemon| daemon.drain_timeout)
        .unwrap_or_default();
    tracing::info!(message_id = events::STOPPING, "stopping");
    // Before it is told: a `READY=1` must not follow.
    control.snapshots.set_stopping();
    notify::stopping(drain_timeout.saturating_add(hooks)).await;
    shutdown.cancel();
    loop {
        tokio::select! {
            _ = &mut supervisor => return,
            request = requests.next() => if request == Request::Stop {
                break;
            },
        }
    }
    tracing::warn!(
        message_id = events::STOPPING_AT_ONCE,
        "told to stop a second time: connections are cut"
    );
    abort.cancel();
    // What has not ended by then ends with the process.
    let _ = tokio::time::timeout(ABORT_PATIENCE, supervisor).await;
}
