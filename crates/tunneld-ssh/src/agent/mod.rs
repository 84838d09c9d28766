//! Agents: programs that keep private keys and sign with them (ssh-agent(1)).
//!
//! An agent is dialled afresh at each attempt, so that one that was restarted, or unlocked, or
//! given another key, is not noticed late. What it sends is bounded in size and, but for
//! signatures, in time: a signature may have to wait for a person who touches a security key, and
//! so only ends with the attempt.

pub mod frames;
mod key;
mod problem;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::{Algorithm, HashAlg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tunneld_core::config::IdentityAgent;
use tunneld_core::text::{clip, printable};

use crate::known_hosts::fingerprint;

pub use key::AgentKey;
pub(crate) use key::is_usable;
pub(crate) use problem::{AgentProblem, AgentProblemKind};

/// How long a connection, or an answer that nobody has to be asked for, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a name that the agent made up is shown, in characters.
const MAX_NAME: usize = 60;

/// One connection to an agent.
pub(crate) struct Agent {
    socket: PathBuf,
    /// Gone once an answer stayed out or was none: what came next would belong to nothing.
    stream: Option<UnixStream>,
    /// Why it is gone.
    lost: AgentProblemKind,
}

impl Agent {
    /// Connects.
    pub(crate) async fn connect(at: &IdentityAgent) -> Result<Self, AgentProblem> {
        let socket = socket(at, |name| std::env::var_os(name))?;
        let stream = dial(&socket).await?;
        Ok(Agent {
            lost: closed(&stream),
            socket,
            stream: Some(stream),
        })
    }

    /// Tells the agent which server the signatures are for, as it must know before it shows or uses
    /// keys that are for certain servers only (`ssh-add -h`). Most agents know nothing of it.
    pub(crate) async fn bind(&mut self, binding: &AgentSessionBinding) {
        let session = binding.session_id().as_ref();
        let request = frames::bind(binding.host_key(), session, binding.signature());
        self.announce(&request).await;
    }

    async fn announce(&mut self, request: &[u8]) {
        match self.ask_soon(request).await {
            Ok(answer) if frames::bound(&answer) => {}
            Ok(_) => tracing::debug!(agent = %self.name(), "the agent does not bind to sessions"),
            Err(problem) => {
                tracing::debug!(%problem, "the agent does not bind to sessions");
                // Some hang up at a message that they do not know. What else is wrong is said once
                // more when the list is asked for.
                if problem.kind.is_closed() {
                    self.stream = dial(&self.socket).await.ok();
                }
            }
        }
    }

    /// The keys and certificates that it has and we can use, in its order.
    pub(crate) async fn keys(&mut self) -> Result<Vec<AgentKey>, AgentProblem> {
        let answer = self.ask_soon(&frames::list()).await?;
        let listed = frames::listed(&answer)
            .map_err(|garbled| self.give_up(AgentProblemKind::Garbled(garbled)))?
            .ok_or_else(|| self.problem(AgentProblemKind::NoList))?;
        let mut keys = Vec::new();
        for (index, listed) in listed.into_iter().enumerate() {
            let agent = self.socket.display();
            match AgentKey::read(listed) {
                Ok(key) => {
                    tracing::debug!(%agent, index, %key, "the agent has a key");
                    keys.push(key);
                }
                Err(what) => {
                    tracing::debug!(%agent, index, %what, "passed over a key of the agent");
                }
            }
        }
        Ok(keys)
    }

    /// Has `data` signed: the same with the signature appended, as the message goes to the server.
    /// `hash` counts for RSA keys alone. A certificate can be given only where the agent has it
    /// too; where the agent has its key, that is what to sign with.
    pub(crate) async fn sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, AgentProblem> {
        let refused = |agent: &Self| {
            let key = fingerprint(key.public_key().key_data());
            agent.problem(AgentProblemKind::Refused { key })
        };
        let blob = match key {
            AgentIdentity::PublicKey { key, .. } => key.to_bytes(),
            AgentIdentity::Certificate { certificate, .. } => certificate.to_bytes(),
        }
        .map_err(|_| refused(self))?;
        let rsa = match (key.public_key().algorithm(), hash) {
            (Algorithm::Rsa { .. }, Some(HashAlg::Sha256)) => {
                Some((frames::RSA_SHA2_256, "rsa-sha2-256"))
            }
            // Never SHA-1, which is what no flag would mean.
            (Algorithm::Rsa { .. }, _) => Some((frames::RSA_SHA2_512, "rsa-sha2-512")),
            _ => None,
        };
        let flags = rsa.map_or(0, |(flag, _)| flag);
        let answer = self.ask(&frames::sign(&blob, &data, flags)).await?;
        let signed = frames::signed(&answer)
            .map_err(|garbled| self.give_up(AgentProblemKind::Garbled(garbled)))?
            .ok_or_else(|| refused(self))?;
        if let Some((_, wanted)) = rsa
            && signed.algorithm != wanted
        {
            return Err(self.problem(AgentProblemKind::OtherAlgorithm {
                key: fingerprint(key.public_key().key_data()),
                wanted,
                given: clip(&printable(&signed.algorithm), MAX_NAME),
            }));
        }
        signed.append_to(&mut data);
        Ok(data)
    }

