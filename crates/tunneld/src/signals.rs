//! Signals, as commands.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM, SIGINT: stop in good order; a second one stops at once.
    Stop,
    /// SIGHUP: read the file again.
    Reload,
    /// SIGUSR1: try now, as autossh.
    RetryNow,
}

/// The stream of requests.
pub(crate) struct Requests(Signals);

impl Requests {
    /// Takes over the signals of the process.
    pub(crate) fn install() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map(Requests)
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Request {
        loop {
            match self.0.next().await {
                Some(SIGTERM | SIGINT) => return Request::Stop,
                Some(SIGHUP) => return Request::Reload,
                Some(SIGUSR1) => return Request::RetryNow,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}
