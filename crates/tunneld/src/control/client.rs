//! The commands' side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::ApiError;

/// An answer is at most this long: a status of ten thousand tunnels.
pub(super) const MAX_ANSWER: usize = 64 << 20;
/// How long the daemon may take. A reload reads files; nothing else should take time.
const TIMEOUT: Duration = Duration::from_secs(60);

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
                write!(f, "no daemon on {}: {reason}", socket.display())?;
                match e.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("\nhint: join the group that the socket belongs to (`tunneld`), or use sudo")
                    }
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        f.write_str("\nhint: is it running? `systemctl status tunneld`")
                    }
                    _ => Ok(()),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| ClientError::Unreachable {
            socket: socket.to_owned(),
            e,
        })?;
    runtime.block_on(async {
        let call = ask(socket, method, path);
        match tokio::time::timeout(TIMEOUT, call).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Unreachable {
                socket: socket.to_owned(),
                e: io::Error::from(io::ErrorKind::TimedOut),
            }),
        }
    })
}

/// As [`call`], within a runtime and for as long as it takes.
pub(crate) async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    let (body, _connection) = open(socket, method, path).await?;
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|e| garbled(&e))?.to_bytes();
    serde_json::from_slice(&body).map_err(|e| garbled(&e))
}

/// Asks, and returns what there is to read of the answer, with the connection that it comes through.
pub(super) async fn open(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<(Incoming, AbortOnDropHandle<()>), ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|e| ClientError::Unreachable {
            socket: socket.to_owned(),
            e,
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| garbled(&e))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // How it ends shows in what is read from it.
        let _ = connection.await;
    }));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "tunneld")
        .body(Empty::<Bytes>::new())
        .map_err(|e| garbled(&e))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| garbled(&e))?;
    if response.status().is_success() {
        return Ok((response.into_body(), connection));
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let body = body.collect().await.map_err(|e| garbled(&e))?.to_bytes();
    let error: ApiError = serde_json::from_slice(&body).map_err(|e| garbled(&e))?;
    Err(ClientError::Refused(Box::new(error)))
}

fn garbled(e: &dyn std::fmt::Display) -> ClientError {
    ClientError::Garbled(e.to_string())
}