    /// What is wrong with an agent that shows nothing that could be used.
    pub(crate) fn shows_nothing(&self) -> AgentProblem {
        self.problem(AgentProblemKind::NoKey)
    }

    async fn ask_soon(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentProblem> {
        match timeout(PATIENCE, self.ask(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.give_up(AgentProblemKind::Silent { after: PATIENCE })),
        }
    }

    /// Sends a request and takes the answer. Dropped half way, it leaves no connection behind that
    /// could give a late answer to the next question.
    async fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentProblem> {
        let Some(mut stream) = self.stream.take() else {
            return Err(self.problem(self.lost.clone()));
        };
        let answer = exchange(&mut stream, request).await;
        let answer = answer.map_err(|kind| self.give_up(kind))?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// A problem that ends the connection, and is what is wrong from then on.
    fn give_up(&mut self, kind: AgentProblemKind) -> AgentProblem {
        self.stream = None;
        self.lost = kind.clone();
        self.problem(kind)
    }

    fn problem(&self, kind: AgentProblemKind) -> AgentProblem {
        AgentProblem {
            agent: self.name(),
            kind,
        }
    }

    fn name(&self) -> String {
        self.socket.display().to_string()
    }
}

/// The socket that the configuration names, where there is none. One that the environment names is
/// not looked at: a service has another environment than whoever checks its configuration. Blocks.
pub(crate) fn missing(at: &IdentityAgent) -> Option<(PathBuf, AgentProblem)> {
    let IdentityAgent::Socket(path) = at else {
        return None;
    };
    let e = std::fs::metadata(path).err()?;
    let problem = AgentProblem::connecting(&path.display().to_string(), &e);
    Some((path.clone(), problem))
}

fn socket(
    at: &IdentityAgent,
    variable: impl FnOnce(&str) -> Option<OsString>,
) -> Result<PathBuf, AgentProblem> {
    match at {
        IdentityAgent::Socket(path) => Ok(path.clone()),
        IdentityAgent::Variable(name) => match variable(name) {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => Err(AgentProblem {
                agent: format!("${name}"),
                kind: AgentProblemKind::NotSet,
            }),
        },
    }
}

async fn dial(socket: &Path) -> Result<UnixStream, AgentProblem> {
    let agent = || socket.display().to_string();
    match timeout(PATIENCE, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(AgentProblem::connecting(&agent(), &e)),
        Err(_) => Err(AgentProblem {
            agent: agent(),
            kind: AgentProblemKind::Silent { after: PATIENCE },
        }),
    }
}

async fn exchange(stream: &mut UnixStream, request: &[u8]) -> Result<Vec<u8>, AgentProblemKind> {
    let mut head = [0; 4];
    let asked = async {
        stream.write_all(request).await?;
        stream.read_exact(&mut head).await
    };
    let asked = asked.await;
    asked.map_err(|_| closed(stream))?;
    let len = frames::body_len(head).map_err(AgentProblemKind::Garbled)?;
    let mut body = vec![0; len];
    let read = stream.read_exact(&mut body).await;
    read.map_err(|_| closed(stream))?;
    Ok(body)
}

/// What it is when this agent hangs up: those of other users do so at once (ssh-agent.c,
/// `handle_socket_read`), unless we are root.
fn closed(stream: &UnixStream) -> AgentProblemKind {
    let us = rustix::process::geteuid();
    let owner = stream.peer_cred().map(|peer| peer.uid()).ok();
    closed_by(owner, us.as_raw())
}

fn closed_by(owner: Option<u32>, us: u32) -> AgentProblemKind {
    match owner {
        Some(uid) if us != 0 && uid != us => AgentProblemKind::OtherUser { uid },
        _ => AgentProblemKind::Closed,
    }
}
