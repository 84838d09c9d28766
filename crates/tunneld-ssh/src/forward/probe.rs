//! Checking the far end of a forward, through the tunnel.
//!
//! A probe takes the way that a client takes, from the session on: a channel to the target of a
//! local forward; for a remote one a channel to the place where the server listens, which comes
//! back to us and goes on to the target. There the server takes a connection before anybody knows
//! of the target: it is awaited until one has come back and found it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tunneld_core::config::{
    Destination, Expect, ForwardKind, ForwardSpec, Goal, Probe, RemoteListen, host_port,
};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::text::{clip, printable};

use super::gate::Gate;
use super::sessions::Choice;
use super::{Peer, Probing, Sessions, State};
use crate::opener::{OpenChannel, OpenError, Opener};
use crate::wait;

/// A first line, or a status line, is not longer than this.
const MAX_LINE: usize = 4096;
/// How soon a probe that failed is tried again, if its interval is longer.
const AGAIN: Duration = Duration::from_secs(5);

/// Probes a forward for as long as its task lives, whenever the file wants it.
pub(crate) async fn run(mut probing: Probing) {
    loop {
        if probing
            .spec
            .wait_for(|spec| spec.probe.is_some())
            .await
            .is_err()
        {
            return std::future::pending().await;
        }
        // Most forwards have no probe, and need no room for one.
        Box::pin(watch(&mut probing)).await;
    }
}

/// Probes a forward until the file wants no probe any more.
async fn watch(probing: &mut Probing) {
    let mut state = probing.state.subscribe();
    let mut sessions = probing.context.sessions.clone();
    let mut last: Option<(Opener, Instant)> = None;
    loop {
        let spec = probing.spec.borrow_and_update().clone();
        let allocated = state.borrow_and_update().allocated_port;
        let in_place = matches!(state.borrow().place, Some(Ok(())));
        let session = sessions.first();
        // What another session has shown, or the place before, says nothing.
        last = last.filter(|(of, _)| session.as_ref().is_some_and(|now| now.is_same(of)));
        let task = spec.probe.clone().zip(destination(&spec, allocated));
        let wanted = task.is_some();
        probing.publish(|state| {
            state.probed = wanted;
            if !wanted || last.is_none() {
                state.probe = None;
            }
        });
        if spec.probe.is_none() {
            return;
        }
        let due = match (&task, &session) {
            (Some((probe, _)), Some(_)) if in_place => {
                let failed = matches!(state.borrow().probe, Some(Err(_)));
                Some(due(probe, failed, last.as_ref()))
            }
            _ => None,
        };
        tokio::select! {
            // Nobody asks any more how a forward is that stops.
            () = probing.accepting.cancelled() => std::future::pending().await,
            changed = probing.spec.changed() => match changed {
                Ok(()) => last = None,
                Err(_) => std::future::pending().await,
            },
            // The place may be another one now.
            () = differs(&mut state, in_place, allocated) => last = None,
            () = sessions.changed() => {}
            () = wait::until(due) => {
                if let (Some((probe, to)), Some(session)) = (task, session) {
                    let result = probing.check(&probe, &to, &sessions).await;
                    probing.publish(|state| state.probe = Some(result));
                    last = Some((session, Instant::now()));
                }
            }
        }
    }
}

/// Returns once the listening place is another one.
async fn differs(state: &mut Receiver<State>, in_place: bool, allocated: Option<u16>) {
    let differs = |state: &State| {
        matches!(state.place, Some(Ok(()))) != in_place || state.allocated_port != allocated
    };
    // Whoever publishes it outlives the probe.
    let _ = state.wait_for(differs).await;
}

/// A new session is checked at once.
fn due(probe: &Probe, failed: bool, last: Option<&(Opener, Instant)>) -> Instant {
    let interval = match failed {
        true => probe.interval.min(AGAIN),
        false => probe.interval,
    };
    last.map_or_else(Instant::now, |(_, at)| *at + interval)
}

impl Probing {
    fn publish(&self, change: impl FnOnce(&mut State)) {
        if !self.accepting.is_cancelled() {
            self.state.change(&self.context.news, change);
        }
    }
}

