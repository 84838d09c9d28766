//! The daemon's side of the control socket.

use std::fs::Metadata;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRef, Path as UrlPath, Query, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tunneld_core::events;

use super::client::connect_now;
use super::events::{Feed, events, status};
use super::{Done, TunnelCommand};
use tunneld_ssh::calling;

use crate::http::answers::{answer, bad_request, no_large_body, not_found, wrong_method};
use crate::http::error::ApiError;
use crate::http::hosts;
use crate::http::serve::{self, serve};
use crate::supervisor::{Control, Snapshots};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 1024;
/// When it is looked whether clients find the socket, where none has come for so long.
const LOOK: Duration = match cfg!(test) {
    true => Duration::from_millis(10),
    false => Duration::from_secs(30),
};

/// The bound socket; removed when dropped.
pub(crate) struct Server {
    path: PathBuf,
    bound: Mutex<Bound>,
    /// Why it could not be made anew, as it was told.
    told: Mutex<Option<String>>,
}

/// A socket that listens, and which file it has.
struct Bound {
    listener: Arc<UnixListener>,
    file: Id,
}

/// Device and inode.
#[derive(PartialEq, Eq)]
struct Id(u64, u64);

impl Id {
    fn of(file: &Metadata) -> Id {
        Id(file.dev(), file.ino())
    }
}

/// Why the socket could not be bound.
#[derive(Debug)]
pub(crate) enum BindError {
    /// Another daemon answers on it.
    InUse(PathBuf),
    /// The system said no.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindError::InUse(path) => write!(
                f,
                "another tunneld answers on {}; stop it, or set another `control_socket`",
                path.display()
            ),
            BindError::Io(path, e) => write!(
                f,
                "cannot make the control socket {}: {}",
                path.display(),
                tunneld_ssh::error::os_reason(e)
            ),
        }
    }
}

impl BindError {
    /// What to do about it. A service may have a folder that its unit makes, RuntimeDirectory= of
    /// systemd.exec(5), and no right to make another.
    pub(crate) fn hint(&self) -> Option<String> {
        let BindError::Io(path, e) = self else {
            return None;
        };
        if !matches!(
            e.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return None;
        }
        let made = std::env::var_os("RUNTIME_DIRECTORY");
        let made = made.and_then(|made| std::env::split_paths(&made).next());
        Some(match made.filter(|made| !path.starts_with(made)) {
            Some(made) => format!(
                "the unit makes {} (RuntimeDirectory=) and no other folder: set `control_socket` in [daemon] \
                 to a path in it",
                made.display()
            ),
            None => format!(
                "as a service it has a folder for it: {}; by hand, --socket PATH names another place",
                calling::ours().restart()
            ),
        })
    }
}

impl Server {
    /// Binds the socket: one that a dead daemon left behind is replaced, a live one is refused.
    /// Its mode is 0660, so that the daemon's group may command it.
    pub(crate) fn bind(path: &Path) -> Result<Server, BindError> {
        Ok(Server {
            bound: Mutex::new(Bound::at(path)?),
            path: path.to_owned(),
            told: Mutex::default(),
        })
    }

    fn bound(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the socket anew if clients do not find it any more. Where that cannot be seen, it may be
    /// as it was.
    async fn look(&self) {
        match tokio::fs::symlink_metadata(&self.path).await {
            Ok(found) if Id::of(&found) == self.bound().file => return,
            Err(e) if !is_missing(&e) => return,
            _ => {}
        }
        let made = Bound::at(&self.path).map(|bound| *self.bound() = bound);
        self.tell(made.err());
    }

    /// Tells that it was made anew; or why not, each reason once.
    fn tell(&self, not_made: Option<BindError>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = not_made.as_ref().map(ToString::to_string);
        if reason.is_none() || *told != reason {
            tracing::warn!(
                message_id = events::CONTROL_SOCKET_LOST,
                hint = not_made.as_ref().and_then(BindError::hint),
                "the control socket {} had lost its file: {}",
                self.path.display(),
                reason.as_deref().unwrap_or("made anew")
            );
        }
        *told = reason;
    }

    /// Serves until told to stop. Requests that are being answered then are answered.
    /// `more` is what there is to read beside what this module has.
    pub(crate) async fn serve(
        self,
        control: Control,
        more: Router<Control>,
        stop: CancellationToken,
    ) {
        let feed = Feed::new(control.snapshots.clone());
        let router = router(control, more, feed.clone());
        tokio::select! {
            () = serve(&self, "control socket", &router, &stop) => {}
            never = feed.run() => match never {},
        }
    }
}

fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl serve::Listener for Server {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        loop {
            let listener = Arc::clone(&self.bound().listener);
            // Who comes has found it.
            match tokio::time::timeout(LOOK, listener.accept()).await {
                Ok(accepted) => return Ok((accepted?.0, None)),
                Err(_) => self.look().await,
            }
        }
    }
}

