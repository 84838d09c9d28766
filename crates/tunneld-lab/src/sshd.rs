//! The real OpenSSH server, with throw-away keys, on an address of its own.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::keys::{KeyFiles, KeyType, cached, ssh_keygen};
use crate::process::{LineLog, Signal, children, descendants, freeze_tree, kill_tree};
use crate::process::{prefixed, run, signal};
use crate::target::{free_ip, free_port};

/// Where distributions put the server.
pub const SSHD: &str = "/usr/sbin/sshd";

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What an [`Sshd`] shall be like.
pub struct SshdBuilder {
    program: PathBuf,
    config: String,
    host_keys: Vec<KeyType>,
    client_key: KeyType,
    key_options: String,
    listen: Option<IpAddr>,
    port: Option<u16>,
    log_level: String,
    prefix: Vec<String>,
}

impl SshdBuilder {
    /// Adds lines of sshd_config(5); they win over the harness's own.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// The host keys; one Ed25519 key unless told.
    #[must_use]
    pub fn host_keys(mut self, kinds: &[KeyType]) -> Self {
        self.host_keys = kinds.to_vec();
        self
    }

    /// The type of the key that may log in; Ed25519 unless told.
    #[must_use]
    pub fn client_key(mut self, kind: KeyType) -> Self {
        self.client_key = kind;
        self
    }

    /// Options in front of the key in authorized_keys: `restrict,port-forwarding`.
    #[must_use]
    pub fn key_options(mut self, options: &str) -> Self {
        self.key_options = format!("{options} ");
        self
    }

    /// The address to listen on; a loopback address of its own unless told.
    #[must_use]
    pub fn listen(mut self, ip: IpAddr) -> Self {
        self.listen = Some(ip);
        self
    }

    /// The port; a free one unless told. Needed where `prefix` leads to another network namespace.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// `LogLevel`; `VERBOSE` unless told. [`Sshd::start`] needs `INFO` at the least.
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Runs the server below another command: `ip netns exec B`.
    #[must_use]
    pub fn prefix(mut self, words: &[String]) -> Self {
        self.prefix = words.to_vec();
        self
    }

    /// Another program than [`SSHD`].
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Makes the keys, starts the server, and returns once it listens.
    ///
    /// # Panics
    /// When OpenSSH's server is not installed, or does not come up.
    pub fn start(self) -> Sshd {
        assert!(
            self.program.exists(),
            "no {}: install openssh-server (apt-get install openssh-server)",
            self.program.display()
        );
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let at = dir.path();
        let ip = self.listen.unwrap_or_else(|| free_ip().into());
        let port = self.port.unwrap_or_else(|| free_port(ip));
        let client_key = cached(self.client_key, at, "client_key", "client");
        let host_keys = host_keys(&self.host_keys, at);
        let authorized = format!("{}{}\n", self.key_options, client_key.public_line());
        fs::write(at.join("authorized_keys"), authorized).unwrap();
        fs::write(at.join("sshd_config"), sshd_config(&self, at, ip, port)).unwrap();
        make_run_sshd();
        let mut sshd = Sshd {
            addr: SocketAddr::new(ip, port),
            user: run(Command::new("id").arg("-un")).trim().to_owned(),
            program: self.program,
            prefix: self.prefix,
            client_key,
            host_keys,
            log: LineLog::default(),
            child: None,
            dir,
        };
        sshd.trust_current_host_keys();
        sshd.start_again();
        sshd
    }
}

fn host_keys(kinds: &[KeyType], dir: &Path) -> Vec<KeyFiles> {
    let make = |kind: &KeyType| cached(*kind, dir, &host_key_name(*kind), "host");
    kinds.iter().map(make).collect()
}

fn host_key_name(kind: KeyType) -> String {
    format!("host_{}", kind.as_str())
}

fn sshd_config(builder: &SshdBuilder, dir: &Path, ip: IpAddr, port: u16) -> String {
    let dir = dir.display();
    // The first value of a keyword is the one that counts.
    let mut text = format!("{}ListenAddress {ip}\nPort {port}\n", builder.config);
    for kind in &builder.host_keys {
        text.push_str(&format!("HostKey {dir}/{}\n", host_key_name(*kind)));
    }
    text.push_str(&format!(
        "AuthorizedKeysFile {dir}/authorized_keys\nLogLevel {}\n",
        builder.log_level
    ));
    text.push_str(
        "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n\
         PubkeyAuthentication yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         AllowTcpForwarding yes\nAllowStreamLocalForwarding yes\nX11Forwarding no\n\
         PrintMotd no\nUseDNS no\nMaxStartups 1000\nMaxAuthTries 20\nLoginGraceTime 120\n",
    );
    if openssh_version() >= (9, 8) {
        // Else a test of rejected keys has the next test's connections refused.
        text.push_str("PerSourcePenalties no\n");
    }
    text
}

