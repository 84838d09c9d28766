//! The file of a unix socket: how it comes to its name, and how it goes.
//!
//! A socket is bound under a temporary name and takes its own only once it is as it has to be. The
//! exchange is atomic, and undone if what it found is not what was judged before: nothing that
//! somebody else has put there in between is ever lost.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use rustix::process::Pid;
use socket2::{SockAddr, Socket};

use super::owner::Ids;

/// The longest path that a socket address holds (unix(7)), without the zero byte at its end.
pub(super) const MAX_PATH: usize = 107;
/// How many names of a folder are looked through for what a crash has left.
const MAX_NAMES: usize = 10_000;

/// Which file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::forward::listen) struct Id {
    pub(in crate::forward::listen) device: u64,
    pub(in crate::forward::listen) inode: u64,
}

/// What has the name that a socket is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Socket(Id),
    /// Anything else.
    File,
}

/// Why a socket did not get its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Something else has come there meanwhile.
    Changed,
    Os(Errno),
}

/// A folder, whatever becomes of its path.
pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> rustix::io::Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder {
            handle: rustix::fs::open(path, flags, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    /// What a name stands for; a symbolic link is a file of its own.
    pub(super) fn look(&self, name: &OsStr) -> rustix::io::Result<Found> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
                Ok(Found::Socket(id(&stat)))
            }
            Ok(_) => Ok(Found::File),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            Err(e) => Err(e),
        }
    }

    /// Whom a file belongs to that this process makes here: the group is that of the folder where
    /// its set-group-ID bit says so (inode(7)).
    pub(super) fn fresh(&self) -> rustix::io::Result<Ids> {
        let stat = rustix::fs::fstat(&self.handle)?;
        let group = match Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID) {
            true => Gid::from_raw(stat.st_gid),
            false => rustix::process::getegid(),
        };
        Ok(Ids {
            user: Some(rustix::process::geteuid()),
            group: Some(group),
        })
    }

    /// Whether nobody but us and root can put anything here.
    pub(super) fn is_closed(&self) -> rustix::io::Result<bool> {
        let stat = rustix::fs::fstat(&self.handle)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let user = rustix::process::geteuid();
        let of_us = [0, user.as_raw()].contains(&stat.st_uid);
        Ok(of_us && !mode.intersects(Mode::WGRP | Mode::WOTH))
    }

    fn remove(&self, name: &OsStr) {
        // What cannot be removed is in nobody's way but a reader's.
        let _ = rustix::fs::unlinkat(&self.handle, name, AtFlags::empty());
    }

    fn rename(&self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(&self.handle, from, &self.handle, to, flags)
    }

    /// A temporary name for a socket that is to be `name`, and the address that binds it. It says
    /// what it is for where the path then still fits into an address; where not, the address goes
    /// through our own descriptor of the folder.
    fn temporary(&self, name: &OsStr) -> (OsString, PathBuf) {
        let pid = std::process::id();
        let mut long = OsString::from(".");
        long.push(name);
        long.push(format!("{MARK}{pid}"));
        let address = self.path.join(&long);
        if address.as_os_str().len() <= MAX_PATH {
            return (long, address);
        }
        let short = OsString::from(format!("{MARK}{pid}"));
        let address = through_descriptor(self.handle.as_fd()).join(&short);
        (short, address)
    }

    /// Removes temporary names that runs have left which were killed. One of a process that lives
    /// is left alone; of our own there is never more than one, and it is not yet made.
    fn sweep(&self) {
        // A folder that cannot be read can be used nevertheless.
        let entries = std::fs::read_dir(&self.path).into_iter().flatten();
        for entry in entries.take(MAX_NAMES).flatten() {
            let name = entry.file_name();
            let is_socket = |_| matches!(self.look(&name), Ok(Found::Socket(_)));
            if made_by(&name)
                .filter(|pid| is_over(*pid))
                .is_some_and(is_socket)
            {
                self.remove(&name);
            }
        }
    }
}

/// Marks a temporary name; the id of the process that made it follows.
const MARK: &str = ".tunneld-";

/// Who made a temporary name.
fn made_by(name: &OsStr) -> Option<Pid> {
    let name = name.to_string_lossy();
    let (_, pid) = name.rsplit_once(MARK)?;
    match name.starts_with('.') {
        true => Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?),
        false => None,
    }
}

/// Whether a name may be a temporary one of a socket that is to be `name`.
pub(super) fn is_temporary(temporary: &OsStr, name: &OsStr) -> bool {
    let made_for = temporary.as_bytes().strip_prefix(b".");
    let made_for = made_for.and_then(|rest| rest.strip_prefix(name.as_bytes()));
    let mark = made_for.unwrap_or(temporary.as_bytes());
    mark.starts_with(MARK.as_bytes())
}