impl Bound {
    fn at(path: &Path) -> Result<Bound, BindError> {
        let io = |e| BindError::Io(path.to_owned(), e);
        match connect_now(path) {
            // One whose backlog is full answers nobody, and is there.
            Ok(_) | Err(Errno::AGAIN) => return Err(BindError::InUse(path.to_owned())),
            // Whether somebody listens there cannot be asked now.
            Err(e @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                return Err(io(e.into()));
            }
            Err(_) => {}
        }
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                let reason = "something that is not a socket is in the way";
                return Err(io(io::Error::new(io::ErrorKind::AlreadyExists, reason)));
            }
            std::fs::remove_file(path).map_err(io)?;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let (listener, file) = listen(path).map_err(io)?;
        Ok(Bound {
            listener: Arc::new(listener),
            file: Id::of(&file),
        })
    }
}

fn listen(path: &Path) -> io::Result<(UnixListener, Metadata)> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (unix, stream) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(unix, stream, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    // Nobody gets in before that: it does not listen yet.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let file = std::fs::symlink_metadata(path)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

impl Drop for Server {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| Id::of(&found) == self.bound().file) {
            // One that is already gone is as good.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn router(control: Control, more: Router<Control>, feed: Feed) -> Router {
    reading(feed)
        .merge(more)
        .route("/v1/reload", post(reload))
        .route("/v1/tunnels/{name}/{command}", post(command))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(no_large_body))
        .layer(middleware::from_fn(hosts::socket))
        .with_state(control)
}

/// What may be read of the tunnels, over TCP as well. Whoever serves it runs the feed.
pub(crate) fn reading<S>(feed: Feed) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Snapshots: FromRef<S>,
{
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/tunnels/{name}/history", get(history))
        .route("/v1/events", get(events))
        .layer(Extension(feed))
}

impl FromRef<Control> for Snapshots {
    fn from_ref(control: &Control) -> Self {
        control.snapshots.clone()
    }
}

async fn history(
    State(snapshots): State<Snapshots>,
    path: Result<UrlPath<String>, PathRejection>,
) -> Response {
    let name = match path {
        Ok(UrlPath(name)) => name,
        Err(rejection) => return bad_request(&rejection.body_text()),
    };
    let known = name.parse().ok();
    let report = known.and_then(|name| snapshots.history(&name));
    answer(report.ok_or_else(|| ApiError::no_such_tunnel(&name, &snapshots.names())))
}

#[derive(Deserialize)]
struct ReloadQuery {
    #[serde(default)]
    dry_run: bool,
}

async fn reload(
    State(control): State<Control>,
    query: Result<Query<ReloadQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => answer(control.reload(query.dry_run).await),
        Err(rejection) => bad_request(&rejection.body_text()),
    }
}

async fn command(
    State(control): State<Control>,
    path: Result<UrlPath<(String, String)>, PathRejection>,
) -> Response {
    let (name, word) = match path {
        Ok(UrlPath(words)) => words,
        Err(rejection) => return bad_request(&rejection.body_text()),
    };
    let Some(command) = TunnelCommand::from_word(&word) else {
        return not_found().await;
    };
    let done = match name.parse() {
        Ok(name) => control.command(name, command).await,
        Err(_) => Err(ApiError::no_such_tunnel(&name, &control.snapshots.names())),
    };
    answer(done.map(|()| Done {
        tunnel: name,
        command,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::serve::Listener;

    #[tokio::test]
    async fn a_socket_that_clients_do_not_find_any_more_is_made_anew() {
        // Whether its file has gone, or another one was put in its place; and only then.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = Server::bind(&path).unwrap();
        let file = || Id::of(&std::fs::symlink_metadata(&path).unwrap());
        let before = file();
        server.look().await;
        assert!(before == file());
        let other = folder.path().join("other");
        let removed = || std::fs::remove_file(&path).unwrap();
        let replaced = || {
            drop(std::os::unix::net::UnixListener::bind(&other).unwrap());
            std::fs::rename(&other, &path).unwrap();
        };
        for lose in [&removed as &dyn Fn(), &replaced] {
            lose();
            let client = async {
                loop {
                    match UnixStream::connect(&path).await {
                        Ok(client) => return client,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            };
            let both = async { tokio::join!(server.next(), client) };
            let both = tokio::time::timeout(Duration::from_secs(60), both).await;
            both.unwrap().0.unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o660);
        }
        removed();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(server);
        assert!(path.exists());
    }
}
