//! Whether a socket is live: what somebody listens on is never replaced.
//!
//! A client is the proof, and the system says who answers it. Where we may not be one, as of a socket
//! that an earlier run has given to another user, the system's list of sockets has to do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use super::super::called;
use super::file::{Folder, Found, Id, Node, is_temporary};
use super::owner::Ids;

/// The unix sockets of our network namespace (proc_pid_net(5)).
const TABLE: &str = "/proc/self/net/unix";
/// What is read of them, some 80,000 sockets.
const MAX_TABLE: u64 = 8 << 20;
/// What stands before the path of a socket: Num, RefCount, Protocol, Flags, Type, St, Inode.
const COLUMNS: usize = 7;
/// St of one that is a connection: it does not hold the path.
const CONNECTED: &[u8] = b"03";

/// Whether something listens on a socket, and what, as far as the system lets us see.
pub(super) fn listens(path: &Path) -> io::Result<Option<String>> {
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

/// Whether a socket that we may not connect to is one that an earlier run has given away, and nothing
/// has it open. The list does not know the sockets of other network namespaces: only we can have put
/// this one there, and whom it belongs to is whom we would give it to.
pub(super) fn is_left(folder: &Folder, name: &OsStr, socket: Id, ids: Ids) -> bool {
    let ours = || {
        let node = Node::open(folder, name)?;
        let given = node.id == socket && node.is_of(ids, folder.fresh()?);
        rustix::io::Result::Ok(given && folder.is_closed()?)
    };
    let free = || {
        let table = BufReader::new(File::open(TABLE)?);
        is_free(table, name, socket)
    };
    ours().unwrap_or(false) && free().unwrap_or(false)
}

/// Whether no socket in the list can be the one of a file.
fn is_free(table: impl BufRead, name: &OsStr, socket: Id) -> io::Result<bool> {
    let mut table = table.take(MAX_TABLE);
    let mut line = Vec::new();
    // The first line says what the columns are.
    table.read_until(b'\n', &mut line)?;
    loop {
        line.clear();
        if table.read_until(b'\n', &mut line)? == 0 {
            // There may be more.
            return Ok(table.limit() > 0);
        }
        if line.pop_if(|end| *end == b'\n').is_none() || may_be(&line, name, socket) {
            return Ok(false);
        }
    }
}

/// Whether a line of the list may be the socket of a file. What is not seen clearly may.
fn may_be(line: &[u8], name: &OsStr, socket: Id) -> bool {
    let mut rest = line;
    let mut state: &[u8] = b"";
    for at in 0..COLUMNS {
        let text = rest.trim_ascii_start();
        let end = text.iter().position(|byte| *byte == b' ');
        let (column, after) = text.split_at(end.unwrap_or(text.len()));
        let digits = column.strip_suffix(b":").unwrap_or(column);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            // A path with a line break in it.
            return true;
        }
        if at == COLUMNS - 2 {
            state = column;
        }
        rest = after;
    }
    // One without a path.
    let Some(path) = rest.strip_prefix(b" ").filter(|path| !path.is_empty()) else {
        return false;
    };
    state != CONNECTED && leads_to(Path::new(OsStr::from_bytes(path)), name, socket)
}

/// Whether what was bound to a path may be the socket of a file by now.
fn leads_to(bound: &Path, name: &OsStr, socket: Id) -> bool {
    let (Some(parent), Some(last)) = (bound.parent(), bound.file_name()) else {
        return false;
    };
    if last != name && !is_temporary(last, name) {
        return false;
    }
    // Seen from here, unless it is from a folder or a descriptor of another process.
    if !parent.is_absolute() || parent.starts_with("/proc") {
        return true;
    }
    match Folder::open(parent).and_then(|folder| folder.look(name)) {
        Ok(Found::Socket(there)) => there == socket,
        Ok(Found::File) => false,
        Ok(Found::Nothing) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests;
