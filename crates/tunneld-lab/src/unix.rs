//! What tunnels lead to and from over unix sockets.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use socket2::SockRef;

use crate::target::{TIMEOUT, read_some};

/// Connects, with [`TIMEOUT`] on every read and write. What comes back is a descriptor: what
/// clients do with a TCP connection works on it, except for what only TCP has.
pub fn try_connect(path: &Path) -> io::Result<TcpStream> {
    let stream = TcpStream::from(OwnedFd::from(UnixStream::connect(path)?));
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// As [`try_connect`], where it has to succeed.
pub fn connect(path: &Path) -> TcpStream {
    try_connect(path).unwrap_or_else(|e| panic!("cannot connect to {}: {e}", path.display()))
}

/// A server on a unix socket with a thread for each connection. Dropped, it stops listening, shuts
/// its connections down, and leaves its file where it is, as a process does that ends.
pub struct UnixServer {
    path: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    accepted: AtomicU64,
    open: Mutex<HashMap<u64, UnixStream>>,
}

impl UnixServer {
    /// Listens on `path`, where nothing may be, and gives each connection to `handle`.
    pub fn start(path: &Path, handle: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path)
            .unwrap_or_else(|e| panic!("cannot listen on {}: {e}", path.display()));
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
        UnixServer {
            path: path.to_owned(),
            listener,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Sends back what it receives; closes its side when the client has closed its own.
    pub fn echo(path: &Path) -> Self {
        Self::start(path, |mut stream| {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = read_some(&mut stream, &mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
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
    stream: UnixStream,
    shared: &Arc<Shared>,
    handle: Arc<impl Fn(UnixStream) + Send + Sync + 'static>,
) {
    let id = shared.accepted.fetch_add(1, Ordering::SeqCst);
    if let Ok(copy) = stream.try_clone() {
        shared.open.lock().unwrap().insert(id, copy);
    }
    let shared = shared.clone();
    std::thread::spawn(move || {
        handle(stream);
        // The copy in the list holds the socket open, so this is what closes it.
        shared.open.lock().unwrap().remove(&id);
    });
}

impl Drop for UnixServer {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{half_close_on, pattern};

    #[test]
    fn an_echo_on_a_unix_socket_sends_back_what_it_gets_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo.sock");
        let echo = UnixServer::echo(&path);
        let bytes = pattern(300_000, 1);
        assert!(half_close_on(connect(&path), &bytes).unwrap() == bytes);
        assert_eq!(echo.accepted(), 1);
        drop(echo);
        let error = try_connect(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
