//! One server, one tunnel, and a forward of every kind.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{TcpServer, free_addr};
use tunneld_lab::unix::UnixServer;

use crate::asking::Protocol;
use crate::gateway::gateway;
use crate::places::{Folder, Place};
use crate::support::{LONG, Table, text};

/// One way to a target.
pub(crate) struct Way {
    name: String,
    pub(crate) listen: Place,
    /// Where a client has to ask to be connected to, if it has to.
    asks: Option<SocketAddr>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Way {
    /// A client that is connected to the target, as far as it can tell.
    pub(crate) fn connect(&self) -> TcpStream {
        let mut client = self.listen.connect();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.set_write_timeout(Some(LONG)).unwrap();
        if let Some(to) = self.asks {
            let request = Protocol::Socks5.request(&to.ip().to_string(), to.port());
            client.write_all(&request).unwrap();
            assert_eq!(Protocol::Socks5.answer(&mut client), 0);
        }
        client
    }
}

/// The ways that there are: local and remote forwards over ports and socket files in every mixture,
/// and those that ask.
pub(crate) struct EveryKind {
    pub(crate) ways: Vec<Way>,
    pub(crate) daemon: Daemon,
    pub(crate) sshd: Sshd,
    pub(crate) tcp: TcpServer,
    pub(crate) unix: UnixServer,
    _folder: Folder,
}

impl EveryKind {
    /// With a target that does this with each connection; what only TCP has does nothing on a
    /// socket file.
    pub(crate) fn to(handle: impl Fn(TcpStream) + Clone + Send + Sync + 'static) -> Self {
        let (sshd, folder) = (gateway(), Folder::new());
        let tcp = TcpServer::start_anywhere(handle.clone());
        let unix = UnixServer::start(&folder.at("target"), move |stream| {
            handle(TcpStream::from(OwnedFd::from(stream)));
        });
        let (mut ways, mut table) = (Vec::new(), Table::to(&sshd));
        for key in ["local_forward", "remote_forward"] {
            for from in ["port", "file"] {
                for to in ["port", "file"] {
                    let name = format!("{key} {from} to {to}");
                    let listen = match from {
                        "port" => Place::Tcp(free_addr()),
                        _ => folder.socket(&format!("{key}-{to}")),
                    };
                    let target = match to {
                        "port" => Place::Tcp(tcp.addr()),
                        _ => Place::Unix(unix.path().to_owned()),
                    };
                    table = match key {
                        "local_forward" => table.forward(&listen, target),
                        _ => table.remote(&listen, target),
                    };
                    let asks = None;
                    ways.push(Way { name, listen, asks });
                }
            }
        }
        for (key, name) in [
            ("dynamic_forward", "dynamic_forward"),
            ("remote_forward", "remote_forward that asks"),
        ] {
            let listen = free_addr();
            table = table.raw(key, text(listen));
            ways.push(Way {
                name: name.to_owned(),
                listen: Place::Tcp(listen),
                asks: Some(tcp.addr()),
            });
        }
        EveryKind {
            ways,
            daemon: table.up(),
            sshd,
            tcp,
            unix,
            _folder: folder,
        }
    }
}
