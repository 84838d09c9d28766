//! Ports and socket files alike: where forwards listen, and what they lead to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tunneld_lab::target::{self, EchoServer, half_close_on, pattern};
use tunneld_lab::unix::{self, UnixServer};

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(addr) => addr.fmt(f),
            Place::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    pub(crate) fn try_connect(&self) -> io::Result<TcpStream> {
        match self {
            Place::Tcp(addr) => target::try_connect(*addr),
            Place::Unix(path) => unix::try_connect(path),
        }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let connected = self.try_connect();
        connected.unwrap_or_else(|e| panic!("cannot connect to {self}: {e}"))
    }

    /// Whether every byte comes back from an echo behind it, both ends of file included.
    #[track_caller]
    pub(crate) fn carries(&self, len: usize, seed: u64) {
        let bytes = pattern(len, seed);
        let back = half_close_on(self.connect(), &bytes);
        let back = back.unwrap_or_else(|e| panic!("{self}: {e}"));
        assert!(back == bytes, "other bytes came back through {self}");
    }
}

/// A folder for socket files. Dropped, it is gone.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir();
        Folder(dir.unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A socket file that is not there.
    pub(crate) fn socket(&self, name: &str) -> Place {
        Place::Unix(self.at(name))
    }
}

/// An echo on either.
pub(crate) enum Echo {
    Tcp(EchoServer),
    Unix(UnixServer),
}

impl Echo {
    pub(crate) fn on_tcp() -> Self {
        Echo::Tcp(EchoServer::start())
    }

    pub(crate) fn on_unix(path: &Path) -> Self {
        Echo::Unix(UnixServer::echo(path))
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Echo::Tcp(echo) => Place::Tcp(echo.addr()),
            Echo::Unix(echo) => Place::Unix(echo.path().to_owned()),
        }
    }

    /// How many connections it has now.
    pub(crate) fn open(&self) -> usize {
        match self {
            Echo::Tcp(echo) => echo.open(),
            Echo::Unix(echo) => echo.open(),
        }
    }
}
