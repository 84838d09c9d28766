//! One session with a jump host for all tunnels that go over it.

use std::io::Read;
use std::net::SocketAddr;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::keys::generate;
use tunneld_lab::pattern::{Digest, Pattern};
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Source, connect, echoes, free_addr};

use crate::support::{LONG, Table, carried, daemon, exchange, up};
use crate::two::{NAMES, Two, both_up, stop};
use crate::ways::{Everybody, at_hop, connections, hop, logins};

#[test]
fn two_tunnels_that_start_at_once_make_one_login_at_their_jump_host() {
    // And one each at their own servers.
    let two = Two::new(|t| t);
    for (listen, host) in two.listens.iter().zip(&two.hosts) {
        echoes(*listen).unwrap();
        logins(host, 1);
    }
    logins(&two.bastion, 1);
    connections(&two.bastion, 1);
}

#[test]
fn thirty_tunnels_that_start_at_once_make_one_login_at_their_jump_host() {
    // Servers do not see a crowd where there is one client.
    const TUNNELS: usize = 30;
    let (bastion, sshd, echo) = (Sshd::start(), Sshd::start(), EchoServer::start());
    let listens: Vec<_> = (0..TUNNELS).map(|_| free_addr()).collect();
    let table = |(n, listen): (usize, &SocketAddr)| {
        let table = Table::to(&sshd).named(&format!("t{n}")).over(&[&bastion]);
        table.forward(*listen, echo.addr()).toml()
    };
    let config: String = listens.iter().enumerate().map(table).collect();
    let daemon = daemon().config(&config).start();
    for (n, listen) in listens.iter().enumerate() {
        up(&daemon, &format!("t{n}"));
        echoes(*listen).unwrap();
    }
    logins(&bastion, 1);
    connections(&bastion, 1);
}

#[test]
fn a_jump_host_in_the_middle_is_shared_too() {
    // Two chains with the same first two hosts: one login at each of these.
    let chain = [Sshd::start(), Sshd::start()];
    let hosts = [Sshd::start(), Sshd::start()];
    let mut config = String::new();
    for (host, name) in hosts.iter().zip(NAMES) {
        let table = Table::to(host).named(name).over(&[&chain[0], &chain[1]]);
        config += &table.forward(free_addr(), free_addr()).toml();
    }
    let daemon = daemon().config(&config).start();
    both_up(&daemon);
    for sshd in chain.iter().chain(&hosts) {
        logins(sshd, 1);
        connections(sshd, 1);
    }
}

#[test]
fn tunnels_with_different_keys_do_not_share_a_jump_host() {
    // A session that one may use is not the other's.
    let dir = tempfile::tempdir().unwrap();
    let key = generate(dir.path(), "another");
    let (bastion, hosts) = (Sshd::start(), [Sshd::start(), Sshd::start()]);
    bastion.authorize(&key.public_line());
    let same = bastion.client_key().display().to_string();
    let other = hop(&bastion, bastion.addr()).replace(&same, &key.private.display().to_string());
    let one = Table::to(&hosts[0]).named("a").over(&[&bastion]);
    let two = Table::to(&hosts[1]).named("b").set("proxy_jump", other);
    let forward = |t: Table| t.forward(free_addr(), free_addr()).toml();
    let daemon = daemon().config(&(forward(one) + &forward(two))).start();
    both_up(&daemon);
    logins(&bastion, 2);
    connections(&bastion, 2);
}

#[test]
fn tunnels_with_different_users_do_not_share_a_jump_host() {
    // The same key; what the jump host allows one user is not the other's.
    let (everybody, sshd) = (Everybody::new(), Sshd::start());
    let bastion = everybody.sshd();
    let mut config = String::new();
    for (name, user) in NAMES.into_iter().zip(["nobody", bastion.user()]) {
        let hop = hop(&bastion, bastion.addr())
            .replace(
                &format!("user = \"{}\"", bastion.user()),
                &format!("user = \"{user}\""),
            )
            .replace(
                &bastion.client_key().display().to_string(),
                &everybody.key.private.display().to_string(),
            );
        let table = Table::to(&sshd).named(name).set("proxy_jump", hop);
        config += &table.forward(free_addr(), free_addr()).toml();
    }
    let daemon = daemon().config(&config).start();
    both_up(&daemon);
    logins(&bastion, 2);
    connections(&bastion, 2);
    assert!(bastion.log().contains("Accepted publickey for nobody from"));
}

