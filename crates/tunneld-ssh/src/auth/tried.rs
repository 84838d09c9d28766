//! What was tried, and the failure that is made of it: what was refused, why the rest was not
//! tried, what the server would still take, and what to do.

use russh::{MethodKind, MethodSet};
use tunneld_core::config::Target;
use tunneld_core::failure::{Class, Failure, Stage};

use super::files::Problem;
use crate::credential;

#[cfg(test)]
mod tests;

/// How many fingerprints, or problems, one message lists.
const MOST_LISTED: usize = 8;

const NAME_PASSWORD: &str = "name a password in password_credential";
const MAKE_KEY: &str = "make one with ssh-keygen, and name it in `identity_file`";
const ASK_AGENT: &str = "SSH_AUTH_SOCK is set, but an agent is asked only where the file says so: \
                         identity_agent = \"SSH_AUTH_SOCK\"";

/// What is asked of the server.
pub(super) struct Request<'a> {
    /// The method's name in the protocol.
    pub(super) method: &'static str,
    /// What it is shown, for people; empty where that is nothing.
    pub(super) with: &'a str,
    /// Whether that has the password in it.
    pub(super) is_password: bool,
}

/// What was tried on one connection.
#[derive(Default)]
pub(super) struct Tried {
    /// What the server took, and was not content with: `the key SHA256:…`.
    accepted: Vec<String>,
    /// Fingerprints of the keys that it refused.
    keys: Vec<String>,
    /// Whether it refused the password.
    password: bool,
    /// What it asked for besides.
    asks: Option<String>,
    /// What could not be tried.
    problems: Vec<Failure>,
    /// Whether one of the files becomes usable by itself: its time has not come.
    passes: bool,
    /// Whether it took the password.
    password_accepted: bool,
    /// Whether the environment has an agent that nobody told us to ask.
    agent_unasked: bool,
}

impl Tried {
    pub(super) fn new(target: &Target) -> Self {
        let agent = std::env::var_os("SSH_AUTH_SOCK").is_some();
        Tried {
            agent_unasked: agent && target.identity_agent.is_none(),
            ..Tried::default()
        }
    }

    /// The server took this, and wants more.
    pub(super) fn accepted(&mut self, what: String) {
        self.keys.retain(|key| !what.ends_with(key.as_str()));
        self.accepted.push(what);
    }

    /// The server took the password, and wants more.
    pub(super) fn accepted_password(&mut self, what: String) {
        self.password_accepted = true;
        self.accepted.push(what);
    }

    /// Whether the server took the password: it is not what is asked for after that.
    pub(super) fn took_password(&self) -> bool {
        self.password_accepted
    }

    /// The server refused this key.
    pub(super) fn refused_key(&mut self, fingerprint: String) {
        // The same key with and without its certificate is one key to people.
        if !self.keys.contains(&fingerprint) {
            self.keys.push(fingerprint);
        }
    }

    /// The server refused the password.
    pub(super) fn refused_password(&mut self) {
        self.password = true;
    }

    /// The server asked for something that nobody is there to answer.
    pub(super) fn asked(&mut self, what: String) {
        self.asks = Some(what);
    }

    /// Something could not be tried.
    pub(super) fn problem(&mut self, problem: Failure) {
        if !self.problems.iter().any(|p| p.cause == problem.cause) {
            self.problems.push(problem);
        }
    }

    /// Something that a file or the agent has could not be tried.
    pub(super) fn unusable(&mut self, problem: Problem) {
        self.passes |= problem.failure.class == Class::Transient;
        self.problem(problem.failure);
    }

    /// Whether the server asked for something that nobody is there to answer.
    pub(super) fn was_asked(&self) -> bool {
        self.asks.is_some()
    }

    /// The same failure, of a server that ended the session, with what it has seen by then: `request`
    /// went out last, and got no answer. Too many keys are a reason to end it, and so is a wrong
    /// password, which must not be sent again and again until the account is locked.
    pub(super) fn explain(
        &self,
        mut failure: Failure,
        request: &Request<'_>,
        target: &Target,
    ) -> Failure {
        if failure.class == Class::Transient && !request.with.is_empty() {
            let with = request.with;
            failure.cause = format!("{}, without an answer to {with}", failure.cause);
        }
        if !self.keys.is_empty() {
            let (count, list) = (self.keys.len(), self.list());
            failure.cause = format!("{} (tried {count}: {list})", failure.cause);
        }
        if request.is_password || self.password {
            failure.class = Class::Blocked;
            failure = failure.with_hint(self.correct_password(target));
        }
        failure
    }

    /// Why nothing got us in. `allowed` is what the server said last that it would take.
    pub(super) fn into_failure(self, target: &Target, allowed: Option<&MethodSet>) -> Failure {
        let refused = self.refused(target);
        let asks = self.asks.as_ref();
        let asks = asks.map(|what| format!("asks for more than a password: {what}"));
        let accepts = allowed.map(names).unwrap_or_default();
        let mut clauses = Vec::new();
        match (&refused, &asks) {
            _ if !self.accepted.is_empty() => {
                let accepted = self.accepted.join(" and ");
                clauses.push(format!(
                    "server accepted {accepted} and wants more: {accepts}"
                ));
                clauses.extend(refused.as_ref().map(|what| format!("it rejected {what}")));
                clauses.extend(asks.as_ref().map(|asks| format!("it {asks}")));
            }
            (Some(what), _) => {
                clauses.push(format!("server rejected {what}"));
                clauses.extend(asks.as_ref().map(|asks| format!("it {asks}")));
                clauses.push(format!("it accepts: {accepts}"));
            }
            (None, Some(asks)) => clauses.push(format!("the server {asks}")),
            (None, None) => return self.nothing_tried(target, allowed),
        }
        let problems = self.problems.iter().take(MOST_LISTED);
        clauses.extend(problems.map(|problem| format!("not tried: {}", problem.cause)));
        // What was not tried may be what is missing, and is what can be mended here.
        let first = self.problems.iter().find_map(|p| p.hint.as_deref());
        let hint = match (first, self.hint(target, allowed)) {
            (Some(first), hint) => format!("{first}; {hint}"),
            (None, hint) => hint,
        };
        let mut failure = Failure::blocked(Stage::Authenticate, clauses.join("; "));
        if self.passes && !self.password {
            failure.class = Class::Transient;
        }
        failure.with_hint(hint)
    }

