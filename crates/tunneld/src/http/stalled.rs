//! A stream whose other end has to take what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the other end may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How long nothing may be taken.
    pub(super) nothing: Duration,
    /// How long it may be, from the first write after a flush to the next flush.
    pub(super) all: Duration,
}

/// A stream that fails once what is to be written has not been taken in time.
pub(super) struct Impatient<S> {
    stream: S,
    patience: Patience,
    /// When all of what is being written has to be taken.
    deadline: Option<Instant>,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        Impatient {
            stream,
            patience,
            deadline: None,
            waiting: None,
        }
    }

    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + self.patience.all);
        if written.is_ready() && now < deadline {
            self.waiting = None;
            return written;
        }
        let latest = deadline.min(now + self.patience.nothing);
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(latest)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let judged = self.judge(flushed, cx);
        if judged.is_ready() {
            self.deadline = None;
        }
        judged
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_util::task::AbortOnDropHandle;

    fn impatient(stream: DuplexStream, nothing: u64, all: u64) -> Impatient<DuplexStream> {
        let [nothing, all] = [nothing, all].map(Duration::from_millis);
        Impatient::new(stream, Patience { nothing, all })
    }

    #[tokio::test]
    async fn only_an_end_that_takes_nothing_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = impatient(ours, 200, 60_000);
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 20];
            theirs.read_exact(&mut bytes).await.unwrap();
            theirs
        });
        ours.write_all(&[7; 20]).await.unwrap();
        let _theirs = reading.await.unwrap();
        let error = ours.write_all(&[7; 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_end_that_takes_a_little_at_a_time_has_its_time_too() {
        // A byte each 20 ms is never nothing; an answer of a hundred is cut off, two of four are not.
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut ours = impatient(ours, 10_000, 300);
        let _reading = AbortOnDropHandle::new(tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        for _ in 0..2 {
            ours.write_all(&[7; 4]).await.unwrap();
            ours.flush().await.unwrap();
        }
        let before = Instant::now();
        let error = ours.write_all(&[7; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(before.elapsed() < Duration::from_millis(1500));
    }
}
