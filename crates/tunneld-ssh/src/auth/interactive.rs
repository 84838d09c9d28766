//! The method `keyboard-interactive` (RFC 4256), as far as nobody is at a keyboard: a server that
//! asks for one secret gets the password, once.

use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Said, Prompt};
use tunneld_core::failure::Failure;
use tunneld_core::text::{clip, printable};

use super::tried::Request;
use super::{Attempt, Reply};

/// How many rounds of questions there may be; sshd has one or two, and one to say goodbye.
const MAX_ROUNDS: usize = 10;

/// The longest question that a message shows, in characters: sshd puts what PAM has to say before
/// the question into it.
const MAX_QUESTION: usize = 200;

/// What to say to a round of questions.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Nothing was asked: the server wanted to say something.
    Nothing,
    /// One secret.
    Password,
    /// What nobody is there to answer.
    Other(String),
}

const METHOD: &str = "keyboard-interactive";

impl Attempt<'_> {
    /// Answers the server's questions as far as the password answers them.
    pub(super) async fn interactive(&mut self) -> Result<Reply, Failure> {
        let Some((with, password)) = self.password_for(METHOD).await else {
            return Ok(Reply::Skipped);
        };
        let shared = self.connection.shared;
        shared.waits_for(format!("no answer to the method {METHOD}"));
        let (user, handle) = (&self.connection.target.user, &mut self.connection.handle);
        let start = handle.authenticate_keyboard_interactive_start(user, None);
        let mut said = start.await;
        let (mut given, mut rounds) = (false, 0);
        let result = loop {
            let prompts = match questions(said) {
                Ok(prompts) => prompts,
                Err(result) => break result,
            };
            rounds += 1;
            let mut answers = vec![String::new(); prompts.len()];
            match judge(&prompts, given || self.tried.took_password()) {
                Round::Nothing if rounds < MAX_ROUNDS => {}
                Round::Nothing => {
                    let what = format!("{rounds} rounds without a question");
                    return Ok(self.asked(&with, what));
                }
                Round::Password => {
                    answers = vec![password.as_str().to_owned()];
                    given = true;
                    shared.waits_for(format!("no answer to {with}"));
                }
                Round::Other(what) => {
                    let reply = self.asked(&with, what);
                    // The session takes nothing else before this round is over, and with empty
                    // answers it is. A server that has nothing else to offer is spared them: they
                    // may count as a wrong try.
                    if rounds >= MAX_ROUNDS || !self.order.has_password_left() {
                        return Ok(reply);
                    }
                }
            }
            let handle = &mut self.connection.handle;
            let respond = handle.authenticate_keyboard_interactive_respond(answers);
            said = respond.await;
        };
        self.answered(result, with, given).await
    }

    /// What the server makes of the method, in which the password was given or not.
    async fn answered(
        &mut self,
        result: Result<AuthResult, russh::Error>,
        with: String,
        given: bool,
    ) -> Result<Reply, Failure> {
        let request = Request {
            method: METHOD,
            with: if given { &with } else { "" },
            is_password: given,
        };
        let reply = self.reply(result, &request).await?;
        match &reply {
            Reply::Partial(_) if given => self.tried.accepted_password(with),
            Reply::Partial(_) => self.tried.accepted(METHOD.to_owned()),
            Reply::Refused(_) if given && !self.tried.was_asked() => self.tried.refused_password(),
            _ => {}
        }
        Ok(reply)
    }

    /// The server asks for something that nobody is there to answer.
    fn asked(&mut self, with: &str, what: String) -> Reply {
        let reason = format!("the server asks for more than a password: {what}");
        self.connection.skipped(METHOD, with, &reason);
        self.tried.asked(what);
        Reply::GivenUp
    }
}

/// What is asked, or what it has come to.
fn questions(
    said: Result<Said, russh::Error>,
) -> Result<Vec<Prompt>, Result<AuthResult, russh::Error>> {
    match said {
        Ok(Said::InfoRequest { prompts, .. }) => Ok(prompts),
        Ok(Said::Success) => Err(Ok(AuthResult::Success)),
        Ok(Said::Failure {
            remaining_methods,
            partial_success,
        }) => Err(Ok(AuthResult::Failure {
            remaining_methods,
            partial_success,
        })),
        Err(e) => Err(Err(e)),
    }
}

fn judge(prompts: &[Prompt], password_given: bool) -> Round {
    match prompts {
        [] => Round::Nothing,
        [prompt] if !prompt.echo && !password_given => Round::Password,
        [prompt] => {
            let question = clip(&printable(&prompt.prompt), MAX_QUESTION);
            Round::Other(format!("\"{question}\""))
        }
        more => Round::Other(format!("{} questions at once", more.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str, echo: bool) -> Prompt {
        Prompt {
            prompt: text.to_owned(),
            echo,
        }
    }

    fn other(text: &str) -> Round {
        Round::Other(text.to_owned())
    }

    #[test]
    fn one_secret_is_answered_once_and_nothing_else() {
        let password = || prompt("Password: ", false);
        assert_eq!(judge(&[password()], false), Round::Password);
        assert_eq!(judge(&[password()], true), other("\"Password:\""));
        assert_eq!(judge(&[], false), Round::Nothing);
        assert_eq!(judge(&[prompt("User:", true)], false), other("\"User:\""));
        let two = [password(), prompt("Verification code: ", false)];
        assert_eq!(judge(&two, false), other("2 questions at once"));
    }

    #[test]
    fn a_question_is_shown_as_one_short_line() {
        let long = format!("\u{1b}[2JCode\nfor\t{}", "x".repeat(300));
        let Round::Other(shown) = judge(&[prompt(&long, true)], false) else {
            panic!();
        };
        assert!(shown.starts_with("\"[2JCode for x"), "{shown}");
        assert!(shown.ends_with("x…\""), "{shown}");
        assert_eq!(shown.chars().count(), MAX_QUESTION + 3);
    }
}
