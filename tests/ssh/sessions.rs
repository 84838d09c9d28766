//! Several sessions of one tunnel: spares that take over at once, and more of them under load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::Fault;
use tunneld_lab::keys::generate;
use tunneld_lab::process::{Signal, freeze_tree, kill_tree, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, TcpServer, connect, echoes, free_addr, is_reset, read_some};

use crate::gateway::{command, gateway, reload};
use crate::support::{
    Broken, LATE, LONG, NEVER, Rig, Table, carried, daemon, ending, exchange, pass, text, up,
};

/// Waits until the tunnel is up with this many sessions.
#[track_caller]
fn up_with(daemon: &Daemon, sessions: u32) -> TunnelStatus {
    daemon.wait_for("t", LONG, |t| {
        t.phase == Phase::Up && t.sessions_open == sessions && t.warnings.is_empty()
    })
}

/// Clients that come one after the other, one each 10 ms, each with one echo.
struct Clients {
    done: Arc<AtomicBool>,
    /// Held by a client while it is served.
    served: Arc<Mutex<Vec<Duration>>>,
    task: std::thread::JoinHandle<()>,
}

impl Clients {
    fn start(listen: SocketAddr) -> Self {
        let done = Arc::<AtomicBool>::default();
        let served = Arc::<Mutex<Vec<Duration>>>::default();
        let (stop, took) = (done.clone(), served.clone());
        let task = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let mut took = took.lock().unwrap();
                let start = Instant::now();
                let number = took.len();
                echoes(listen).unwrap_or_else(|e| panic!("client {number} was not served: {e}"));
                took.push(start.elapsed());
                drop(took);
                pass(Duration::from_millis(10));
            }
        });
        Clients { done, served, task }
    }

    /// Does something in the gap between two clients.
    fn between<T>(&self, work: impl FnOnce() -> T) -> T {
        let _served = self.served.lock().unwrap();
        work()
    }

    /// Waits for some more.
    #[track_caller]
    fn more(&self, wanted: usize) {
        let count = || self.served.lock().unwrap().len();
        let before = count();
        let came = poll(LONG, || {
            (count() >= before + wanted || self.task.is_finished()).then_some(())
        });
        assert!(came.is_some() && !self.task.is_finished());
    }

    /// Ends them; what each took.
    #[track_caller]
    fn finish(self) -> Vec<Duration> {
        self.done.store(true, Ordering::SeqCst);
        self.task.join().unwrap();
        std::mem::take(&mut *self.served.lock().unwrap())
    }
}

fn print(what: &str, mut took: Vec<Duration>) -> Duration {
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{what}: {} clients, median {median:?}, worst {worst:?}",
        took.len()
    );
    worst
}

#[test]
fn a_spare_session_takes_over_without_a_client_noticing() {
    // min_sessions = 2, and a client each 10 ms: either session is killed at the server, and each
    // client is served at once by the other one; the gap is filled again.
    let rig = Rig::new(|t| t.set("min_sessions", 2));
    up_with(&rig.daemon, 2);
    assert_eq!(rig.sshd.sessions().len(), 2);
    let clients = Clients::start(rig.listen);
    let mut last = rig.status().sessions;
    for victim in [0, 1, 0] {
        clients.more(20);
        let sessions = rig.sshd.sessions();
        clients.between(|| kill_tree(sessions[victim]));
        clients.more(20);
        let refilled = rig
            .daemon
            .wait_for("t", LONG, |t| t.sessions > last && t.sessions_open == 2);
        assert_eq!(refilled.phase, Phase::Up);
        last = refilled.sessions;
    }
    let worst = print("one of two sessions killed, three times", clients.finish());
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    let forward = &rig.status().forwards[0];
    assert_eq!(forward.connections.refused, 0, "{forward:#?}");
    let line = rig.daemon.wait_for_log("a session has ended", LONG);
    assert!(line.contains("another one carries on"), "{line}");
    assert!(!rig.daemon.log_text().contains("tunnel down"));
    up_with(&rig.daemon, 2);
}

