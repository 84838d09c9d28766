//! `metrics_listen`: what may be read over TCP. Nothing can be commanded here.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::serve::serve;
use crate::control::server::{no_large_body, not_found, reading, wrong_method};
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
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(no_large_body))
        .with_state(snapshots)
}
