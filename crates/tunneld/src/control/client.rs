//! The commands' side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::ApiError;
use super::advice::advice;

/// An answer is at most this long: a status of ten thousand tunnels.
const MAX_ANSWER: usize = 64 << 20;
/// How long the daemon may take for a command: a reload reads files, and `stop` lets connections
/// finish.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to say how things are.
const LOOK: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The daemon cannot be reached.
    Unreachable { socket: PathBuf, e: io::Error },
    /// The daemon said no.
    Refused(Box<ApiError>),
    /// The answer makes no sense.
    Garbled(String),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientError::Unreachable { socket, e } => {
                let reason = tunneld_ssh::error::os_reason(e);
                let socket_name = socket.display();
                match e.kind() {
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "cannot ask the daemon on {socket_name}: {reason}")?;
                    }
                    io::ErrorKind::TimedOut => {
                        write!(f, "the daemon on {socket_name} does not answer")?;
                    }
                    _ => write!(f, "no daemon on {socket_name}: {reason}")?,
                }
                match advice(socket, e.kind()) {
                    Some(advice) => write!(f, "\nhint: {advice}"),
                    None => Ok(()),
                }
            }
            ClientError::Refused(error) => f.write_str(&error.message),
            ClientError::Garbled(why) => write!(f, "the daemon's answer makes no sense: {why}"),
        }
    }
}

/// Asks the daemon, and waits for its answer.
pub(crate) fn call<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    runtime(socket)?.block_on(async {
        let patience = match method {
            Method::GET => LOOK,
            _ => TIMEOUT,
        };
        let call = ask(socket, method, path);
        match tokio::time::timeout(patience, call).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Unreachable {
                socket: socket.to_owned(),
                e: io::Error::from(io::ErrorKind::TimedOut),
            }),
        }
    })
}

/// The runtime of a command, which has one thing to wait for.
fn runtime(socket: &Path) -> Result<tokio::runtime::Runtime, ClientError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().build();
    built.map_err(|e| ClientError::Unreachable {
        socket: socket.to_owned(),
        e,
    })
}

/// The user who listens on a socket (SO_PEERCRED of unix(7)); `None` where nobody does, or this user
/// may not ask.
pub(crate) fn listener_uid(socket: &Path) -> Option<u32> {
    let address = SocketAddrUnix::new(socket).ok()?;
    // One with a full backlog is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    rustix::net::connect(&stream, &address).ok()?;
    Some(socket_peercred(stream).ok()?.uid.as_raw())
}

/// As [`call`], within a runtime and for as long as it takes.
pub(crate) async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    let unreachable = |e| ClientError::Unreachable {
        socket: socket.to_owned(),
        e,
    };
    let garbled = |e: &dyn std::fmt::Display| ClientError::Garbled(e.to_string());
    let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| garbled(&e))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "tunneld")
        .body(Empty::<Bytes>::new())
        .map_err(|e| garbled(&e))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| garbled(&e))?;
        let ok = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_ANSWER);
        let body = body.collect().await.map_err(|e| garbled(&e))?.to_bytes();
        Ok((ok, body))
    };
    tokio::pin!(exchange);
    let (ok, body) = tokio::select! {
        done = &mut exchange => done?,
        // The connection's own end only matters if it comes before the answer.
        ended = connection => match ended {
            Ok(()) => exchange.await?,
            Err(e) => return Err(garbled(&e)),
        },
    };
    if ok {
        serde_json::from_slice(&body).map_err(|e| garbled(&e))
    } else {
        let error: ApiError = serde_json::from_slice(&body).map_err(|e| garbled(&e))?;
        Err(ClientError::Refused(Box::new(error)))
    }
}
