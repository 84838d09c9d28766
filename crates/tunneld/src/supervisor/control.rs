//! The handle through which signals and the control socket command the supervisor.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tunneld_core::name::TunnelName;

use super::{By, Command, Request, Snapshots};
use crate::control::{Reloaded, TunnelCommand};
use crate::http::error::{ApiError, ErrorKind};

/// How long whoever asked waits for a tunnel to be done with a command. Connections that drain for
/// longer than that drain on unwatched. One that was not even heard by then is not carried out.
const COMMAND_PATIENCE: Duration = Duration::from_secs(45);

/// Commands the supervisor, and sees what it publishes.
#[derive(Clone)]
pub(crate) struct Control {
    commands: mpsc::Sender<Command>,
    /// What is to be seen.
    pub(crate) snapshots: Snapshots,
}

impl Control {
    pub(super) fn new(commands: mpsc::Sender<Command>, snapshots: Snapshots) -> Self {
        Control {
            commands,
            snapshots,
        }
    }

    /// Reads the file again, and answers with what that changes.
    pub(crate) async fn reload(&self, dry_run: bool) -> Result<Reloaded, ApiError> {
        let request = Request {
            dry_run,
            ..Request::default()
        };
        self.request(request).await
    }

    /// As [`Control::reload`], when nobody asks for it but the watch.
    pub(crate) async fn reload_by(&self, by: By) -> Result<Reloaded, ApiError> {
        let request = Request {
            by,
            ..Request::default()
        };
        self.request(request).await
    }

    async fn request(&self, request: Request) -> Result<Reloaded, ApiError> {
        let (send, receive) = oneshot::channel();
        let reply = Some(send);
        self.send(Command::Reload(Request { reply, ..request }))
            .await?;
        receive.await.map_err(|_| ApiError::stopping())?
    }

    /// Tells one tunnel.
    pub(crate) async fn command(
        &self,
        name: TunnelName,
        command: TunnelCommand,
    ) -> Result<(), ApiError> {
        self.command_within(name, command, COMMAND_PATIENCE).await
    }

    async fn command_within(
        &self,
        name: TunnelName,
        command: TunnelCommand,
        patience: Duration,
    ) -> Result<(), ApiError> {
        let (reply, receive) = oneshot::channel();
        let (heard, mut was_heard) = oneshot::channel();
        let named = name.clone();
        let done = async {
            self.send(Command::Tunnel {
                name,
                command,
                heard,
                reply,
            })
            .await?;
            receive.await.map_err(|_| ApiError::stopping())?
        };
        let Ok(answer) = tokio::time::timeout(patience, done).await else {
            // From here on the supervisor cannot hear it any more.
            was_heard.close();
            return was_heard.try_recv().map_err(|_| busy());
        };
        match answer {
            Err(e) if e.kind == ErrorKind::NoSuchTunnel => Err(ApiError::no_such_tunnel(
                named.as_str(),
                &self.snapshots.names(),
            )),
            answer => answer,
        }
    }

    /// What a signal asks for; nobody waits for an answer.
    pub(crate) async fn signal(&self, command: Command) {
        // A supervisor that has stopped needs no command.
        let _ = self.commands.send(command).await;
    }

    async fn send(&self, command: Command) -> Result<(), ApiError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| ApiError::stopping())
    }
}

fn busy() -> ApiError {
    let message = "the daemon is busy and has not heard it; try again";
    ApiError::new(ErrorKind::Busy, message)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::sync::watch;
    use tunneld_core::config::{Origin, Surroundings, load};
    use tunneld_core::plan::AtStart;

    use super::super::{Directory, Heartbeat};
    use super::*;

    fn control() -> (Control, mpsc::Receiver<Command>) {
        let (sender, commands) = mpsc::channel(1);
        let file = "[tunnels.db]\nhost = \"a\"\nuser = \"u\"\nlocal_forward = \"1:a:1\"\n";
        let origin = Origin::of_file("t.toml".as_ref());
        let config = load(file, &origin, &Surroundings::default()).unwrap();
        let snapshots = Snapshots::new(
            Path::new("t.toml"),
            Arc::new(AtStart::from(&config)),
            watch::channel(Directory::default()).1,
            watch::channel(None).1,
            Arc::new(Heartbeat::new()),
        );
        (Control::new(sender, snapshots), commands)
    }

    #[tokio::test]
    async fn a_command_that_nobody_heard_in_time_is_not_done_and_never_will_be() {
        let (control, mut commands) = control();
        let stop = || {
            let name = "db".parse().unwrap();
            let patience = Duration::from_millis(20);
            control.command_within(name, TunnelCommand::Stop, patience)
        };
        // The second finds the queue full.
        for _ in 0..2 {
            let error = stop().await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Busy);
            assert!(error.message.starts_with("the daemon is busy"), "{error:?}");
        }
        let Some(Command::Tunnel { heard, .. }) = commands.recv().await else {
            panic!("another command");
        };
        assert!(heard.send(()).is_err());
        // One that is heard is done, however long the tunnel takes for it.
        let (answer, held) = tokio::join!(stop(), async {
            let Some(Command::Tunnel { heard, reply, .. }) = commands.recv().await else {
                panic!("another command");
            };
            heard.send(()).unwrap();
            reply
        });
        answer.unwrap();
        drop(held);
    }
}
