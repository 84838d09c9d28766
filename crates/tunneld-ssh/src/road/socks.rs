//! SOCKS 5 (RFC 1928), as a client without authentication. A name is sent as it is: the proxy
//! resolves it.

use tokio::net::TcpStream;
use tokio_socks::Error;
use tokio_socks::tcp::Socks5Stream;
use tunneld_core::config::host_port;
use tunneld_core::failure::{Failure, Stage};

use super::proxy;

/// Has the proxy connect to `host:port`. No byte behind its answer is read.
pub(super) async fn connect(
    socket: TcpStream,
    host: &str,
    port: u16,
) -> Result<TcpStream, Failure> {
    match Socks5Stream::connect_with_socket(socket, (host, port)).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(e) => Err(failure(&e, &host_port(host, port))),
    }
}

/// The proxy's answer (RFC 1928 section 6) in words.
fn failure(e: &Error, to: &str) -> Failure {
    let unreached = |reason: &str| format!("cannot reach {to}: {reason}");
    let transient = |reason| Failure::transient(Stage::Connect, unreached(reason));
    match e {
        Error::Io(e) => proxy::broken(e),
        Error::GeneralSocksServerFailure => transient("general failure"),
        Error::NetworkUnreachable => transient("network unreachable"),
        Error::HostUnreachable => transient("host unreachable"),
        Error::ConnectionRefused => transient("connection refused"),
        Error::TtlExpired => transient("TTL expired"),
        Error::ConnectionNotAllowedByRuleset => {
            proxy::forbidden(unreached("not allowed by the proxy's rules"))
        }
        Error::CommandNotSupported => {
            let cause = unreached("the proxy does not support CONNECT");
            Failure::blocked(Stage::Connect, cause)
        }
        Error::AddressTypeNotSupported => {
            let cause = unreached("the proxy does not support this kind of address");
            Failure::blocked(Stage::Connect, cause)
        }
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            proxy::wants_login("wants a password")
        }
        Error::InvalidTargetAddress(_) => {
            let cause = unreached("the name is too long for SOCKS 5");
            Failure::blocked(Stage::Connect, cause)
        }
        _ => proxy::not_speaking("SOCKS 5"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tunneld_core::failure::Class;

    /// A proxy that chooses `method` and answers `reply`. Returns what it was asked for, and what
    /// became of the attempt.
    async fn through(
        method: u8,
        reply: &'static [u8],
        host: &str,
    ) -> (Vec<u8>, Result<TcpStream, Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = [0; 3];
            socket.read_exact(&mut hello).await.unwrap();
            assert_eq!(
                hello,
                [5, 1, 0],
                "it offers no authentication and nothing else"
            );
            socket.write_all(&[5, method]).await.unwrap();
            let mut request = vec![0; 512];
            let n = match method {
                0 => socket.read(&mut request).await.unwrap(),
                _ => 0,
            };
            request.truncate(n);
            socket.write_all(reply).await.unwrap();
            request
        });
        let socket = TcpStream::connect(addr).await.unwrap();
        let reached = connect(socket, host, 22).await;
        (proxy.await.unwrap(), reached)
    }

    #[tokio::test]
    async fn the_banner_that_follows_the_answer_is_left_for_the_session() {
        let reply = b"\x05\x00\x00\x03\x04name\x00\x16SSH-2.0-x\r\n";
        let (_, reached) = through(0, reply, "web").await;
        let mut banner = String::new();
        reached.unwrap().read_to_string(&mut banner).await.unwrap();
        assert_eq!(banner, "SSH-2.0-x\r\n");
    }

    #[tokio::test]
    async fn a_name_is_sent_for_the_proxy_to_resolve_and_an_address_as_one() {
        let reply = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let (asked, _) = through(0, reply, "web.internal").await;
        assert_eq!(asked, b"\x05\x01\x00\x03\x0cweb.internal\x00\x16");
        let (asked, _) = through(0, reply, "192.0.2.7").await;
        assert_eq!(asked, b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x16");
        let (asked, _) = through(0, reply, "2001:db8::7").await;
        assert_eq!(&asked[..8], b"\x05\x01\x00\x04\x20\x01\x0d\xb8");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_words_and_knows_whether_waiting_helps() {
        let (_, refused) = through(0, b"\x05\x05\x00\x01", "web").await;
        let failure = refused.unwrap_err();
        assert_eq!(failure.cause, "cannot reach web:22: connection refused");
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Connect, Class::Transient)
        );

        let (_, refused) = through(0, b"\x05\x02\x00\x01", "web").await;
        let failure = refused.unwrap_err();
        assert_eq!(
            failure.cause,
            "cannot reach web:22: not allowed by the proxy's rules"
        );
        assert_eq!(failure.class, Class::Blocked);
        assert!(failure.hint.is_some());
    }

    #[tokio::test]
    async fn a_proxy_that_wants_a_password_needs_a_person() {
        for method in [0xff, 2] {
            let (_, refused) = through(method, b"", "web").await;
            let failure = refused.unwrap_err();
            assert_eq!(failure.cause, "wants a password");
            assert_eq!(failure.class, Class::Blocked);
            assert!(failure.hint.unwrap().contains("logs in to no proxy"));
        }
    }

    #[tokio::test]
    async fn what_is_no_proxy_is_told_apart_from_one_that_refuses() {
        let (_, refused) = through(0, b"SSH-2.0-OpenSSH\r\n", "web").await;
        assert_eq!(refused.unwrap_err().cause, "does not speak SOCKS 5");
        let (_, refused) = through(0, b"\x05\x00", "web").await;
        assert_eq!(refused.unwrap_err().cause, "closed the connection");
    }
}
