//! What a service goes through that lives long: restarts under load, sleep, a new service manager.

use std::time::{Duration, Instant};

use tunneld_core::events;
use tunneld_lab::process::poll;

use crate::lab::{LISTEN, LONG, Lab, db};
use crate::{missing, outages};

/// What tunnels need to be quick to notice, and to come back.
pub(crate) const QUICK: &str = "server_alive_interval = \"1s\"\nserver_alive_count_max = 1\n\
     connect_timeout = \"2s\"\nreconnect = { initial = \"200ms\", max = \"1s\" }\n";

/// A target in place of the lab's, which is a process a connection: too slow for a load.
const TARGET: &str = r#"
import socket, threading
def serve(client):
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass
    client.close()
listener = socket.create_server(("127.0.0.1", 9000), backlog=128)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"#;

/// Clients all the time, until told to stop. One that is refused or cut comes again; one that gets
/// other bytes than it sent ends it all. Prints how many were served.
const CLIENTS: &str = r#"
import os, socket, sys, threading, time
served = [0] * 8
def client(number):
    while not os.path.exists("/run/lab-enough"):
        try:
            with socket.create_connection(("127.0.0.1", 5432), 30) as connection:
                for turn in range(10):
                    sent = os.urandom(4096)
                    connection.sendall(sent)
                    came = b""
                    while len(came) < len(sent):
                        part = connection.recv(len(sent) - len(came))
                        if not part:
                            raise OSError
                        came += part
                    if came != sent:
                        os._exit(1)
            served[number] += 1
        except OSError:
            time.sleep(0.01)
threads = [threading.Thread(target=client, args=(n,)) for n in range(len(served))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(served))
"#;

#[test]
fn a_service_that_lives_long_is_none_the_worse_for_it() {
    let lab = Lab::boot();
    // It asks whether its clients are there, as tunnels ask whether it is.
    lab.run(
        "printf '%s\\n' 'ClientAliveInterval 1' 'ClientAliveCountMax 1' >>/srv/sshd_config
         systemctl restart lab-sshd",
    );
    lab.write(&(db("127.0.0.1", &[LISTEN]) + QUICK));
    lab.run("systemctl start tunneld");
    restarts_under_load_leave_nothing_behind(&lab);
    a_sleep_is_noticed_when_it_is_over(&lab);
    a_new_service_manager_is_told_as_the_one_before(&lab);
    outages::a_start_without_a_network_waits_for_it(&lab);
    outages::a_network_that_is_cut_is_noticed_and_comes_back(&lab);
    outages::a_resolver_that_is_away_keeps_the_others_from_nothing(&lab);
    missing::no_file_is_a_mistake_and_no_tunnel_is_none(&lab);
    missing::a_key_that_cannot_be_read_blocks_its_tunnel_only(&lab);
    missing::nothing_has_to_be_written(&lab);
    missing::a_service_manager_that_is_not_told_anything_is_no_hindrance(&lab);
    missing::a_journal_that_is_away_is_no_hindrance(&lab);
}

/// What the daemon, its folders and its server hold.
fn held(lab: &Lab) -> String {
    lab.run(
        "pid=$(systemctl show tunneld -P MainPID)
         ls /proc/$pid/fd | wc -l
         wc -l </sys/fs/cgroup$(systemctl show tunneld -P ControlGroup)/cgroup.procs
         ss -Htn state established '( sport = :2222 )' | wc -l
         cd /run/tunneld && find . | sort
         cd /var/lib/tunneld && find . | sort",
    )
}

/// Twenty in a row, while clients echo: each is a clean stop and a start with tunnels, and the last
/// daemon holds what the first held.
fn restarts_under_load_leave_nothing_behind(lab: &Lab) {
    lab.run(&format!(
        "systemctl stop lab-echo.socket
         cat >/srv/target.py <<'END'\n{TARGET}END
         cat >/srv/clients.py <<'END'\n{CLIENTS}END
         systemd-run --quiet --unit=lab-target python3 /srv/target.py
         for _ in $(seq 200); do test -n \"$(ss -Htln sport = :9000)\" && break; sleep 0.05; done"
    ));
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    // The first restart has the history of the tunnel written.
    lab.run("systemctl restart tunneld");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    let before = held(lab);
    let served = lab.run(
        "rm -f /run/lab-enough
         python3 /srv/clients.py & clients=$!
         happened=0
         for _ in $(seq 20); do
             systemctl restart tunneld || happened=1
             test \"$(systemctl show tunneld -P StatusText)\" = '1 of 1 up' || happened=2
         done
         touch /run/lab-enough
         wait $clients && test $happened = 0",
    );
    println!("connections that were served during twenty restarts: {served}");
    assert!(served.parse::<u32>().unwrap() >= 20, "{served}");
    for (name, wanted) in [("NRestarts", "0"), ("Result", "success")] {
        assert_eq!(lab.property(name), wanted, "{name}");
    }
    let left = || {
        let now = held(lab);
        (now == before).then_some(()).ok_or(now)
    };
    let same = poll(LONG, || left().ok());
    assert!(same.is_some(), "{before}\nis now\n{}", left().unwrap_err());
    lab.run("systemctl stop lab-target && systemctl start lab-echo.socket");
}

/// All of it stops for as long as the server has patience, and goes on: what is said after that is
/// true within seconds.
fn a_sleep_is_noticed_when_it_is_over(lab: &Lab) {
    lab.drop_in("sleep", "WatchdogSec=infinity");
    lab.run("systemctl restart tunneld");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    let up = || {
        lab.entries(&format!("MESSAGE_ID={}", events::TUNNEL_UP))
            .len()
    };
    let before = up();
    lab.run(
        "systemctl kill -s STOP --kill-whom=all tunneld
         for _ in $(seq 600); do
             test -z \"$(ss -Htn state established '( sport = :2222 )')\" && break
             sleep 0.1
         done
         test -z \"$(ss -Htn state established '( sport = :2222 )')\"",
    );
    lab.run("systemctl kill -s CONT --kill-whom=all tunneld");
    let began = Instant::now();
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let again = poll(LONG, || (up() > before).then_some(()));
    assert!(again.is_some(), "{}", lab.state());
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert_eq!(lab.property("NRestarts"), "0");
    lab.no_drop_ins();
}

/// `systemctl daemon-reexec`: the same daemon, whose watchdog is fed and whose words are heard.
fn a_new_service_manager_is_told_as_the_one_before(lab: &Lab) {
    lab.drop_in("reexec", "WatchdogSec=2s");
    lab.run("systemctl restart tunneld");
    let pid = lab.property("MainPID");
    lab.run("systemctl daemon-reexec");
    let fed = || lab.property("WatchdogTimestampMonotonic");
    let before = fed();
    let fed = poll(LONG, || (fed() != before).then_some(()));
    assert!(fed.is_some(), "{}", lab.state());
    lab.run("systemctl stop lab-sshd");
    lab.wait_for("StatusText", |text| text.starts_with("0 of 1 up; db: "));
    lab.run("systemctl start lab-sshd");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert_eq!(lab.property("MainPID"), pid);
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.no_drop_ins();
}
