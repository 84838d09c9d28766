//! Proving who we are (RFC 4252).
//!
//! ```text
//!   files: what there is, and is wrong ──┐
//!   offers: which keys, in which order ──┤
//!   order: which method, what is next ───┼──▶ the loop ──▶ publickey, interactive, password
//!   tried: what came of it, the failure ─┘                     └── signer: the file or the agent
//! ```
//!
//! Everything is read afresh at each attempt: files, the agent, credentials. Secrets go to the
//! server whose host key was checked, and to no other: a jump host has a target of its own. Ours are
//! wiped; russh's copies of a password are out of reach, and not all of them are.
//!
//! A request cannot be taken back: whoever gives up waiting for its answer gives the session up.

mod files;
mod inspect;
mod interactive;
mod offers;
mod order;
mod password;
mod publickey;
mod signer;
mod tried;

use std::sync::Arc;
use std::time::Duration;

use russh::MethodSet;
use russh::client::{AuthResult, Handle};
use russh::keys::HashAlg;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tunneld_core::config::{IdentityAgent, Target};
use tunneld_core::failure::{Failure, Stage};
use zeroize::Zeroizing;

use crate::agent::{Agent, AgentKey};
use crate::credential;
use crate::error::{SessionError, no_method_failure, session_failure};
use crate::handler::Handler;
use crate::link::Link;
use crate::shared::Shared;
use crate::trace::{Answer, Step};
use files::{Files, Opening};
pub use inspect::{Finding, Inspected, KeyChecks, inspect};
use offers::Offer;
use order::{Order, Turn};
use tried::{Request, Tried, names};

/// How long to wait for the reason why a server closed the connection.
const REASON_PATIENCE: Duration = Duration::from_secs(1);

/// One authenticated connection to be.
pub(crate) struct Connection<'a> {
    pub(crate) handle: &'a mut Handle<Handler>,
    pub(crate) target: &'a Target,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) link: &'a Link,
    /// For the log.
    pub(crate) tunnel: Option<&'a str>,
}

/// What the server says to a request.
enum Reply {
    Accepted,
    /// It was right, and one of these is wanted as well.
    Partial(MethodSet),
    /// One of these is wanted.
    Refused(MethodSet),
    /// It was not asked, or not to the end; why is in what was tried.
    Skipped,
    /// It waits for an answer that it will not get.
    GivenUp,
}

/// Authenticates as the target says. `patience` is how long all of it may take.
pub(crate) async fn authenticate(
    connection: Connection<'_>,
    patience: Duration,
) -> Result<(), Failure> {
    let mut attempt = Attempt::prepare(connection, patience).await?;
    while let Some(turn) = attempt.order.next() {
        match attempt.take(turn).await? {
            Reply::Accepted => return Ok(()),
            Reply::Partial(allowed) => attempt.order.partial(turn, allowed),
            Reply::Refused(allowed) => attempt.order.refused(turn, allowed),
            Reply::Skipped => attempt.order.skipped(turn),
            Reply::GivenUp => break,
        }
    }
    let Connection { target, .. } = attempt.connection;
    Err(attempt.tried.into_failure(target, attempt.order.allowed()))
}

struct Attempt<'a> {
    connection: Connection<'a>,
    offers: Vec<Offer>,
    agent: Option<Agent>,
    /// The hash that RSA keys sign with, once it was needed.
    rsa_hash: Option<HashAlg>,
    order: Order,
    tried: Tried,
}

impl<'a> Attempt<'a> {
    /// Reads the files, and asks the agent what it has.
    async fn prepare(connection: Connection<'a>, patience: Duration) -> Result<Self, Failure> {
        let target = connection.target;
        let mut tried = Tried::new(target);
        connection
            .shared
            .waits_for("keys are still read, or asked for at the agent");
        let (wanted, shared) = (target.clone(), Arc::clone(connection.shared));
        // Slow disks and passphrases must not hold up the runtime.
        let files = spawn_blocking(move || {
            let tell = |opening| shared.waits_for(opening);
            Files::read(&wanted, Opening::Attempt(&tell))
        });
        // Where little time is given, an agent that hangs must leave some for the files.
        let agent = timeout(patience / 2, ask_agent(&connection));
        let (files, agent) = tokio::join!(files, agent);
        let files = files.map_err(|_| interrupted("reading keys"))?;
        let (agent, keys) = match agent {
            Ok(None) => (None, None),
            Ok(Some(Ok((agent, keys)))) => (Some(agent), Some(keys)),
            Ok(Some(Err(problem))) => {
                connection.skipped("publickey", "the agent", &problem.cause);
                tried.problem(problem);
                (None, None)
            }
            Err(_) => {
                let name = target.identity_agent.as_ref().map(agent_name);
                let seconds = (patience / 2).as_secs_f64();
                let cause = format!(
                    "agent {}: no answer within {seconds}s",
                    name.unwrap_or_default()
                );
                connection.skipped("publickey", "the agent", &cause);
                tried.problem(Failure::transient(Stage::Authenticate, cause));
                (None, None)
            }
        };
        let (offers, problems) = files.offers(keys.as_deref(), target.identities_only);
        for problem in problems {
            connection.skipped("publickey", problem.what, &problem.failure.cause);
            tried.unusable(problem);
        }
        Ok(Attempt {
            order: Order::new(offers.len(), target.password_credential.is_some()),
            connection,
            offers,
            agent,
            rsa_hash: None,
            tried,
        })
    }

