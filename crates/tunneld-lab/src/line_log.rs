//! What a process prints, line by line.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionread};

/// The lines that a process printed so far, in a place where they can be waited for.
///
/// All that a process had written to its pipe when a question is asked is in the answer, however busy
/// the machine is.
#[derive(Clone, Default)]
pub struct LineLog {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    grew: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    sources: Vec<Source>,
}

/// A pipe that is read on a thread of its own.
struct Source {
    /// To ask how much is in it; `None` once it has ended.
    pipe: Option<OwnedFd>,
    /// The bytes that were read.
    taken: u64,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Source {
    /// How many bytes have been written so far.
    fn written(&self) -> u64 {
        let waiting = self.pipe.as_ref().map(|pipe| ioctl_fionread(pipe).unwrap());
        self.taken + waiting.unwrap_or(0)
    }

    fn has(&self, bytes: u64) -> bool {
        self.pipe.is_none() || self.taken >= bytes
    }
}

impl State {
    /// Takes what is in a pipe that has something, or has ended.
    fn take(&mut self, source: usize, pipe: &mut impl Read) {
        let mut buffer = [0; 64 << 10];
        let read = pipe.read(&mut buffer).unwrap_or(0);
        let source = &mut self.sources[source];
        source.taken += read as u64;
        source.begun.extend(&buffer[..read]);
        if read == 0 {
            source.pipe = None;
        }
        let ends = || source.begun.iter().rposition(|byte| *byte == b'\n');
        let whole = match read {
            0 => source.begun.len(),
            _ => ends().map_or(0, |end| end + 1),
        };
        let begun = source.begun.split_off(whole);
        let whole = std::mem::replace(&mut source.begun, begun);
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            // Bytes and not text: a line that is not UTF-8 must not end the capture.
            let text = String::from_utf8_lossy(line);
            self.lines
                .push(text.trim_end_matches(['\r', '\n']).to_owned());
        }
    }
}

impl LineLog {
    /// Takes every line of a pipe into the log, on a thread of its own, until the pipe ends.
    ///
    /// # Panics
    /// When there are no more file descriptors.
    pub fn follow(&self, mut source: impl Read + AsFd + Send + 'static) {
        let mut state = self.lock();
        let number = state.sources.len();
        state.sources.push(Source {
            pipe: Some(source.as_fd().try_clone_to_owned().unwrap()),
            taken: 0,
            begun: Vec::new(),
        });
        drop(state);
        let log = self.clone();
        std::thread::spawn(move || {
            loop {
                let mut asked = [PollFd::new(&source, PollFlags::IN)];
                let asked = poll(&mut asked, None);
                assert!(matches!(asked, Ok(_) | Err(Errno::INTR)), "{asked:?}");
                // Read while it is locked: what has left the pipe is in the log.
                let mut state = log.lock();
                if asked.is_ok() {
                    state.take(number, &mut source);
                }
                log.shared.grew.notify_all();
                if state.sources[number].pipe.is_none() {
                    return;
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// With all that has been written until now.
    fn caught_up(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let written: Vec<_> = state.sources.iter().map(Source::written).collect();
        let behind = |state: &State| {
            let mut sources = state.sources.iter().zip(&written);
            sources.any(|(source, bytes)| !source.has(*bytes))
        };
        while behind(&state) {
            state = self.shared.grew.wait(state).unwrap();
        }
        state
    }

    /// Waits until every source has ended, so that the last words of a process that has exited
    /// are in the log; whatever else holds its stderr is not waited for beyond `timeout`.
    pub fn settle(&self, timeout: Duration) {
        self.wait(timeout, |state| {
            let mut sources = state.sources.iter();
            sources.all(|source| source.pipe.is_none()).then_some(())
        });
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.caught_up().lines.clone()
    }

    /// Every line so far, as one text.
    pub fn text(&self) -> String {
        let state = self.caught_up();
        state.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// How many lines there are: a place to wait from.
    pub fn mark(&self) -> usize {
        self.caught_up().lines.len()
    }

    /// How many lines contain `part`.
    pub fn count(&self, part: &str) -> usize {
        let state = self.caught_up();
        let with = state.lines.iter().filter(|line| line.contains(part));
        with.count()
    }

    /// Waits until `found` sees something in the lines from `mark` on.
    pub fn wait_from<T>(
        &self,
        mark: usize,
        timeout: Duration,
        mut found: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        self.wait(timeout, |state| {
            found(state.lines.get(mark..).unwrap_or_default())
        })
    }

    fn wait<T>(&self, timeout: Duration, mut found: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.caught_up();
        loop {
            if let Some(value) = found(&state) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.shared.grew.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for a line from `mark` on that contains `part`, and returns it.
    pub fn wait_for_line(&self, mark: usize, part: &str, timeout: Duration) -> Option<String> {
        self.wait_from(mark, timeout, |lines| {
            lines.iter().find(|line| line.contains(part)).cloned()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;

    #[test]
    fn a_line_can_be_waited_for_from_a_mark() {
        let log = LineLog::default();
        let (source, mut sink) = pipe().unwrap();
        log.follow(source);
        sink.write_all(b"one\ntwo\xff\r\nthree").unwrap();
        drop(sink);
        let long = Duration::from_secs(10);
        assert_eq!(log.wait_for_line(0, "three", long).unwrap(), "three");
        assert_eq!(log.mark(), 3);
        assert_eq!(log.lines()[1], "two\u{fffd}");
        assert!(log.wait_for_line(1, "one", Duration::ZERO).is_none());
    }

    #[test]
    fn what_was_written_is_in_the_log_at_once() {
        let log = LineLog::default();
        let (first, mut one) = pipe().unwrap();
        let (second, mut other) = pipe().unwrap();
        log.follow(first);
        log.follow(second);
        for n in 1..=1000 {
            one.write_all(b"one\nbegun ").unwrap();
            other.write_all(b"other\n").unwrap();
            assert_eq!(log.count("other"), n);
            assert_eq!(log.mark(), 2 * n);
        }
    }
}
