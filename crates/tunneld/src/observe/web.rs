//! `metrics_listen`: what may be read over TCP. Nothing can be commanded here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::routing::get;
use axum::{Extension, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tunneld_core::events;
use tunneld_ssh::forward::{Keeping, Passed, listen_tcp};

use super::scrape::{self, Pages};
use super::{health, page};
use crate::http::answers::{no_large_body, not_found, wrong_method};
use crate::http::hosts;
use crate::http::serve::serve;
use crate::supervisor::Snapshots;

/// How soon a port is asked for again that was not to be had.
const AGAIN: Duration = Duration::from_secs(10);

/// Serves on `listen` until told to stop. A port that is busy keeps no tunnel down: it is asked for
/// again and again. `reading` is what there is to read of the tunnels.
pub(crate) async fn run(
    listen: SocketAddr,
    passed: Passed,
    snapshots: Snapshots,
    reading: Router<Snapshots>,
    stop: CancellationToken,
) {
    let (listener, mut keeping) = tokio::select! {
        listener = listener(listen, &passed) => listener,
        () = stop.cancelled() => return,
    };
    tracing::info!(
        message_id = events::METRICS_LISTENING,
        "serving metrics on http://{listen}/metrics"
    );
    let router = router(listen.ip(), snapshots, reading);
    tokio::select! {
        () = serve(&*listener, "metrics_listen", &router, &stop) => {}
        never = keeping.go_on() => match never {},
    }
}

/// The port, once it is to be had; each reason why it is not is told once.
async fn listener(listen: SocketAddr, passed: &Passed) -> (Arc<TcpListener>, Keeping) {
    let mut told = String::new();
    loop {
        let failure = match listen_tcp(listen, passed).await {
            Ok(listener) => return listener,
            Err(failure) => failure,
        };
        if failure.cause != told {
            tracing::warn!(
                message_id = events::METRICS_LISTEN_FAILED,
                hint = failure.hint.as_deref(),
                "no metrics and no health over HTTP (metrics_listen): {}; trying again every {}s",
                failure.cause,
                AGAIN.as_secs()
            );
            told = failure.cause;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What watches the daemon, over TCP and over the control socket.
pub(crate) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Snapshots: FromRef<S>,
{
    Router::new()
        .route(
            "/metrics",
            get(scrape::metrics).layer(Extension(Pages::default())),
        )
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
}

/// Monitoring elsewhere knows the machine by the name that its DNS has, and nobody else asks for its
/// metrics; what a browser is for is for names that are the machine's own.
fn router(ip: IpAddr, snapshots: Snapshots, reading: Router<Snapshots>) -> Router {
    let telling = reading
        .merge(page::routes())
        .route_layer(middleware::from_fn(hosts::network));
    let router = telling
        .merge(routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(no_large_body))
        .with_state(snapshots);
    // `::ffff:127.0.0.1` is one, too.
    match ip.to_canonical().is_loopback() {
        true => router.layer(middleware::from_fn(hosts::loopback)),
        false => router,
    }
}
