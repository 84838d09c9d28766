//! Programs that are the way to a server.

use std::process::Command;

use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{descendants, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, text};

/// A relay that ends when the server does, and its processes.
pub(crate) const RELAY: (&str, usize) = (
    "bash -c 'exec 3<>/dev/tcp/%h/%p 4<&0; cat <&4 >&3 & cat <&3; kill $!'",
    3,
);

/// The words of a TOML array.
pub(crate) fn array(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<_> = words.into_iter().map(|w| text(w.as_ref())).collect();
    format!("[{}]", words.join(", "))
}

/// The real client's way to a server: `ssh -W %h:%p` over a jump host.
pub(crate) fn ssh_through(bastion: &Sshd) -> Vec<String> {
    let command: Command = bastion.ssh_command();
    let args = command.get_args().map(|a| a.to_str().unwrap().to_owned());
    let ssh = ["ssh", "-W", "%h:%p"].map(str::to_owned);
    ssh.into_iter().chain(args).collect()
}

/// A tunnel over this command that makes one attempt and no more.
pub(crate) fn once(command: &str) -> (Sshd, Daemon) {
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let daemon = table
        .set("proxy_command", command)
        .set("reconnect", NEVER)
        .set("connect_timeout", text("5s"))
        .start();
    (sshd, daemon)
}

/// The processes of the command, once there are this many.
pub(crate) fn running(daemon: &Daemon, wanted: usize) -> Vec<u32> {
    let there = || {
        let found = descendants(daemon.pid());
        (found.len() == wanted).then_some(found)
    };
    poll(LONG, there).unwrap_or_else(|| panic!("not {wanted}: {:?}", descendants(daemon.pid())))
}
