//! Over jump hosts: each hop is a server of its own, and each failure names its hop.

use std::fs;
use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::relay::delayed;
use crate::support::{NEVER, QUICK, Rig, Table, fails, text, up};
use crate::ways::{Everybody, at_hop, blocked, hop, logins};

/// Three jump hosts and a server behind them.
struct Chain {
    hops: [Sshd; 3],
    sshd: Sshd,
}

impl Chain {
    fn new() -> Self {
        Self::with_second(Sshd::start())
    }

    fn with_second(second: Sshd) -> Self {
        Chain {
            hops: [Sshd::start(), second, Sshd::start()],
            sshd: Sshd::start(),
        }
    }

    /// A tunnel that makes one attempt and no more.
    fn table(&self) -> Table {
        let [one, two, three] = &self.hops;
        let table = Table::to(&self.sshd).over(&[one, two, three]);
        table
            .forward(free_addr(), free_addr())
            .set("reconnect", NEVER)
    }

    /// Nobody has knocked at the servers from this hop on.
    fn untouched_from(&self, hop: usize) {
        let behind = self.hops.iter().chain([&self.sshd]).skip(hop);
        for sshd in behind {
            assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
        }
    }
}

#[test]
fn one_jump_host_carries_a_tunnel_and_the_status_says_so() {
    // One login at each of the two.
    let bastion = Sshd::start();
    let rig = Rig::new(|t| t.over(&[&bastion]));
    echoes(rig.listen).unwrap();
    let way = format!("{} over {}", rig.sshd.addr(), bastion.addr());
    assert_eq!(rig.status().session.unwrap().peer, way);
    logins(&bastion, 1);
    logins(&rig.sshd, 1);
}

#[test]
fn three_jump_hosts_are_passed_each_with_its_own_key_and_known_hosts() {
    // No file of one of them would do for another.
    let chain = Chain::new();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = chain.table().forward(listen, echo.addr());
    let _daemon = table.up();
    echoes(listen).unwrap();
    for sshd in chain.hops.iter().chain([&chain.sshd]) {
        logins(sshd, 1);
    }
}

#[test]
fn jump_hosts_in_strings_have_their_own_user_and_port_and_the_keys_of_the_tunnel() {
    // As a list and as ssh writes them, with a comma.
    let everybody = Everybody::new();
    let (one, two, sshd) = (everybody.sshd(), everybody.sshd(), everybody.sshd());
    let known_hosts = sshd.known_hosts();
    let lines = [&one, &two, &sshd].map(Sshd::known_hosts_lines).concat();
    fs::write(&known_hosts, lines).unwrap();
    let hops = [
        format!("nobody@{}", one.addr()),
        format!("{}@{}", two.user(), two.addr()),
    ];
    let forms = [
        format!("[\"{}\"]", hops.join("\", \"")),
        text(hops.join(",")),
    ];
    for (n, form) in forms.into_iter().enumerate() {
        let (echo, listen) = (EchoServer::start(), free_addr());
        let key = &everybody.key.private;
        let table = Table::new(sshd.addr(), sshd.user(), key, &known_hosts);
        let table = table.set("proxy_jump", form).forward(listen, echo.addr());
        let _daemon = table.up();
        echoes(listen).unwrap();
        for sshd in [&one, &two, &sshd] {
            logins(sshd, n + 1);
        }
    }
    assert!(one.log().contains("Accepted publickey for nobody from"));
}

#[test]
fn a_jump_host_and_a_server_with_addresses_of_ipv6_are_written_in_brackets() {
    // As a string, and in what the status says.
    let start = || Sshd::builder().listen("::1".parse().unwrap()).start();
    let (bastion, sshd) = (start(), start());
    bastion.authorize(&sshd.client_key_files().public_line());
    let lines = [&bastion, &sshd].map(Sshd::known_hosts_lines).concat();
    fs::write(sshd.known_hosts(), lines).unwrap();
    let hop = format!("{}@{}", bastion.user(), bastion.addr());
    let rig = Rig::with(sshd, |t| t.set("proxy_jump", text(hop)));
    echoes(rig.listen).unwrap();
    let way = format!("{} over {}", rig.sshd.addr(), bastion.addr());
    assert_eq!(rig.status().session.unwrap().peer, way);
}

#[test]
fn an_unknown_key_of_the_second_jump_host_is_said_of_that_host() {
    // And nobody behind it is asked.
    let chain = Chain::new();
    fs::write(chain.hops[1].known_hosts(), "").unwrap();
    let daemon = chain.table().start();
    let failure = blocked(&daemon, "t");
    let hop = &chain.hops[1];
    let cause = format!("{}unknown host {}", at_hop(hop), hop.addr());
    assert!(failure.cause.starts_with(&cause), "{failure:?}");
    assert_eq!(failure.stage, Stage::HostKey);
    let command = format!("`{} --hop {}`", daemon.command_line("trust t"), hop.addr());
    assert!(
        failure.hint.as_ref().unwrap().contains(&command),
        "{failure:?}"
    );
    chain.untouched_from(2);
}

