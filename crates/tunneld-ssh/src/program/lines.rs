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
}
