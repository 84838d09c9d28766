//! Unix sockets (unix(7)): one that a dead process has left is replaced, a live one never.

mod file;
mod owner;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tunneld_core::config::UnixListen;
use tunneld_core::failure::{Failure, Stage};

use file::{Folder, Found, MAX_PATH, Node, NotTaken, Temporary};
pub(super) use file::{Id, SocketFile};
use owner::{Ids, NoIds};

use super::store::{Kept, LeftFiles, Place, Store};
use super::{BACKLOG, Listener, called};
use crate::error::os_reason;
use crate::sandbox::hint_of_place;

/// How long the system may take, for an owner and for the socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lookups that never come back hold a thread each: no more than these.
static LOOKUPS: Semaphore = Semaphore::const_new(4);
/// Sockets are made one at a time: of a process there is one temporary name.
static MAKING: Semaphore = Semaphore::const_new(1);
/// As lookups: looks at a file system that hangs.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// Puts a unix socket in place.
pub(super) async fn bind(
    place: &UnixListen,
    store: &Store,
) -> Result<(super::Socket, SocketFile), Failure> {
    let ids = ids(place).await?;
    // While somebody waits for the socket: one that comes too late must not take its name.
    let waiting = Arc::new(());
    let (wanted, of, kept) = (Arc::downgrade(&waiting), place.clone(), store.clone());
    let made = aside(&MAKING, PATIENCE, move || make(&of, ids, &wanted, &kept)).await;
    let slow = || {
        let after = PATIENCE.as_secs();
        failure(place, &format!("the file system took more than {after}s"))
    };
    let (socket, file, kept) = made.unwrap_or_else(|| Err(slow()))?;
    let listener = UnixListener::from_std(socket.into());
    let listener = listener.map_err(|e| failure(place, &os_reason(&e)))?;
    let listener = Arc::new(listener);
    let keeping = match kept {
        Some(kept) => Some(kept).into(),
        None => store.keep_unix(&place.path, file.id(), &listener).await,
    };
    let listener = Listener::Unix(listener);
    Ok((super::Socket { listener, keeping }, file))
}

/// Removes the files of sockets of an earlier run that are let go; waits at most for [`PATIENCE`].
pub(super) async fn remove_left(files: LeftFiles) {
    if files.is_empty() {
        return;
    }
    let _ = aside(&MAKING, PATIENCE, move || {
        for (path, id) in files {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
                && let Ok(folder) = Folder::open(parent)
            {
                drop(SocketFile::new(folder, name.to_owned(), id));
            }
        }
    })
    .await;
}

/// Returns once the path of a socket does not lead to its file any more: nobody finds it there. First
/// looked at `after` so long, and then once in a `period`. What cannot be seen may be as it was.
pub(super) fn gone(
    file: &SocketFile,
    after: Duration,
    period: Duration,
) -> impl Future<Output = ()> + Send + use<> {
    let (path, id) = (file.path(), file.id());
    async move {
        tokio::time::sleep(after).await;
        loop {
            let path = path.clone();
            let looked = aside(&LOOKS, PATIENCE, move || leads_to(&path, id)).await;
            if looked == Some(false) {
                return;
            }
            tokio::time::sleep(period).await;
        }
    }
}

fn leads_to(path: &Path, id: Id) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    match Folder::open(parent).and_then(|folder| folder.look(name)) {
        Ok(found) => found == Found::Socket(id),
        Err(e) => !matches!(e, Errno::NOENT | Errno::NOTDIR),
    }
}