#[test]
fn a_key_that_the_first_jump_host_rejects_is_said_of_that_host() {
    // With what to do about it, and where.
    let chain = Chain::new();
    chain.hops[0].authorize_nobody();
    let daemon = chain.table().start();
    let failure = blocked(&daemon, "t");
    let cause = format!("{}server rejected every key", at_hop(&chain.hops[0]));
    assert!(failure.cause.starts_with(&cause), "{failure:?}");
    assert_eq!(failure.stage, Stage::Authenticate);
    let hint = failure.hint.unwrap();
    assert!(hint.contains(&chain.hops[0].host()), "{hint}");
    chain.untouched_from(1);
}

#[test]
fn a_key_that_the_server_behind_jump_hosts_rejects_is_said_of_no_jump_host() {
    // The tunnel's own server is the one that is meant when no other is named.
    let chain = Chain::new();
    chain.sshd.authorize_nobody();
    let daemon = chain.table().start();
    let failure = blocked(&daemon, "t");
    let cause = &failure.cause;
    assert!(cause.starts_with("server rejected every key"), "{cause}");
    assert_eq!(failure.stage, Stage::Authenticate);
}

#[test]
fn a_third_jump_host_that_refuses_connections_is_named_by_the_second() {
    // Waiting can help, and it comes up by itself.
    let mut chain = Chain::new();
    chain.hops[2].kill9();
    let daemon = chain.table().set("reconnect", QUICK).start();
    let cause = format!(
        "{}cannot reach {}: connect failed: connection refused",
        at_hop(&chain.hops[1]),
        chain.hops[2].addr()
    );
    let failure = fails(&daemon, "t", "connection refused");
    assert_eq!(failure.cause, cause);
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );
    chain.hops[2].restart();
    up(&daemon, "t");
}

#[test]
fn a_second_jump_host_that_forbids_forwarding_is_named_with_what_to_change() {
    // Trying again changes nothing: a person has to act.
    let forbids = Sshd::builder().config("AllowTcpForwarding no").start();
    let chain = Chain::with_second(forbids);
    let daemon = chain.table().start();
    let failure = blocked(&daemon, "t");
    let cause = format!(
        "{}cannot reach {}: administratively prohibited",
        at_hop(&chain.hops[1]),
        chain.hops[2].addr()
    );
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.stage, Stage::Connect);
    assert!(failure.hint.unwrap().contains("AllowTcpForwarding"));
}

#[test]
fn a_server_that_refuses_connections_from_the_last_jump_host_is_told_as_such() {
    // The words are those of the jump host's system.
    let (bastion, mut sshd) = (Sshd::start(), Sshd::start());
    sshd.kill9();
    let table = Table::to(&sshd).over(&[&bastion]);
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = fails(&daemon, "t", "connection refused");
    let reach = format!("cannot reach {}: connect failed", sshd.addr());
    let cause = format!("{}{reach}: connection refused", at_hop(&bastion));
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.stage, Stage::Connect);
}

#[test]
fn a_first_jump_host_that_is_silent_is_named_after_connect_timeout() {
    // It accepts, and says nothing.
    let chain = Chain::new();
    chain.hops[0].freeze();
    let table = chain.table().set("connect_timeout", text("1s"));
    let daemon = table.start();
    let failure = fails(&daemon, "t", "1s");
    let silent = "server accepted but did not speak SSH within 1s";
    assert_eq!(failure.cause, format!("{}{silent}", at_hop(&chain.hops[0])));
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::KeyExchange, Class::Transient)
    );
    chain.untouched_from(1);
}

#[test]
fn a_silent_server_behind_slow_jump_hosts_is_given_up_within_one_connect_timeout() {
    // Each hop answers within the time; it is the sum that counts.
    const SLOW: Duration = Duration::from_secs(3);
    let chain = Chain::new();
    let slow: Vec<_> = chain.hops.iter().map(|s| delayed(s.addr(), SLOW)).collect();
    let mut hops = Vec::new();
    for (sshd, slow) in chain.hops.iter().zip(&slow) {
        let key = sshd.host_keys()[0].public_line();
        let (ip, port) = (slow.addr().ip(), slow.addr().port());
        fs::write(sshd.known_hosts(), format!("[{ip}]:{port} {key}\n")).unwrap();
        hops.push(hop(sshd, slow.addr()));
    }
    chain.sshd.freeze();
    let table = chain.table().set("connect_timeout", text("5s"));
    let table = table.set("proxy_jump", format!("[{}]", hops.join(", ")));
    let started = Instant::now();
    let daemon = table.start();
    let failure = fails(&daemon, "t", "5s");
    let took = started.elapsed();
    assert!(took < 3 * SLOW, "{took:?}: {failure:?}");
    let name = format!("jump host {}: ", slow[1].addr());
    assert!(failure.cause.starts_with(&name), "{failure:?}");
}
