//! `tunneld explain`: the ssh command that it prints does the same as the tunnel, with the real ssh.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{LineLog, kill_tree, poll, printed};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_low_port};

use crate::asking::{Protocol, ask};
use crate::places::{Echo, Folder, Place};
use crate::program::RELAY;
use crate::support::{LONG, Table, exchange, text};

/// What is printed for the only tunnel of a file.
fn explained(config: &str) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("tunneld.toml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld")));
    command.args(["explain", "t", "--config"]).arg(&path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The last command of a page: the whole one.
fn command(page: &str) -> String {
    let start = page.rfind("\n    ssh -N").expect("no command");
    let lines = page[start + 1..].lines();
    let ends = |line: &&str| !line.ends_with('\\');
    let more = lines.clone().take_while(|line| !ends(line));
    let last = lines.clone().find(ends).unwrap();
    let all: Vec<&str> = more.chain([last]).collect();
    all.join("\n")
}

/// The command of a table, as a person would paste it. Dropped, it is killed.
struct Pasted {
    shell: Child,
    log: LineLog,
}

impl Pasted {
    fn new(table: &Table) -> Self {
        let command = command(&explained(&table.toml()));
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env_remove("SSH_AUTH_SOCK");
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        let shell = shell.stderr(Stdio::piped()).process_group(0);
        let mut shell = shell.spawn().unwrap();
        let log = LineLog::default();
        log.follow(shell.stderr.take().unwrap());
        Pasted { shell, log }
    }

    /// Waits until somebody listens there.
    #[track_caller]
    fn listens(&self, place: &Place) {
        let there = poll(LONG, || place.try_connect().ok());
        assert!(
            there.is_some(),
            "nobody listens at {place}: {}",
            self.log.text()
        );
    }

    #[track_caller]
    fn echoes(&self, addr: SocketAddr) {
        self.listens(&Place::Tcp(addr));
        echoes(addr).unwrap_or_else(|e| panic!("{addr}: {e}: {}", self.log.text()));
    }
}

impl Drop for Pasted {
    fn drop(&mut self) {
        kill_tree(self.shell.id());
        let _ = self.shell.wait();
    }
}

#[test]
fn the_command_for_a_local_forward_carries_bytes() {
    // On one address, on localhost, and to a name.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let (one, port) = (free_addr(), free_low_port());
    let ssh = Pasted::new(
        &Table::to(&sshd)
            .set("compression", true)
            .set("rekey_limit", "\"1G 1h\"")
            .forward(one, echo.addr())
            .forward(port, echo.addr()),
    );
    ssh.echoes(one);
    ssh.echoes(([127, 0, 0, 1], port).into());
}

#[test]
fn the_command_for_a_remote_forward_carries_bytes() {
    // At loopback, and at every address where the server allows it.
    let sshd = Sshd::builder()
        .config("GatewayPorts clientspecified")
        .start();
    let echo = EchoServer::start();
    let (loopback, every) = (free_low_port(), free_low_port());
    let ssh = Pasted::new(
        &Table::to(&sshd)
            .remote(loopback, echo.addr())
            .remote(format!("*:{every}"), echo.addr()),
    );
    ssh.echoes(([127, 0, 0, 1], loopback).into());
    ssh.echoes(([127, 9, 9, 9], every).into());
}

#[test]
fn the_command_for_a_dynamic_forward_carries_bytes_both_ways_round() {
    // SOCKS here, and SOCKS at the server.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let (here, there) = (free_addr(), free_low_port());
    let ssh = Pasted::new(
        &Table::to(&sshd)
            .dynamic(here)
            .raw("remote_forward", format_args!("\"{there}\"")),
    );
    for place in [here, ([127, 0, 0, 1], there).into()] {
        ssh.listens(&Place::Tcp(place));
        exchange(&mut ask(Protocol::Socks5, place, echo.addr()), b"through");
    }
}

#[test]
fn the_command_for_socket_files_carries_bytes_and_makes_them_with_the_mode_of_the_file() {
    // A path that has to be quoted, for the shell and for ssh.
    use std::os::unix::fs::PermissionsExt;
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let echo = Echo::on_unix(&folder.at("it's: 100%.sock"));
    let (listen, made) = (folder.socket("near by.sock"), folder.socket("far.sock"));
    let ssh = Pasted::new(
        &Table::to(&sshd)
            .forward_with(&listen, echo.place(), "socket_mode = \"0660\"")
            .remote(&made, echo.place()),
    );
    for place in [&listen, &made] {
        ssh.listens(place);
        place.carries(100_000, 1);
    }
    let mode = fs::metadata(folder.at("near by.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
}

#[test]
fn the_command_for_jump_hosts_takes_the_keys_and_host_keys_of_each() {
    // Two of them, each with a key, a port and known hosts of its own.
    let (one, two, sshd) = (Sshd::start(), Sshd::start(), Sshd::start());
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd)
        .over(&[&one, &two])
        .forward(listen, echo.addr());
    let page = explained(&table.toml());
    let hops = [&one, &two].map(|hop| format!("{}@{}", hop.user(), hop.addr()));
    assert!(
        page.contains(&format!("-J {},{}", hops[0], hops[1])),
        "{page}"
    );
    let ssh = Pasted::new(&table);
    ssh.echoes(listen);
    for hop in [&one, &two, &sshd] {
        assert_eq!(hop.connections_authenticated(), 1);
    }
}

#[test]
fn the_command_for_a_proxy_command_goes_through_it() {
    // A command for the shell, on the way to a jump host: its tokens are those of the jump host.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd)
        .over(&[&bastion])
        .set("proxy_command", text(RELAY.0));
    Pasted::new(&table.forward(listen, echo.addr())).echoes(listen);
    assert_eq!(bastion.connections_authenticated(), 1);
}