#[test]
fn a_spare_that_cannot_be_made_is_told_and_the_tunnel_is_up() {
    // The key is rejected now: the other session carries, the status warns, the server is not
    // pestered, and `try now` brings the spare once the key is right again.
    let patient = r#"{ initial = "100ms", max = "1h", jitter = 0.0 }"#;
    let rig = Rig::new(|t| t.set("min_sessions", 2).set("reconnect", patient));
    let daemon = &rig.daemon;
    up_with(daemon, 2);
    rig.sshd.authorize_nobody();
    kill_tree(rig.sshd.sessions()[0]);
    let line = daemon.wait_for_log("a spare session (min_sessions) cannot be made", LONG);
    assert!(line.contains("next try in 1h"), "{line}");
    assert!(line.contains("stage=authenticate"), "{line}");
    let status = rig.status();
    assert_eq!((status.phase, status.sessions_open), (Phase::Up, 1));
    assert_eq!(status.warnings, ["1 of 2 sessions missing (min_sessions)"]);
    drop(carried(rig.listen));
    rig.sshd
        .authorize(&rig.sshd.client_key_files().public_line());
    daemon.signal(Signal::USR1);
    up_with(daemon, 2);
}

#[test]
fn both_sessions_lost_is_a_tunnel_that_is_down() {
    // And comes back with both.
    let mut rig = Rig::new(|t| t.set("min_sessions", 2));
    up_with(&rig.daemon, 2);
    let mark = rig.daemon.log_mark();
    rig.sshd.kill9();
    rig.daemon.wait_for_log_from(mark, "tunnel down", LONG);
    rig.sshd.restart();
    let status = up_with(&rig.daemon, 2);
    assert!(status.sessions >= 4, "{status:#?}");
    drop(carried(rig.listen));
}

#[test]
fn a_reload_changes_how_many_sessions_there_are() {
    // More spares are made at once.
    let rig = Rig::new(|t| t);
    up_with(&rig.daemon, 1);
    let table = Table::to(&rig.sshd).forward(rig.listen, rig.echo.addr());
    let table = table.set("min_sessions", 3).set("max_sessions", 3);
    reload(&rig.daemon, &table);
    up_with(&rig.daemon, 3);
    assert_eq!(rig.sshd.sessions().len(), 3);
    drop(carried(rig.listen));
}

/// Clients that take all that comes, until they are shut down.
fn downloads(listen: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut client = connect(listen);
            client.set_read_timeout(Some(LONG)).unwrap();
            client.read_exact(&mut [0; 1000]).unwrap();
            let mut reader = client.try_clone().unwrap();
            std::thread::spawn(move || {
                while matches!(read_some(&mut reader, &mut [0; 64 << 10]), Ok(1..)) {}
            });
            client
        })
        .collect()
}

