//! Somebody who has the key of a tunnel, and the real ssh.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use tunneld_lab::process::{LineLog, Signal, poll, printed, signal};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::unix;

use crate::places::Folder;
use crate::support::LONG;

pub(crate) struct Intruder<'a> {
    sshd: &'a Sshd,
    dir: TempDir,
}

/// A process that is killed when the test is through with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> Intruder<'a> {
    pub(crate) fn at(sshd: &'a Sshd) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Intruder { sshd, dir }
    }

    fn ssh(&self, args: &[&str]) -> Command {
        let mut command = self.sshd.ssh_command();
        // The exchange that ssh prefers takes half of the time of such a test.
        command.args(["-o", "KexAlgorithms=curve25519-sha256"]);
        command.env_remove("SSH_AUTH_SOCK").args(args);
        command
    }

    /// Runs ssh to its end.
    pub(crate) fn runs(&self, args: &[&str]) -> Output {
        self.ssh(args).output().unwrap()
    }

    /// Asks for X11 and for its agent to be forwarded, and tells what ssh says of it.
    pub(crate) fn asks_for_x11_and_agent(&self) -> String {
        let socket = self.dir.path().join("agent.sock");
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a"]).arg(&socket);
        let _agent = Running(agent.stdout(Stdio::null()).spawn().unwrap());
        poll(LONG, || socket.exists().then_some(())).expect("no agent");
        let mut command = self.ssh(&["-v", "-A", "-Y", "id"]);
        command.env("SSH_AUTH_SOCK", socket).env("DISPLAY", ":99");
        printed(&command.output().unwrap())
    }

    /// What the place says that the server is asked to connect to.
    fn opens(&self, place: &str) -> Output {
        self.runs(&["-W", place])
    }

    /// The place answers with its name through the server.
    #[track_caller]
    pub(crate) fn reaches(&self, place: &str, name: &str) {
        let output = self.opens(place);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            name,
            "{}",
            printed(&output)
        );
    }

    /// The server does not even try to connect to the place.
    #[track_caller]
    pub(crate) fn cannot_open(&self, place: &str) {
        let output = self.opens(place);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("administratively prohibited"),
            "{place}: {said}"
        );
        assert!(
            output.stdout.is_empty() && !output.status.success(),
            "{place}: {said}"
        );
    }

    /// The server may try, and gets nowhere.
    #[track_caller]
    pub(crate) fn finds_nobody(&self, place: &str) {
        let said = printed(&self.opens(place));
        assert!(said.contains("open failed"), "{place}: {said}");
    }

    /// What comes from a unix socket of the server's.
    fn socket(&self, path: &Path) -> Vec<u8> {
        let here = self.dir.path().join("here.sock");
        let _ = fs::remove_file(&here);
        let forward = format!(
            "{}:{}",
            here.display(),
            path.display().to_string().replace(' ', "\\ ")
        );
        let _running = Running(
            self.ssh(&["-N", "-L", &forward])
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let mut client = poll(LONG, || unix::try_connect(&here).ok()).expect("ssh does not listen");
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said);
        said
    }

    /// A unix socket answers with its name through the server.
    #[track_caller]
    pub(crate) fn reaches_socket(&self, path: &Path, name: &str) {
        assert_eq!(self.socket(path), name.as_bytes());
    }

    /// Nothing comes from a unix socket that would answer, and the server says why.
    #[track_caller]
    pub(crate) fn cannot_open_socket(&self, path: &Path) {
        assert!(self.socket(path).is_empty(), "{}", path.display());
    }

    /// Whether the server listens where it is asked to: `-R`.
    fn listens(&self, forward: &str) -> bool {
        let args = ["-v", "-o", "ExitOnForwardFailure=yes", "-N", "-R", forward];
        let mut command = self.ssh(&args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut running = Running(child.unwrap());
        let log = LineLog::default();
        log.follow(running.0.stderr.take().unwrap());
        let found = log.wait_from(0, LONG, |lines| {
            let has = |part: &str| lines.iter().any(|line| line.contains(part));
            match (has("remote forward success"), has("forwarding failed")) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            }
        });
        // In good order, so that the server frees the place before the next is asked for.
        signal(running.0.id(), Signal::TERM);
        found.unwrap_or_else(|| panic!("{forward}: {}", log.text()))
    }

    #[track_caller]
    pub(crate) fn may_listen(&self, forward: &str) {
        assert!(self.listens(forward), "{forward} is refused");
    }

    #[track_caller]
    pub(crate) fn cannot_listen(&self, forward: &str) {
        assert!(!self.listens(forward), "{forward} is listened on");
    }

    /// No unix socket is made.
    #[track_caller]
    pub(crate) fn cannot_make_sockets(&self) {
        let folder = Folder::new();
        let path = folder.at("made.sock");
        self.cannot_listen(&format!("{}:localhost:22", path.display()));
        assert!(!path.exists());
    }

    /// No command, no shell, no terminal, no file transfer.
    #[track_caller]
    pub(crate) fn runs_nothing(&self) {
        let file = self.dir.path().join("ran");
        let touch = format!("touch {}", file.display());
        for args in [
            &[touch.as_str()][..],
            &["-tt", &touch],
            &["-tt"],
            &["-s", "sftp"],
        ] {
            let output = self.runs(args);
            assert!(!output.status.success(), "{args:?}: {}", printed(&output));
        }
        assert!(!file.exists(), "a command was run");
    }
}
