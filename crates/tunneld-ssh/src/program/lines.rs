//! What a program writes, line by line.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tunneld_core::text::{clip, printable};

/// What is kept of a line.
const MAX_LINE: usize = 1024;

/// An output of a program.
#[derive(Debug)]
pub struct Lines<R> {
    /// `None` once it is closed.
    output: Option<BufReader<R>>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Those of `output`; `None` has no lines.
    pub fn new(output: Option<R>) -> Self {
        Lines {
            output: output.map(BufReader::new),
            line: Vec::new(),
        }
    }

    /// Whether nothing more will come.
    pub fn are_over(&self) -> bool {
        self.output.is_none()
    }

    /// The next line, made fit to be shown. Never returns once they are over. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> String {
        loop {
            let Some(output) = &mut self.output else {
                return std::future::pending().await;
            };
            let seen = output.fill_buf().await.unwrap_or_default();
            let over = seen.is_empty();
            let end = seen.iter().position(|b| *b == b'\n');
            let part = seen.get(..end.unwrap_or(seen.len())).unwrap_or_default();
            // One byte more shows that something was left out.
            let room = (MAX_LINE + 1).saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            let taken = part.len() + usize::from(end.is_some());
            output.consume(taken);
            if over {
                self.output = None;
            }
            if over || end.is_some() {
                let line = std::mem::take(&mut self.line);
                return clip(&printable(&String::from_utf8_lossy(&line)), MAX_LINE);
            }
        }
    }

    /// Passes over what there is, unseen, and returns how many lines end in it: a moment's work for
    /// a buffer of any content. Never returns once they are over. Nothing is lost when the future is
    /// dropped.
    pub async fn pass(&mut self) -> usize {
        let Some(output) = &mut self.output else {
            return std::future::pending().await;
        };
        let seen = output.fill_buf().await.unwrap_or_default();
        let ends = seen.iter().filter(|b| **b == b'\n').count();
        let open = seen.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        if seen.is_empty() {
            self.output = None;
            // What was begun ends with all of them.
            return usize::from(!std::mem::take(&mut self.line).is_empty());
        }
        if ends > 0 {
            self.line.clear();
        }
        // One byte says that a line is begun.
        if self.line.is_empty() {
            self.line.extend(open.first());
        }
        let taken = seen.len();
        output.consume(taken);
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_an_end_is_kept_up_to_its_bound() {
        let endless = vec![b'x'; 3_000_000];
        let mut lines = Lines::new(Some(endless.as_slice()));
        assert_eq!(lines.next().await, format!("{}…", "x".repeat(MAX_LINE)));
        assert!(lines.are_over());
    }

    #[tokio::test]
    async fn lines_are_made_fit_to_be_shown() {
        let output = b"\x1b[31mred\r\n\xff\nlast".as_slice();
        let mut lines = Lines::new(Some(output));
        assert_eq!(lines.next().await, "[31mred");
        assert_eq!(lines.next().await, "\u{fffd}");
        assert_eq!(lines.next().await, "last");
        assert!(lines.are_over());
    }

    #[tokio::test]
    async fn lines_that_are_passed_over_are_counted() {
        // The rest of one that was begun, and one without an end.
        for (output, expected) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n\nb\n", 3)] {
            let mut lines = Lines::new(Some(output.as_bytes()));
            let mut passed = 0;
            while !lines.are_over() {
                passed += lines.pass().await;
            }
            assert_eq!(passed, expected, "{output:?}");
        }
        // A byte at a time, as a slow program writes.
        let (mut far, near) = tokio::io::duplex(1);
        let written = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, b"one\ntwo\nthr").await
        });
        let mut lines = Lines::new(Some(near));
        assert_eq!(lines.next().await, "one");
        let mut passed = 0;
        while !lines.are_over() {
            passed += lines.pass().await;
        }
        assert_eq!(passed, 2);
        written.await.unwrap().unwrap();
    }
}
