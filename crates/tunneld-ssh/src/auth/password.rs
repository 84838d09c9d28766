//! The method `password` (RFC 4252 section 8): once, and only where the server offers it.

use std::time::Duration;

use tokio::time::sleep;
use tunneld_core::failure::{Failure, Stage};

use super::tried::Request;
use super::{Attempt, Reply};
use crate::link::Link;
use crate::shared::Shared;

/// How often to look whether the server has said something that is no answer.
const LOOK: Duration = Duration::from_millis(500);

impl Attempt<'_> {
    /// Sends the password.
    pub(super) async fn password(&mut self) -> Result<Reply, Failure> {
        let Some((with, password)) = self.password_for("password").await else {
            return Ok(Reply::Skipped);
        };
        let unanswered = self.unanswered(&with);
        let connection = &mut self.connection;
        let (shared, link) = (connection.shared, connection.link);
        shared.waits_for(format!("no answer to {with}"));
        let user = &connection.target.user;
        // russh wipes its copy.
        let asked = connection
            .handle
            .authenticate_password(user, password.as_str());
        let result = tokio::select! {
            result = asked => result,
            never = tell_of_another_message(link, shared, unanswered) => match never {},
        };
        let request = Request {
            method: "password",
            with: &with,
            is_password: true,
        };
        let reply = self.reply(result, &request).await?;
        match &reply {
            Reply::Partial(_) => self.tried.accepted_password(with),
            Reply::Refused(_) => self.tried.refused_password(),
            _ => {}
        }
        Ok(reply)
    }

    /// What is wrong where the server has said something, and no answer comes.
    fn unanswered(&self, with: &str) -> Failure {
        let target = self.connection.target;
        let cause = format!(
            "the server said something, and neither accepted nor rejected {with}: it wants a new \
             one, or takes long to check it"
        );
        Failure::blocked(Stage::Authenticate, cause).with_hint(format!(
            "see what ssh -p {} {}@{} says: a password that has expired is changed there, and the \
             new one written to the credential; for a slow server raise connect_timeout",
            target.port, target.user, target.host
        ))
    }
}

/// Once the server has sent something that is neither an answer nor a banner, the attempt ends with
/// this failure, if it ends without an answer. It may be SSH_MSG_USERAUTH_PASSWD_CHANGEREQ, which
/// russh takes in silence, and after which nothing comes; or any message that means nothing.
async fn tell_of_another_message(
    link: &Link,
    shared: &Shared,
    failure: Failure,
) -> std::convert::Infallible {
    let seen = || (link.received(), shared.banners());
    let mut before = seen();
    loop {
        sleep(LOOK).await;
        let now = seen();
        if now.1 == before.1 && now.0 != before.0 {
            shared.ends_with(failure);
            return std::future::pending().await;
        }
        before = now;
    }
}
