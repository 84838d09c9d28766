//! The commands' side of the control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::advice::advice;
use tunneld_ssh::calling;

use crate::http::error::ApiError;

/// An answer is at most this long: a status of ten thousand tunnels.
pub(super) const MAX_ANSWER: usize = 64 << 20;
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
    /// It is there and works on it for longer than anybody waits here.
    Unfinished(PathBuf),
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
            ClientError::Unfinished(socket) => write!(
                f,
                "the daemon on {} is not done yet\nhint: it goes on, and how that ends is in the \
                 journal: `{}`",
                socket.display(),
                calling::ours().command(&["logs"])
            ),
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
    let patience = match method {
        Method::GET => LOOK,
        _ => TIMEOUT,
    };
    runtime(socket)?.block_on(within(patience, socket, method, path))
}

/// As [`ask`], and waits for so long. What is asked of a daemon that is there goes on after that.
async fn within<T: DeserializeOwned>(
    patience: Duration,
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    let is_command = method != Method::GET;
    let call = ask(socket, method, path);
    if let Ok(answer) = tokio::time::timeout(patience, call).await {
        return answer;
    }
    // One that hangs has its connections accepted by the system all the same.
    let look = open(socket, Method::GET, "/healthz");
    let look = tokio::time::timeout(patience.min(LOOK), look);
    match is_command && look.await.is_ok_and(|answer| answer.is_ok()) {
        true => Err(ClientError::Unfinished(socket.to_owned())),
        false => Err(gone(socket, io::ErrorKind::TimedOut)),
    }
}

/// The runtime of a command, which has one thing to wait for.
pub(crate) fn runtime(socket: &Path) -> Result<tokio::runtime::Runtime, ClientError> {
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
    let stream = connect_now(socket).ok()?;
    Some(socket_peercred(stream).ok()?.uid.as_raw())
}

/// Connects to a socket, or not at all: one with a full backlog is not waited for, which is EAGAIN.
pub(super) fn connect_now(socket: &Path) -> rustix::io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &address)?;
    Ok(stream)
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
    let response = sender.send_request(request).await.map_err(|e| {
        // Unless it was an answer, it has ended meanwhile, or has no time for us.
        match e.is_parse() {
            true => garbled(&e),
            false => gone(socket, io::ErrorKind::ConnectionReset),
        }
    })?;
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

/// There is no answer, for this reason.
pub(super) fn gone(socket: &Path, kind: io::ErrorKind) -> ClientError {
    ClientError::Unreachable {
        socket: socket.to_owned(),
        e: kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// A daemon that answers whether it is well, or nothing at all.
    async fn serve(listener: UnixListener, is_well: bool) {
        let mut held = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 512];
            let read = client.read(&mut request).await.unwrap();
            if is_well && request[..read].starts_with(b"GET /healthz ") {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                client.write_all(answer).await.unwrap();
            }
            held.push(client);
        }
    }

    #[tokio::test]
    async fn a_daemon_that_ends_while_it_is_asked_is_gone() {
        // With the question unread the system resets the connection.
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let ends = async {
            let (client, _) = listener.accept().await.unwrap();
            client.readable().await.unwrap();
        };
        let asked = ask::<super::super::Done>(&socket, Method::GET, "/v1/status");
        let (asked, ()) = tokio::join!(asked, ends);
        let said = asked.unwrap_err();
        assert!(matches!(said, ClientError::Unreachable { .. }), "{said}");
    }

    #[tokio::test]
    async fn a_command_that_takes_long_is_no_reason_to_restart_a_daemon_that_is_well() {
        for (method, is_well, words) in [
            (Method::POST, true, "`tunneld logs`"),
            (Method::POST, false, "it hangs"),
            (Method::GET, true, "it hangs"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("s");
            let served = serve(UnixListener::bind(&socket).unwrap(), is_well);
            let _served = AbortOnDropHandle::new(tokio::spawn(served));
            let patience = Duration::from_millis(300);
            let asked = within::<super::super::Done>(patience, &socket, method, "/v1/reload");
            let said = asked.await.unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
            assert_eq!(said.contains("restart"), words == "it hangs", "{said}");
        }
    }
}