/// Where a probe goes, as the server understands it.
fn destination(spec: &ForwardSpec, allocated: Option<u16>) -> Option<Destination> {
    let Goal::To(to) = spec.goal() else {
        return None;
    };
    match &spec.kind {
        ForwardKind::Local(_) => Some(to.clone()),
        ForwardKind::Remote(remote) => match &remote.listen.value {
            RemoteListen::Tcp { bind, port } => {
                let port = allocated.unwrap_or(*port);
                Some(Destination::tcp(RemoteListen::reached_at(bind), port))
            }
            RemoteListen::Unix(path) => Some(Destination::Unix(path.clone())),
        },
    }
}

impl Probing {
    async fn check(
        &self,
        probe: &Probe,
        to: &Destination,
        sessions: &Sessions,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let done = tokio::time::timeout(probe.timeout, self.answer(probe, to, sessions)).await;
        let done = done.unwrap_or_else(|_| Err(no_answer(probe.timeout)));
        tracing::debug!(
            tunnel = %self.context.tunnel,
            to = %to,
            took = ?started.elapsed(),
            error = done.as_ref().err(),
            "probe"
        );
        done.map_err(|reason| failed(to, &reason))
    }

    async fn answer(
        &self,
        probe: &Probe,
        to: &Destination,
        sessions: &Sessions,
    ) -> Result<(), String> {
        let (Choice::Session(session) | Choice::Clogged(session)) = sessions.look() else {
            return Err(OpenError::SessionEnded.to_string());
        };
        let remote = matches!(self.spec.borrow().kind, ForwardKind::Remote(_));
        let mut back = remote.then(|| Back::new(&self.gate));
        let _usage = session.usage();
        let opened = session.open(to, &Peer::Here).await;
        let channel = opened.map_err(|e| e.to_string())?;
        // Whatever becomes of it, the channel is closed.
        let mut open = Open {
            channel: Some(channel.split()),
            session: &session,
        };
        let answered = match (&probe.expect, &mut back) {
            (Some(expect), _) => open.converse(expect, to).await,
            (None, Some(back)) => open.arrives(back).await,
            (None, None) => Ok(()),
        };
        answered.map_err(|no| match (no, back) {
            (No::Silence, Some(back)) => back.refusal().unwrap_or_else(|| No::Silence.to_string()),
            (no, _) => no.to_string(),
        })
    }
}

/// The second half of a remote forward's way, which ends on this side.
struct Back<'a> {
    gate: &'a Gate,
    connected: Receiver<u64>,
    refused: u64,
}

impl<'a> Back<'a> {
    fn new(gate: &'a Gate) -> Self {
        Back {
            gate,
            connected: gate.connected(),
            refused: gate.counters.refused(),
        }
    }

    /// Why a connection was refused since, if one was.
    fn refusal(&self) -> Option<String> {
        let counters = &self.gate.counters;
        (counters.refused() > self.refused)
            .then(|| counters.last_refusal())
            .flatten()
    }
}

/// Why there was no answer.
enum No {
    /// The other side closed the connection, and had said nothing.
    Silence,
    Other(String),
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            No::Silence => f.write_str("it closed the connection without a word"),
            No::Other(reason) => f.write_str(reason),
        }
    }
}

/// Whether what is at the other end of a channel to `to` says what is expected of it, and if not
/// what it says. The channel is closed.
pub(crate) async fn says(
    session: &Opener,
    channel: OpenChannel,
    expect: &Expect,
    to: &Destination,
) -> Result<(), String> {
    let mut open = Open {
        channel: Some(channel.split()),
        session,
    };
    let answered = open.converse(expect, to).await;
    answered.map_err(|no| no.to_string())
}

/// Why a probe has failed that was given up.
pub(crate) fn no_answer(after: Duration) -> String {
    format!("no answer in {}s", after.as_secs_f64())
}

/// A probe was not answered as it should be.
pub(crate) fn failed(to: &Destination, reason: &str) -> Failure {
    Failure::transient(Stage::Probe, format!("probe of {to} failed: {reason}"))
}