#[test]
fn stopping_one_tunnel_leaves_the_connections_of_the_other_untouched() {
    // Its own server hears goodbye; the jump host serves on.
    let two = Two::new(|t| t);
    let mut client = carried(two.listens[1]);
    stop(&two.daemon, "a");
    two.hosts[0].wait_for_log("closed by tunneld", LONG);
    connections(&two.hosts[0], 0);
    exchange(&mut client, b"still there");
    assert_eq!(two.daemon.tunnel("b").sessions, 1);
    logins(&two.bastion, 1);
    connections(&two.bastion, 1);
}

#[test]
fn the_session_with_the_jump_host_is_closed_when_the_last_tunnel_over_it_stops() {
    // With a goodbye; the next to start makes a new one.
    let two = Two::new(|t| t);
    stop(&two.daemon, "a");
    assert!(!two.bastion.log().contains("closed by tunneld"));
    stop(&two.daemon, "b");
    two.bastion.wait_for_log("closed by tunneld", LONG);
    connections(&two.bastion, 0);
    connections(&two.hosts[1], 0);
    assert!(two.daemon.cli(&["start", "a"]).status.success());
    up(&two.daemon, "a");
    echoes(two.listens[0]).unwrap();
    logins(&two.bastion, 2);
}

#[test]
fn a_daemon_that_ends_says_goodbye_to_every_server_on_the_way() {
    // The inner sessions first: their goodbye goes through the outer one.
    let mut two = Two::new(|t| t);
    assert!(two.daemon.terminate(LONG).success());
    for sshd in [&two.hosts[0], &two.hosts[1], &two.bastion] {
        sshd.wait_for_log("closed by tunneld", LONG);
        connections(sshd, 0);
    }
}

#[test]
fn a_server_that_cannot_be_reached_does_not_touch_the_other_tunnel_over_the_jump_host() {
    // It fails over and over, over the session that the other one uses.
    let mut two = Two::new(|t| t);
    let mut client = carried(two.listens[0]);
    two.hosts[1].kill9();
    let tried = |t: &TunnelStatus| t.attempts >= 10;
    let failure = two.daemon.wait_for("b", LONG, tried).failure.unwrap();
    let cause = format!(
        "{}cannot reach {}",
        at_hop(&two.bastion),
        two.hosts[1].addr()
    );
    assert!(failure.cause.starts_with(&cause), "{failure:?}");
    exchange(&mut client, b"still there");
    let status = two.daemon.tunnel("a");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    logins(&two.bastion, 1);
}

#[test]
fn another_jump_host_in_the_file_replaces_the_session_and_a_download_runs_to_its_end() {
    // The new session is made before the old one is let go of.
    const LEN: u64 = 24 << 20;
    let bastions = [Sshd::start(), Sshd::start()];
    let (source, listen) = (Source::start(LEN, 21), free_addr());
    let sshd = Sshd::start();
    let table = |bastion| {
        let table = Table::to(&sshd).over(&[bastion]);
        table.forward(listen, source.addr())
    };
    let daemon = table(&bastions[0]).up();
    let mut client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut head = vec![0; 1 << 20];
    client.read_exact(&mut head).unwrap();
    daemon.write_config(&table(&bastions[1]).toml());
    let output = daemon.reload();
    let said = printed(&output);
    let (old, new) = (bastions[0].addr(), bastions[1].addr());
    assert!(
        output.status.success() && said.contains("~ t  replace:"),
        "{said}"
    );
    let reason = format!("proxy_jump     {0}@{old} → {0}@{new}", sshd.user());
    assert!(said.contains(&reason), "{said}");
    let replaced = |t: &TunnelStatus| t.sessions == 2 && t.phase == Phase::Up;
    let status = daemon.wait_for("t", LONG, replaced);
    let peer = status.session.unwrap().peer;
    assert!(peer.ends_with(&format!(" over {new}")), "{peer}");
    connections(&bastions[0], 1);
    let whole = std::io::Cursor::new(head).chain(client);
    assert_eq!(Digest::of(whole), Digest::of(Pattern::new(LEN, 21)));
    connections(&bastions[0], 0);
    bastions[0].wait_for_log("closed by tunneld", LONG);
    let log = daemon.log_text();
    assert!(!log.contains("tunnel down"), "{log}");
}
