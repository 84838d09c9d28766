//! TCP ports: one socket an address family, and who holds a busy port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;
use tunneld_core::config::{ListenHost, TcpListen};
use tunneld_core::failure::{Failure, Stage};

use super::store::{Found, Place, Store};
use super::{BACKLOG, Keeping, Listener, Passed, Socket, called};
use crate::calling;
use crate::error::os_reason;

/// How long the search for who holds a port may take; it is said without a name after that.
const SEARCH: Duration = Duration::from_secs(5);
const LOW_PORT: &str = "ports below 1024 need CAP_NET_BIND_SERVICE; give it to the unit: \
                        AmbientCapabilities=CAP_NET_BIND_SERVICE and \
                        CapabilityBoundingSet=CAP_NET_BIND_SERVICE in [Service], then";

/// Binds a port, on every address that is meant.
pub(super) async fn bind(place: &TcpListen, store: &Store) -> Result<Vec<Socket>, Failure> {
    let addresses = addresses(place);
    // All of them before any can fail: whoever does not take them now lets clients wait in vain.
    let mut found = places(place)
        .iter()
        .map(|place| store.take(place))
        .collect::<Vec<_>>()
        .into_iter();
    let mut sockets = Vec::new();
    let mut missing = None;
    for address in &addresses {
        match listen(*address, true, found.next().flatten(), store).await {
            Ok((socket, keeping)) => sockets.push(Socket {
                listener: Listener::Tcp(socket),
                keeping,
            }),
            // A machine without IPv6 (or without IPv4) has one family of the two.
            Err(e) if addresses.len() > 1 && no_such_family(&e) => missing = Some((address, e)),
            Err(e) => {
                let rest = found.flatten();
                rest.for_each(|found| found.let_go("another address of its port is not to be had"));
                return Err(failure(*address, e).await);
            }
        }
    }
    match (sockets.is_empty(), missing) {
        (true, Some((address, e))) => Err(failure(*address, e).await),
        _ => Ok(sockets),
    }
}

fn addresses(place: &TcpListen) -> Vec<SocketAddr> {
    let both = |v4, v6| vec![IpAddr::V4(v4), IpAddr::V6(v6)];
    let ips = match place.host {
        ListenHost::Localhost => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        ListenHost::Any => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        ListenHost::Ip(ip) => vec![ip],
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, place.port))
        .collect()
}

/// Where sockets of an earlier run listen for it.
pub(super) fn places(place: &TcpListen) -> Vec<Place> {
    let exact = |address: SocketAddr| Place::Tcp {
        address,
        only_v6: address.is_ipv6(),
    };
    addresses(place).into_iter().map(exact).collect()
}

/// Where one listens for [`listen_tcp`].
pub(super) fn own_place(address: SocketAddr) -> Place {
    Place::Tcp {
        address,
        only_v6: false,
    }
}

/// Binds a port for the daemon itself: on `[::]` for every address of either family. With it comes
/// whether the service manager keeps it, too.
///
/// # Errors
///
/// Why it cannot be bound, with whoever holds it as far as that can be seen.
pub async fn listen_tcp(
    address: SocketAddr,
    passed: &Passed,
) -> Result<(Arc<TcpListener>, Keeping), Failure> {
    let store = passed.store();
    match listen(address, false, store.take(&own_place(address)), store).await {
        Ok(socket) => Ok(socket),
        Err(e) => Err(failure(address, e).await),
    }
}

/// The socket of an earlier run, or else a new one.
async fn listen(
    address: SocketAddr,
    only_v6: bool,
    found: Option<Found>,
    store: &Store,
) -> io::Result<(Arc<TcpListener>, Keeping)> {
    let socket = match (bind_one(address, only_v6), found) {
        (bound, None) => bound?,
        (Ok(socket), Some(found)) => {
            // Within one network namespace it would have been in the way.
            found.let_go("it is in another network namespace");
            socket
        }
        (Err(_), Some(found)) => match again(&found) {
            Ok(()) => {
                let socket = TcpListener::from_std(found.socket.into())?;
                return Ok((Arc::new(socket), Some(found.kept).into()));
            }
            Err(e) => {
                found.let_go(&os_reason(&e.into()));
                bind_one(address, only_v6)?
            }
        },
    };
    let socket = Arc::new(socket);
    let keeping = store.keep_tcp(address, &socket).await;
    Ok((socket, keeping))
}

/// Listens on a socket of an earlier run.
fn again(found: &Found) -> rustix::io::Result<()> {
    rustix::io::ioctl_fionbio(&found.socket, true)?;
    rustix::net::listen(&found.socket, BACKLOG)
}

fn bind_one(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier run that linger in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
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

async fn failure(address: SocketAddr, e: io::Error) -> Failure {
    let reason = os_reason(&e);
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            // Every process is asked, which takes its time on a large machine.
            let search = tokio::task::spawn_blocking(move || holder(address));
            let found = tokio::time::timeout(SEARCH, search).await;
            let holder = match found {
                Ok(Ok(Some(holder))) => format!(" by {holder}"),
                _ => String::new(),
            };
            let cause = format!("cannot listen on {address}: {reason}{holder}");
            Failure::transient(Stage::Forward, cause)
        }
        io::ErrorKind::PermissionDenied => {
            let cause = format!("cannot listen on {address}: {reason}");
            let restart = calling::ours().restart();
            Failure::transient(Stage::Forward, cause).with_hint(format!("{LOW_PORT} {restart}"))
        }
        _ => {
            let cause = format!("cannot listen on {address}: {reason}");
            Failure::transient(Stage::Forward, cause)
        }
    }
}

/// Who listens on an address, as far as /proc lets us see.
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
        Some(process) => Some(called(process.pid)),
        None => Some(format!("a process of uid {}", entry.uid)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tunneld_core::config::Listen;

    use super::super::{Listeners, Passed};
    use super::*;
    use crate::forward::Peer;

    async fn listeners(host: ListenHost, port: u16) -> Result<Listeners, Failure> {
        let listen = Listen::Tcp(TcpListen { host, port });
        Listeners::bind(&listen, &Passed::default()).await
    }

    fn free_port() -> u16 {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn localhost_listens_on_both_families_and_serves_both() {
        let port = free_port();
        let mut listeners = listeners(ListenHost::Localhost, port).await.unwrap();
        let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (_, peer) = listeners.accept().await.unwrap();
        assert_eq!(peer, Peer::Tcp(v4.local_addr().unwrap()));
        // A machine may have no IPv6 at all.
        if listeners.sockets.len() == 2 {
            let v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port))
                .await
                .unwrap();
            let (_, peer) = listeners.accept().await.unwrap();
            assert_eq!(peer, Peer::Tcp(v6.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn a_busy_port_is_named_with_its_holder() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let failure = listeners(ListenHost::Ip(address.ip()), address.port())
            .await
            .err()
            .unwrap();
        let pid = std::process::id();
        assert!(
            failure.cause.starts_with(&format!(
                "cannot listen on {address}: address already in use by "
            )) && failure.cause.ends_with(&format!("(pid {pid})")),
            "{}",
            failure.cause
        );
    }

    #[tokio::test]
    async fn a_port_that_is_not_ours_to_have_comes_with_what_it_takes() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let failure = failure(address, io::ErrorKind::PermissionDenied.into()).await;
        let hint = format!("{LOW_PORT} systemctl restart tunneld");
        assert_eq!(failure.hint, Some(hint));
    }
}
