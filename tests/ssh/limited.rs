//! One forward of each kind with limits, an echo behind it, and clients from wherever they like.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType};
use tunneld_core::status::ForwardStatus;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{free_addr, is_reset};

use crate::asking::Protocol;
use crate::gateway::{gateway, reload};
use crate::support::{LONG, Table, ending, exchange};

/// Where local clients come from unless they say something else.
pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where others come from.
pub(crate) const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Remote,
    Dynamic,
}

const KINDS: [Kind; 3] = [Kind::Local, Kind::Remote, Kind::Dynamic];

/// The same for each kind, at the same time.
pub(crate) fn each_kind(promise: impl Fn(Kind) + Sync) {
    let promise = &promise;
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || promise(kind));
        }
    });
}

/// A tunnel `t` with one forward of one kind.
pub(crate) struct Limited {
    pub(crate) kind: Kind,
    pub(crate) daemon: Daemon,
    pub(crate) listen: SocketAddr,
    to: SocketAddr,
    sshd: Sshd,
}

impl Limited {
    /// Its forward leads to `to` and has more keys: `max_connections = 2`.
    pub(crate) fn new(kind: Kind, to: SocketAddr, more: &str) -> Self {
        Self::at(kind, free_addr(), to, more)
    }

    /// The same on a place of the test's own.
    pub(crate) fn at(kind: Kind, listen: SocketAddr, to: SocketAddr, more: &str) -> Self {
        let sshd = gateway();
        let daemon = table(kind, &sshd, listen, to, more).up();
        Limited {
            kind,
            daemon,
            listen,
            to,
            sshd,
        }
    }

    /// Reloads with other keys for the forward.
    pub(crate) fn reload(&self, more: &str) {
        let table = table(self.kind, &self.sshd, self.listen, self.to, more);
        reload(&self.daemon, &table);
    }

    /// A client that comes from this address and has asked for the target, as its kind does.
    pub(crate) fn try_client(&self, from: IpAddr) -> io::Result<TcpStream> {
        let mut at = self.listen;
        if at.ip().is_unspecified() {
            at.set_ip(HOME);
        }
        let mut client = try_connect_from(from, at)?;
        if self.kind == Kind::Dynamic {
            ask(&mut client, self.to)?;
        }
        Ok(client)
    }

    /// A client that is let in.
    #[track_caller]
    pub(crate) fn client(&self) -> TcpStream {
        let client = self.try_client(HOME);
        client.unwrap_or_else(|e| panic!("{:?}: {e}", self.kind))
    }

    /// A client that has had an answer of an echo: it is carried.
    #[track_caller]
    pub(crate) fn carried(&self, from: IpAddr) -> TcpStream {
        let client = self.try_client(from);
        let mut client = client.unwrap_or_else(|e| panic!("{:?}: {e}", self.kind));
        exchange(&mut client, b"x");
        client
    }

    /// A client from there gets nothing but its end: a reset where we listen, what the server makes
    /// of it where it does.
    #[track_caller]
    pub(crate) fn refuses(&self, from: IpAddr) {
        let end = self
            .try_client(from)
            .and_then(|mut client| ending(&mut client));
        match (self.kind, end) {
            (Kind::Remote, Ok(0)) => {}
            (_, Err(error)) if is_reset(&error) => {}
            (kind, other) => panic!("{kind:?}: {other:?}"),
        }
    }

    /// The forward, once it is as wanted.
    #[track_caller]
    pub(crate) fn forward(&self, wanted: impl Fn(&ForwardStatus) -> bool) -> ForwardStatus {
        let status = self.daemon.wait_for("t", LONG, |t| wanted(&t.forwards[0]));
        status.forwards[0].clone()
    }
}

fn table(kind: Kind, sshd: &Sshd, listen: SocketAddr, to: SocketAddr, more: &str) -> Table {
    let table = Table::to(sshd);
    match kind {
        Kind::Local => table.forward_with(listen, to, more),
        Kind::Remote => table.remote_with(listen, to, more),
        Kind::Dynamic => table.dynamic_with(listen, more),
    }
}

/// Connects from an address of one's own choice.
pub(crate) fn try_connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))?;
    Ok(stream)
}

/// Asks to be connected to a place, by SOCKS 5.
fn ask(client: &mut TcpStream, to: SocketAddr) -> io::Result<()> {
    let request = Protocol::Socks5.request(&to.ip().to_string(), to.port());
    client.write_all(&request)?;
    let mut answer = [0; 12];
    client.read_exact(&mut answer)?;
    assert_eq!(answer[..4], [5, 0, 5, 0], "{answer:?}");
    Ok(())
}