/// The version of the installed OpenSSH.
pub fn openssh_version() -> (u32, u32) {
    let output = Command::new("ssh").arg("-V").output();
    let output = output.expect("no ssh: install openssh-client (apt-get install openssh-client)");
    let text = crate::process::printed(&output);
    let numbers = text.trim_start_matches("OpenSSH_");
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (next(), next())
}

fn make_run_sshd() {
    // Where the server drops its privileges to; a package's unit makes it, a container has none.
    let dir = Path::new("/run/sshd");
    if rustix::process::geteuid().is_root() && !dir.exists() {
        fs::create_dir_all(dir).expect("cannot make /run/sshd");
    }
}

/// A running OpenSSH server. Dropped, it is killed with all its sessions.
pub struct Sshd {
    addr: SocketAddr,
    user: String,
    program: PathBuf,
    prefix: Vec<String>,
    client_key: KeyFiles,
    host_keys: Vec<KeyFiles>,
    log: LineLog,
    child: Option<Child>,
    dir: TempDir,
}

impl Sshd {
    /// A server as it is unless the builder is told otherwise.
    pub fn start() -> Sshd {
        Self::builder().start()
    }

    /// A server to be described.
    pub fn builder() -> SshdBuilder {
        SshdBuilder {
            program: SSHD.into(),
            config: String::new(),
            host_keys: vec![KeyType::Ed25519],
            client_key: KeyType::Ed25519,
            key_options: String::new(),
            listen: None,
            port: None,
            log_level: "VERBOSE".to_owned(),
            prefix: Vec::new(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address without the port.
    pub fn host(&self) -> String {
        self.addr.ip().to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Who may log in: the user that runs the test.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that may log in.
    pub fn client_key(&self) -> &Path {
        &self.client_key.private
    }

    /// Both files of the key that may log in.
    pub fn client_key_files(&self) -> &KeyFiles {
        &self.client_key
    }

    /// A known_hosts file with the host keys that the server had at its start.
    pub fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }

    /// The server's authorized_keys, read afresh at every login.
    pub fn authorized_keys(&self) -> PathBuf {
        self.path("authorized_keys")
    }

    /// The server's folder, for more files that shall go when it goes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The host keys that it has now.
    pub fn host_keys(&self) -> &[KeyFiles] {
        &self.host_keys
    }

    /// The lines of known_hosts for the host keys that it has now.
    pub fn known_hosts_lines(&self) -> String {
        let line = |key: &KeyFiles| known_hosts_line(self.addr, &key.public_line());
        self.host_keys.iter().map(line).collect()
    }

    /// Puts the host keys that it has now into [`Sshd::known_hosts`].
    pub fn trust_current_host_keys(&self) {
        fs::write(self.known_hosts(), self.known_hosts_lines()).unwrap();
    }

    /// Lets one more key log in.
    pub fn authorize(&self, public_line: &str) {
        let path = self.authorized_keys();
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{old}{public_line}\n")).unwrap();
    }

    /// Gives the key that may log in these options, and no other key may.
    pub fn set_key_options(&self, options: &str) {
        let line = format!("{options} {}\n", self.client_key.public_line());
        fs::write(self.authorized_keys(), line).unwrap();
    }

    /// Lets no key log in.
    pub fn authorize_nobody(&self) {
        fs::write(self.authorized_keys(), "").unwrap();
    }

    /// What it has logged since its first start.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a line of its log.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn wait_for_log(&self, part: &str, timeout: Duration) -> String {
        self.log
            .wait_for_line(0, part, timeout)
            .unwrap_or_else(|| panic!("sshd did not log {part:?}:\n{}", self.log()))
    }

    /// How many logins with a key it has seen since its first start.
    pub fn connections_authenticated(&self) -> usize {
        self.log.count("Accepted publickey for ")
    }

    /// A command that logs in with the real client: add `-N -L …` or what to run.
    pub fn ssh_command(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                self.known_hosts().display()
            ))
            .args([
                "-o",
                "GlobalKnownHostsFile=none",
                "-o",
                "StrictHostKeyChecking=yes",
            ])
            .arg("-i")
            .arg(self.client_key())
            .args(["-p", &self.port().to_string()])
            .arg(format!("{}@{}", self.user, self.addr.ip()))
            .stdin(Stdio::null());
        command
    }

