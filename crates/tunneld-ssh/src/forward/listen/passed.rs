//! Sockets that the service manager passed (sd_listen_fds(3)).
//!
//! They are kept while the process lives, and a forward listens on copies: one that a reload takes
//! away and another gives back finds its socket again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{TcpListener, UnixListener};
use tunneld_core::config::Listen;
use tunneld_core::failure::{Failure, Stage};

use super::store::{self, Store};
use super::{Keeping, Listener, Socket, tcp, unix};
use crate::error::os_reason;

/// Sockets that the service manager passed: those of `.socket` units, by name, and those that it has
/// kept of an earlier run.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    named: Arc<BTreeMap<String, Vec<OwnedFd>>>,
    store: Store,
}

/// Sockets that were passed to this process, each with its name.
#[derive(Debug, Default)]
pub struct Taken(Vec<(String, OwnedFd)>);

impl Taken {
    /// Takes them, once: asked again, there is nothing more. Only for the start of the process,
    /// before it opens descriptors of its own, which a wrong number would take for passed ones.
    ///
    /// # Errors
    ///
    /// The variables are wrong, or not all of the descriptors are there.
    pub fn from_env() -> io::Result<Taken> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Taken::default());
        }
        // This finds out whether all of them are there, and keeps them from the processes that we
        // start (FD_CLOEXEC), but does not own them.
        let names: Vec<String> = sd_notify::listen_fds_with_names()?
            .map(|(_, name)| name)
            .collect();
        // This owns them, in the same order, but does neither.
        let sockets = match names.is_empty() {
            true => Vec::new(),
            false => sd_listen_fds::get().map_err(io::Error::other)?,
        };
        let sockets = sockets.into_iter().map(|(_, socket)| socket.into_std());
        Ok(Taken(names.into_iter().zip(sockets).collect()))
    }

    /// The folders of unix sockets that were kept of an earlier run: the files of those that nothing
    /// listens on any more are removed there.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let names = self.0.iter().map(|(name, _)| name);
        names.filter_map(|name| store::folder(name)).collect()
    }
}

impl Passed {
    /// The variables by which sockets are passed. They are nothing to the processes that we start.
    pub const VARIABLES: [&str; 4] = [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
    ];

    /// What was passed to this process, `taken` at its start.
    ///
    /// Of what was kept of an earlier run, only sockets for one of `listens` are used, or for the
    /// daemon's own port (`metrics_listen`); the others are closed, and kept no more. The future
    /// removes their files, as long as that takes.
    pub fn of<'a>(
        taken: Taken,
        listens: impl IntoIterator<Item = &'a Listen>,
        metrics: Option<SocketAddr>,
    ) -> (Passed, impl Future<Output = ()> + Send + 'static) {
        let (kept, named): (Vec<_>, Vec<_>) = taken
            .0
            .into_iter()
            .partition(|(name, _)| store::is_ours(name));
        let places: Vec<_> = listens.into_iter().flat_map(places).collect();
        let places = [places, metrics.map(tcp::own_place).into_iter().collect()].concat();
        let others = named.iter().map(|(name, _)| name.as_str());
        let (store, files) = Store::of_process(kept, &places, others);
        let passed = Passed {
            store,
            ..Passed::new(named)
        };
        (passed, unix::remove_left(files))
    }

    fn new(sockets: impl IntoIterator<Item = (String, OwnedFd)>) -> Passed {
        let mut named: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
        for (name, socket) in sockets {
            named.entry(name).or_default().push(socket);
        }
        Passed {
            named: Arc::new(named),
            store: Store::default(),
        }
    }

    /// The process ends: sockets that the service manager keeps stay open for the next from now on,
    /// whatever becomes of their forwards.
    pub fn leave(&self) {
        self.store.end();
    }

    /// Does that, too, if what holds this is dropped by a panic: first of all, so that what is kept
    /// outlives a crash of the daemon's own.
    pub fn leave_on_panic(&self) -> LeaveOnPanic {
        LeaveOnPanic(self.clone())
    }

    /// No forward will take what was kept for this place: clients are refused there, and do not wait
    /// for nobody.
    pub(in crate::forward) async fn let_go(&self, listen: &Listen) {
        unix::remove_left(self.store.let_go(&places(listen))).await;
    }

    /// The sockets that the service manager keeps.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// No socket of a `.socket` unit, and this store.
    #[cfg(test)]
    pub(super) fn with_store(store: Store) -> Passed {
        Passed {
            store,
            ..Passed::default()
        }
    }

    /// What they are called, each name once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Listens on all sockets of a name.
    pub(super) fn listeners(&self, name: &str) -> Result<Vec<Socket>, Failure> {
        let sockets = self.named.get(name).ok_or_else(|| none(name))?;
        let listeners = sockets.iter().map(|socket| {
            Ok(Socket {
                listener: listener(name, socket)?,
                // A `.socket` unit keeps them itself.
                keeping: Keeping::NOT,
            })
        });
        listeners.collect()
    }
}

