use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tunneld_core::config::{Listen, ListenHost, SocketOwner, TcpListen, UnixListen};
use tunneld_lab::notify::{Notification, NotifySocket};

use super::super::{LeaveOnPanic, Listeners, Passed};
use super::*;
use crate::forward::Peer;

const LONG: Duration = Duration::from_secs(20);

/// A service manager, and a folder for what else is needed.
struct Rig {
    folder: TempDir,
    notify: NotifySocket,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notify = NotifySocket::bind(&folder.path().join("notify"));
        Rig { folder, notify }
    }

    fn manager(&self) -> Manager {
        Manager::at(self.notify.path().as_os_str().as_bytes()).unwrap()
    }

    /// The start of a process, to which these were passed and whose file listens at `wanted`.
    fn start(&self, kept: Vec<(String, OwnedFd)>, wanted: &[Place]) -> Passed {
        let (store, _) = Store::new(Some(Arc::new(self.manager())), kept, wanted);
        Passed::with_store(store)
    }

    fn socket(&self) -> UnixListen {
        UnixListen {
            path: self.folder.path().join("db.sock"),
            mode: 0o600,
            owner: None,
        }
    }

    /// Waits until the service manager was told this of a socket.
    fn told(&self, what: &str, name: &str) {
        let name = format!("FDNAME={name}");
        let wanted = |told: &Notification| told.has(what) && told.has(&name);
        let told = self.notify.wait_until(0, LONG, wanted);
        assert!(told.is_some(), "{what} {name} {:?}", self.notify.messages());
    }

    /// Whether it was told to let go of anything, up to now.
    fn told_to_forget(&self) -> bool {
        let mark = self.notify.mark();
        self.manager().send(&forget("the last")).unwrap();
        self.notify.wait_from(mark, "FDNAME=the last", LONG);
        let all = self.notify.messages();
        let forgotten = |told: &&Notification| told.has("FDSTOREREMOVE=1");
        let mut forgotten = all.iter().filter(forgotten);
        forgotten.any(|told| !told.has("FDNAME=the last"))
    }
}

/// Listens on a port that nobody else has, which a test beside this one may take first.
async fn on_a_free_port(passed: &Passed) -> (Listeners, SocketAddr) {
    loop {
        let (free, address) = port();
        drop(free);
        match Listeners::bind(&listen(address), passed).await {
            Ok(listeners) => return (listeners, address),
            Err(e) => assert!(e.cause.contains("already in use"), "{e}"),
        }
    }
}

fn port() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn exactly(address: SocketAddr) -> Place {
    Place::Tcp {
        address,
        only_v6: address.is_ipv6(),
    }
}

fn listen(address: SocketAddr) -> Listen {
    Listen::Tcp(TcpListen {
        host: ListenHost::Ip(address.ip()),
        port: address.port(),
    })
}

/// The copy that a service manager has.
fn copies(listeners: &Listeners) -> Vec<OwnedFd> {
    let sockets = listeners.sockets.iter();
    let copies = sockets.map(|socket| socket.listener.as_fd().try_clone_to_owned().unwrap());
    copies.collect()
}

fn id(path: &Path) -> Id {
    let file = fs::metadata(path).unwrap();
    Id {
        device: file.dev(),
        inode: file.ino(),
    }
}

fn is_refused(e: &io::Error) -> bool {
    e.kind() == ErrorKind::ConnectionRefused
}

#[tokio::test]
async fn a_port_is_kept_from_when_it_is_made_until_its_forward_goes() {
    // Then it refuses clients at once, and another forward has it at once, copy or not.
    let rig = Rig::new();
    let passed = rig.start(Vec::new(), &[]);
    let (listeners, address) = on_a_free_port(&passed).await;
    let name = name::tcp(address).unwrap();
    rig.told("FDSTORE=1", &name);
    let _copies = copies(&listeners);
    TcpStream::connect(address).unwrap();
    drop(listeners);
    rig.told("FDSTOREREMOVE=1", &name);
    assert!(is_refused(&TcpStream::connect(address).unwrap_err()));
    Listeners::bind(&listen(address), &passed).await.unwrap();
}

