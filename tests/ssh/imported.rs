//! `tunneld import`: what works with autossh and ssh works with tunneld.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{kill_tree, poll, printed, require};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_low_port, try_connect};

use crate::places::Folder;
use crate::support::{LONG, QUICK, daemon, up};

/// Runs tunneld with a home of its own.
fn tunneld(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld")));
    command.env("HOME", home).env_remove("SSH_AUTH_SOCK");
    command.args(args).output().unwrap()
}

/// What `tunneld import` prints, which `tunneld check` accepts.
#[track_caller]
fn imported(folder: &Folder, args: &[&str]) -> String {
    let output = tunneld(folder.path(), &[&["import"], args].concat());
    assert!(output.status.success(), "{}", printed(&output));
    let toml = String::from_utf8(output.stdout).unwrap();
    let file = folder.at("imported.toml");
    fs::write(&file, &toml).unwrap();
    let checked = tunneld(folder.path(), &["check", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{toml}{}", printed(&checked));
    toml
}

#[test]
fn a_line_that_works_with_autossh_works_when_it_is_imported() {
    // The same words: first they are run, then they are moved in.
    require("autossh", "autossh");
    let (sshd, echo, folder) = (Sshd::start(), EchoServer::start(), Folder::new());
    let (local, remote) = (free_addr(), free_low_port());
    let line = format!(
        "autossh -M 0 -N -T -F none -o ServerAliveInterval=15 -o ExitOnForwardFailure=yes \
         -o UserKnownHostsFile={} -o BatchMode=yes -i {} -p {} -L {local}:{} \
         -R {remote}:{} {}@{}",
        sshd.known_hosts().display(),
        sshd.client_key().display(),
        sshd.port(),
        echo.addr(),
        echo.addr(),
        sshd.user(),
        sshd.host(),
    );
    let words: Vec<&str> = line.split_whitespace().collect();
    let places = [local, ([127, 0, 0, 1], remote).into()];
    let mut autossh = Command::new(words[0]);
    autossh.args(&words[1..]).env_remove("SSH_AUTH_SOCK");
    let mut autossh = autossh
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let carries = || {
        places
            .iter()
            .all(|place| echoes(*place).is_ok())
            .then_some(())
    };
    let carried = poll(LONG, carries);
    kill_tree(autossh.id());
    let _ = autossh.wait();
    sshd.kill_sessions();
    assert!(carried.is_some(), "{}", sshd.log());
    let gone = || {
        places
            .iter()
            .all(|place| try_connect(*place).is_err())
            .then_some(())
    };
    poll(LONG, gone).expect("autossh is still there");
    let toml = imported(&folder, &[&["--name", "db", "--"], &words[..]].concat());
    let daemon = daemon()
        .config(&format!("{toml}reconnect = {QUICK}\n"))
        .start();
    up(&daemon, "db");
    places.iter().for_each(|place| echoes(*place).unwrap());
}

#[test]
fn an_entry_of_ssh_config_with_its_jump_host_works_when_it_is_imported() {
    // What the file says is all in the table: the file is not needed any more.
    let (bastion, sshd, echo) = (Sshd::start(), Sshd::start(), EchoServer::start());
    let (folder, local) = (Folder::new(), free_addr());
    let entry = |name: &str, sshd: &Sshd| {
        format!(
            "Host {name}\n  HostName {}\n  Port {}\n  User {}\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n",
            sshd.host(),
            sshd.port(),
            sshd.user(),
            sshd.client_key().display(),
            sshd.known_hosts().display()
        )
    };
    let config = folder.at("config");
    let text = format!(
        "{}  ProxyJump bastion\n  LocalForward {local} {}\n{}",
        entry("db", &sshd),
        echo.addr(),
        entry("bastion", &bastion)
    );
    fs::write(&config, text).unwrap();
    let toml = imported(&folder, &["--ssh-config", config.to_str().unwrap()]);
    fs::remove_file(&config).unwrap();
    let daemon = daemon().config(&toml).start();
    up(&daemon, "db");
    echoes(local).unwrap();
    assert_eq!(bastion.connections_authenticated(), 1);
}

#[test]
fn a_unit_of_systemd_works_when_it_is_imported() {
    // With its variables, a file of them, and quotes.
    let (sshd, echo, folder) = (Sshd::start(), EchoServer::start(), Folder::new());
    let local = free_addr();
    let (unit, variables) = (folder.at("autossh-db.service"), folder.at("variables"));
    fs::write(
        &variables,
        format!(
            "KEY={}\nWHERE=\"-p {} -N\"\n",
            sshd.client_key().display(),
            sshd.port()
        ),
    )
    .unwrap();
    let text = format!(
        "[Service]\nEnvironment=\"LISTEN={local}\" AUTOSSH_GATETIME=0\nEnvironmentFile={}\n\
         ExecStart=/usr/bin/autossh -M 0 -F none -i ${{KEY}} $WHERE \\\n  \
         -o \"UserKnownHostsFile {}\" -L ${{LISTEN}}:{} {}@{}\nRestartSec=1\n",
        variables.display(),
        sshd.known_hosts().display(),
        echo.addr(),
        sshd.user(),
        sshd.host()
    );
    fs::write(&unit, text).unwrap();
    let toml = imported(&folder, &[unit.to_str().unwrap()]);
    let daemon = daemon().config(&toml).start();
    up(&daemon, "db");
    echoes(local).unwrap();
}