/// See [`Passed::leave_on_panic`].
#[derive(Debug)]
pub struct LeaveOnPanic(Passed);

impl Drop for LeaveOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.leave();
        }
    }
}

/// Where sockets of an earlier run would have to listen to be of use.
fn places(listen: &Listen) -> Vec<store::Place> {
    match listen {
        Listen::Tcp(place) => tcp::places(place),
        Listen::Unix(place) => vec![store::Place::Unix(place.path.clone())],
        Listen::Fd(_) => Vec::new(),
    }
}

fn listener(name: &str, socket: &OwnedFd) -> Result<Listener, Failure> {
    let no = |e: io::Error| failure(name, &os_reason(&e));
    let family = kind(name, socket)?;
    let copy = socket.try_clone().map_err(no)?;
    match family {
        AddressFamily::UNIX => {
            let listener = StdUnixListener::from(copy);
            listener.set_nonblocking(true).map_err(no)?;
            let listener = UnixListener::from_std(listener).map_err(no)?;
            Ok(Listener::Unix(Arc::new(listener)))
        }
        _ => {
            let listener = StdTcpListener::from(copy);
            listener.set_nonblocking(true).map_err(no)?;
            let listener = TcpListener::from_std(listener).map_err(no)?;
            Ok(Listener::Tcp(Arc::new(listener)))
        }
    }
}

/// The family of a socket that a forward can use.
pub(super) fn kind(name: &str, socket: &OwnedFd) -> Result<AddressFamily, Failure> {
    let no = |e: rustix::io::Errno| match e {
        rustix::io::Errno::NOTSOCK => failure(name, "what was passed is not a socket"),
        e => failure(name, &os_reason(&e.into())),
    };
    let stream = failure(name, "the socket that was passed is not a stream socket")
        .with_hint("a forward takes ListenStream= in the .socket unit");
    let listening = failure(name, "the socket that was passed does not listen")
        .with_hint("a forward takes ListenStream= with Accept=no in the .socket unit");
    let family = sockopt::socket_domain(socket).map_err(no)?;
    if sockopt::socket_type(socket).map_err(no)? != SocketType::STREAM {
        return Err(stream);
    }
    if !sockopt::socket_acceptconn(socket).map_err(no)? {
        return Err(listening);
    }
    match family {
        AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX => Ok(family),
        _ => Err(failure(
            name,
            "the socket that was passed is neither TCP nor a unix socket",
        )),
    }
}

fn none(name: &str) -> Failure {
    let cause = format!("no socket named {name} was passed by the service manager");
    Failure::transient(Stage::Forward, cause).with_hint(format!(
        "the .socket unit says FileDescriptorName={name} and Service= (or Sockets= in the service names \
         that unit), and is started while the service is stopped"
    ))
}