/// Whom the socket is to be given to.
async fn ids(place: &UnixListen) -> Result<Ids, Failure> {
    let Some(owner) = place.owner.clone() else {
        return Ok(Ids::default());
    };
    let found = aside(&LOOKUPS, PATIENCE, move || owner::find(&owner)).await;
    let slow = || {
        let after = PATIENCE.as_secs();
        NoIds::Unanswered(format!("the lookup of its owner took more than {after}s"))
    };
    found.unwrap_or_else(|| Err(slow())).map_err(|no| match no {
        NoIds::Unknown(reason) => Failure::blocked(Stage::Forward, cause(place, &reason))
            .with_hint("`socket_owner` takes users and groups of this machine, by name or number"),
        NoIds::Unanswered(reason) => failure(place, &reason),
    })
}

/// Does what may block on a thread of its own; `None` if it takes too long.
async fn aside<T: Send + 'static>(
    places: &'static Semaphore,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let done = async {
        let place = places.acquire().await.ok()?;
        let work = move || {
            let done = work();
            drop(place);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    };
    tokio::time::timeout(patience, done).await.ok().flatten()
}

/// A socket that listens, with its file, and whether the service manager keeps it.
type Made = (Socket, SocketFile, Option<Kept>);

fn make(place: &UnixListen, ids: Ids, wanted: &Weak<()>, store: &Store) -> Result<Made, Failure> {
    let path = &place.path;
    if path.as_os_str().len() > MAX_PATH {
        let reason = format!("the path is longer than {MAX_PATH} bytes");
        return Err(Failure::blocked(Stage::Forward, cause(place, &reason))
            .with_hint("no client could name it: choose a shorter path"));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failure(place, "the path names no file"));
    };
    let folder = Folder::open(parent).map_err(|e| no_folder(place, parent, e))?;
    let folder = match again(place, ids, store, folder, name) {
        Ok(made) => return Ok(made),
        Err(folder) => folder,
    };
    let found = judge(place, folder.look(name))?;
    let no = |e: io::Error| not_made(place, parent, &e);
    let socket =
        Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(no)?;
    let temporary = Temporary::bind(&socket, &folder, name).map_err(no)?;
    // Nobody gets in before the owner and the mode are right: it does not listen yet. The mode first:
    // that of another one's file takes CAP_FOWNER.
    temporary
        .node
        .set_mode(place.mode)
        .map_err(|e| no(e.into()))?;
    if ids != Ids::default() {
        temporary.node.give(ids).map_err(|e| not_given(place, e))?;
    }
    socket.listen(BACKLOG).map_err(no)?;
    if wanted.strong_count() == 0 {
        return Err(failure(place, "nobody waits for it any more"));
    }
    match temporary.take(name, found) {
        Ok(id) => {
            let name = name.to_owned();
            Ok((socket, SocketFile::new(folder, name, id), None))
        }
        Err(NotTaken::Changed) => Err(failure(place, "something else was just put there")),
        Err(NotTaken::Os(e)) => Err(no(e.into())),
    }
}

/// The socket of an earlier run that is still there, as the file now wants it; or else its folder.
fn again(
    place: &UnixListen,
    ids: Ids,
    store: &Store,
    folder: Folder,
    name: &OsStr,
) -> Result<Made, Folder> {
    let Some(kept) = store.take(&Place::Unix(place.path.clone())) else {
        return Err(folder);
    };
    let set = || {
        let node = Node::open(&folder, name)?;
        if Some(node.id) != kept.file {
            return Err(Errno::STALE);
        }
        // Another owner takes another file: this one listens already, and whom it was given to could
        // get in meanwhile.
        if !node.is_of(ids, folder.fresh()?) {
            return Err(Errno::PERM);
        }
        if !node.has_mode(place.mode) {
            node.set_mode(place.mode)?;
        }
        rustix::io::ioctl_fionbio(&kept.socket, true)?;
        rustix::net::listen(&kept.socket, BACKLOG)?;
        Ok(node.id)
    };
    match set() {
        Ok(id) => {
            let file = SocketFile::new(folder, name.to_owned(), id);
            Ok((Socket::from(kept.socket), file, Some(kept.kept)))
        }
        Err(Errno::STALE | Errno::NOENT) => {
            kept.let_go("its path does not lead to it any more");
            Err(folder)
        }
        Err(e) => {
            kept.let_go(&os_reason(&e.into()));
            Err(folder)
        }
    }
}

