//! `tunneld wait [NAME…]`

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::Method;
use tokio::time::{Instant, timeout, timeout_at};
use tunneld_core::config::parse_duration;
use tunneld_core::status::{DaemonStatus, Phase, TunnelStatus};

use super::status::{names, why_not_up};
use super::{Places, client_failed, command_again};
use crate::clock::unix_ms;
use crate::control::client::{ClientError, ask, runtime};
use crate::control::follow::follow;
use crate::exit::Exit;
use crate::http::error::no_tunnel;

/// How long after a daemon was not there it is looked for again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a daemon that is there may take to say how things are, however short the timeout is.
const LOOK: Duration = Duration::from_secs(2);

/// The argument of `--timeout`: a duration as in the file, or seconds.
pub(super) fn timeout_of(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text).map_err(|e| e.to_string()),
    }
}

pub(super) fn run(places: &Places, names: &[String], patience: Option<Duration>) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let runtime = match runtime(&socket) {
        Ok(runtime) => runtime,
        Err(e) => return client_failed(places, &e),
    };
    let mut waiting = Waiting {
        places,
        socket,
        names,
        last: None,
        denied: false,
    };
    runtime.block_on(async {
        // A time beyond every clock is none.
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let Some(deadline) = deadline else {
            return waiting.until_up().await;
        };
        match timeout_at(deadline, waiting.until_up()).await {
            Ok(exit) => exit,
            Err(_) => waiting.give_up().await,
        }
    })
}

struct Waiting<'a> {
    places: &'a Places,
    socket: PathBuf,
    /// Every one that is not stopped, where there are none.
    names: &'a [String],
    /// What was heard last.
    last: Option<Result<DaemonStatus, ClientError>>,
    /// Whether the socket was closed to us when it was tried last.
    denied: bool,
}

impl Waiting<'_> {
    async fn until_up(&mut self) -> Exit {
        loop {
            match self.follow().await {
                Ok(exit) => return exit,
                Err(e) if self.is_final(&e) => return client_failed(self.places, &e),
                Err(e) => self.last = Some(Err(e)),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow(&mut self) -> Result<Exit, ClientError> {
        let mut following = follow(&self.socket, None).await?;
        loop {
            let status = following.next().await?;
            if let Some(exit) = self.judge(&status) {
                return Ok(exit);
            }
            self.last = Some(Ok(status));
        }
    }

    /// Whether waiting longer does not help.
    fn is_final(&mut self, e: &ClientError) -> bool {
        let denied = match e {
            ClientError::Unreachable { e, .. } => e.kind() == IoKind::PermissionDenied,
            ClientError::Refused(error) => return !error.kind.is_passing(),
            ClientError::Unfinished(_) | ClientError::Garbled(_) => return true,
        };
        // One that starts opens its socket a moment after it has made it.
        std::mem::replace(&mut self.denied, denied) && denied
    }

    /// What a status means for whoever waits; `None` while there is something to wait for.
    fn judge(&self, status: &DaemonStatus) -> Option<Exit> {
        if status.stopping || status.tunnels.is_empty() && !status.ready {
            // Its tunnels are the next one's, or it has not come to them yet.
            return None;
        }
        let all = names(status);
        if let Some(unknown) = self.names.iter().find(|name| !all.contains(name)) {
            eprintln!("error: {}", no_tunnel(unknown, &all));
            return Some(Exit::Failed);
        }
        let wanted = self.wanted(status);
        let mut stopped = wanted
            .iter()
            .filter(|t| t.phase == Phase::Stopped)
            .peekable();
        if stopped.peek().is_some() {
            stopped.for_each(|t| {
                let name = &t.name;
                let start = command_again(self.places, &["start", name.as_str()]);
                eprintln!("`{name}` is stopped, and does not come up by itself: `{start}`");
            });
            return Some(Exit::NotUp);
        }
        let is_up = |t: &&TunnelStatus| t.phase == Phase::Up;
        wanted.iter().all(is_up).then_some(Exit::Done)
    }

    fn wanted<'s>(&self, status: &'s DaemonStatus) -> Vec<&'s TunnelStatus> {
        let is_named = |t: &&TunnelStatus| match self.names.is_empty() {
            true => t.phase != Phase::Stopped,
            false => self.names.iter().any(|name| name == t.name.as_str()),
        };
        status.tunnels.iter().filter(is_named).collect()
    }

    /// The time is over: says what is not up, and why.
    async fn give_up(&mut self) -> Exit {
        if self.last.is_none() {
            self.last = Some(look(&self.socket).await);
        }
        let status = match &self.last {
            Some(Ok(status)) => status,
            Some(Err(e)) => return client_failed(self.places, e),
            None => return Exit::Unreachable,
        };
        if let Some(exit) = self.judge(status) {
            return exit;
        }
        if status.stopping {
            eprintln!("the daemon is stopping");
            return Exit::NotUp;
        }
        let now = unix_ms(SystemTime::now());
        let wanted = self.wanted(status);
        if wanted.is_empty() {
            eprintln!("the daemon has not come to its tunnels yet");
        }
        for t in wanted.into_iter().filter(|t| t.phase != Phase::Up) {
            eprintln!("{}", why_not_up(t, now));
        }
        Exit::NotUp
    }
}

/// A timeout may be too short to hear anything.
async fn look(socket: &Path) -> Result<DaemonStatus, ClientError> {
    let asked = ask(socket, Method::GET, "/v1/status");
    match timeout(LOOK, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Unreachable {
            socket: socket.to_owned(),
            e: IoKind::TimedOut.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_seconds_or_a_duration() {
        assert_eq!(timeout_of("0"), Ok(Duration::ZERO));
        assert_eq!(timeout_of("90"), Ok(Duration::from_secs(90)));
        assert_eq!(timeout_of("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "-1", "soon", "1 fortnight"] {
            assert!(timeout_of(wrong).is_err(), "{wrong}");
        }
    }
}
