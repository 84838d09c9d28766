//! The daemon beside the test, as far as whoever tests can tell: whose it is, and what it holds.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use tokio::sync::OnceCell;
use tunneld_core::config::{ForwardSpec, TunnelSpec, host_port};
use tunneld_core::failure::Stage;
use tunneld_core::status::{DaemonStatus, ForwardStatus};
use tunneld_ssh::error::os_reason;

use crate::account::Account;
use crate::control::client::{ClientError, ask, listener_uid};

/// How long the daemon may take to say how its tunnels are.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon that the file is for, whether it runs or not.
pub(super) struct Daemon {
    socket: PathBuf,
    uid: u32,
    /// What it has said when it was asked first.
    said: OnceCell<Answer>,
}

/// What the daemon says of its tunnels.
enum Answer {
    Status(Box<DaemonStatus>),
    /// None runs.
    Nobody,
    /// This user may not ask it.
    Denied,
    /// Its answer is none, and why.
    Unclear(String),
}

/// Whether the daemon has a place at the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    /// As this user of the server, who is not the one that it is tried as.
    As(String),
    No,
    /// What to know and to do about it.
    Unknown(String),
}

impl Daemon {
    /// The daemon whose control socket this is, and whose file.
    pub(super) fn find(socket: PathBuf, config: &Path) -> Self {
        Daemon {
            uid: owner(&socket, config),
            socket,
            said: OnceCell::new(),
        }
    }

    /// The user that it runs as.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it runs as whoever tests.
    pub(super) fn is_ours(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// Whether it has the place of a remote forward. It is asked once for all of them.
    pub(super) async fn holds(&self, spec: &TunnelSpec, forward: &ForwardSpec) -> Holds {
        self.said().await.holds(spec, forward)
    }

    /// As [`Daemon::holds`], once the server has refused the place: the daemon may have come first.
    pub(super) async fn holds_now(&self, spec: &TunnelSpec, forward: &ForwardSpec) -> Holds {
        match self.said().await {
            Answer::Status(_) | Answer::Nobody => self.ask().await.holds(spec, forward),
            // One that does not answer is not waited for again.
            silent @ (Answer::Denied | Answer::Unclear(_)) => silent.holds(spec, forward),
        }
    }

    async fn said(&self) -> &Answer {
        self.said.get_or_init(|| self.ask()).await
    }

    async fn ask(&self) -> Answer {
        let asked = ask::<DaemonStatus>(&self.socket, Method::GET, "/v1/status");
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => Answer::Status(Box::new(status)),
            Ok(Err(ClientError::Unreachable { e, .. })) => match e.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => Answer::Nobody,
                ErrorKind::PermissionDenied => Answer::Denied,
                _ => Answer::Unclear(os_reason(&e)),
            },
            Ok(Err(e)) => Answer::Unclear(e.to_string()),
            Err(_) => Answer::Unclear(format!("no answer in {}s", PATIENCE.as_secs())),
        }
    }
}

impl Answer {
    fn holds(&self, spec: &TunnelSpec, forward: &ForwardSpec) -> Holds {
        let status = match self {
            Answer::Status(status) => status,
            Answer::Nobody => return Holds::No,
            Answer::Denied => {
                let said = "the running daemon may have it, and does not tell this user: join its \
                            group (`tunneld`), or use sudo";
                return Holds::Unknown(said.to_owned());
            }
            Answer::Unclear(why) => {
                return Holds::Unknown(format!(
                    "the running daemon may have it, and cannot be asked: {why}"
                ));
            }
        };
        let target = &spec.target;
        let place = host_port(&target.host, target.port);
        let listen = forward.listen_text();
        let theirs = status.tunnels.iter().find_map(|t| {
            let (user, at) = t.destination.rsplit_once('@')?;
            let is_up = t.phase.has_session();
            let has = |f: &ForwardStatus| f.kind == "remote" && f.listen == listen && in_place(f);
            let holds = t.name == spec.name && at == place && is_up && t.forwards.iter().any(has);
            holds.then_some(user)
        });
        match theirs {
            Some(user) if user == target.user => Holds::Yes,
            Some(user) => Holds::As(user.to_owned()),
            None => Holds::No,
        }
    }
}

/// A forward whose probe fails listens all the same.
fn in_place(forward: &ForwardStatus) -> bool {
    let failure = forward.failure.as_ref();
    failure.is_none_or(|failure| failure.stage == Stage::Probe)
}

/// Who the daemon runs as: whoever listens on its socket, or has left it
/// behind. Where there is no socket, the owner of the file, but root writes files for the service
/// of the package, where that is installed.
pub(in crate::cli) fn owner(socket: &Path, config: &Path) -> u32 {
    if let Some(uid) = listener_uid(socket) {
        return uid;
    }
    let left = match std::fs::symlink_metadata(socket) {
        // The folder is closed to us, and made for the daemon.
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            socket.parent().and_then(|folder| folder.metadata().ok())
        }
        found => found.ok(),
    };
    let written = || config.metadata().ok().map(|of| of.uid());
    let service = || Account::of_service().map(|account| account.uid);
    let left = left.map(|of| of.uid());
    left.or_else(|| written().filter(|uid| *uid != 0))
        .or_else(service)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixListener;
    use tunneld_core::config::{Origin, Surroundings, load};

    fn spec() -> TunnelSpec {
        let text = "[tunnels.t]\nhost = \"h\"\nuser = \"u\"\nremote_forward = \"1:a:1\"\n";
        let origin = Origin::of_file("/t.toml".as_ref());
        let config = load(text, &origin, &Surroundings::default()).unwrap();
        config.tunnels.into_values().next().unwrap()
    }

    #[tokio::test]
    async fn a_daemon_that_makes_no_sense_is_asked_once_and_told_for_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            let mut asked = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                asked += 1;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
                    .await;
                if asked == 2 {
                    break;
                }
            }
        });
        let (daemon, spec) = (Daemon::find(socket, dir.path()), spec());
        for _ in 0..2 {
            let holds = daemon.holds_now(&spec, &spec.forwards[0]).await;
            let Holds::Unknown(said) = holds else {
                panic!("{holds:?}");
            };
            let begins = "the running daemon may have it, and cannot be asked: the daemon's answer";
            assert!(said.starts_with(begins), "{said}");
        }
        serving.await.unwrap();
    }
}