#[test]
fn connections_spread_over_as_many_sessions_as_there_may_be() {
    // max_sessions = 3 and six downloads: a second and a third session, and no fourth.
    let target = TcpServer::start_anywhere(|mut stream| {
        while stream.write_all(&[7; 32 << 10]).is_ok() {
            pass(Duration::from_millis(10));
        }
    });
    let listen = free_addr();
    let rig = Rig::new(|t| t.set("max_sessions", 3).forward(listen, target.addr()));
    up_with(&rig.daemon, 1);
    let mut running = Vec::new();
    // The first few make the demand that the others meet.
    for wanted in [2, 3] {
        running.extend(downloads(listen, 2));
        up_with(&rig.daemon, wanted);
    }
    running.extend(downloads(listen, 2));
    let status = up_with(&rig.daemon, 3);
    assert_eq!(status.sessions, 3);
    assert_eq!(rig.sshd.sessions().len(), 3);
    assert_eq!(status.forwards[1].connections.open, 6);
    drop(carried(rig.listen));
    for client in running {
        let _ = client.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn sessions_that_are_not_used_any_more_are_closed() {
    // After a while, at the server too; one with a connection stays, and so does the last one.
    let rig = Rig::new(|t| t.set("max_sessions", 3));
    let mut running = Vec::new();
    for wanted in [2, 3] {
        running.extend((0..2).map(|_| carried(rig.listen)));
        up_with(&rig.daemon, wanted);
    }
    // The third one is on the second session.
    let mut stays = running.swap_remove(2);
    drop(running);
    let status = up_with(&rig.daemon, 2);
    assert_eq!(status.sessions, 3);
    let closed = poll(LONG, || (rig.sshd.sessions().len() == 2).then_some(()));
    assert!(closed.is_some(), "{:?}", rig.sshd.sessions());
    exchange(&mut stays, b"still here");
    drop(carried(rig.listen));
}

#[test]
fn the_loss_of_one_of_three_sessions_is_the_loss_of_its_connections_only() {
    // Those of the others go on, and new ones are carried.
    let rig = Rig::new(|t| t.set("min_sessions", 3).set("max_sessions", 3));
    up_with(&rig.daemon, 3);
    let mut clients: Vec<TcpStream> = (0..6).map(|_| carried(rig.listen)).collect();
    let victim = rig.sshd.sessions()[1];
    kill_tree(victim);
    rig.daemon
        .wait_for_log("a session has ended, 2 others carry on", LONG);
    let open = |t: &TunnelStatus| t.forwards[0].connections.open == 4;
    rig.daemon.wait_for("t", LONG, open);
    let mut lost = 0;
    for client in &mut clients {
        // What was cut is a reset, and says so on the first look.
        client.set_nonblocking(true).unwrap();
        let cut = match client.peek(&mut [0]) {
            Err(e) if is_reset(&e) => true,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => false,
            other => panic!("{other:?}"),
        };
        client.set_nonblocking(false).unwrap();
        match cut {
            true => lost += 1,
            false => exchange(client, b"still here"),
        }
    }
    assert_eq!(lost, 2);
    drop(carried(rig.listen));
    up_with(&rig.daemon, 3);
}

#[test]
fn a_replaced_identity_makes_its_session_before_the_old_ones_drain() {
    // min_sessions = 2 and another key in the file: no client is refused meanwhile, an open
    // connection goes on, and both sessions are new in the end.
    let sshd = Sshd::start();
    let key = generate(sshd.dir(), "another");
    sshd.authorize(&key.public_line());
    let rig = Rig::with(sshd, |t| t.set("min_sessions", 2));
    up_with(&rig.daemon, 2);
    let before = rig.sshd.sessions();
    let mut open = carried(rig.listen);
    let clients = Clients::start(rig.listen);
    clients.more(10);
    let table = Table::to(&rig.sshd)
        .forward(rig.listen, rig.echo.addr())
        .set("min_sessions", 2)
        .set("identity_file", format!("{:?}", key.private));
    let keys = "[daemon]\ncontrol_socket = \"{socket}\"\ndrain_timeout = \"5m\"\n";
    rig.daemon.write_config(&(table.toml() + keys));
    let output = rig.daemon.reload();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("~ t  replace:"));
    rig.daemon
        .wait_for("t", LONG, |t| t.sessions == 4 && t.sessions_open == 2);
    clients.more(20);
    let worst = print("both sessions replaced", clients.finish());
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    assert_eq!(rig.status().forwards[0].connections.refused, 0);
    exchange(&mut open, b"still here");
    // The session without a connection has said goodbye, the other one does when it is empty.
    drop(open);
    let gone = || {
        let now = rig.sshd.sessions();
        now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
    };
    assert!(
        poll(LONG, || gone().then_some(())).is_some(),
        "{:?}, of them {before:?} are old",
        rig.sshd.sessions()
    );
    up_with(&rig.daemon, 2);
}

#[test]
fn a_remote_forward_moves_to_another_session_when_its_own_is_lost() {
    // It is asked on one of them; a spare takes it over, and clients at the server are served.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let far = free_addr();
    let table = Table::to(&sshd)
        .remote(far, echo.addr())
        .set("min_sessions", 2)
        .set("reconnect", NEVER);
    let daemon = table.up();
    up_with(&daemon, 2);
    echoes(far).unwrap();
    kill_tree(sshd.sessions()[0]);
    daemon.wait_for_log("a session has ended", LONG);
    up(&daemon, "t");
    let served = poll(LONG, || echoes(far).ok());
    assert!(served.is_some(), "nobody listens on {far}");
}

#[test]
fn a_server_that_throws_the_second_session_out_is_not_hammered() {
    // The delays grow from one loss to the next, and the log has one line for all of them.
    let reconnect =
        r#"{ initial = "300ms", max = "1h", multiplier = 2.0, jitter = 0.0, reset_after = "1h" }"#;
    let rig = Rig::new(|t| t.set("min_sessions", 2).set("reconnect", reconnect));
    up_with(&rig.daemon, 2);
    for (session, delay) in [(3, 300), (4, 600), (5, 1200)] {
        let lost = Instant::now();
        kill_tree(rig.sshd.sessions()[1]);
        rig.daemon
            .wait_for("t", LONG, |t| t.sessions == session && t.sessions_open == 2);
        let gap = lost.elapsed();
        assert!(gap >= Duration::from_millis(delay), "{session}: {gap:?}");
    }
    let log = rig.daemon.log();
    let lost = |level: &str| {
        let lines = log.iter().filter(|l| l.contains("a session has ended"));
        lines.filter(|l| l.contains(level)).count()
    };
    assert_eq!((lost(" warn "), lost(" debug ")), (1, 2), "{log:#?}");
}

#[test]
fn a_session_that_lasted_is_replaced_at_once() {
    // Its loss says nothing about the next one: no delay, and a line of its own.
    let reconnect = r#"{ initial = "5s", max = "1h", jitter = 0.0, reset_after = "1s" }"#;
    let rig = Rig::new(|t| t.set("min_sessions", 2).set("reconnect", reconnect));
    for session in [3, 4] {
        up_with(&rig.daemon, 2);
        pass(Duration::from_millis(5100));
        let mark = rig.daemon.log_mark();
        let lost = Instant::now();
        kill_tree(rig.sshd.sessions()[1]);
        rig.daemon
            .wait_for("t", LONG, |t| t.sessions == session && t.sessions_open == 2);
        let gap = lost.elapsed();
        assert!(gap < Duration::from_secs(5), "{gap:?}");
        let line = rig
            .daemon
            .wait_for_log_from(mark, "a session has ended", LONG);
        assert!(line.contains(" warn "), "{line}");
    }
}

#[test]
fn a_lowered_max_sessions_closes_what_is_too_much() {
    // The connections of the surplus have drain_timeout, those of the first session go on.
    let rig = Rig::new(|t| t.set("max_sessions", 3));
    let mut clients = Vec::new();
    for wanted in [2, 3] {
        clients.extend((0..2).map(|_| carried(rig.listen)));
        up_with(&rig.daemon, wanted);
    }
    clients.push(carried(rig.listen));
    let table = Table::to(&rig.sshd).forward(rig.listen, rig.echo.addr());
    let keys = "[daemon]\ncontrol_socket = \"{socket}\"\ndrain_timeout = \"500ms\"\n";
    rig.daemon.write_config(&(table.toml() + keys));
    assert!(rig.daemon.reload().status.success());
    let status = up_with(&rig.daemon, 1);
    assert_eq!(status.sessions, 3);
    let closed = poll(LONG, || (rig.sshd.sessions().len() == 1).then_some(()));
    assert!(closed.is_some(), "{:?}", rig.sshd.sessions());
    let open = |t: &TunnelStatus| t.forwards[0].connections.open == 2;
    rig.daemon.wait_for("t", LONG, open);
    // The first two came while there was one session only.
    let others = clients.split_off(2);
    for client in &mut clients {
        exchange(client, b"still here");
    }
    for mut client in others {
        assert!(is_reset(&ending(&mut client).unwrap_err()));
    }
    drop(carried(rig.listen));
}

#[test]
fn a_spare_under_way_is_given_up_when_the_tunnel_goes_elsewhere() {
    // The attempt would end in a session as the old user; the server sees it close.
    let broken = Broken::new(None);
    let table = broken.table.clone().set("connect_timeout", text("10m"));
    let daemon = table.up();
    broken.server.set_fault(Some(Fault::AcceptAndNeverSpeak));
    let table = table.set("min_sessions", 2);
    reload(&daemon, &table);
    let open = |wanted| poll(LONG, || (broken.server.open() == wanted).then_some(()));
    assert!(open(2).is_some(), "no attempt for a spare");
    reload(&daemon, &table.clone().set("user", text("another")));
    // The session, and the attempt to replace it.
    let seen = poll(LONG, || {
        (broken.server.accepted() >= 3 && broken.server.open() == 2).then_some(())
    });
    assert!(seen.is_some(), "{} are open", broken.server.open());
    drop(carried(broken.listen));
    // What is missing is made once the others are there.
    broken.server.set_fault(None);
    reload(&daemon, &table);
    up_with(&daemon, 2);
}

#[test]
fn a_frozen_session_takes_no_new_connection_once_its_keepalive_finds_it_dead() {
    // Nobody says that it has gone: one of two sessions does not answer any more. Who came to it
    // before the keepalive knew is carried by the other one then, and everybody after that at once.
    let rig = Rig::new(|t| t.set("min_sessions", 2).alive("300ms", 2));
    let dead_after = Duration::from_millis(900);
    for victim in [0, 1] {
        up_with(&rig.daemon, 2);
        // On the first session, so that others go to the second.
        let mut held: Vec<_> = (0..victim).map(|_| carried(rig.listen)).collect();
        let clients = Clients::start(rig.listen);
        clients.more(20);
        let mark = rig.daemon.log_mark();
        let frozen = rig.sshd.sessions()[victim];
        clients.between(|| freeze_tree(frozen));
        let line = rig
            .daemon
            .wait_for_log_from(mark, "a session has ended", LONG);
        clients.more(20);
        assert!(line.contains("no reply to 2 keepalives"), "{line}");
        let worst = print("one of two sessions frozen", clients.finish());
        assert!(worst < dead_after + LATE, "{worst:?}");
        assert!(worst > dead_after / 3, "nobody came to it: {worst:?}");
        for client in &mut held {
            exchange(client, b"still here");
        }
        kill_tree(frozen);
    }
    let status = up_with(&rig.daemon, 2);
    assert_eq!(status.forwards[0].connections.refused, 0, "{status:#?}");
    assert!(!rig.daemon.log_text().contains("tunnel down"));
}

#[test]
fn a_stop_of_a_tunnel_whose_task_has_died_stops_it() {
    // It does not start again by itself; a start, and a reload, bring it back.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let table = Table::to(&sshd).set("reconnect", NEVER);
    let daemon = daemon()
        .env("TUNNELD_INJECT", "panic-on-retry:t")
        .config(&table.forward(listen, echo.addr()).toml())
        .start();
    for back in [&["start", "t"][..], &["reload"]] {
        up(&daemon, "t");
        daemon.signal(Signal::USR1);
        daemon.wait_phase("t", Phase::Waiting, LONG);
        command(&daemon, &["stop", "t"]);
        let status = daemon.tunnel("t");
        assert_eq!(status.phase, Phase::Stopped);
        assert!(status.retry_at_unix_ms.is_none() && status.failure.is_none());
        // What makes others try now is not for it.
        daemon.signal(Signal::USR1);
        command(&daemon, &["stop", "t"]);
        assert_eq!(daemon.tunnel("t").phase, Phase::Stopped);
        command(&daemon, back);
    }
    up(&daemon, "t");
    echoes(listen).unwrap();
}
