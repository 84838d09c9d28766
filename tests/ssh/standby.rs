//! Two daemons and one port of a gateway: one serves, the other stands by and takes over.

use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::http::over_unix;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::gateway::{gateway, gateway_with, named, who};
use crate::support::{LONG, Table, daemon, up};

/// The longest between two requests for a port that is held, and a little.
const ASKED_AGAIN: Duration = Duration::from_secs(32);

/// Waits until `name` answers at the gateway's port, and returns how long that took.
#[track_caller]
fn taken_over(listen: std::net::SocketAddr, name: &str) -> Duration {
    let start = Instant::now();
    let there = poll(LONG, || (who(listen) == name).then_some(()));
    assert!(there.is_some(), "{name:?} does not answer");
    start.elapsed()
}

/// A pod of packaging/kubernetes/publish.yaml.
fn replica(sshd: &Sshd, listen: std::net::SocketAddr, target: std::net::SocketAddr) -> Daemon {
    let table = Table::to(sshd).remote(listen, target).toml();
    let config = table + "[daemon]\ncontrol_socket = \"{socket}\"\nready_when = \"settled\"\n";
    daemon().config(&config).start()
}

fn ready(daemon: &Daemon) -> bool {
    over_unix(daemon.socket(), "GET /readyz", &[]).status == 200
}

#[test]
fn the_one_that_stands_by_takes_over_when_the_first_is_killed() {
    // It has kept its session: what it needs is the port, which sshd frees with the connection.
    let (sshd, listen) = (gateway(), free_addr());
    let (one, two) = (named("one"), named("two"));
    let mut first = replica(&sshd, listen, one.addr());
    up(&first, "t");
    let second = replica(&sshd, listen, two.addr());
    let standing_by = second.wait_phase("t", Phase::Degraded, LONG);
    let cause = standing_by.failure.unwrap().cause;
    assert!(cause.starts_with("remote port held: "), "{cause}");
    // It is as it has to be: ready, and `status` says that a tunnel is not up.
    assert!(poll(LONG, || ready(&second).then_some(())).is_some());
    assert_eq!(second.cli(&["status"]).status.code(), Some(3));
    assert_eq!(who(listen), "one");
    first.kill9();
    let took = taken_over(listen, "two");
    eprintln!("taken over within {took:?}");
    assert!(took < ASKED_AGAIN, "{took:?}");
    assert_eq!(up(&second, "t").sessions, 1);
    // The first stands by when it is back.
    first.start_again();
    first.wait_phase("t", Phase::Degraded, LONG);
    assert_eq!(who(listen), "two");
}

#[test]
fn one_that_stops_in_good_order_hands_over() {
    // As in a rollout: the port is free when the old one has ended.
    let (sshd, listen) = (gateway(), free_addr());
    let (one, two) = (named("one"), named("two"));
    let mut first = replica(&sshd, listen, one.addr());
    up(&first, "t");
    let second = replica(&sshd, listen, two.addr());
    second.wait_phase("t", Phase::Degraded, LONG);
    assert!(first.terminate(LONG).success());
    assert!(taken_over(listen, "two") < ASKED_AGAIN);
}

#[test]
fn a_node_that_vanishes_is_taken_over_from_once_the_gateway_has_noticed() {
    // Nobody says goodbye: ClientAliveInterval times ClientAliveCountMax, and then the next request.
    let (sshd, listen) = (
        gateway_with("ClientAliveInterval 1\nClientAliveCountMax 2"),
        free_addr(),
    );
    let (one, two) = (named("one"), named("two"));
    let first = replica(&sshd, listen, one.addr());
    up(&first, "t");
    let second = replica(&sshd, listen, two.addr());
    second.wait_phase("t", Phase::Degraded, LONG);
    first.signal(Signal::STOP);
    let took = taken_over(listen, "two");
    eprintln!("taken over within {took:?}");
    assert!(took < ASKED_AGAIN + Duration::from_secs(3), "{took:?}");
}