#[tokio::test]
async fn when_the_process_ends_ports_and_files_stay_as_they_are() {
    // A client that comes meanwhile is the first of the next process.
    let rig = Rig::new();
    let place = rig.socket();
    let passed = rig.start(Vec::new(), &[]);
    let (tcp, address) = on_a_free_port(&passed).await;
    let unix = Listen::Unix(place.clone());
    let file = Listeners::bind(&unix, &passed).await.unwrap();
    let copies = copies(&tcp).into_iter().chain(copies(&file));
    passed.leave();
    drop((tcp, file));
    assert!(!rig.told_to_forget());

    let clients = (
        TcpStream::connect(address).unwrap(),
        UnixStream::connect(&place.path).unwrap(),
    );
    let names = [
        name::tcp(address).unwrap(),
        name::unix(&place.path, id(&place.path)).unwrap(),
    ];
    for name in &names {
        rig.told("FDSTORE=1", name);
    }
    let wanted = [exactly(address), Place::Unix(place.path.clone())];
    let kept = names.into_iter().zip(copies).collect();
    let passed = rig.start(kept, &wanted);
    let mut tcp = Listeners::bind(&listen(address), &passed).await.unwrap();
    let (_, peer) = tcp.accept().await.unwrap();
    assert_eq!(peer, Peer::Tcp(clients.0.local_addr().unwrap()));
    let before = id(&place.path);
    let mut file = Listeners::bind(&unix, &passed).await.unwrap();
    file.accept().await.unwrap();
    assert_eq!(id(&place.path), before);
    assert!(!rig.told_to_forget());
    drop(file);
    assert!(!place.path.exists());
}

#[tokio::test]
async fn a_file_of_an_earlier_run_gets_the_mode_that_is_wanted_now() {
    let rig = Rig::new();
    let mut place = rig.socket();
    let socket = UnixListener::bind(&place.path).unwrap();
    place.mode = 0o640;
    let name = name::unix(&place.path, id(&place.path)).unwrap();
    let wanted = [Place::Unix(place.path.clone())];
    let passed = rig.start(vec![(name, socket.into())], &wanted);
    let _client = UnixStream::connect(&place.path).unwrap();
    let unix = Listen::Unix(place.clone());
    let mut file = Listeners::bind(&unix, &passed).await.unwrap();
    file.accept().await.unwrap();
    let mode = fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_by_now_gets_a_new_socket() {
    // To nothing, or to a socket that somebody dead has left.
    let rig = Rig::new();
    for replaced in [false, true] {
        let place = rig.socket();
        let socket = UnixListener::bind(&place.path).unwrap();
        let name = name::unix(&place.path, id(&place.path)).unwrap();
        let copy = socket.try_clone().unwrap();
        fs::remove_file(&place.path).unwrap();
        if replaced {
            drop(UnixListener::bind(&place.path).unwrap());
        }
        let wanted = [Place::Unix(place.path.clone())];
        let passed = rig.start(vec![(name.clone(), socket.into())], &wanted);
        let unix = Listen::Unix(place.clone());
        let mut file = Listeners::bind(&unix, &passed).await.unwrap();
        rig.told("FDSTOREREMOVE=1", &name);
        let _client = UnixStream::connect(&place.path).unwrap();
        file.accept().await.unwrap();
        drop(copy);
    }
}

#[tokio::test]
async fn what_no_forward_can_use_is_let_go_and_refuses_clients_at_once() {
    let rig = Rig::new();
    let (used, address) = port();
    let (unused, nobody) = port();
    let (future, later) = port();
    let (misnamed, other) = port();
    let client = TcpStream::connect(address).unwrap();
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let file = fs::File::open("/dev/null").unwrap();
    // Copies, as a service manager has them.
    let copies = [&unused, &future, &misnamed].map(|socket| socket.try_clone().unwrap());
    let socket: OwnedFd = used.into();
    let kept: [(&str, OwnedFd); 7] = [
        ("tunneld-store-1-tcp-used", socket),
        ("tunneld-store-1-tcp-unused", unused.into()),
        ("tunneld-store-2-tcp-future", future.into()),
        ("tunneld-store-1-unix-1-2-/misnamed", misnamed.into()),
        ("tunneld-store-1-tcp-client", client.into()),
        ("tunneld-store-1-tcp-udp", datagrams.into()),
        ("tunneld-store-1-tcp-file", file.into()),
    ];
    let kept = kept.map(|(name, socket)| (name.to_owned(), socket));
    let names = kept.each_ref().map(|(name, _)| name.clone());
    let passed = rig.start(kept.into(), &[exactly(address)]);
    for name in &names[1..] {
        rig.told("FDSTOREREMOVE=1", name);
    }
    for address in [nobody, later, other] {
        assert!(is_refused(&TcpStream::connect(address).unwrap_err()));
    }
    let _listeners = Listeners::bind(&listen(address), &passed).await.unwrap();
    TcpStream::connect(address).unwrap();
    let messages = rig.notify.messages();
    let used = format!("FDNAME={}", names[0]);
    assert!(!messages.iter().any(|told| told.has(&used)));
    drop(copies);
}

#[tokio::test]
async fn a_port_for_both_families_is_not_one_for_ipv6_alone() {
    // What `metrics_listen` on [::] was is nothing for a forward, and the other way round.
    let rig = Rig::new();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let socket = TcpListener::bind(any).expect("this test needs IPv6");
    let address = socket.local_addr().unwrap();
    let both = Place::Tcp {
        address,
        only_v6: false,
    };
    let name = name::tcp(address).unwrap();
    let start = |wanted: Place| {
        let copy = socket.try_clone().unwrap().into();
        let passed = rig.start(vec![(name.clone(), copy)], std::slice::from_ref(&wanted));
        passed.store().take(&wanted).is_some()
    };
    assert!(start(both));
    assert!(!start(exactly(address)));
}

#[tokio::test]
async fn the_file_of_a_forward_that_is_gone_is_named_for_removal() {
    let rig = Rig::new();
    let place = rig.socket();
    let socket = UnixListener::bind(&place.path).unwrap();
    let file = id(&place.path);
    let name = name::unix(&place.path, file).unwrap();
    let manager = Arc::new(rig.manager());
    let (_, files) = Store::new(Some(manager), [(name, socket.into())], &[]);
    assert_eq!(files, [(place.path.clone(), file)]);
    super::super::unix::remove_left(files).await;
    assert!(!place.path.exists());
}

#[tokio::test]
async fn a_service_manager_that_is_gone_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody");
    let manager = Manager::at(nobody.as_os_str().as_bytes()).unwrap();
    let (store, _) = Store::new(Some(Arc::new(manager)), [], &[]);
    let passed = Passed::with_store(store);
    let place = UnixListen {
        path: folder.path().join("db.sock"),
        mode: 0o600,
        owner: None,
    };
    let unix = Listen::Unix(place.clone());
    let mut file = Listeners::bind(&unix, &passed).await.unwrap();
    let _client = UnixStream::connect(&place.path).unwrap();
    file.accept().await.unwrap();
    passed.leave();
    drop(file);
    assert!(!place.path.exists());
}

