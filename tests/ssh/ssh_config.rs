//! Tunnels that are described in a file of ssh: `ssh_config`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tunneld_core::failure::Stage;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::program::RELAY;
use crate::support::{LONG, NEVER, daemon, fails, up};
use crate::ways::logins;

/// A file of ssh, and the tunnel `t` whose host is its entry `db`.
struct Described {
    dir: TempDir,
    echo: EchoServer,
    listen: SocketAddr,
}

impl Described {
    fn new(entries: &str) -> Self {
        let described = Described {
            dir: tempfile::tempdir().unwrap(),
            echo: EchoServer::start(),
            listen: free_addr(),
        };
        described.write(entries);
        described
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn write(&self, entries: &str) {
        fs::write(self.file(), entries).unwrap();
    }

    fn config(&self) -> String {
        format!(
            "[tunnels.t]\nhost = \"db\"\nssh_config = {:?}\nreconnect = {NEVER}\n\
             local_forward = \"{}:{}\"\n",
            self.file(),
            self.listen,
            self.echo.addr()
        )
    }

    fn start(&self) -> Daemon {
        daemon().config(&self.config()).start()
    }
}

/// What `ssh` needs to be told about a server, under a name.
fn entry(name: &str, sshd: &Sshd) -> String {
    format!(
        "Host {name}\n  HostName {}\n  Port {}\n  User {}\n  IdentityFile {}\n  \
         UserKnownHostsFile {}\n",
        sshd.host(),
        sshd.port(),
        sshd.user(),
        sshd.client_key().display(),
        sshd.known_hosts().display(),
    )
}

#[test]
fn a_tunnel_is_what_the_entry_of_its_host_says() {
    // Where, as whom, with which key and known_hosts, and over which jump host: ssh_config alone.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    let gate = entry("gate", &bastion);
    let described = Described::new(&format!("{}  ProxyJump gate\n{gate}", entry("db", &sshd)));
    let daemon = described.start();
    let status = up(&daemon, "t");
    echoes(described.listen).unwrap();
    let way = format!("{} over {}", sshd.addr(), bastion.addr());
    assert_eq!(status.session.unwrap().peer, way);
    logins(&bastion, 1);
    logins(&sshd, 1);
    // And ssh itself takes the same way with the same file.
    let mut ssh = Command::new("ssh");
    let file = described.file();
    ssh.arg("-F")
        .arg(file)
        .args(["-o", "BatchMode=yes", "db", "true"]);
    assert!(ssh.stdin(Stdio::null()).status().unwrap().success());
    logins(&bastion, 2);
    logins(&sshd, 2);
}

#[test]
fn a_command_of_the_entry_makes_the_connection() {
    // With the address that HostName and Port say, and not the name of the entry.
    let sshd = Sshd::start();
    let entry = entry("db", &sshd);
    let described = Described::new(&format!(
        "{entry}  ProxyCommand {} # %n of %r, 100%%\n",
        RELAY.0
    ));
    let daemon = described.start();
    up(&daemon, "t");
    echoes(described.listen).unwrap();
    logins(&sshd, 1);
}

#[test]
fn a_host_key_is_looked_up_by_the_alias_of_the_entry() {
    // The file knows the key by that name alone; without the alias the host is unknown.
    let sshd = Sshd::start();
    let keys = sshd.known_hosts_lines();
    let alias = |line: &str| format!("farm {}\n", line.split_once(' ').unwrap().1);
    fs::write(
        sshd.known_hosts(),
        keys.lines().map(alias).collect::<String>(),
    )
    .unwrap();
    let described = Described::new(&entry("db", &sshd));
    let daemon = described.start();
    let failure = fails(&daemon, "t", "unknown host");
    assert_eq!(failure.stage, Stage::HostKey);
    described.write(&format!("{}  HostKeyAlias farm\n", entry("db", &sshd)));
    let reloaded = String::from_utf8(daemon.reload().stdout).unwrap();
    assert!(
        reloaded.contains("host_key_alias  none → farm"),
        "{reloaded}"
    );
    up(&daemon, "t");
    echoes(described.listen).unwrap();
}

#[test]
fn a_reload_follows_the_file_of_ssh() {
    // Another server in it replaces the session; a mistake in it changes nothing.
    let (one, two) = (Sshd::start(), Sshd::start());
    let described = Described::new(&entry("db", &one));
    let daemon = described.start();
    up(&daemon, "t");
    described.write("Host db\n  CheckHostIP yes\n");
    let refused = daemon.reload();
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8(refused.stderr).unwrap();
    let place = format!("{}:2:15", described.file().display());
    assert!(
        said.contains(&place) && said.contains("CheckHostIP"),
        "{said}"
    );
    echoes(described.listen).unwrap();
    described.write(&entry("db", &two));
    let reloaded = daemon.reload();
    let said = String::from_utf8(reloaded.stdout).unwrap();
    let ports = format!("port           {} → {}", one.port(), two.port());
    assert!(said.contains(&ports), "{said}");
    let peer = two.addr().to_string();
    daemon.wait_for("t", LONG, |t| {
        t.session
            .as_ref()
            .is_some_and(|session| session.peer == peer)
    });
    echoes(described.listen).unwrap();
    logins(&one, 1);
    logins(&two, 1);
}
