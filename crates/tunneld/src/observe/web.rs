//! `metrics_listen`: what may be read over TCP. Nothing can be commanded here.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::serve::serve;
use crate::control::server::{not_found, reading};
use crate::supervisor::Snapshots;

/// Serves on `listen` until told to stop.
pub(crate) async fn run(listen: SocketAddr, snapshots: Snapshots, stop: CancellationToken) {
    match TcpListener::bind(listen).await {
        Ok(listener) => serve(&listener, "metrics_listen", &router(snapshots), &stop).await,
        Err(e) => {
            let reason = tunneld_ssh::error::os_reason(&e);
            tracing::error!("cannot listen on {listen} (metrics_listen): {reason}");
        }
    }
}

fn router(snapshots: Snapshots) -> Router {
    reading()
        .route("/healthz", get(async || "ok\n"))
        .fallback(not_found)
        .with_state(snapshots)
}
