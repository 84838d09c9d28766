//! Listening places: binding them, naming who holds a busy one, and accepting without end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tunneld_core::config::{Listen, ListenHost};
use tunneld_core::failure::{Failure, Stage};

use crate::error::os_reason;

/// How many clients may wait to be accepted; the system's own limit (net.core.somaxconn) applies.
const BACKLOG: i32 = 4096;

/// The sockets of one listening place: one an address family.
pub(crate) struct Listeners {
    sockets: Vec<TcpListener>,
    /// Where the next look begins, so that no socket starves another.
    next: usize,
}

impl Listeners {
    /// Binds a listening place.
    pub(crate) async fn bind(listen: &Listen) -> Result<Listeners, Failure> {
        let addresses = addresses(listen);
        let mut sockets = Vec::new();
        let mut missing = None;
        for address in &addresses {
            match bind(*address) {
                Ok(socket) => sockets.push(socket),
                // A machine without IPv6 (or without IPv4) has one family of the two.
                Err(e) if addresses.len() > 1 && no_such_family(&e) => missing = Some((address, e)),
                Err(e) => return Err(bind_failure(*address, e).await),
            }
        }
        match (sockets.is_empty(), missing) {
            (true, Some((address, e))) => Err(bind_failure(*address, e).await),
            _ => Ok(Listeners { sockets, next: 0 }),
        }
    }

    /// The next client. Can be dropped and called again without losing one.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let count = self.sockets.len();
        let first = self.next;
        let (at, accepted) = std::future::poll_fn(|cx| {
            for (at, socket) in self
                .sockets
                .iter()
                .enumerate()
                .cycle()
                .skip(first)
                .take(count)
            {
                if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                    return Poll::Ready((at, accepted));
                }
            }
            Poll::Pending
        })
        .await;
        self.next = (at + 1) % count;
        accepted
    }
}

fn addresses(listen: &Listen) -> Vec<SocketAddr> {
    let both = |v4, v6| vec![IpAddr::V4(v4), IpAddr::V6(v6)];
    let ips = match listen.host {
        ListenHost::Localhost => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        ListenHost::Any => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        ListenHost::Ip(ip) => vec![ip],
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, listen.port))
        .collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier run that linger in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn no_such_family(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = e.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

async fn bind_failure(address: SocketAddr, e: io::Error) -> Failure {
    let reason = os_reason(&e);
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            // Every process is asked, which takes its time on a large machine.
            let holder = tokio::task::spawn_blocking(move || holder(address)).await;
            let holder = holder.ok().flatten();
            let holder = holder.map(|h| format!(" by {h}")).unwrap_or_default();
            let cause = format!("cannot listen on {address}: {reason}{holder}");
            Failure::transient(Stage::Forward, cause)
        }
        io::ErrorKind::PermissionDenied => {
            let cause = format!("cannot listen on {address}: {reason}");
            Failure::transient(Stage::Forward, cause)
                .with_hint("ports below 1024 need CAP_NET_BIND_SERVICE")
        }
        _ => {
            let cause = format!("cannot listen on {address}: {reason}");
            Failure::transient(Stage::Forward, cause)
        }
    }
}

/// Who listens on an address, as far as /proc lets us see: `postgres (pid 812)`.
fn holder(address: SocketAddr) -> Option<String> {
    use procfs::net::TcpState;
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let entry = tables.into_iter().flatten().flatten().find(|entry| {
        let local = entry.local_address;
        entry.state == TcpState::Listen
            && local.port() == address.port()
            && (local.ip() == address.ip() || local.ip().is_unspecified())
    })?;
    let found = procfs::process::all_processes()
        .ok()?
        .flatten()
        .find(|process| {
            let descriptors = process.fd().into_iter().flatten().flatten();
            descriptors.map(|fd| fd.target).any(
                |t| matches!(t, procfs::process::FDTarget::Socket(inode) if inode == entry.inode),
            )
        });
    match found {
        Some(process) => {
            let name = process.stat().map(|s| s.comm).unwrap_or_default();
            Some(format!("{name} (pid {})", process.pid))
        }
        None => Some(format!("a process of uid {}", entry.uid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: ListenHost, port: u16) -> Listen {
        Listen { host, port }
    }

    fn free_port() -> u16 {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn localhost_listens_on_both_families_and_serves_both() {
        let port = free_port();
        let mut listeners = Listeners::bind(&place(ListenHost::Localhost, port))
            .await
            .unwrap();
        let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        assert!(v4.is_ok());
        let (_, peer) = listeners.accept().await.unwrap();
        assert!(peer.ip().is_loopback());
        // A machine may have no IPv6 at all.
        if listeners.sockets.len() == 2 {
            let _v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port))
                .await
                .unwrap();
            assert!(listeners.accept().await.unwrap().1.is_ipv6());
        }
    }

    #[tokio::test]
    async fn a_busy_port_is_named_with_its_holder() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let listen = place(ListenHost::Ip(address.ip()), address.port());
        let failure = Listeners::bind(&listen).await.err().unwrap();
        let pid = std::process::id();
        assert!(
            failure.cause.starts_with(&format!(
                "cannot listen on {address}: address already in use by "
            )) && failure.cause.ends_with(&format!("(pid {pid})")),
            "{}",
            failure.cause
        );
    }
}
