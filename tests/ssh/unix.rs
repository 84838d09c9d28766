//! Unix sockets at either end of a forward, and those that the server makes.

use tunneld_core::failure::Stage;
use tunneld_core::status::Phase;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{free_addr, is_reset};
use tunneld_lab::unix::UnixServer;

use crate::gateway::gateway;
use crate::places::{Echo, Folder, Place};
use crate::support::{LONG, Table, carried, ending, up};

/// More than one window, and not a round number of packets.
const LEN: usize = (1 << 20) + 4321;

/// From a port to a socket, from a socket to a port, from a socket to a socket.
fn mixtures(folder: &Folder) -> Vec<(Place, Echo)> {
    vec![
        (
            Place::Tcp(free_addr()),
            Echo::on_unix(&folder.at("one.sock")),
        ),
        (folder.socket("two-in.sock"), Echo::on_tcp()),
        (
            folder.socket("three-in.sock"),
            Echo::on_unix(&folder.at("three.sock")),
        ),
    ]
}

/// Two transfers at once through each, and nothing is left open behind them.
fn all_carry(pairs: &[(Place, Echo)]) {
    std::thread::scope(|scope| {
        for (n, (listen, _)) in (0..).zip(pairs) {
            scope.spawn(move || listen.carries(LEN, n));
            scope.spawn(move || listen.carries(LEN, 100 + n));
        }
    });
    let closed = || pairs.iter().all(|(_, echo)| echo.open() == 0);
    assert!(
        poll(LONG, || closed().then_some(())).is_some(),
        "finished connections stay open"
    );
}

#[test]
fn local_forwards_carry_every_byte_in_every_mixture_of_ports_and_sockets() {
    // Both ways at once, both ends of file, one session for all.
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let pairs = mixtures(&folder);
    let table = pairs.iter().fold(Table::to(&sshd), |table, (listen, to)| {
        table.forward(listen, to.place())
    });
    let daemon = table.up();
    all_carry(&pairs);
    let status = daemon.tunnel("t");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    for forward in &status.forwards {
        assert_eq!(forward.bytes_sent, 2 * LEN as u64, "{forward:#?}");
        assert_eq!(forward.bytes_received, 2 * LEN as u64, "{forward:#?}");
    }
}

#[test]
fn remote_forwards_carry_every_byte_in_every_mixture_of_ports_and_sockets() {
    // The same with the listening places at the server and the targets here.
    let sshd = gateway();
    let folder = Folder::new();
    let pairs = mixtures(&folder);
    let table = pairs.iter().fold(Table::to(&sshd), |table, (listen, to)| {
        table.remote(listen, to.place())
    });
    let daemon = table.up();
    all_carry(&pairs);
    let status = daemon.tunnel("t");
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
    for forward in &status.forwards {
        assert_eq!(forward.connections.total, 2, "{forward:#?}");
    }
}

#[test]
fn a_target_socket_that_nobody_listens_on_is_a_refusal_that_says_so() {
    // Told by the server for a local forward, by us for a remote one; the tunnel stays up.
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let (near, far) = (free_addr(), folder.at("far.sock"));
    let nobody = folder.at("nobody.sock");
    let daemon = Table::to(&sshd)
        .forward(near, nobody.display())
        .remote(far.display(), nobody.display())
        .up();
    crate::support::refused(near);
    let end = ending(&mut Place::Unix(far).connect());
    assert!(end.is_err() || end.is_ok_and(|n| n == 0));
    let status = daemon.wait_for("t", LONG, |t| {
        t.forwards.iter().all(|f| f.connections.refused == 1)
    });
    assert_eq!(status.phase, Phase::Up);
    let why = |at: usize| status.forwards[at].last_refusal.clone().unwrap();
    assert!(why(0).contains("connect failed"), "{}", why(0));
    assert_eq!(
        why(1),
        format!(
            "cannot connect to {}: no such file or directory",
            nobody.display()
        )
    );
}

