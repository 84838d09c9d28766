//! What stands between a tunnel and its server, and can be told how to misbehave: relays and
//! proxies, each a thread for each connection.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tunneld_lab::target::{TcpServer, free_ip, read_some, try_connect};

use crate::support::pass;

/// Carries bytes both ways until both sides have finished.
fn relay(near: &TcpStream, far: &TcpStream) {
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (mut reader, mut writer) = (from, to);
        let _ = io::copy(&mut reader, &mut writer);
        let _ = to.shutdown(Shutdown::Write);
    };
    // Sessions are quiet for longer than a client may be.
    for stream in [near, far] {
        stream.set_read_timeout(None).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| copy(near, far));
        copy(far, near);
    });
}

/// A relay to `to` that takes its time before it begins.
pub(crate) fn delayed(to: SocketAddr, delay: Duration) -> TcpServer {
    TcpServer::start_anywhere(move |near| {
        pass(delay);
        if let Ok(far) = try_connect(to) {
            relay(&near, &far);
        }
    })
}

/// A server that reads what comes first, says `words`, and then only listens.
pub(crate) fn saying(words: &[u8]) -> TcpServer {
    let words = words.to_vec();
    TcpServer::start_anywhere(move |mut stream| {
        let mut buffer = [0; 4096];
        if matches!(read_some(&mut stream, &mut buffer), Ok(1..))
            && stream.write_all(&words).is_ok()
        {
            while matches!(read_some(&mut stream, &mut buffer), Ok(1..)) {}
        }
    })
}

/// What proxies were asked for: `host:port`.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that works, whatever name it is asked for: it leads to `to`. The first words of the
/// server go out in one piece with the proxy's own answer.
pub(crate) struct Proxy {
    pub(crate) server: TcpServer,
    pub(crate) asked: Asked,
}

impl Proxy {
    /// HTTP CONNECT (RFC 9110 section 9.3.6).
    pub(crate) fn http(to: SocketAddr) -> Self {
        Self::http_on(anywhere(), to)
    }

    /// The same on this address.
    pub(crate) fn http_on(addr: SocketAddr, to: SocketAddr) -> Self {
        Self::start(addr, to, |near| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                near.read_exact(&mut byte)?;
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let asked = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = "HTTP/1.1 200 Connection established\r\nVia: 1.1 lab\r\n\r\n";
            Ok((asked, answer.as_bytes()))
        })
    }

    /// SOCKS 5 (RFC 1928).
    pub(crate) fn socks5(to: SocketAddr) -> Self {
        Self::start(anywhere(), to, |near| {
            let asked = socks5_request(near)?;
            Ok((asked, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        })
    }

    fn start(
        addr: SocketAddr,
        to: SocketAddr,
        request: impl Fn(&mut TcpStream) -> io::Result<(String, &'static [u8])> + Send + Sync + 'static,
    ) -> Self {
        let asked = Asked::default();
        let note = asked.clone();
        let server = TcpServer::start(addr, move |mut near| {
            let Ok((asked, answer)) = request(&mut near) else {
                return;
            };
            note.lock().unwrap().push(asked);
            let Ok(mut far) = try_connect(to) else { return };
            let mut words = [0; 1024];
            let n = read_some(&mut far, &mut words).unwrap_or(0);
            if near.write_all(&[answer, &words[..n]].concat()).is_ok() {
                relay(&near, &far);
            }
        });
        Proxy { server, asked }
    }

    /// What it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A port that the system chooses, on an address of its own.
fn anywhere() -> SocketAddr {
    SocketAddr::new(free_ip().into(), 0)
}

/// Reads the greeting and the request, and answers the greeting: no authentication.
fn socks5_request(near: &mut TcpStream) -> io::Result<String> {
    let [_, methods] = take(near)?;
    near.read_exact(&mut vec![0; methods.into()])?;
    near.write_all(&[5, 0])?;
    let [_, _, _, kind] = take(near)?;
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(take(near)?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(take(near)?)).to_string(),
        _ => {
            let [len] = take(near)?;
            let mut name = vec![0; len.into()];
            near.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    Ok(format!("{host}:{}", u16::from_be_bytes(take(near)?)))
}

fn take<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A SOCKS 5 proxy that refuses every request with this code (RFC 1928 section 6).
pub(crate) fn socks5_refusing(code: u8) -> TcpServer {
    TcpServer::start_anywhere(move |mut near| {
        if socks5_request(&mut near).is_ok() {
            let _ = near.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
    })
}

/// An address that leads to `to` once: whoever comes after the first connection is refused.
pub(crate) fn once(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((free_ip(), 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        drop(listener);
        relay(&near, &try_connect(to).unwrap());
    });
    addr
}
