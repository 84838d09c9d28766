//! Open files, of which a process may have only so many (`LimitNOFILE=`, setrlimit(2)): clients take
//! what there is, but not the last of it.
//!
//! A session that breaks is made again, a command is answered and a file is written with what they leave.
//! The lowest number that is free is the next one to be given (open(2)), so a number tells how many are
//! taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::calling;

/// What clients leave, where there are many: more is not needed by much but sessions.
const KEPT: u64 = 64;

/// How much there is left once a client has its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough for another client.
    More,
    /// No other client should come.
    Full,
    /// This one should not have come: it came beside others who were the last.
    Over,
}

/// How much there is left beside the socket of a client that was just accepted or connected.
pub fn room_beside(socket: BorrowedFd<'_>) -> Room {
    let limit = getrlimit(Resource::Nofile).current;
    let number = u64::try_from(socket.as_raw_fd()).unwrap_or(u64::MAX);
    limit.map_or(Room::More, |limit| room(number, limit))
}

/// Whether there is enough for another client.
pub fn is_room() -> bool {
    UnixDatagram::unbound().is_ok_and(|next| room_beside(next.as_fd()) == Room::More)
}

/// What the system says where there is no room at all.
pub fn no_room() -> io::Error {
    Errno::MFILE.into()
}

/// What to do where a process may have no more of them.
pub(crate) fn hint(e: &io::Error) -> Option<String> {
    (Errno::from_io_error(e) == Some(Errno::MFILE)).then(|| {
        format!(
            "allow more: LimitNOFILE= in [Service], then {}; by hand, ulimit -n; or lower \
             max_connections",
            calling::ours().restart()
        )
    })
}

fn room(number: u64, limit: u64) -> Room {
    let kept = (limit / 4).min(KEPT);
    match number.saturating_add(1) {
        taken if taken > limit - kept / 2 => Room::Over,
        taken if taken >= limit - kept => Room::Full,
        _ => Room::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_for_more_of_them_is_said_and_not_of_other_faults() {
        assert!(hint(&no_room()).unwrap().contains("LimitNOFILE="));
        assert_eq!(hint(&Errno::NOMEM.into()), None);
    }

    #[test]
    fn a_quarter_is_kept_and_at_most_64() {
        // Half of what is kept is for clients that come in the same moment at other places.
        for (limit, last, over) in [(128, 95, 112), (1024, 959, 992), (65_536, 65_471, 65_504)] {
            assert_eq!(room(last - 1, limit), Room::More, "{limit}");
            assert_eq!(room(last, limit), Room::Full, "{limit}");
            assert_eq!(room(over - 1, limit), Room::Full, "{limit}");
            assert_eq!(room(over, limit), Room::Over, "{limit}");
        }
        // Whatever the numbers are.
        assert_eq!(room(0, 0), Room::Over);
        assert_eq!(room(u64::MAX, u64::MAX), Room::Over);
        assert!(is_room());
    }
}