#[test]
fn a_server_that_forbids_sockets_is_named_as_the_reason() {
    // AllowStreamLocalForwarding no: a remote socket degrades the tunnel, with the hint; a local
    // forward to a socket resets its client and counts it; ports work.
    let sshd = Sshd::builder()
        .config("AllowStreamLocalForwarding no")
        .start();
    let folder = Folder::new();
    let (echo, far) = (
        Echo::on_unix(&folder.at("echo.sock")),
        folder.at("far.sock"),
    );
    let tcp = Echo::on_tcp();
    let (near, free) = (free_addr(), free_addr());
    let daemon = Table::to(&sshd)
        .forward(near, echo.place())
        .forward(free, tcp.place())
        .remote(far.display(), tcp.place())
        .start();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(failure.stage, Stage::Forward);
    assert_eq!(
        failure.cause,
        format!("the server refuses to listen on {}", far.display())
    );
    let hint = failure.hint.unwrap();
    assert!(hint.contains("AllowStreamLocalForwarding"), "{hint}");
    crate::support::refused(near);
    drop(carried(free));
    let status = daemon.tunnel("t");
    assert_eq!(status.forwards[0].connections.refused, 1);
    // All that sshd says of it, whether it may not or cannot.
    let why = status.forwards[0].last_refusal.clone().unwrap();
    assert_eq!(why, format!("{}: connect failed", echo.place()));
}

#[test]
fn a_socket_that_a_killed_session_has_left_is_taken_again_where_the_server_replaces_it() {
    // StreamLocalBindUnlink yes: nobody has to do anything.
    let sshd = Sshd::builder().config("StreamLocalBindUnlink yes").start();
    let folder = Folder::new();
    let (echo, far) = (Echo::on_tcp(), folder.socket("far.sock"));
    let daemon = Table::to(&sshd).remote(&far, echo.place()).up();
    far.carries(10_000, 1);
    sshd.kill_sessions();
    let again = |t: &tunneld_core::status::TunnelStatus| t.sessions == 2 && t.phase == Phase::Up;
    daemon.wait_for("t", LONG, again);
    far.carries(10_000, 2);
    // A tunnel that is stopped and started finds it free, too.
    for command in ["stop", "start"] {
        assert!(daemon.cli(&[command, "t"]).status.success());
    }
    up(&daemon, "t");
    far.carries(10_000, 3);
}

#[test]
fn a_socket_that_a_killed_session_has_left_degrades_the_tunnel_where_the_server_keeps_it() {
    // StreamLocalBindUnlink no, the default: the hint names it, the rest works, and the forward
    // comes up when the file is gone.
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let (echo, far, near) = (Echo::on_tcp(), folder.socket("far.sock"), free_addr());
    let daemon = Table::to(&sshd)
        .remote(&far, echo.place())
        .forward(near, echo.place())
        .up();
    far.carries(10_000, 1);
    sshd.kill_sessions();
    let degraded = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = degraded.failure.unwrap();
    let hint = failure.hint.clone().unwrap();
    assert!(hint.contains("StreamLocalBindUnlink yes"), "{failure:?}");
    drop(carried(near));
    std::fs::remove_file(folder.at("far.sock")).unwrap();
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
    far.carries(10_000, 2);
}

#[test]
fn a_socket_at_the_server_that_somebody_listens_on_is_told_as_held() {
    // It is not taken from whoever has it; once that one is gone, with its file, it is ours.
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let (echo, far) = (Echo::on_tcp(), folder.socket("far.sock"));
    let holder = UnixServer::start(&folder.at("far.sock"), |_| {});
    let daemon = Table::to(&sshd).remote(&far, echo.place()).start();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let cause = status.failure.unwrap().cause;
    assert_eq!(
        cause,
        format!("remote socket held: something listens on {far} at the server")
    );
    drop(holder);
    std::fs::remove_file(folder.at("far.sock")).unwrap();
    up(&daemon, "t");
    far.carries(10_000, 1);
}

#[test]
fn a_client_of_a_socket_is_cut_with_the_session_and_the_next_one_is_carried() {
    // A unix socket cannot be reset: the client sees its end, and no byte that was not sent.
    let (sshd, folder) = (Sshd::start(), Folder::new());
    let (echo, near) = (Echo::on_tcp(), folder.socket("near.sock"));
    let daemon = Table::to(&sshd).forward(&near, echo.place()).up();
    let mut client = near.connect();
    crate::support::exchange(&mut client, b"carried");
    sshd.kill_sessions();
    match ending(&mut client) {
        Ok(0) => {}
        Ok(n) => panic!("{n} bytes from nowhere"),
        Err(error) => assert!(is_reset(&error), "{error}"),
    }
    // The forward waits for the next session, as one on a port does.
    near.carries(10_000, 1);
    up(&daemon, "t");
}