/// A socket file of an earlier run, as the service manager passes it.
fn left(place: &UnixListen) -> (Vec<(String, OwnedFd)>, Id) {
    let socket = UnixListener::bind(&place.path).unwrap();
    let mode = fs::Permissions::from_mode(place.mode);
    fs::set_permissions(&place.path, mode).unwrap();
    let file = id(&place.path);
    let name = name::unix(&place.path, file).unwrap();
    (vec![(name, socket.into())], file)
}

/// Two groups that this process may give files to; `None` for the second of a user with one.
fn groups() -> (u32, Option<u32>) {
    let own = rustix::process::getegid().as_raw();
    let further = rustix::process::getgroups().unwrap();
    let further = further.into_iter().map(|group| group.as_raw());
    let root = rustix::process::geteuid().is_root();
    let other = further.into_iter().find(|group| *group != own);
    (own, other.or(root.then_some(54321)))
}

#[tokio::test]
async fn a_file_that_was_given_to_others_is_made_anew_where_they_are_not_named_any_more() {
    // Also where another owner still is: what is not named belongs to us.
    let rig = Rig::new();
    let (own, other) = groups();
    let other = other.expect("this test needs root, or a user with two groups");
    let me = rustix::process::geteuid().as_raw();
    for owner in [None, Some(me)] {
        let mut place = rig.socket();
        place.mode = 0o660;
        place.owner = owner.map(|user| SocketOwner {
            user: Some(user.to_string()),
            group: None,
        });
        let (kept, before) = left(&place);
        chown(&place.path, None, Some(other)).unwrap();
        let passed = rig.start(kept, &[Place::Unix(place.path.clone())]);
        let unix = Listen::Unix(place.clone());
        let _file = Listeners::bind(&unix, &passed).await.unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().gid(), own);
        assert_ne!(id(&place.path), before);
    }
}

