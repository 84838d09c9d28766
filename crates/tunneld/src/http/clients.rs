//! The clients of one listener: so many at once, and the idlest goes when one more comes.
//!
//! Whoever says nothing, or does not read what it asked for, keeps nobody else waiting: only a
//! client whose request is being answered keeps its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::stalled::{Impatient, Patience};

/// How many clients are served at once.
const MAX_CLIENTS: usize = 512;
/// How long a client may take to say what it wants, from its connection or its last answer on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take nothing of its answer, and how long it may take for all of it, or for
/// one event of an answer that goes on.
const PATIENCE: Patience = Patience {
    nothing: Duration::from_secs(10),
    all: Duration::from_secs(30),
};
/// What is kept of a request that is not complete, and of an answer that is not taken, in bytes.
const BUFFER: usize = 64 << 10;

/// Those that are connected. Dropped, they are cut off.
pub(super) struct Clients {
    router: Router,
    stopping: Stopping,
    tasks: JoinSet<()>,
    list: HashMap<Id, Client>,
    /// Told when a request has been answered.
    answered: Arc<Notify>,
}

struct Client {
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Clients {
    pub(super) fn new(router: Router, stop: CancellationToken) -> Self {
        Clients {
            router,
            stopping: Stopping(stop),
            tasks: JoinSet::new(),
            list: HashMap::new(),
            answered: Arc::default(),
        }
    }

    /// Waits until there is a place for one more, and sends the idlest away for it.
    pub(super) async fn place(&mut self) {
        loop {
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.forget(ended);
            }
            if self.list.len() < MAX_CLIENTS {
                return;
            }
            if let Some(id) = self.idlest() {
                if let Some(client) = self.list.remove(&id) {
                    client.task.abort();
                }
                continue;
            }
            // Every one of them is being answered.
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                () = self.answered.notified() => {}
            }
        }
    }

    fn idlest(&self) -> Option<Id> {
        let idle = |(id, client): (&Id, &Client)| Some((client.activity.idle_since()?, *id));
        let idlest = self.list.iter().filter_map(idle);
        idlest.min_by_key(|(since, _)| *since).map(|(_, id)| id)
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(e) => e.id(),
        };
        self.list.remove(&id);
    }

    /// Serves one more.
    pub(super) fn serve(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<IpAddr>,
    ) {
        let activity = Arc::new(Activity {
            state: Mutex::new(State {
                answering: 0,
                asked: false,
                since: Instant::now(),
            }),
            answered: Arc::clone(&self.answered),
        });
        let service = Watched {
            router: self.router.clone(),
            stopping: self.stopping.clone(),
            peer: Peer(peer),
            activity: Arc::clone(&activity),
        };
        let task = self.tasks.spawn(serve(stream, service));
        self.list.insert(task.id(), Client { activity, task });
    }

    /// Once the daemon stops: waits for those that are being answered, and for those that have come
    /// and not asked yet, for as long as that takes.
    pub(super) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send, service: Watched) {
    let stream = TokioIo::new(Impatient::new(stream, PATIENCE));
    let (stop, activity) = (service.stopping.0.clone(), Arc::clone(&service.activity));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        // Who has asked and gone has asked all the same.
        .half_close(true)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    // What goes wrong with a client's connection is the client's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    // Not for one that has not asked yet: its request may be on the way, and hyper would close it now.
    if activity.has_asked() {
        connection.as_mut().graceful_shutdown();
    }
    let _ = connection.await;
}

/// When the daemon stops, for an answer that goes on: each handler finds it among the extensions of
/// its request.
#[derive(Clone)]
pub(crate) struct Stopping(pub(crate) CancellationToken);

/// The address of the client, if it has one; found in the same place.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

/// What a client is doing.
struct Activity {
    state: Mutex<State>,
    answered: Arc<Notify>,
}

struct State {
    /// Requests that are being answered.
    answering: usize,
    /// There was a request.
    asked: bool,
    /// When that was last none.
    since: Instant,
}

impl Activity {
    /// Since when it has had nothing to wait for; `None` while it has.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.answering == 0).then_some(state.since)
    }

    fn has_asked(&self) -> bool {
        self.state().asked
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is being answered.
struct Answering(Arc<Activity>);

impl Answering {
    fn begin(activity: &Arc<Activity>) -> Self {
        {
            let mut state = activity.state();
            state.answering += 1;
            state.asked = true;
        }
        Answering(Arc::clone(activity))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        {
            let mut state = self.0.state();
            state.answering -= 1;
            state.since = Instant::now();
        }
        self.0.answered.notify_one();
    }
}

/// The router, with a note of what is being answered: until the last piece of the answer has been
/// made, so that a stream of events counts for as long as it goes on.
struct Watched {
    router: Router,
    stopping: Stopping,
    peer: Peer,
    activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Watched {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answering = Answering::begin(&self.activity);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.stopping.clone());
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.clone().oneshot(request);
        let stop = self.stopping.0.clone();
        Box::pin(async move {
            let mut response = answer.await?;
            if stop.is_cancelled() {
                let last = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, last);
            }
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &answering;
                    frame
                }))
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn rest(mut client: DuplexStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_stop_waits_for_first_requests_and_for_nobody_else() {
        // Whoever was accepted and has not asked yet may have sent it; who has had an answer asks
        // elsewhere.
        let stop = CancellationToken::new();
        let router = Router::new().route("/healthz", get(|| async { "ok" }));
        let mut clients = Clients::new(router, stop.clone());
        let [mut answered, mut half, mut nothing] = [(); 3].map(|()| {
            let (client, server) = duplex(BUFFER);
            clients.serve(server, None);
            client
        });
        const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (first, second) = ASK.split_at(20);
        half.write_all(first).await.unwrap();
        answered.write_all(ASK).await.unwrap();
        let mut begin = [0; 12];
        answered.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");

        stop.cancel();
        let finished = tokio::spawn(clients.finish());
        let at_once = tokio::time::timeout(REQUEST_TIMEOUT / 2, rest(answered));
        at_once.await.unwrap();
        assert!(!finished.is_finished());
        half.write_all(second).await.unwrap();
        nothing.write_all(ASK).await.unwrap();
        for client in [half, nothing] {
            let answer = rest(client).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
        finished.await.unwrap();
    }
}
