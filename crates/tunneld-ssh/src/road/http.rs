//! HTTP CONNECT (RFC 9110 section 9.3.6), as a client.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tunneld_core::config::host_port;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::{clip, printable};

use super::proxy;

/// The longest answer that is read.
const MAX_HEAD: usize = 8 << 10;
/// Header fields of an answer.
const MAX_FIELDS: usize = 128;

/// Has the proxy connect to `host:port`. No byte behind the head of its answer is read.
pub(super) async fn connect(
    mut socket: TcpStream,
    host: &str,
    port: u16,
) -> Result<TcpStream, Failure> {
    let to = host_port(host, port);
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let sent = socket.write_all(request.as_bytes()).await;
    sent.map_err(|e| proxy::broken(&e))?;
    let mut room = MAX_HEAD;
    loop {
        let head = read_head(&mut socket, room).await?;
        let (status, reason) = status(&head)?;
        match status {
            // Interim answers (RFC 9110 section 15.2) come before the real one.
            100..=199 => room = room.saturating_sub(head.len()),
            200..=299 => return Ok(socket),
            _ => return Err(refused(&to, status, &reason)),
        }
    }
}

/// Reads up to the empty line that ends a head. Behind it comes what the SSH server says, so the
/// bytes are looked at before they are taken.
async fn read_head(socket: &mut TcpStream, room: usize) -> Result<Vec<u8>, Failure> {
    let mut head = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let n = socket
            .peek(&mut seen)
            .await
            .map_err(|e| proxy::broken(&e))?;
        if n == 0 {
            return Err(proxy::broken(&io::ErrorKind::UnexpectedEof.into()));
        }
        let before = head.len();
        head.extend_from_slice(&seen[..n]);
        if !head.iter().zip(b"HTTP/").all(|(is, wanted)| is == wanted) {
            return Err(proxy::not_speaking("HTTP"));
        }
        let end = end_of_head(&head);
        head.truncate(end.unwrap_or(head.len()));
        let taken = socket.read_exact(&mut seen[..head.len() - before]).await;
        taken.map_err(|e| proxy::broken(&e))?;
        if head.len() > room {
            let cause = format!("the answer is longer than {MAX_HEAD} bytes");
            return Err(Failure::transient(Stage::Connect, cause));
        }
        if end.is_some() {
            return Ok(head);
        }
    }
}

/// Where the empty line ends; a bare line feed ends a line too (RFC 9112 section 2.2).
fn end_of_head(head: &[u8]) -> Option<usize> {
    let after = |pattern: &[u8]| {
        let at = head.windows(pattern.len()).position(|w| w == pattern);
        at.map(|at| at + pattern.len())
    };
    [after(b"\n\r\n"), after(b"\n\n")]
        .into_iter()
        .flatten()
        .min()
}

/// Status and reason phrase.
fn status(head: &[u8]) -> Result<(u16, String), Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    match (answer.parse(head), answer.code) {
        (Ok(httparse::Status::Complete(_)), Some(code)) => {
            let reason = clip(&printable(answer.reason.unwrap_or_default()), 100);
            Ok((code, reason))
        }
        _ => Err(proxy::not_speaking("HTTP")),
    }
}

fn refused(to: &str, status: u16, reason: &str) -> Failure {
    let cause = format!("cannot reach {to}: {status} {reason}");
    let cause = cause.trim_end();
    match status {
        407 => proxy::wants_login(cause),
        403 | 405 | 501 => proxy::forbidden(cause),
        _ => Failure::transient(Stage::Connect, cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tunneld_core::failure::Class;

    /// A proxy that gives its answer in these pieces. Returns what it was asked for, and what
    /// became of the attempt.
    async fn through(answer: Vec<Vec<u8>>, host: &str) -> (String, Result<TcpStream, Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut request = Vec::new();
            while end_of_head(&request).is_none() {
                socket.read_buf(&mut request).await.unwrap();
            }
            for piece in answer {
                // An attempt that was given up takes no more.
                let _ = socket.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
            String::from_utf8(request).unwrap()
        });
        let socket = TcpStream::connect(addr).await.unwrap();
        let reached = connect(socket, host, 22).await;
        (proxy.await.unwrap(), reached)
    }

    async fn refusal(answer: &str) -> Failure {
        let (_, reached) = through(vec![answer.into()], "web").await;
        reached.unwrap_err()
    }

    #[tokio::test]
    async fn the_banner_that_follows_the_answer_is_left_for_the_session() {
        let answer = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSSH-2.0-x\r\n";
        let interim = format!("HTTP/1.1 100 Continue\r\n\r\n{answer}");
        let bare = answer.replacen("\r\n", "\n", 3);
        let bytewise = answer.bytes().map(|b| vec![b]).collect();
        for pieces in [
            vec![answer.into()],
            vec![interim.into()],
            vec![bare.into()],
            bytewise,
        ] {
            let (request, reached) = through(pieces, "web").await;
            assert_eq!(request, "CONNECT web:22 HTTP/1.1\r\nHost: web:22\r\n\r\n");
            let mut banner = String::new();
            reached.unwrap().read_to_string(&mut banner).await.unwrap();
            assert_eq!(banner, "SSH-2.0-x\r\n");
        }
    }

    #[tokio::test]
    async fn an_ipv6_address_is_asked_for_in_brackets() {
        let (request, _) = through(vec![b"HTTP/1.0 200\r\n\r\n".to_vec()], "2001:db8::7").await;
        assert!(
            request.starts_with("CONNECT [2001:db8::7]:22 HTTP/1.1\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_status_and_reason() {
        let failure = refusal("HTTP/1.1 503 Service\tUnavailable\r\n\r\n").await;
        assert_eq!(
            failure.cause,
            "cannot reach web:22: 503 Service Unavailable"
        );
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Connect, Class::Transient)
        );
        let failure = refusal("HTTP/1.1 502\r\n\r\n").await;
        assert_eq!(failure.cause, "cannot reach web:22: 502");
    }

    #[tokio::test]
    async fn a_proxy_that_wants_a_password_or_forbids_it_needs_a_person() {
        let failure = refusal("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        assert_eq!(failure.class, Class::Blocked);
        assert!(failure.hint.unwrap().contains("logs in to no proxy"));
        let failure = refusal("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        assert_eq!(failure.class, Class::Blocked);
        assert!(failure.hint.unwrap().contains("must allow"));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(
            refusal(&head).await.cause,
            "the answer is longer than 8192 bytes"
        );
        assert_eq!(
            refusal("HTTP/1.1 200 OK\r\n").await.cause,
            "closed the connection"
        );
    }

    #[tokio::test]
    async fn what_is_no_proxy_is_told_apart_from_one_that_refuses() {
        for other in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/x y\r\n\r\n"] {
            assert_eq!(refusal(other).await.cause, "does not speak HTTP");
        }
    }
}
