//! The local port: taken by somebody else, then freed.

use std::net::TcpListener;

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::process::Signal;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LONG, Table, daemon, up};

#[test]
fn a_port_that_is_taken_degrades_the_tunnel_and_is_used_once_it_is_free() {
    // The message names the holder, where the daemon may see it; the other forward works meanwhile; the
    // session is kept.
    let sshd = Sshd::start();
    let echo = EchoServer::start();
    let (taken, free) = (free_addr(), free_addr());
    let holder = TcpListener::bind(taken).unwrap();
    let table = Table::to(&sshd)
        .forward(taken, echo.addr())
        .forward(free, echo.addr());
    let sees = "[daemon]\ncontrol_socket = \"{socket}\"\nsandbox = false\n";
    let daemon = daemon().config(&(table.toml() + sees)).start();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Forward, Class::Transient)
    );
    let start = format!("cannot listen on {taken}: address already in use by ");
    let end = format!("(pid {})", std::process::id());
    let cause = &failure.cause;
    assert!(
        cause.starts_with(&start) && cause.ends_with(&end),
        "{cause}"
    );
    assert_eq!(status.forwards[0].failure.as_ref(), Some(&failure));
    assert_eq!(status.forwards[1].failure, None);
    daemon.wait_for_log(cause, LONG);
    echoes(free).unwrap();
    drop(holder);
    let status = up(&daemon, "t");
    assert_eq!(status.sessions, 1);
    assert_eq!(status.forwards[0].failure, None);
    echoes(taken).unwrap();
}

#[test]
fn sigusr1_tries_a_port_that_was_taken_at_once() {
    // However long the delay between the tries has become.
    let (sshd, echo, taken) = (Sshd::start(), EchoServer::start(), free_addr());
    let holder = TcpListener::bind(taken).unwrap();
    let daemon = Table::to(&sshd).forward(taken, echo.addr()).start();
    daemon.wait_phase("t", Phase::Degraded, LONG);
    drop(holder);
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
    echoes(taken).unwrap();
}

#[test]
fn a_port_below_1024_that_is_not_allowed_says_so_and_other_forwards_work() {
    // Without CAP_NET_BIND_SERVICE: told with the hint, and not fatal.
    let sshd = Sshd::start();
    let echo = EchoServer::start();
    let (mut low, high) = (free_addr(), free_addr());
    low.set_port(80);
    let table = Table::to(&sshd)
        .forward(low, echo.addr())
        .forward(high, echo.addr());
    let drop_cap = ["setpriv", "--bounding-set", "-net_bind_service"];
    let daemon = crate::support::daemon()
        .config(&table.toml())
        .prefix(&drop_cap)
        .start();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(
        failure.cause,
        format!("cannot listen on {low}: permission denied")
    );
    assert!(failure.hint.unwrap().contains("CAP_NET_BIND_SERVICE"));
    echoes(high).unwrap();
}