    async fn take(&mut self, turn: Turn) -> Result<Reply, Failure> {
        match turn {
            Turn::Ask => self.ask().await,
            Turn::Key(at) => self.key(at).await,
            Turn::Interactive => self.interactive().await,
            Turn::Password => self.password().await,
        }
    }

    /// Asks what the server takes; some take everybody.
    async fn ask(&mut self) -> Result<Reply, Failure> {
        self.connection.shared.waits_for("no answer to `none`");
        let user = &self.connection.target.user;
        let result = self.connection.handle.authenticate_none(user).await;
        let request = Request {
            method: "none",
            with: "",
            is_password: false,
        };
        self.reply(result, &request).await
    }

    /// What a result of russh means. A list of methods came from the server, whatever has become of
    /// the session since; a refusal without one may be a session that died.
    async fn reply(
        &mut self,
        result: Result<AuthResult, russh::Error>,
        request: &Request<'_>,
    ) -> Result<Reply, Failure> {
        let note = |answer| self.connection.note(request.method, shown(request), answer);
        let (methods, partial) = match result {
            Ok(AuthResult::Success) => {
                note(Answer::Accepted);
                return Ok(Reply::Accepted);
            }
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => (remaining_methods, partial_success),
            // It was not even sent.
            Err(russh::Error::SendError) => {
                let request = Request {
                    with: "",
                    is_password: false,
                    ..*request
                };
                return Err(self.why_closed(&request).await);
            }
            Err(_) => return Err(self.why_closed(request).await),
        };
        if methods.is_empty() {
            let reason = self.why_closed(request).await;
            // russh ends a session whose server takes nothing that russh knows: that was an answer.
            if reason != no_method_failure() {
                return Err(reason);
            }
        }
        let names = names(&methods);
        if partial {
            note(Answer::Partial { wanted: names });
            Ok(Reply::Partial(methods))
        } else {
            note(Answer::Rejected { accepts: names });
            Ok(Reply::Refused(methods))
        }
    }

    async fn why_closed(&self, request: &Request<'_>) -> Failure {
        let mut ended = self.connection.shared.ended();
        let reason = timeout(REASON_PATIENCE, ended.wait_for(Option::is_some)).await;
        let failure = match reason {
            Ok(Ok(failure)) => failure.clone(),
            _ => None,
        };
        let failure = failure.unwrap_or_else(|| {
            let closed = SessionError::Ssh(russh::Error::Disconnect);
            session_failure(Stage::Authenticate, &closed)
        });
        if failure == no_method_failure() {
            return failure;
        }
        let target = self.connection.target;
        self.tried.explain(failure, request, target)
    }

    /// Reads the password, and says what to call it; or takes down why there is none.
    async fn password_for(&mut self, method: &'static str) -> Option<(String, Zeroizing<String>)> {
        let credential = self.connection.target.password_credential.as_ref()?;
        let wanted = credential.value.clone();
        // What to do about a problem is looked up, too, and may take as long.
        let read = move || credential::read(&wanted).map_err(|problem| problem.into_failure());
        let problem = match spawn_blocking(read).await {
            Ok(Ok(secret)) => {
                let name = credential::name(&credential.value);
                return Some((format!("the password of {name}"), secret));
            }
            Ok(Err(problem)) => problem,
            Err(_) => interrupted("reading a credential"),
        };
        self.connection
            .skipped(method, "a password", &problem.cause);
        self.tried.problem(problem);
        None
    }
}

impl Connection<'_> {
    /// Tells the log and whoever watches the attempt.
    fn note(&self, method: &'static str, with: &str, answer: Answer) {
        let Target { host, user, .. } = self.target;
        let said = match &answer {
            Answer::Accepted => "accepted".to_owned(),
            Answer::Partial { wanted } => format!("accepted, wants more: {wanted}"),
            Answer::Rejected { accepts } => format!("rejected, accepts: {accepts}"),
            Answer::Skipped { reason } => format!("not tried: {reason}"),
        };
        tracing::debug!(
            tunnel = self.tunnel,
            %host,
            %user,
            method,
            with,
            answer = said,
            "tried to authenticate"
        );
        self.shared.trace.note(|| Step::Tried {
            method,
            with: with.to_owned(),
            answer,
        });
    }

    fn skipped(&self, method: &'static str, with: &str, reason: &str) {
        let reason = reason.to_owned();
        self.note(method, with, Answer::Skipped { reason });
    }
}

/// Connects to the agent, if there shall be one, and asks for its keys.
async fn ask_agent(connection: &Connection<'_>) -> Option<Result<(Agent, Vec<AgentKey>), Failure>> {
    let at = connection.target.identity_agent.as_ref()?;
    let asked = async {
        let mut agent = Agent::connect(at).await?;
        if let Some(binding) = connection.handle.agent_session_binding() {
            agent.bind(binding).await;
        }
        let keys = agent.keys().await?;
        match keys.is_empty() {
            true => Err(agent.shows_nothing()),
            false => Ok((agent, keys)),
        }
    };
    Some(
        asked
            .await
            .map_err(|problem: crate::agent::AgentProblem| problem.into_failure()),
    )
}

/// What a request shows the server.
fn shown<'a>(request: &Request<'a>) -> &'a str {
    match request.with {
        "" => "nothing",
        with => with,
    }
}

fn agent_name(agent: &IdentityAgent) -> String {
    match agent {
        IdentityAgent::Socket(path) => path.display().to_string(),
        IdentityAgent::Variable(name) => format!("${name}"),
    }
}

fn interrupted(what: &str) -> Failure {
    Failure::transient(Stage::Authenticate, format!("{what} was interrupted"))
}