fn failure(name: &str, reason: &str) -> Failure {
    let cause = format!("cannot listen on fd:{name}: {reason}");
    Failure::transient(Stage::Forward, cause)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::process::{Command, Stdio};

    use tokio::net::{TcpStream, UnixStream};
    use tunneld_core::config::Listen;

    use super::super::Listeners;
    use super::*;
    use crate::forward::Peer;

    fn passed(sockets: impl IntoIterator<Item = impl Into<OwnedFd>>) -> Passed {
        Passed::new(sockets.into_iter().map(|s| ("web".to_owned(), s.into())))
    }

    async fn bind(passed: &Passed, name: &str) -> Result<Listeners, Failure> {
        Listeners::bind(&Listen::Fd(name.to_owned()), passed).await
    }

    async fn refusal(passed: &Passed) -> String {
        bind(passed, "web").await.err().unwrap().cause
    }

    #[tokio::test]
    async fn all_sockets_of_a_name_are_listened_on() {
        let one = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let two = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let mut listeners = bind(&passed([one, two]), "web").await.unwrap();
        for address in addresses {
            let client = TcpStream::connect(address).await.unwrap();
            let (_, peer) = listeners.accept().await.unwrap();
            assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn a_socket_is_there_again_after_its_forward_has_gone_and_its_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let passed = passed([StdUnixListener::bind(&path).unwrap()]);
        drop(bind(&passed, "web").await.unwrap());
        let mut listeners = bind(&passed, "web").await.unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        let (_, peer) = listeners.accept().await.unwrap();
        assert_eq!(peer, Peer::Unix);
    }

    #[tokio::test]
    async fn a_name_that_was_not_passed_comes_with_where_names_are_given() {
        let failure = bind(&Passed::default(), "web").await.err().unwrap();
        assert_eq!(
            failure.cause,
            "no socket named web was passed by the service manager"
        );
        let hint = failure.hint.unwrap();
        assert!(hint.contains("FileDescriptorName=web"), "{hint}");
        assert!(hint.contains("Sockets="), "{hint}");
    }

    #[tokio::test]
    async fn what_cannot_be_accepted_on_is_refused_as_what_it_is() {
        let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(
            refusal(&passed([datagrams])).await,
            "cannot listen on fd:web: the socket that was passed is not a stream socket"
        );
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(
            refusal(&passed([connected])).await,
            "cannot listen on fd:web: the socket that was passed does not listen"
        );
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(
            refusal(&passed([file])).await,
            "cannot listen on fd:web: what was passed is not a socket"
        );
    }

    /// Says to the test below what came over the environment, if anything did.
    fn say_what_was_passed() {
        let (passed, _) = Passed::of(Taken::from_env().unwrap(), [], None);
        let again = Taken::from_env().unwrap().0.len();
        let sockets = passed
            .named
            .get("web")
            .map(Vec::as_slice)
            .unwrap_or_default();
        for socket in sockets {
            let kept = rustix::io::fcntl_getfd(socket).unwrap();
            let ours = StdTcpListener::from(socket.try_clone().unwrap());
            let names: Vec<&str> = passed.names().collect();
            let address = ours.local_addr().unwrap();
            println!("\nHEARD {address} {names:?} {kept:?} {again}");
        }
    }

    #[test]
    fn what_systemd_passes_is_found_by_name_once_and_kept_from_children() {
        let me = std::process::id().to_string();
        if std::env::var("LISTEN_PID").is_ok_and(|pid| pid == me) {
            return say_what_was_passed();
        }
        let socket = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let this = "what_systemd_passes_is_found_by_name_once_and_kept_from_children";
        let script = r#"LISTEN_PID=$$ exec "$0" "$1" --nocapture 3<&0 4</dev/null"#;
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(this)
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "web:other")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .output()
            .unwrap();
        let heard = BufReader::new(&*output.stdout)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("HEARD"));
        let expected = format!(r#"HEARD {address} ["other", "web"] FdFlags(CLOEXEC) 0"#);
        assert_eq!(heard, Some(expected), "{output:?}");
    }
}
