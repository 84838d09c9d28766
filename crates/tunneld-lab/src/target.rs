//! What tunnels lead to: small TCP servers, clients, and addresses that nobody else uses.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

pub use crate::pattern::{Digest, Pattern, pattern, read_some};

/// How long a client of this module waits for anything, unless it is told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A loopback address that no other caller of this function has, in this process or in one beside
/// it. Outgoing connections leave from 127.0.0.1, so none of them takes a port of it either.
pub fn free_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Neighbouring process ids get ranges of their own; a wrap-around still has the port between.
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let n = std::process::id().wrapping_mul(1021).wrapping_add(nth) % (254 * 256 * 250);
    let byte = |n: u32| u8::try_from(n).unwrap();
    Ipv4Addr::new(
        127,
        byte(1 + n / (254 * 256)),
        byte(n / 254 % 256),
        byte(1 + n % 254),
    )
}

/// A port of `ip` that nobody listens on.
pub fn free_port(ip: IpAddr) -> u16 {
    let bound = bind_only((ip, 0).into()).unwrap_or_else(|e| panic!("cannot use {ip}: {e}"));
    bound.port()
}

/// Whether nobody listens on `addr`, and it could be listened on. A listener that was dropped is there
/// a moment longer where a child is started meanwhile: that has it until it is another program.
pub fn is_free(addr: SocketAddr) -> bool {
    bind_only(addr).is_ok()
}

/// Binds without listening: a copy of that in a child keeps nobody from listening there.
fn bind_only(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    let bound = socket.local_addr()?.as_socket();
    bound.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A port that nobody listens on at any address of this machine, outside of the range that the
/// kernel takes outgoing ports from: for a listener on 127.0.0.1 or on every address.
pub fn free_low_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The same neighbours as in `free_ip`, in a range of 20000 ports.
    let start = std::process::id().wrapping_mul(1021);
    let free = |port: &u16| is_free((Ipv6Addr::UNSPECIFIED, *port).into());
    let candidates = std::iter::repeat_with(|| {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        u16::try_from(10_000 + start.wrapping_add(nth) % 20_000).unwrap()
    });
    let found = candidates.take(20_000).find(free);
    found.expect("every port of this machine is in use")
}

/// A loopback address and port that nobody listens on.
pub fn free_addr() -> SocketAddr {
    let ip = IpAddr::V4(free_ip());
    SocketAddr::new(ip, free_port(ip))
}

/// Connects, with [`TIMEOUT`] on connecting and on every read and write.
pub fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap_or_else(|e| panic!("cannot connect to {addr}: {e}"))
}

/// As [`connect`], with the error.
pub fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Reads exactly `len` bytes; `timeout` is for each read.
pub fn read_exact(stream: &mut TcpStream, len: usize, timeout: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout))?;
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads to the end; `timeout` is for each read.
pub fn read_all(stream: &mut TcpStream, timeout: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sends `bytes`, closes this side only, and reads what comes back until the other side closes.
pub fn half_close_exchange(addr: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    half_close_on(try_connect(addr)?, bytes)
}

/// As [`half_close_exchange`], on a connection that is there.
pub fn half_close_on(mut stream: TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(move || {
            writer.write_all(bytes)?;
            writer.shutdown(Shutdown::Write)
        });
        let received = read_all(&mut stream, TIMEOUT);
        sent.join().unwrap()?;
        received
    })
}

/// Whether one line comes back through `addr` from an [`EchoServer`].
pub fn echoes(addr: SocketAddr) -> io::Result<()> {
    let mut stream = try_connect(addr)?;
    stream.write_all(b"echo?\n")?;
    match read_exact(&mut stream, 6, TIMEOUT)?.as_slice() {
        b"echo?\n" => Ok(()),
        other => Err(io::Error::other(format!("not an echo: {other:?}"))),
    }
}

/// Whether the other side reset the connection rather than closing it.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    // A lingering time of zero is how the interface spells "reset".
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// A TCP server with a thread for each connection. Dropped, it stops listening and shuts its
/// connections down.
pub struct TcpServer {
    addr: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    accepted: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl TcpServer {
    /// Listens on `addr` (port 0 takes a free one) and gives each connection to `handle`.
    pub fn start(addr: SocketAddr, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind(addr).unwrap_or_else(|e| panic!("cannot listen on {addr}: {e}"));
        // The 128 of the standard library are too few for a thousand clients at once: the kernel
        // falls back to SYN cookies then, and resets connections that their clients take for open.
        rustix::net::listen(&listener, 4096).unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = listener.try_clone().unwrap();
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        let handle = Arc::new(handle);
        let accepting = std::thread::spawn(move || {
            for stream in accepting.incoming() {
                if theirs.stopping.load(Ordering::SeqCst) {
                    return;
                }
                match stream {
                    Ok(stream) => serve(stream, &theirs, handle.clone()),
                    // Too many open files, most likely: do not spin on it.
                    Err(_) => std::thread::sleep(crate::process::POLL),
                }
            }
        });
        TcpServer {
            addr,
            listener,
            shared,
            accepting: Some(accepting),
        }
    }

    /// As [`TcpServer::start`] on a loopback address of its own.
    pub fn start_anywhere(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start(SocketAddr::new(IpAddr::V4(free_ip()), 0), handle)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections it has now.
    pub fn open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }
}

fn serve(
    stream: TcpStream,
    shared: &Arc<Shared>,
    handle: Arc<impl Fn(TcpStream) + Send + Sync + 'static>,
) {
    let id = shared.accepted.fetch_add(1, Ordering::SeqCst);
    let _ = stream.set_nodelay(true);
    if let Ok(copy) = stream.try_clone() {
        shared.open.lock().unwrap().insert(id, copy);
    }
    let shared = shared.clone();
    std::thread::spawn(move || {
        let copy = Registered { id, shared };
        handle(stream);
        drop(copy);
    });
}

/// Takes a connection out of the list of open ones, also when its thread panics. The copy in the
/// list holds the socket open, so this is also what closes it.
struct Registered {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Ok(mut open) = self.shared.open.lock() {
            open.remove(&self.id);
        }
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // What makes a blocked accept(2) return on Linux.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        if let Ok(open) = self.shared.open.lock() {
            for stream in open.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

macro_rules! server_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(TcpServer);

