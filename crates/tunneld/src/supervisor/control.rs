//! The handle through which signals and the control socket command the supervisor.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tunneld_core::name::TunnelName;

use super::{Command, Snapshots};
use crate::control::{Reloaded, TunnelCommand};
use crate::http::error::{ApiError, ErrorKind};

/// How long whoever asked waits for a tunnel to be done with a command. Connections that drain for
/// longer than that drain on unwatched.
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
        let (send, receive) = oneshot::channel();
        let reply = Some(send);
        self.send(Command::Reload { dry_run, reply }).await?;
        receive.await.map_err(|_| stopping())?
    }

    /// Tells one tunnel.
    pub(crate) async fn command(
        &self,
        name: TunnelName,
        command: TunnelCommand,
    ) -> Result<(), ApiError> {
        let (reply, receive) = oneshot::channel();
        let named = name.clone();
        self.send(Command::Tunnel {
            name,
            command,
            reply,
        })
        .await?;
        let Ok(answer) = tokio::time::timeout(COMMAND_PATIENCE, receive).await else {
            return Ok(());
        };
        match answer {
            Ok(Err(e)) if e.kind == ErrorKind::NoSuchTunnel => Err(ApiError::no_such_tunnel(
                named.as_str(),
                &self.snapshots.names(),
            )),
            Ok(answer) => answer,
            Err(_) => Err(stopping()),
        }
    }

    /// What a signal asks for; nobody waits for an answer.
    pub(crate) async fn signal(&self, command: Command) {
        // A supervisor that has stopped needs no command.
        let _ = self.commands.send(command).await;
    }

    async fn send(&self, command: Command) -> Result<(), ApiError> {
        self.commands.send(command).await.map_err(|_| stopping())
    }
}

fn stopping() -> ApiError {
    ApiError::new(ErrorKind::Stopping, "the daemon is stopping")
}
