//! Bytes between an SSH channel and a TCP connection.

use std::sync::atomic::{AtomicBool, Ordering};

use russh::ChannelMsg;
use russh::server::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Copies both ways until both sides have ended, or either is gone. An end of file is passed on
/// in its direction only.
///
/// A target that does not read stops the whole SSH session once russh's queue for the channel is
/// full: where that matters, use the real server.
pub(crate) async fn pump(tcp: TcpStream, channel: russh::Channel<Msg>) {
    let _ = tcp.set_nodelay(true);
    let (mut from_client, to_client) = channel.split();
    let (mut from_target, mut to_target) = tcp.into_split();
    let (target_ended, client_ended) = (AtomicBool::new(false), AtomicBool::new(false));

    let upstream = async {
        while let Some(message) = from_client.wait().await {
            let goes_on = match message {
                ChannelMsg::Data { data } => to_target.write_all(&data).await.is_ok(),
                ChannelMsg::Eof => {
                    let _ = to_target.shutdown().await;
                    client_ended.store(true, Ordering::Relaxed);
                    !target_ended.load(Ordering::Relaxed)
                }
                ChannelMsg::Close => false,
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    };
    let downstream = async {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(n) = from_target.read(&mut buffer).await {
            if n == 0 {
                target_ended.store(true, Ordering::Relaxed);
                return to_client.eof().await.is_ok();
            }
            let data = buffer[..n].to_vec();
            if to_client.data_bytes(data).await.is_err() {
                break;
            }
        }
        false
    };
    tokio::pin!(upstream, downstream);
    // A writer that waits for window is woken by nothing but the end of the reading side.
    tokio::select! {
        () = &mut upstream => {}
        ended_well = &mut downstream => {
            if ended_well && !client_ended.load(Ordering::Relaxed) {
                upstream.await;
            }
        }
    }
    let _ = to_client.close().await;
}