#[tokio::test]
async fn a_file_in_a_folder_that_gives_its_group_is_kept() {
    // The set-group-ID bit of the folder: a new file would have that group, too.
    let rig = Rig::new();
    let (_, other) = groups();
    let other = other.expect("this test needs root, or a user with two groups");
    chown(rig.folder.path(), None, Some(other)).unwrap();
    fs::set_permissions(rig.folder.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    let place = rig.socket();
    let (kept, before) = left(&place);
    assert_eq!(fs::metadata(&place.path).unwrap().gid(), other);
    let passed = rig.start(kept, &[Place::Unix(place.path.clone())]);
    let unix = Listen::Unix(place.clone());
    let _file = Listeners::bind(&unix, &passed).await.unwrap();
    assert_eq!(id(&place.path), before);
}

#[tokio::test]
async fn what_its_forward_will_not_take_refuses_clients_and_its_file_goes() {
    // As long as the process does not end: then it is for the next.
    let rig = Rig::new();
    let place = rig.socket();
    let (unix, wanted) = (
        Listen::Unix(place.clone()),
        [Place::Unix(place.path.clone())],
    );
    let (kept, _) = left(&place);
    let name = kept[0].0.clone();
    let copies = [&kept[0].1].map(|socket| socket.try_clone().unwrap());
    let passed = rig.start(kept, &wanted);
    let ending = rig.start(
        vec![(name.clone(), copies[0].try_clone().unwrap())],
        &wanted,
    );
    ending.leave();
    ending.let_go(&unix).await;
    drop(ending);
    assert!(!rig.told_to_forget());
    UnixStream::connect(&place.path).unwrap();

    passed.let_go(&unix).await;
    rig.told("FDSTOREREMOVE=1", &name);
    assert!(!place.path.exists());
    drop(copies);
}

#[tokio::test]
async fn a_panic_leaves_what_is_kept_to_the_next_process() {
    struct Crashes {
        _leaves: LeaveOnPanic,
        listeners: Listeners,
    }
    let rig = Rig::new();
    let passed = rig.start(Vec::new(), &[]);
    let (listeners, address) = on_a_free_port(&passed).await;
    let copies = copies(&listeners);
    let crashes = Crashes {
        _leaves: passed.leave_on_panic(),
        listeners,
    };
    let crash = std::panic::AssertUnwindSafe(move || {
        let crashes = crashes;
        assert!(crashes.listeners.sockets.is_empty(), "a crash");
    });
    assert!(std::panic::catch_unwind(crash).is_err());
    assert!(!rig.told_to_forget());
    TcpStream::connect(address).unwrap();
    drop(copies);
}

#[tokio::test]
async fn names_never_take_more_than_the_next_process_can_be_given() {
    // What passes names on is one string of at most 128 KiB. Beyond, a socket is not kept, and
    // listens all the same; what goes makes room.
    const SYSTEM: usize = 128 << 10;
    let rig = Rig::new();
    let passed = rig.start(Vec::new(), &[]);
    let store = passed.store();
    let socket = Arc::new(port().0);
    let name = |at: u32| Some(format!("{at:0>255}"));
    let mut kept = Vec::new();
    loop {
        let at = u32::try_from(kept.len()).unwrap();
        let one = store.keep(name(at), &socket).await;
        match one.is_kept() {
            true => kept.push(one),
            false => break,
        }
        assert!(kept.len() * 256 < SYSTEM, "{}", kept.len());
    }
    assert_eq!(kept.len(), NAMES / 256);
    let (_listeners, address) = on_a_free_port(&passed).await;
    TcpStream::connect(address).unwrap();
    drop(kept.pop());
    assert!(store.keep(name(0), &socket).await.is_kept());
}

#[tokio::test]
async fn a_service_manager_that_is_busy_keeps_sockets_once_it_has_room() {
    // Clients are accepted meanwhile.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let busy = UnixDatagram::bind(&path).unwrap();
    let manager = Manager::at(path.as_os_str().as_bytes()).unwrap();
    while manager.send("WATCHDOG=1\n").is_ok() {}
    let (store, _) = Store::new(Some(Arc::new(manager)), [], &[]);
    let passed = Passed::with_store(store);
    let (mut listeners, address) = on_a_free_port(&passed).await;
    assert!(!listeners.sockets[0].keeping.is_kept());
    let _client = TcpStream::connect(address).unwrap();
    listeners.accept().await.unwrap();

    busy.set_nonblocking(true).unwrap();
    let stored = format!("FDSTORE=1\nFDNAME={}\n", name::tcp(address).unwrap());
    let reads = async {
        let mut message = [0; 512];
        loop {
            match busy.recv(&mut message) {
                Ok(length) if message[..length] == *stored.as_bytes() => return,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::select! {
        accepted = listeners.accept() => panic!("a second client: {:?}", accepted.is_ok()),
        read = tokio::time::timeout(LONG, reads) => read.unwrap(),
    }
    passed.leave();
    assert!(listeners.sockets[0].stays());
}

#[tokio::test]
async fn names_of_an_earlier_run_and_of_others_count() {
    let rig = Rig::new();
    let (used, address) = port();
    let name = name::tcp(address).unwrap();
    let manager = Some(Arc::new(rig.manager()));
    let (store, _) = Store::new(manager, [(name.clone(), used.into())], &[exactly(address)]);
    assert_eq!(store.0.names.load(Ordering::Relaxed), name.len() + 1);
    drop(store.take(&exactly(address)));
    assert_eq!(store.0.names.load(Ordering::Relaxed), 0);
    let (store, _) = Store::of_process([], &[], ["web.socket", "web.socket"]);
    assert_eq!(store.0.names.load(Ordering::Relaxed), 22);
}