    /// The failure where there was nothing that the server could have refused.
    fn nothing_tried(self, target: &Target, allowed: Option<&MethodSet>) -> Failure {
        let accepts = allowed.map(names).unwrap_or_default();
        let mut problems = self.problems.into_iter();
        let Some(mut failure) = problems.next() else {
            let (cause, hint) = match &target.password_credential {
                Some(_) => (
                    "there is no key to try, and the server takes no password",
                    None,
                ),
                None => (
                    "there is no key to try",
                    takes_password(allowed).then_some(NAME_PASSWORD),
                ),
            };
            let cause = format!("{cause}; it accepts: {accepts}");
            let hint = match (hint, self.agent_unasked) {
                (Some(hint), _) => hint,
                (None, true) => ASK_AGENT,
                (None, false) => MAKE_KEY,
            };
            return Failure::blocked(Stage::Authenticate, cause).with_hint(hint);
        };
        for other in problems.take(MOST_LISTED) {
            // As long as one of them passes by itself, that may be the one that is needed.
            if other.class == Class::Transient {
                failure.class = Class::Transient;
            }
            failure.cause = format!("{}; {}", failure.cause, other.cause);
        }
        // That a server takes keys says nothing new.
        if allowed.is_some_and(|methods| **methods != [MethodKind::PublicKey]) {
            failure.cause = format!("{}; the server accepts: {accepts}", failure.cause);
        }
        failure
    }

    /// What to do about a refusal.
    fn hint(&self, target: &Target, allowed: Option<&MethodSet>) -> String {
        let Target { user, host, .. } = target;
        let lacks_password = target.password_credential.is_none() && takes_password(allowed);
        if self.asks.is_some() {
            return "nobody is there to answer: let this user in with a key, or with a password \
                    alone (AuthenticationMethods in the server's sshd_config)"
                .to_owned();
        }
        if self.password {
            return self.correct_password(target);
        }
        if !self.accepted.is_empty() {
            let methods = "AuthenticationMethods in the server's sshd_config says what it wants";
            return match lacks_password {
                true => format!("{NAME_PASSWORD}; {methods}"),
                false => methods.to_owned(),
            };
        }
        let takes_keys = allowed.is_none_or(|methods| methods.contains(&MethodKind::PublicKey));
        match (takes_keys, lacks_password) {
            (true, false) => format!(
                "add the public key to ~{user}/.ssh/authorized_keys on {host}, or correct `user`"
            ),
            (true, true) => format!(
                "add the public key to ~{user}/.ssh/authorized_keys on {host}, or correct `user`, \
                 or {NAME_PASSWORD}"
            ),
            (false, true) => NAME_PASSWORD.to_owned(),
            (false, false) => {
                "the server takes no keys: see PubkeyAuthentication in its sshd_config".to_owned()
            }
        }
    }

    fn correct_password(&self, target: &Target) -> String {
        let credential = target.password_credential.as_ref();
        let more = credential.map_or(String::new(), |c| credential::once_changed(&c.value));
        let user = match self.accepted.is_empty() {
            true => ", or `user`",
            false => "",
        };
        format!("correct what password_credential names{user}{more}")
    }

    fn refused(&self, target: &Target) -> Option<String> {
        let password = self.password.then(|| {
            let credential = target.password_credential.as_ref();
            let name = credential.map(|c| credential::name(&c.value));
            format!("the password of {}", name.unwrap_or_default())
        });
        let keys = (!self.keys.is_empty()).then(|| {
            let which = match self.accepted.is_empty() {
                true => "every key",
                false => "every other key",
            };
            format!("{which} (tried {}: {})", self.keys.len(), self.list())
        });
        let refused: Vec<String> = keys.into_iter().chain(password).collect();
        (!refused.is_empty()).then(|| refused.join(" and "))
    }

    fn list(&self) -> String {
        let listed = self.keys.iter().take(MOST_LISTED).map(String::as_str);
        let listed: Vec<&str> = listed.collect();
        let listed = listed.join(", ");
        match self.keys.len().saturating_sub(MOST_LISTED) {
            0 => listed,
            more => format!("{listed} and {more} more"),
        }
    }
}

fn takes_password(allowed: Option<&MethodSet>) -> bool {
    const WITH_PASSWORD: [MethodKind; 2] = [MethodKind::Password, MethodKind::KeyboardInteractive];
    allowed.is_some_and(|methods| methods.iter().any(|method| WITH_PASSWORD.contains(method)))
}

/// `publickey, password`.
pub(super) fn names(methods: &MethodSet) -> String {
    let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
    match names.is_empty() {
        // Those that russh does not know are not in the set.
        true => "nothing that tunneld can do".to_owned(),
        false => names.join(", "),
    }
}
