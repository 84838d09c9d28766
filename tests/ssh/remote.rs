//! Remote forwards: the server listens, and what comes there ends up at a target of ours.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use tunneld_core::status::{ForwardStatus, Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::pattern::{Digest, Pattern, pattern};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{
    EchoServer, Sink, connect, echoes, free_addr, free_ip, free_low_port, half_close_exchange,
    is_reset, try_connect,
};

use crate::gateway::{gateway, named, who};
use crate::support::{Broken, LONG, Table, ending, text, up};

/// The forward of this number, once it carries nothing.
fn idle(daemon: &Daemon, forward: usize) -> ForwardStatus {
    let done = |t: &TunnelStatus| t.forwards[forward].connections.open == 0;
    let mut status = daemon.wait_for("t", LONG, done);
    status.forwards.swap_remove(forward)
}

/// A client is closed without a byte, by an end or by a reset.
fn closed(listen: SocketAddr) {
    match ending(&mut connect(listen)) {
        Ok(0) => {}
        Ok(n) => panic!("{n} bytes from nowhere"),
        Err(error) => assert!(is_reset(&error), "{error}"),
    }
}

#[test]
fn a_client_at_the_servers_side_reaches_a_target_at_ours() {
    // A mebibyte each way, byte for byte, with the half-close that ends it.
    let (sshd, echo, listen) = (gateway(), EchoServer::start(), free_addr());
    let daemon = Table::to(&sshd).remote(listen, echo.addr()).up();
    let bytes = pattern(1 << 20, 1);
    assert!(half_close_exchange(listen, &bytes).unwrap() == bytes);
    let forward = idle(&daemon, 0);
    assert_eq!(
        (forward.kind.as_str(), forward.connections.total),
        ("remote", 1)
    );
    assert_eq!(
        (forward.bytes_sent, forward.bytes_received),
        (1 << 20, 1 << 20)
    );
}

#[test]
fn what_clients_send_is_counted_as_sent_whichever_side_they_are_on() {
    let (sshd, sink) = (gateway(), Sink::start());
    let (local, remote) = (free_addr(), free_addr());
    let table = Table::to(&sshd).forward(local, sink.addr());
    let daemon = table.remote(remote, sink.addr()).up();
    for (n, listen) in [local, remote].into_iter().enumerate() {
        connect(listen).write_all(&pattern(100_000, 2)).unwrap();
        let whole = Digest::of(Pattern::new(100_000, 2));
        assert_eq!(sink.next(LONG), Some(whole));
        let forward = idle(&daemon, n);
        assert_eq!(
            (forward.bytes_sent, forward.bytes_received),
            (100_000, 0),
            "{}",
            forward.kind
        );
    }
}

#[test]
fn the_log_names_the_client_at_the_servers_side() {
    let (sshd, echo, listen) = (gateway(), EchoServer::start(), free_addr());
    let daemon = Table::to(&sshd).remote(listen, echo.addr()).up();
    let client = crate::support::carried(listen);
    let peer = format!("peer={}", client.local_addr().unwrap());
    let line = daemon.wait_for_log("connection opened", LONG);
    assert!(line.contains(&peer), "{line}");
}

#[test]
fn a_port_that_the_server_chooses_is_told_and_works_after_a_reconnect_too() {
    let (mut sshd, echo, ip) = (gateway(), EchoServer::start(), free_ip());
    let daemon = Table::to(&sshd)
        .remote(format_args!("{ip}:0"), echo.addr())
        .up();
    for sessions in 1..=2 {
        let back = |t: &TunnelStatus| t.phase == Phase::Up && t.sessions == sessions;
        let status = daemon.wait_for("t", LONG, back);
        let port = status.forwards[0].allocated_port.unwrap();
        echoes(SocketAddr::new(ip.into(), port)).unwrap();
        sshd.restart();
    }
}

#[test]
fn two_ports_that_the_server_chooses_go_each_to_its_own_target() {
    let (sshd, ip) = (gateway(), free_ip());
    let (one, other) = (named("one"), named("other"));
    let listen = format!("{ip}:0");
    let daemon = Table::to(&sshd)
        .remote_with(&listen, one.addr(), "name = \"one\"")
        .remote_with(&listen, other.addr(), "name = \"other\"")
        .up();
    for forward in daemon.tunnel("t").forwards {
        let port = forward.allocated_port.unwrap();
        let said = who(SocketAddr::new(ip.into(), port));
        assert_eq!(said, forward.name.as_str());
    }
}