fn is_over(pid: Pid) -> bool {
    pid == rustix::process::getpid() || rustix::process::test_kill_process(pid) == Err(Errno::SRCH)
}

fn id(stat: &rustix::fs::Stat) -> Id {
    Id {
        device: stat.st_dev,
        inode: stat.st_ino,
    }
}

fn through_descriptor(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The file of a socket itself, whatever becomes of its name.
pub(super) struct Node {
    file: OwnedFd,
    pub(super) id: Id,
    mode: u32,
    owner: (Uid, Gid),
}

impl Node {
    /// What has the name; it has to be a socket.
    pub(super) fn open(folder: &Folder, name: &OsStr) -> rustix::io::Result<Node> {
        // Others may be able to write in this folder: what is given away below must not be what
        // somebody has put in the place of the socket, least of all a link to something.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder.handle, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(Errno::NOTSOCK);
        }
        Ok(Node {
            file,
            id: id(&stat),
            mode: stat.st_mode & 0o777,
            owner: (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)),
        })
    }

    /// Whether it has this mode already: to set that of another one's file takes CAP_FOWNER.
    pub(super) fn has_mode(&self, mode: u32) -> bool {
        self.mode == mode & 0o777
    }

    /// Whether it belongs to whom a `fresh` file that is given to `wanted` would belong.
    pub(super) fn is_of(&self, wanted: Ids, fresh: Ids) -> bool {
        let (user, group) = self.owner;
        Some(user) == wanted.user.or(fresh.user) && Some(group) == wanted.group.or(fresh.group)
    }

    pub(super) fn give(&self, to: Ids) -> rustix::io::Result<()> {
        rustix::fs::chownat(&self.file, "", to.user, to.group, AtFlags::EMPTY_PATH)
    }

    /// Sets the permission bits, whatever the umask is.
    pub(super) fn set_mode(&self, mode: u32) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o777);
        // fchmod(2) takes no descriptor that only stands for a path; this is the way round that.
        rustix::fs::chmodat(
            CWD,
            through_descriptor(self.file.as_fd()),
            mode,
            AtFlags::empty(),
        )
    }
}

/// A socket under a temporary name, which goes when this is dropped.
pub(super) struct Temporary<'a> {
    folder: &'a Folder,
    name: OsString,
    pub(super) node: Node,
    remove: bool,
}

impl<'a> Temporary<'a> {
    /// Binds a socket that is to be `name`. One at a time in this process.
    pub(super) fn bind(
        socket: &Socket,
        folder: &'a Folder,
        name: &OsStr,
    ) -> std::io::Result<Temporary<'a>> {
        folder.sweep();
        let (name, address) = folder.temporary(name);
        socket.bind(&SockAddr::unix(address)?)?;
        Ok(Temporary {
            folder,
            node: Node::open(folder, &name)?,
            name,
            remove: true,
        })
    }

    /// Takes the name, if it still stands for what was `found`: nothing, or a socket that nobody
    /// listens on.
    pub(super) fn take(mut self, name: &OsStr, found: Found) -> Result<Id, NotTaken> {
        let folder = self.folder;
        let taken = match found {
            Found::Nothing => folder.rename(&self.name, name, RenameFlags::NOREPLACE),
            Found::Socket(_) => folder.rename(&self.name, name, RenameFlags::EXCHANGE),
            Found::File => return Err(NotTaken::Changed),
        };
        match taken {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOENT) => return Err(NotTaken::Changed),
            // A file system that has no such exchange.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let handle = &folder.handle;
                rustix::fs::renameat(handle, &self.name, handle, name).map_err(NotTaken::Os)?;
            }
            Err(e) => return Err(NotTaken::Os(e)),
        }
        // The temporary name now stands for what had the name before, if anything had.
        match (folder.look(&self.name), found) {
            (Ok(Found::Nothing), _) => Ok(self.node.id),
            (Ok(now), before) if now == before => Ok(self.node.id),
            _ => {
                let back = folder.rename(&self.name, name, RenameFlags::EXCHANGE);
                self.remove = back.is_ok();
                Err(NotTaken::Changed)
            }
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.remove {
            self.folder.remove(&self.name);
        }
    }
}

/// The file of a socket that listens. It goes when this is dropped, unless its name has come to
/// stand for another file.
pub(in crate::forward::listen) struct SocketFile {
    folder: Folder,
    name: OsString,
    id: Id,
    stays: bool,
}

impl SocketFile {
    pub(super) fn new(folder: Folder, name: OsString, id: Id) -> SocketFile {
        SocketFile {
            folder,
            name,
            id,
            stays: false,
        }
    }

    /// Which file it is.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Where clients look for it.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// Leaves it where it is, for the next process.
    pub(in crate::forward::listen) fn leave(mut self) {
        self.stays = true;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.stays && self.folder.look(&self.name) == Ok(Found::Socket(self.id)) {
            self.folder.remove(&self.name);
        }
    }
}
