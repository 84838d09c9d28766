//! The method `password` (RFC 4252 section 8): once, and only where the server offers it.

use std::time::Duration;

use tokio::time::sleep;
use tunneld_core::failure::{Failure, Stage};

use super::{Attempt, Reply};
use crate::credential;
use crate::link::Link;
use crate::shared::Shared;

/// How often to look whether the server has said something that is no answer.
const LOOK: Duration = Duration::from_millis(500);

/// For how long it has to be silent after that.
const SILENCE: Duration = Duration::from_secs(2);

impl Attempt<'_> {
    /// Sends the password.
    pub(super) async fn password(&mut self) -> Result<Reply, Failure> {
        let Some(credential) = self.connection.target.password_credential.as_ref() else {
            return Ok(Reply::Skipped);
        };
        let Some(password) = self.secret("password", &credential.value).await else {
            return Ok(Reply::Skipped);
        };
        let name = credential::name(&credential.value);
        let connection = &mut self.connection;
        let (shared, link) = (connection.shared, connection.link);
        shared.waits_for(format!("no answer to the password of {name}"));
        let user = &connection.target.user;
        // russh wipes its copy.
        let asked = connection
            .handle
            .authenticate_password(user, password.as_str());
        let result = tokio::select! {
            result = asked => result,
            () = another_message(link, shared) => return Err(self.wants_another(&name)),
        };
        let reply = self
            .reply(result, "password", &format!("the password of {name}"))
            .await?;
        match &reply {
            Reply::Partial(_) => self.tried.accepted(format!("the password of {name}")),
            Reply::Refused(_) => self.tried.refused_password(),
            _ => {}
        }
        Ok(reply)
    }

    fn wants_another(&self, name: &str) -> Failure {
        let target = self.connection.target;
        let cause = format!(
            "server neither accepted nor rejected the password of {name}: it likely wants a new one"
        );
        Failure::blocked(Stage::Authenticate, cause).with_hint(format!(
            "log in with ssh -p {} {}@{} to change it, and write the new one to the credential",
            target.port, target.user, target.host
        ))
    }
}

/// Returns when the server has sent something that was neither an answer nor a banner, and then
/// nothing more: SSH_MSG_USERAUTH_PASSWD_CHANGEREQ, which russh takes in silence.
async fn another_message(link: &Link, shared: &Shared) {
    let seen = || (link.received(), shared.banners());
    let mut before = seen();
    loop {
        sleep(LOOK).await;
        let now = seen();
        if now.1 != before.1 {
            before = now;
        } else if now.0 != before.0 && link.last_heard().elapsed() >= SILENCE {
            return;
        }
    }
}
