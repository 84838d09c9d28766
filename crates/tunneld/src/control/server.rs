//! The daemon's side of the control socket.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRef, Path as UrlPath, Query, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use rustix::io::Errno;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::client::connect_now;
use super::events::{Feed, events, status};
use super::{Done, TunnelCommand};
use tunneld_ssh::calling;

use crate::http::answers::{answer, bad_request, no_large_body, not_found, wrong_method};
use crate::http::error::ApiError;
use crate::http::hosts;
use crate::http::serve::serve;
use crate::supervisor::{Control, Snapshots};

/// The bound socket; removed when dropped.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
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
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            BindError::Io(_, e) if e.kind() == io::ErrorKind::PermissionDenied => Some(format!(
                "as a service it has a folder for it: systemctl start {}; by hand, --socket PATH \
                 names another place",
                calling::ours().unit()
            )),
            _ => None,
        }
    }
}

impl Server {
    /// Binds the socket: one that a dead daemon left behind is replaced, a live one is refused.
    /// Its mode is 0660, so that the daemon's group may command it.
    pub(crate) fn bind(path: &Path) -> Result<Server, BindError> {
        let io = |e| BindError::Io(path.to_owned(), e);
        // One whose backlog is full answers nobody, and is there.
        if !matches!(connect_now(path), Err(e) if e != Errno::AGAIN) {
            return Err(BindError::InUse(path.to_owned()));
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
        // Nobody may connect between the making of the socket and the setting of its mode.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(io)?;
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(path, mode).map_err(io)?;
        Ok(Server {
            listener,
            path: path.to_owned(),
        })
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
            () = serve(&self.listener, "control socket", &router, &stop) => {}
            never = feed.run() => match never {},
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that is already gone is as good.
        let _ = std::fs::remove_file(&self.path);
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
