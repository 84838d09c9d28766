//! Lines on stderr: a terminal that somebody has stopped, or a pipe that nobody reads, holds no tunnel
//! up.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use tracing_subscriber::fmt::MakeWriter;

use super::patience::Patience;

/// At most so much is written at once: poll(2) tells of a pipe that it takes this much (`PIPE_BUF`,
/// pipe(7)).
const AT_ONCE: usize = 4096;

/// Takes the lines of the log, each as a whole.
pub(super) struct Lines<T> {
    stream: Mutex<Stream>,
    /// The line that says how many are missing.
    tell_lost: T,
}

impl<T: Fn(u64) -> String> Lines<T> {
    pub(super) fn new(tell_lost: T) -> Self {
        Lines::on(Stream::stderr(), tell_lost)
    }

    fn on(stream: Stream, tell_lost: T) -> Self {
        Lines {
            stream: Mutex::new(stream),
            tell_lost,
        }
    }
}

impl<'a, T: Fn(u64) -> String + 'a> MakeWriter<'a> for Lines<T> {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl<T: Fn(u64) -> String> Write for &Lines<T> {
    /// A line that is not taken is counted, and no error: there is nobody to tell.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stream = self.stream.lock();
        let mut stream = stream.unwrap_or_else(PoisonError::into_inner);
        stream.log(line, &self.tell_lost);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where lines go, one after the other.
pub(super) struct Stream {
    /// `None`: stderr as it is.
    file: Option<OwnedFd>,
    patience: Patience,
    /// The last line could not be finished.
    begun: bool,
    /// How many it has not taken since it last took one.
    lost: u64,
}

impl Stream {
    pub(super) fn stderr() -> Self {
        Stream::on(stderr_of_our_own())
    }

    fn on(file: Option<OwnedFd>) -> Self {
        Stream {
            file,
            patience: Patience::new(),
            begun: false,
            lost: 0,
        }
    }

    fn log(&mut self, line: &[u8], tell_lost: impl Fn(u64) -> String) {
        if self.lost > 0 && self.put_line(tell_lost(self.lost).as_bytes()).is_ok() {
            self.lost = 0;
        }
        // Where there was no place for the one, there is none for the other.
        if self.lost > 0 || self.put_line(line).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Writes a line, with its end, if it is taken in time.
    ///
    /// # Errors
    /// Where it is not, or not all of it.
    pub(super) fn put_line(&mut self, line: &[u8]) -> Result<(), Errno> {
        if self.begun {
            self.put(b"\n")?;
        }
        self.put(line)
    }

    fn put(&mut self, mut rest: &[u8]) -> Result<(), Errno> {
        while !rest.is_empty() {
            self.wait_for_room()?;
            let (now, _) = rest.split_at(rest.len().min(AT_ONCE));
            match rustix::io::write(self.fd(), now) {
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.begun = !rest.is_empty();
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), Errno> {
        if has_room(self.fd(), Duration::ZERO)? {
            return Ok(());
        }
        let Stream { file, patience, .. } = self;
        match patience.wait(|left| has_room(fd(file.as_ref()), left)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(e)) => Err(e),
            Some(Ok(false)) | None => Err(Errno::AGAIN),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        fd(self.file.as_ref())
    }
}

fn fd(file: Option<&OwnedFd>) -> BorrowedFd<'_> {
    file.map_or(rustix::stdio::stderr(), AsFd::as_fd)
}

/// Whether something can be written within `limit`. A file always has room, and so has a pipe that
/// nobody can read any more: writing then says what is wrong with it.
fn has_room(file: BorrowedFd<'_>, limit: Duration) -> Result<bool, Errno> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut asked = [PollFd::new(&file, PollFlags::OUT)];
        match poll(&mut asked, Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return polled.map(|ready| ready > 0),
        }
    }
}

/// The terminal or the pipe that stderr is, opened once more, so that it never holds a writer up: a
/// terminal that has room may have too little, and what others write to a pipe can fill it after it
/// was asked. `O_NONBLOCK` must not be set on stderr itself: that has one open file description with
/// the stderr of whoever started us (fcntl(2)). What cannot be opened is used as it is.
fn stderr_of_our_own() -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(rustix::stdio::stderr()).ok()?.st_mode);
    if kind != FileType::Fifo && !io::stderr().is_terminal() {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open("/proc/self/fd/2", flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests;