/// What may be replaced: nothing, or a socket that nobody listens on.
fn judge(place: &UnixListen, found: rustix::io::Result<Found>) -> Result<Found, Failure> {
    let found = found.map_err(|e| failure(place, &os_reason(&e.into())))?;
    match found {
        Found::Nothing => Ok(found),
        Found::File => Err(failure(place, "the file there is not a socket")
            .with_hint("move it away, or choose another path")),
        Found::Socket(_) => match listens(&place.path) {
            Ok(None) => Ok(found),
            Ok(Some(holder)) => Err(failure(
                place,
                &format!("something listens there already{holder}"),
            )),
            Err(e) => {
                let reason = os_reason(&e);
                let reason = format!("cannot tell whether something listens there: {reason}");
                Err(failure(place, &reason).with_hint("remove it if nothing does"))
            }
        },
    }
}

/// Whether something listens on a socket, and what, as far as the system lets us see.
fn listens(path: &Path) -> io::Result<Option<String>> {
    // Connecting to a unix socket takes no time: there is no other side to wait for.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let Err(e) = socket.connect(&SockAddr::unix(path)?) else {
        // Whoever called listen(2) (unix(7), SO_PEERCRED); 0 from where its processes are not seen.
        let by = UnixStream::from_std(socket.into()).and_then(|socket| socket.peer_cred());
        let pid = by.ok().and_then(|by| by.pid()).filter(|pid| *pid > 0);
        return Ok(Some(
            pid.map(|pid| format!(": {}", called(pid)))
                .unwrap_or_default(),
        ));
    };
    match e.raw_os_error().map(Errno::from_raw_os_error) {
        // It has gone; or nobody has it open.
        Some(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
        // Its backlog is full; or it takes datagrams.
        Some(Errno::AGAIN | Errno::PROTOTYPE) => Ok(Some(String::new())),
        _ => Err(e),
    }
}

fn cause(place: &UnixListen, reason: &str) -> String {
    format!("cannot listen on {}: {reason}", place.path.display())
}

fn failure(place: &UnixListen, reason: &str) -> Failure {
    Failure::transient(Stage::Forward, cause(place, reason))
}

fn no_folder(place: &UnixListen, folder: &Path, e: Errno) -> Failure {
    let shown = folder.display();
    match e {
        Errno::NOENT => failure(place, &format!("no such folder: {shown}")).with_hint(format!(
            "create {shown}; below /run, RuntimeDirectory= in the unit does it at each start"
        )),
        Errno::NOTDIR => failure(place, &format!("{shown} is not a folder")),
        e => failure(place, &os_reason(&e.into())),
    }
}

fn not_made(place: &UnixListen, folder: &Path, e: &io::Error) -> Failure {
    let failure = failure(place, &os_reason(e));
    let folder = folder.display();
    match e.kind() {
        io::ErrorKind::PermissionDenied => failure.with_hint(hint_of_place(&format!(
            "tunneld's user has to be able to write in {folder}"
        ))),
        io::ErrorKind::ReadOnlyFilesystem => failure.with_hint(format!(
            "in the unit, ReadWritePaths={folder} lets tunneld write there"
        )),
        _ => failure,
    }
}

fn not_given(place: &UnixListen, e: Errno) -> Failure {
    let owner = place.owner.as_ref().map(ToString::to_string);
    let owner = owner.unwrap_or_default();
    let reason = os_reason(&e.into());
    let failure = failure(place, &format!("cannot give it to {owner}: {reason}"));
    match e {
        Errno::PERM => failure.with_hint(
            "another user takes CAP_CHOWN, another group one that tunneld is in; and the unit has to allow @chown (SystemCallFilter=)",
        ),
        _ => failure,
    }
}

#[cfg(test)]
mod tests;
