//! The ways in which a [`LabServer`](crate::server::LabServer) can be broken.

use std::net::TcpStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Connection;

/// What is wrong with the server. A fault holds for connections that come after it was set; the
/// channel faults hold for channels of living connections too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Accepts, and never sends a byte.
    AcceptAndNeverSpeak,
    /// Closes the connection before or within the key exchange.
    CloseDuringKex(KexPoint),
    /// Closes the TCP connection when an authentication request arrives.
    DropEachAuthentication,
    /// Never answers an authentication request.
    NeverAnswerAuthentication,
    /// Rejects every key.
    RejectEveryKey,
    /// Refuses every channel.
    RefuseChannels(Refusal),
    /// Never answers the opening of a channel.
    NeverAnswerChannels,
    /// Speaks HTTP: something else has the port.
    NotSsh,
    /// Sends lines before its version for as long as the client listens (RFC 4253 section 4.2
    /// allows such lines).
    EndlessBanner,
    /// Resets each connection as soon as it has accepted it.
    ResetOnAccept,
}

/// Where in the key exchange a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KexPoint {
    /// After both sides have sent their versions.
    AfterVersions,
    /// After the client has sent SSH_MSG_KEXINIT.
    AfterKexInit,
}

/// Why a channel is refused (RFC 4254 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Code 1: the server forbids it.
    AdministrativelyProhibited,
    /// Code 2: the target cannot be reached.
    ConnectFailed,
    /// Code 3: the server does not know such channels.
    UnknownChannelType,
    /// Code 4: the server has no room.
    ResourceShortage,
}

impl Fault {
    /// Whether the fault needs no SSH at all: it is played on the bare connection.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(
            self,
            Fault::AcceptAndNeverSpeak
                | Fault::CloseDuringKex(_)
                | Fault::NotSsh
                | Fault::EndlessBanner
                | Fault::ResetOnAccept
        )
    }
}

/// Plays a fault that needs no SSH; the connection closes with the return.
pub(crate) async fn play(fault: Fault, mut stream: Connection) {
    match fault {
        Fault::AcceptAndNeverSpeak => swallow(&mut stream).await,
        Fault::CloseDuringKex(point) => close_during_kex(point, &mut stream).await,
        Fault::NotSsh => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nBad Request\r\n";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
            swallow(&mut stream).await;
        }
        Fault::EndlessBanner => endless_banner(stream).await,
        Fault::ResetOnAccept => stream.reset_on_close(),
        _ => {}
    }
}

/// Reads until the client gives up.
async fn swallow(stream: &mut Connection) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

async fn close_during_kex(point: KexPoint, stream: &mut Connection) {
    if stream.write_all(b"SSH-2.0-lab\r\n").await.is_err() {
        return;
    }
    while !matches!(stream.read_u8().await, Ok(b'\n') | Err(_)) {}
    if point == KexPoint::AfterKexInit {
        let len = stream.read_u32().await.unwrap_or(0).min(64 << 10);
        let mut packet = vec![0; len as usize];
        let _ = stream.read_exact(&mut packet).await;
    }
    // What the client has sent by now must be read: a close with bytes unread is a reset, and
    // whether there are any is a matter of luck.
    let _ = stream.shutdown().await;
    swallow(stream).await;
}

async fn endless_banner(stream: Connection) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let line = [b"the server says hello\r\n".as_slice(); 32].concat();
    tokio::select! {
        () = async { while writer.write_all(&line).await.is_ok() {} } => {}
        () = async { while matches!(reader.read(&mut [0; 256]).await, Ok(1..)) {} } => {}
    }
}

/// Sets a connection to be reset when its last handle closes.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}
