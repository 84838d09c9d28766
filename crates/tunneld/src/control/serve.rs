//! Serving HTTP to whoever connects: bounded in clients, in size and in time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How many clients are served at once; more of them wait. Those that say nothing are sent away
/// after [`REQUEST_TIMEOUT`], and should not keep others from asking until then.
const MAX_CLIENTS: usize = 512;
/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may stay without taking anything of an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long accepting rests after an error such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// A place where clients come in.
pub(crate) trait Listener {
    /// A client's connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next client.
    async fn next(&self) -> io::Result<Self::Stream>;
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// When a client's connection last came forward. An answer that goes on says so itself: each
/// handler finds this among the extensions of its request.
#[derive(Clone)]
pub(crate) struct Progress {
    born: Instant,
    millis: Arc<AtomicU64>,
}

impl Progress {
    fn new() -> Self {
        Progress {
            born: Instant::now(),
            millis: Arc::default(),
        }
    }

    /// The client takes what it is given.
    pub(super) fn made(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Release);
    }

    /// Returns when there has been none for too long.
    async fn stuck(&self) {
        loop {
            let last = Duration::from_millis(self.millis.load(Ordering::Acquire));
            let left = (last + CLIENT_TIMEOUT).saturating_sub(self.born.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// Serves until told to stop. Requests that are being answered then are answered.
pub(crate) async fn serve<L: Listener>(
    listener: &L,
    what: &str,
    router: &Router,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = clients.join_next(), if !clients.is_empty() => continue,
            accepted = accept(listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let client = serve_client(stream, router.clone());
                clients.spawn(async move {
                    client.await;
                    drop(place);
                });
            }
            Err(e) => {
                let reason = tunneld_ssh::error::os_reason(&e);
                tracing::warn!("{what} paused 1s: {reason}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let _ = tokio::time::timeout(PAUSE, async {
        while clients.join_next().await.is_some() {}
    })
    .await;
}

async fn accept<L: Listener>(
    listener: &L,
    places: &Arc<Semaphore>,
) -> io::Result<(L::Stream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    Ok((listener.next().await?, place))
}

async fn serve_client(stream: impl AsyncRead + AsyncWrite + Unpin + Send, router: Router) {
    let progress = Progress::new();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        progress.made();
        request.extensions_mut().insert(progress.clone());
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What goes wrong with a client's connection is the client's to notice.
        _ = connection => {}
        () = progress.stuck() => {}
    }
}