/// Which of a few addresses of this machine answer on a port: 127.0.0.1, 127.0.0.2, ::1.
fn answering(port: u16) -> [bool; 3] {
    ["127.0.0.1", "127.0.0.2", "::1"].map(|ip| {
        let ip: IpAddr = ip.parse().unwrap();
        try_connect(SocketAddr::new(ip, port)).is_ok()
    })
}

/// With this word for GatewayPorts, each bind address of the list is answered on these addresses.
fn binds(gateway_ports: &str, expected: [(&str, [bool; 3]); 5]) {
    let config = format!("GatewayPorts {gateway_ports}");
    let (sshd, echo) = (Sshd::builder().config(&config).start(), EchoServer::start());
    let places = expected.map(|(bind, on)| (format!("{bind}{}", free_low_port()), on));
    let table = places.iter().fold(Table::to(&sshd), |table, (place, _)| {
        table.raw(
            "remote_forward",
            text(format_args!("{place}:{}", echo.addr())),
        )
    });
    let _daemon = table.up();
    for (place, on) in places {
        let port = place.rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(
            answering(port),
            on,
            "{place} with GatewayPorts {gateway_ports}"
        );
    }
}

const LOOPBACK: [bool; 3] = [true, false, true];
const EVERYWHERE: [bool; 3] = [true, true, true];
const EVERY_IPV4: [bool; 3] = [true, true, false];

#[test]
fn without_gateway_ports_every_bind_address_is_the_servers_loopback() {
    let binds_to = ["", "localhost:", "*:", ":", "0.0.0.0:"];
    binds("no", binds_to.map(|bind| (bind, LOOPBACK)));
}

#[test]
fn with_gateway_ports_yes_every_bind_address_is_the_whole_server() {
    let binds_to = ["", "localhost:", "*:", ":", "0.0.0.0:"];
    binds("yes", binds_to.map(|bind| (bind, EVERYWHERE)));
}

#[test]
fn with_gateway_ports_clientspecified_the_file_has_its_way() {
    // As ssh: no address is the loopback, an empty one or a star is every address.
    let expected = [
        ("", LOOPBACK),
        ("localhost:", LOOPBACK),
        ("*:", EVERYWHERE),
        (":", EVERYWHERE),
        ("0.0.0.0:", EVERY_IPV4),
    ];
    binds("clientspecified", expected);
}

#[test]
fn one_port_on_two_addresses_of_the_server_leads_to_two_targets() {
    let (sshd, one, other) = (gateway(), named("one"), named("other"));
    let first = free_addr();
    let second = SocketAddr::new(free_ip().into(), first.port());
    let _daemon = Table::to(&sshd)
        .remote(first, one.addr())
        .remote(second, other.addr())
        .up();
    for _ in 0..20 {
        assert_eq!((who(first), who(second)), ("one".into(), "other".into()));
    }
}

#[test]
fn a_target_of_ours_that_is_down_closes_the_client_and_says_why() {
    // Refused at our side: counted, told, and nothing else suffers.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let (dead, listen, good) = (free_addr(), free_addr(), free_addr());
    let table = Table::to(&sshd).remote(listen, dead);
    let daemon = table.remote(good, echo.addr()).up();
    closed(listen);
    let line = daemon.wait_for_log("connection refused: ", LONG);
    let reason = format!("cannot connect to {dead}: connection refused");
    assert!(line.contains(&reason), "{line}");
    let status = daemon.tunnel("t");
    let forward = &status.forwards[0];
    assert_eq!(forward.connections.refused, 1);
    assert_eq!(forward.last_refusal.as_ref(), Some(&reason));
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    echoes(good).unwrap();
}

#[test]
fn a_connection_that_nobody_asked_the_server_for_is_refused_and_logged() {
    // RFC 4254 section 7.2; a server that goes on doing it fills no log.
    let broken = Broken::new(None);
    let daemon = broken.table.up();
    for port in 1..=50 {
        let refusal = broken.server.hand_over("localhost", port).unwrap_err();
        assert!(refusal.contains("AdministrativelyProhibited"), "{refusal}");
    }
    let said = "refused a forwarded-tcpip channel that the server opened without being asked";
    daemon.wait_for_log(said, LONG);
    let lines = daemon.log().iter().filter(|l| l.contains(said)).count();
    assert!(lines < 5, "{lines} lines");
    echoes(broken.listen).unwrap();
    assert_eq!(up(&daemon, "t").sessions, 1);
}