    fn start_again(&mut self) {
        let mark = self.log.mark();
        let mut child = prefixed(&self.prefix, &self.program)
            .args(["-D", "-e", "-f"])
            .arg(self.path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("cannot run sshd");
        self.log.follow(child.stderr.take().unwrap());
        self.child = Some(child);
        // Written after listen(2): connecting to find out would show in the log of logins.
        let listening = format!(
            "Server listening on {} port {}",
            self.addr.ip(),
            self.port()
        );
        let seen = self.log.wait_for_line(mark, &listening, START_TIMEOUT);
        assert!(seen.is_some(), "sshd did not start:\n{}", self.log());
    }

    /// Kills the listener and every session at once. The kernel closes their sockets: an idle peer
    /// sees the end of the connection, and new ones are refused.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Not the process group: the sessions have left it.
            kill_tree(child.id());
            let _ = child.wait();
        }
    }

    /// Kills the sessions and leaves the listener: existing connections end, new ones are served.
    pub fn kill_sessions(&self) {
        if let Some(child) = &self.child {
            descendants(child.id()).into_iter().for_each(kill_tree);
        }
    }

    /// The process of each connection that it has, in the order in which they came.
    pub fn sessions(&self) -> Vec<u32> {
        let child = self.child.as_ref();
        let mut sessions = child.map(|child| children(child.id())).unwrap_or_default();
        sessions.sort_unstable();
        sessions
    }

    /// [`Sshd::kill9`], and the same server again: same address, same keys.
    pub fn restart(&mut self) {
        self.kill9();
        self.start_again();
    }

    /// As [`Sshd::restart`], with these lines of sshd_config(5) before all that it had.
    pub fn restart_with(&mut self, lines: &str) {
        self.kill9();
        let path = self.path("sshd_config");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{lines}\n{old}")).unwrap();
        self.start_again();
    }

    /// As [`Sshd::restart`], with these lines of sshd_config(5) behind all that it had: a `Match`
    /// block reaches to the end of the file.
    pub fn restart_with_block(&mut self, lines: &str) {
        self.kill9();
        let path = self.path("sshd_config");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{old}\n{lines}")).unwrap();
        self.start_again();
    }

    /// What holds for its user, each line a keyword in lower case and its value: `sshd -T -C`.
    pub fn effective(&self) -> String {
        let who = format!("user={},host=localhost,addr=127.0.0.1", self.user);
        let mut command = Command::new(&self.program);
        command.args(["-T", "-C", &who, "-f"]);
        run(command.arg(self.path("sshd_config")))
    }

    /// As [`Sshd::restart`], with other host keys. [`Sshd::known_hosts`] keeps the old ones.
    pub fn restart_with_new_host_key(&mut self) {
        self.kill9();
        for key in &self.host_keys {
            let name = key.private.file_name().unwrap().to_str().unwrap();
            let kind = [KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa]
                .into_iter()
                .find(|kind| host_key_name(*kind) == name);
            fs::remove_file(&key.private).unwrap();
            fs::remove_file(&key.public).unwrap();
            ssh_keygen(kind.unwrap(), self.dir.path(), name, "", &[]);
        }
        self.start_again();
    }

    /// Stops the listener and every session where they stand: connections stay open, and the
    /// kernel still accepts new ones, but nothing answers.
    pub fn freeze(&self) {
        if let Some(child) = &self.child {
            freeze_tree(child.id());
        }
    }

    /// Lets everything that [`Sshd::freeze`] stopped go on.
    pub fn thaw(&self) {
        if let Some(child) = &self.child {
            for pid in descendants(child.id()) {
                signal(pid, Signal::CONT);
            }
            signal(child.id(), Signal::CONT);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A line of known_hosts: `[127.0.0.1]:2222 ssh-ed25519 …`.
pub(crate) fn known_hosts_line(addr: SocketAddr, public: &str) -> String {
    match addr.port() {
        22 => format!("{} {public}\n", addr.ip()),
        port => format!("[{}]:{port} {public}\n", addr.ip()),
    }
}
