use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::net::UnixStream;
use tunneld_core::config::{Listen, SocketOwner};
use tunneld_core::failure::Class;

use super::super::{Listeners, Passed};
use super::*;
use crate::forward::Peer;

/// A folder, and the place of a socket in it.
fn place() -> (TempDir, UnixListen) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    (folder, at(path))
}

fn at(path: PathBuf) -> UnixListen {
    UnixListen {
        path,
        mode: 0o600,
        owner: None,
    }
}

async fn listeners(place: &UnixListen) -> Result<Listeners, Failure> {
    Listeners::bind(&Listen::Unix(place.clone()), &Passed::default()).await
}

async fn refusal(place: &UnixListen) -> Failure {
    listeners(place).await.err().unwrap()
}

/// What is in a folder.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A socket as a killed process leaves it: nobody has it open.
fn leave(path: &Path) {
    drop(StdListener::bind(path).unwrap());
}

#[tokio::test]
async fn a_client_is_accepted_and_the_file_goes_with_its_listener() {
    let (folder, place) = place();
    let mut listening = once_free(&place).await;
    let _client = UnixStream::connect(&place.path).await.unwrap();
    let (_, peer) = listening.accept().await.unwrap();
    assert_eq!(peer, Peer::Unix);
    assert_eq!(names(&folder), ["web.sock"]);
    drop(listening);
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn the_mode_is_the_one_of_the_file_whatever_the_umask_is() {
    for mode in [0o666, 0o600, 0o070] {
        let (_folder, mut place) = place();
        place.mode = mode;
        let _listening = once_free(&place).await;
        let metadata = fs::metadata(&place.path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
    }
}

#[tokio::test]
async fn a_socket_is_given_to_whom_the_file_says() {
    let (_folder, mut place) = place();
    let root = rustix::process::getuid().is_root();
    let me = fs::metadata("/proc/self").unwrap();
    // Only root can give something away.
    let (user, group) = match root {
        true => (12345, 54321),
        false => (me.uid(), me.gid()),
    };
    place.owner = Some(SocketOwner {
        user: Some(user.to_string()),
        group: Some(group.to_string()),
    });
    let _listening = once_free(&place).await;
    let metadata = fs::metadata(&place.path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (user, group));
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_for_a_person_to_mend() {
    let (folder, mut place) = place();
    place.owner = Some(SocketOwner {
        user: None,
        group: Some("no-such-group".to_owned()),
    });
    let failure = refusal(&place).await;
    let path = place.path.display();
    assert_eq!(
        failure.cause,
        format!("cannot listen on {path}: no such group: no-such-group")
    );
    assert_eq!(failure.class, Class::Blocked);
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn a_socket_that_a_dead_process_has_left_is_replaced() {
    let (folder, place) = place();
    leave(&place.path);
    let mut listening = once_free(&place).await;
    let _client = UnixStream::connect(&place.path).await.unwrap();
    assert_eq!(listening.accept().await.unwrap().1, Peer::Unix);
    assert_eq!(names(&folder), ["web.sock"]);
}

#[tokio::test]
async fn a_socket_that_somebody_listens_on_is_left_alone_and_its_holder_named() {
    let (folder, place) = place();
    let held = StdListener::bind(&place.path).unwrap();
    let failure = refusal(&place).await;
    let path = place.path.display();
    let pid = std::process::id();
    let cause = &failure.cause;
    let start = format!("cannot listen on {path}: something listens there already: ");
    assert!(cause.starts_with(&start), "{cause}");
    assert!(cause.ends_with(&format!(" (pid {pid})")), "{cause}");
    assert_eq!(failure.class, Class::Transient);
    assert_eq!(names(&folder), ["web.sock"]);
    let _client = StdStream::connect(&place.path).unwrap();
    held.accept().unwrap();
}

#[tokio::test]
async fn a_socket_that_is_too_busy_or_of_another_kind_is_live_too() {
    let (_folder, place) = place();
    let held = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    held.bind(&SockAddr::unix(&place.path).unwrap()).unwrap();
    held.listen(0).unwrap();
    let _waiting = StdStream::connect(&place.path).unwrap();
    let path = place.path.display();
    let busy = format!("cannot listen on {path}: something listens there already");
    assert_eq!(refusal(&place).await.cause, busy);

    fs::remove_file(&place.path).unwrap();
    let _datagrams = UnixDatagram::bind(&place.path).unwrap();
    assert_eq!(refusal(&place).await.cause, busy);
}

#[tokio::test]
async fn what_is_not_a_socket_is_never_touched() {
    let (folder, place) = place();
    let expected = format!(
        "cannot listen on {}: the file there is not a socket",
        place.path.display()
    );
    fs::write(&place.path, "precious").unwrap();
    assert_eq!(refusal(&place).await.cause, expected);
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");

    fs::remove_file(&place.path).unwrap();
    let stale = folder.path().join("stale.sock");
    leave(&stale);
    symlink(&stale, &place.path).unwrap();
    assert_eq!(refusal(&place).await.cause, expected);
    assert_eq!(fs::read_link(&place.path).unwrap(), stale);
}

/// Listens as soon as nobody does: a process that another test starts has a copy of every socket
/// until it has become its own program.
async fn once_free(place: &UnixListen) -> Listeners {
    let free = async {
        loop {
            match listeners(place).await {
                Ok(listening) => return listening,
                Err(e) => assert!(e.cause.contains("something listens there already"), "{e}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free)
        .await
        .unwrap()
}

#[tokio::test]
async fn clients_of_a_socket_that_is_replaced_never_find_nothing() {
    let (_folder, place) = place();
    leave(&place.path);
    let stop = Arc::new(AtomicBool::new(false));
    let (path, ended) = (place.path.clone(), Arc::clone(&stop));
    let clients = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            if let Err(e) = StdStream::connect(&path) {
                assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
            }
        }
    });
    for _ in 0..100 {
        let mut listening = once_free(&place).await;
        // It ends as a kill would end it.
        if let Some(file) = listening.file.take() {
            std::mem::forget(file);
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(clients.join().is_ok());
}

#[tokio::test]
async fn a_file_that_has_come_in_our_place_outlives_us() {
    let (_folder, place) = place();
    let listening = once_free(&place).await;
    fs::remove_file(&place.path).unwrap();
    let _other = StdListener::bind(&place.path).unwrap();
    drop(listening);
    assert!(StdStream::connect(&place.path).is_ok());
}

#[tokio::test]
async fn it_is_noticed_that_the_file_is_gone_or_that_of_another_and_nothing_else_is() {
    let (folder, _) = place();
    let period = Duration::from_millis(1);
    let home = folder.path().join("home");
    let socket = at(home.join("web.sock"));
    let removed = |_: &Path| fs::remove_file(&socket.path).unwrap();
    let replaced = |path: &Path| {
        leave(&path.with_extension("new"));
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let moved = |_: &Path| fs::rename(&home, folder.path().join("away")).unwrap();
    let file = |path: &Path| {
        moved(path);
        fs::write(&home, "").unwrap();
    };
    for happens in [&removed as &dyn Fn(&Path), &replaced, &moved, &file] {
        fs::remove_dir_all(folder.path().join("away")).ok();
        fs::create_dir_all(&home).unwrap();
        let listening = once_free(&socket).await;
        let file = listening.file.as_ref().unwrap();
        let mut gone = std::pin::pin!(gone(file, Duration::ZERO, period));
        let patience = period * 30;
        assert!(tokio::time::timeout(patience, gone.as_mut()).await.is_err());
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(tokio::time::timeout(patience, gone.as_mut()).await.is_err());
        happens(&socket.path);
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, gone).await.unwrap();
    }
}

#[tokio::test]
async fn two_of_us_never_hold_one_place() {
    let (_folder, place) = place();
    let mut first = once_free(&place).await;
    let second = refusal(&place).await;
    let said = "something listens there already";
    assert!(second.cause.contains(said), "{}", second.cause);
    // The look at who is there is a client like any other, that says nothing.
    first.accept().await.unwrap();
    drop(first);
    assert!(listeners(&place).await.is_ok());
}

/// A socket that is ready to take `name`.
fn ready<'a>(socket: &Socket, folder: &'a Folder, name: &Path) -> Temporary<'a> {
    let temporary = Temporary::bind(socket, folder, name.as_os_str()).unwrap();
    socket.listen(1).unwrap();
    temporary
}

fn socket() -> Socket {
    Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()
}

#[test]
fn what_comes_to_the_place_between_the_look_and_the_deed_is_not_replaced() {
    let (folder, place) = place();
    let name = Path::new("web.sock");
    let here = Folder::open(folder.path()).unwrap();

    let socket_of_ours = socket();
    let temporary = ready(&socket_of_ours, &here, name);
    let live = StdListener::bind(&place.path).unwrap();
    let taken = temporary.take(name.as_os_str(), Found::Nothing);
    assert_eq!(taken, Err(NotTaken::Changed));
    assert_eq!(names(&folder), ["web.sock"]);
    drop(StdStream::connect(&place.path).unwrap());
    live.accept().unwrap();

    // What was judged is another socket than what is there when the place is taken.
    leave(&folder.path().join("judged.sock"));
    let judged = here.look("judged.sock".as_ref()).unwrap();
    let socket_of_ours = socket();
    let temporary = ready(&socket_of_ours, &here, name);
    let taken = temporary.take(name.as_os_str(), judged);
    assert_eq!(taken, Err(NotTaken::Changed));
    assert_eq!(names(&folder), ["judged.sock", "web.sock"]);
    drop(StdStream::connect(&place.path).unwrap());
    live.accept().unwrap();
}

#[tokio::test]
async fn temporary_names_of_the_dead_are_swept_and_nothing_else() {
    let (folder, place) = place();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let me = std::process::id();
    // The mother of all processes lives, whatever namespace this is.
    let living = 1;
    for name in [
        format!(".web.sock.tunneld-{dead}"),
        format!(".other.sock.tunneld-{dead}"),
        format!(".tunneld-{dead}"),
        format!(".web.sock.tunneld-{me}"),
        format!(".web.sock.tunneld-{living}"),
        format!("web.sock.tunneld-{dead}"),
        ".web.sock.tunneld-".to_owned(),
        ".web.sock.tunneld--1".to_owned(),
    ] {
        leave(&folder.path().join(name));
    }
    let file = format!(".file.tunneld-{dead}");
    fs::write(folder.path().join(&file), "precious").unwrap();
    let _listening = once_free(&place).await;
    let mut left = vec![
        file,
        ".web.sock.tunneld-".to_owned(),
        ".web.sock.tunneld--1".to_owned(),
        format!(".web.sock.tunneld-{living}"),
        "web.sock".to_owned(),
        format!("web.sock.tunneld-{dead}"),
    ];
    left.sort();
    assert_eq!(names(&folder), left);
}

#[tokio::test]
async fn a_path_may_be_as_long_as_an_address_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let room = MAX_PATH - folder.path().as_os_str().len() - 2;
    // Once in a long name, once in a long folder.
    let deep = folder.path().join("d".repeat(room - 1));
    fs::create_dir(&deep).unwrap();
    for path in [folder.path().join("n".repeat(room + 1)), deep.join("n")] {
        assert_eq!(path.as_os_str().len(), MAX_PATH);
        let mut listening = listeners(&at(path.clone())).await.unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        listening.accept().await.unwrap();
        drop(listening);
        assert!(!path.exists());
    }
    let too_long = refusal(&at(deep.join("nn"))).await;
    let said = "the path is longer than 107 bytes";
    assert!(too_long.cause.ends_with(said), "{}", too_long.cause);
    assert_eq!(too_long.class, Class::Blocked);
}

#[tokio::test]
async fn a_folder_that_is_missing_or_none_is_named() {
    let (folder, _) = place();
    let missing = folder.path().join("missing");
    let failure = refusal(&at(missing.join("web.sock"))).await;
    assert_eq!(
        failure.cause,
        format!(
            "cannot listen on {0}/web.sock: no such folder: {0}",
            missing.display()
        )
    );
    assert!(failure.hint.unwrap().contains("RuntimeDirectory="));

    fs::write(&missing, "").unwrap();
    let failure = refusal(&at(missing.join("web.sock"))).await;
    let said = format!("{} is not a folder", missing.display());
    assert!(failure.cause.ends_with(&said), "{}", failure.cause);
}

#[test]
fn what_a_folder_forbids_comes_with_what_allows_it() {
    let (folder, place) = place();
    let hint = |errno: Errno| {
        let failure = not_made(&place, folder.path(), &errno.into());
        (failure.cause, failure.hint.unwrap())
    };
    let shown = folder.path().display();
    let (cause, allow) = hint(Errno::ACCESS);
    assert!(cause.ends_with(": permission denied"), "{cause}");
    assert_eq!(
        allow,
        format!("tunneld's user has to be able to write in {shown}")
    );
    let (_, allow) = hint(Errno::ROFS);
    assert!(
        allow.contains(&format!("ReadWritePaths={shown}")),
        "{allow}"
    );
    let allow = not_given(&place, Errno::PERM).hint.unwrap();
    assert!(allow.contains("CAP_CHOWN"), "{allow}");
}

#[test]
fn a_socket_that_nobody_waits_for_any_more_does_not_take_its_name() {
    let (folder, place) = place();
    assert!(make(&place, Ids::default(), &Weak::new(), &Store::default()).is_err());
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn what_never_comes_back_holds_its_place_and_nobody_up() {
    static PLACES: Semaphore = Semaphore::const_new(1);
    let patience = Duration::from_millis(20);
    let (go, hang) = std::sync::mpsc::channel::<()>();
    let hanging = aside(&PLACES, patience, move || hang.recv().is_err());
    assert_eq!(hanging.await, None);
    // It holds the only place still: the next one does not even begin.
    let (begun, beginning) = std::sync::mpsc::channel();
    let next = aside(&PLACES, patience, move || begun.send(()));
    assert_eq!(next.await, None);
    assert!(beginning.recv().is_err());
    drop(go);
    assert_eq!(aside(&PLACES, PATIENCE, || true).await, Some(true));
}
