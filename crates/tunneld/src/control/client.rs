//! The commands' side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::ApiError;

/// An answer is at most this long: a status of ten thousand tunnels.
const MAX_ANSWER: usize = 64 << 20;
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
                        f.write_str(
                            "\nhint: is it running? `systemctl status tunneld`; if `control_socket` \
                             was changed since it started, --socket names where it was",
                        )
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