        impl std::ops::Deref for $name {
            type Target = TcpServer;
            fn deref(&self) -> &TcpServer {
                &self.0
            }
        }
    };
}

server_type!(
    /// Sends back what it receives; closes its side when the client has closed its own.
    EchoServer
);

impl EchoServer {
    /// On a loopback address of its own.
    pub fn start() -> Self {
        Self::start_on(SocketAddr::new(IpAddr::V4(free_ip()), 0))
    }

    /// On `addr`.
    pub fn start_on(addr: SocketAddr) -> Self {
        EchoServer(TcpServer::start(addr, Self::serve))
    }

    /// What it does with a connection.
    pub fn serve(mut stream: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = read_some(&mut stream, &mut buffer) {
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
    }
}

server_type!(
    /// Says nothing until the client has closed its side, then sends everything back and closes:
    /// it works only where half-close is carried.
    AfterEof
);

impl AfterEof {
    /// On a loopback address of its own.
    pub fn start() -> Self {
        AfterEof(TcpServer::start_anywhere(|mut stream| {
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).is_ok() {
                let _ = stream.write_all(&bytes);
            }
        }))
    }
}

server_type!(
    /// Sends a [`Pattern`] to each client and closes.
    Source
);

impl Source {
    /// `len` bytes of the pattern of `seed`, on a loopback address of its own.
    pub fn start(len: u64, seed: u64) -> Self {
        Source(TcpServer::start_anywhere(move |mut stream| {
            let mut pattern = Pattern::new(len, seed);
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = pattern.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        }))
    }
}

server_type!(
    /// Accepts, then neither reads nor writes: the reader that stands still.
    Silent
);

impl Silent {
    /// On a loopback address of its own.
    pub fn start() -> Self {
        Silent(TcpServer::start_anywhere(|stream| {
            // Waits for the end of the connection without reading a byte: `peek` stays at the
            // first byte, and an error or the end comes with the shutdown on drop.
            let mut byte = [0];
            while matches!(stream.peek(&mut byte), Ok(1)) {
                std::thread::sleep(crate::process::POLL);
            }
        }))
    }
}

server_type!(
    /// Reads one byte, then resets the connection.
    Resetter
);

impl Resetter {
    /// On a loopback address of its own.
    pub fn start() -> Self {
        Resetter(TcpServer::start_anywhere(|mut stream| {
            let _ = stream.read_exact(&mut [0]);
            reset(stream);
        }))
    }
}

/// Hashes what it receives, and says so when a client has closed.
pub struct Sink {
    server: TcpServer,
    done: Mutex<mpsc::Receiver<(u64, u64)>>,
}

impl Sink {
    /// On a loopback address of its own.
    pub fn start() -> Self {
        let (sender, done) = mpsc::channel();
        let server = TcpServer::start_anywhere(move |stream| {
            let _ = sender.send(Digest::of(&stream));
        });
        Sink {
            server,
            done: Mutex::new(done),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The length and hash ([`Digest`]) of the next connection that ends.
    pub fn next(&self, timeout: Duration) -> Option<(u64, u64)> {
        self.done.lock().unwrap().recv_timeout(timeout).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_refuse() {
        let (one, two) = (free_addr(), free_addr());
        assert_ne!(one.ip(), two.ip());
        let error = try_connect(one).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_servers_do_what_their_names_say() {
        let bytes = pattern(300_000, 1);
        assert!(half_close_exchange(EchoServer::start().addr(), &bytes).unwrap() == bytes);
        assert!(half_close_exchange(AfterEof::start().addr(), &bytes).unwrap() == bytes);
        echoes(EchoServer::start().addr()).unwrap();

        let source = Source::start(70_001, 3);
        let mut client = connect(source.addr());
        assert!(read_all(&mut client, TIMEOUT).unwrap() == pattern(70_001, 3));
        assert_eq!(source.accepted(), 1);

        let sink = Sink::start();
        connect(sink.addr()).write_all(&bytes).unwrap();
        assert_eq!(sink.next(TIMEOUT), Some(Digest::of(bytes.as_slice())));

        let resetter = Resetter::start();
        let mut client = connect(resetter.addr());
        client.write_all(b"xy").unwrap();
        assert!(is_reset(&read_all(&mut client, TIMEOUT).unwrap_err()));
    }

    #[test]
    fn a_dropped_server_refuses_and_ends_its_connections() {
        let echo = EchoServer::start();
        let addr = echo.addr();
        let mut client = connect(addr);
        client.write_all(b"x").unwrap();
        read_exact(&mut client, 1, TIMEOUT).unwrap();
        drop(echo);
        assert!(read_all(&mut client, TIMEOUT).unwrap().is_empty());
        assert!(try_connect(addr).is_err());
    }
}