type Halves = (ChannelReadHalf, russh::ChannelWriteHalf<Msg>);

struct Open<'a> {
    channel: Option<Halves>,
    session: &'a Opener,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some((read, write)) = self.channel.take() {
            self.session.close_halves(read, write);
        }
    }
}

impl Open<'_> {
    /// Returns once a connection has come back and found the target.
    async fn arrives(&mut self, back: &mut Back<'_>) -> Result<(), No> {
        let Some((read, _)) = &mut self.channel else {
            return Ok(());
        };
        tokio::select! {
            biased;
            _ = back.connected.changed() => Ok(()),
            line = first_line(read) => line.map(drop),
        }
    }

    async fn converse(&mut self, expect: &Expect, to: &Destination) -> Result<(), No> {
        let Some((read, write)) = &mut self.channel else {
            return Ok(());
        };
        match expect {
            Expect::FirstLine(begins) => {
                let line = first_line(read).await?;
                match line.starts_with(begins.as_bytes()) {
                    true => Ok(()),
                    false => no(format!("it said {}, not {begins:?}", shown(&line))),
                }
            }
            Expect::Http { status, path } => {
                let sent = write.data_bytes(Bytes::from(request(to, path))).await;
                sent.map_err(|_| No::Other(OpenError::SessionEnded.to_string()))?;
                let line = first_line(read).await?;
                match http_status(&line) {
                    Some(found) if found == *status => Ok(()),
                    Some(found) => no(format!("HTTP status {found}, not {status}")),
                    None => no(format!("it said {}, which is not HTTP", shown(&line))),
                }
            }
        }
    }
}

fn no(reason: String) -> Result<(), No> {
    Err(No::Other(reason))
}

/// HTTP/1.0: the server closes the connection behind its answer (RFC 1945).
fn request(to: &Destination, path: &str) -> String {
    let host = match to {
        Destination::Tcp { host, port: 80 } => host.clone(),
        Destination::Tcp { host, port } => host_port(host, *port),
        Destination::Unix(_) => "localhost".to_owned(),
    };
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: tunneld/{version}\r\n\
         Connection: close\r\n\r\n"
    )
}

/// `HTTP/1.1 200 OK` (RFC 9112 section 4).
fn http_status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    let status = words.next()?;
    (status.len() == 3).then(|| status.parse().ok()).flatten()
}

/// What comes up to the first line feed, the end, or [`MAX_LINE`].
async fn first_line(read: &mut ChannelReadHalf) -> Result<Vec<u8>, No> {
    let mut line = Vec::new();
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => {
                line.extend_from_slice(&data);
                if let Some(end) = line.iter().position(|b| *b == b'\n') {
                    line.truncate(end);
                    return Ok(line);
                }
                if line.len() >= MAX_LINE {
                    return Ok(line);
                }
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None if line.is_empty() => {
                return Err(No::Silence);
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Ok(line),
            Some(_) => {}
        }
    }
}

fn shown(line: &[u8]) -> String {
    let text = printable(&String::from_utf8_lossy(line));
    format!("{:?}", clip(&text, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_its_status_and_anything_else_has_none() {
        assert_eq!(http_status(b"HTTP/1.1 200 OK\r"), Some(200));
        assert_eq!(http_status(b"HTTP/1.0 503"), Some(503));
        for line in [
            &b"SSH-2.0-OpenSSH"[..],
            b"HTTP/1.1",
            b"HTTP/1.1 2000",
            b"",
            b"\xff",
        ] {
            assert_eq!(http_status(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_request_names_its_host_and_wants_the_connection_closed() {
        let said = request(&Destination::tcp("::1", 8080), "/health");
        assert!(said.starts_with("GET /health HTTP/1.0\r\nHost: [::1]:8080\r\n"));
        assert!(said.ends_with("Connection: close\r\n\r\n"));
        let said = request(&Destination::tcp("web", 80), "/");
        assert!(said.contains("\r\nHost: web\r\n"));
    }
}
