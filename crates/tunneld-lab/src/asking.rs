//! What a [`LabServer`](crate::server::LabServer) asks of clients besides a key: a password, and
//! questions that `sshd` cannot be made to ask.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use russh::server::{Auth, Response};
use russh::{MethodKind, MethodSet};

/// What a client is asked. Without anything, keys are all that is taken.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    /// What the method `password` takes; without one it is not offered.
    pub password: Option<String>,
    /// The rounds of `keyboard-interactive`, each with its questions and whether an answer may be
    /// shown; without any it is not offered.
    pub rounds: Vec<Vec<(String, bool)>>,
    /// What every one of its questions has to be answered with.
    pub answer: String,
    /// Whether it starts over after the last round, for as long as the client answers.
    pub endless: bool,
    /// Whether it hangs up instead of saying what it makes of a password.
    pub hangs_up: bool,
    /// What is offered once a key was right, which then is not enough.
    pub after_key: bool,
}

/// Every password and answer that came, in their order.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<String>>>);

impl Answers {
    fn add(&self, answer: &str) {
        self.0.lock().unwrap().push(answer.to_owned());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// One client's way through the questions.
pub(crate) struct Interview {
    asking: Arc<Asking>,
    answers: Answers,
    round: usize,
    all_right: bool,
}

impl Interview {
    pub(crate) fn new(asking: &Arc<Asking>, answers: &Answers) -> Self {
        Interview {
            asking: Arc::clone(asking),
            answers: answers.clone(),
            round: 0,
            all_right: true,
        }
    }

    pub(crate) fn password(&self, password: &str) -> Result<Auth, russh::Error> {
        self.answers.add(password);
        if self.asking.hangs_up {
            return Err(russh::Error::Disconnect);
        }
        Ok(match self.asking.password.as_deref() == Some(password) {
            true => Auth::Accept,
            false => self.asking.refuse(),
        })
    }

    /// The next round, or what the answers come to.
    pub(crate) fn answer(&mut self, answers: Option<Response<'_>>) -> Auth {
        match answers {
            None => (self.round, self.all_right) = (0, true),
            Some(answers) => {
                for answer in answers {
                    let answer = String::from_utf8_lossy(&answer).into_owned();
                    self.all_right &= answer == self.asking.answer;
                    self.answers.add(&answer);
                }
                self.round += 1;
            }
        }
        let rounds = &self.asking.rounds;
        let at = match self.asking.endless && !rounds.is_empty() {
            true => self.round % rounds.len(),
            false => self.round,
        };
        match rounds.get(at) {
            Some(questions) => Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: questions
                    .iter()
                    .map(|(text, echo)| (Cow::Owned(text.clone()), *echo))
                    .collect(),
            },
            None if self.all_right && !rounds.is_empty() => Auth::Accept,
            None => self.asking.refuse(),
        }
    }
}

impl Asking {
    /// A method `password` that takes this one.
    pub fn for_password(password: &str) -> Self {
        Asking {
            password: Some(password.to_owned()),
            ..Asking::default()
        }
    }

    /// These rounds of questions that may not be shown, each of which wants `answer`.
    pub fn rounds(answer: &str, rounds: &[&[&str]]) -> Self {
        let questions = |round: &&[&str]| {
            let hidden = |question: &&str| ((*question).to_owned(), false);
            round.iter().map(hidden).collect()
        };
        Asking {
            rounds: rounds.iter().map(questions).collect(),
            answer: answer.to_owned(),
            ..Asking::default()
        }
    }

    /// The methods that are offered at first.
    pub(crate) fn methods(&self) -> MethodSet {
        match self.after_key {
            true => [MethodKind::PublicKey].as_slice().into(),
            false => self.all_methods(),
        }
    }

    fn all_methods(&self) -> MethodSet {
        let mut methods: MethodSet = [MethodKind::PublicKey].as_slice().into();
        if self.password.is_some() {
            methods.push(MethodKind::Password);
        }
        if !self.rounds.is_empty() {
            methods.push(MethodKind::KeyboardInteractive);
        }
        methods
    }

    /// What a key comes to that was right.
    pub(crate) fn key_was_right(&self) -> Auth {
        if !self.after_key {
            return Auth::Accept;
        }
        let mut methods = self.all_methods();
        methods.remove(MethodKind::PublicKey);
        Auth::Reject {
            proceed_with_methods: Some(methods),
            partial_success: true,
        }
    }

    /// As `sshd` refuses: everything may be tried again.
    fn refuse(&self) -> Auth {
        Auth::Reject {
            proceed_with_methods: Some(self.all_methods()),
            partial_success: false,
        }
    }
}
