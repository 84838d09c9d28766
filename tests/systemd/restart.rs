//! Nothing is refused across a restart: the sockets of the forwards are in systemd's descriptor store.

use tunneld_lab::process::{poll, printed};

use crate::clients::{self, all_were_served};
use crate::lab::{LONG, Lab};

/// Each kind of place that clients come to.
const KINDS: &str = "port file socks web";

/// A `.socket` unit.
const INSTALL: &str = r#"
set -e
cat >/etc/systemd/system/tunneld-web.socket <<'END'
[Socket]
ListenStream=127.0.0.1:5500
FileDescriptorName=web
Service=tunneld.service
END
"#;

/// Sockets as another version, or another file, may have left them in the store.
const STRANGERS: &str = r#"
set -e
cat >/srv/strangers.py <<'END'
import array, os, socket
def tell(text, fds):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    place = os.environ["NOTIFY_SOCKET"]
    manager.connect("\0" + place[1:] if place[0] == "@" else place)
    manager.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
def store(name, kind, port):
    stored = socket.socket(socket.AF_INET, kind)
    stored.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        stored.listen()
    tell(f"FDSTORE=1\nFDNAME={name}\n", [stored.fileno()])
store("tunneld-store-99-future", socket.SOCK_STREAM, 6001)
store("tunneld-store-1-tcp-udp", socket.SOCK_DGRAM, 6002)
store("tunneld-store-1-tcp-nobody", socket.SOCK_STREAM, 6003)
ours, theirs = os.pipe()
tell("BARRIER=1", [theirs])
os.close(theirs)
os.read(ours, 1)
open("/run/lab-strangers", "w")
END
"#;

#[test]
fn clients_are_served_whatever_restarts_the_service() {
    let lab = Lab::boot();
    lab.run(INSTALL);
    lab.drop_in("sockets", "Sockets=tunneld-web.socket");
    lab.run("systemctl start tunneld-web.socket");
    clients::prepare(&lab);
    file(&lab, true);
    lab.run("systemctl start tunneld");
    // The port, the file, the SOCKS proxy and the metrics; that of the `.socket` unit is its own.
    stored(&lab, "4");
    no_client_is_refused_by_a_restart(&lab);
    no_client_is_refused_after_a_kill(&lab);
    no_client_is_refused_by_an_upgrade(&lab);
    what_is_stopped_or_taken_out_of_the_file_is_kept_no_more(&lab);
    what_cannot_be_used_is_dropped_and_the_service_starts(&lab);
    in_another_network_namespace_ports_are_made_anew(&lab);
    a_stop_ends_it(&lab);
}

/// The tunnel `db`, with or without its SOCKS proxy.
fn file(lab: &Lab, socks: bool) {
    let forward = |listen: &str| {
        format!(
            "{{ listen = \"{listen}\", connect = \"127.0.0.1:9001\", wait_timeout = \"1m\" }}, "
        )
    };
    let forwards = ["127.0.0.1:5432", "/run/tunneld/db.sock", "fd:web"].map(forward);
    let dynamic = match socks {
        true => "{ listen = \"127.0.0.1:1080\", wait_timeout = \"1m\" }",
        false => "",
    };
    lab.file(&[]);
    lab.run(&format!(
        "sed -i 's|^local_forward = .*|local_forward = [{}]|' /etc/tunneld/tunneld.toml
         cat >>/etc/tunneld/tunneld.toml <<'END'
dynamic_forward = [{dynamic}]
[daemon]
metrics_listen = \"127.0.0.1:9478\"
END",
        forwards.concat()
    ));
}

#[track_caller]
fn stored(lab: &Lab, count: &str) {
    lab.wait_for("NFileDescriptorStore", |now| now == count);
}

/// `systemctl restart`: connections that were there have their `drain_timeout`, those that come wait.
fn no_client_is_refused_by_a_restart(lab: &Lab) {
    let pid = lab.property("MainPID");
    let clients = clients::during(lab, KINDS, "systemctl restart tunneld", "true");
    all_were_served(lab, &clients);
    assert_ne!(lab.property("MainPID"), pid);
    stored(lab, "4");
}

/// `kill -9` cuts what is carried, and nothing that comes later.
fn no_client_is_refused_after_a_kill(lab: &Lab) {
    let restarts = lab.property("NRestarts");
    let clients = clients::during(
        lab,
        KINDS,
        "systemctl kill -s KILL tunneld",
        &format!("test $(systemctl show tunneld -P NRestarts) -gt {restarts}"),
    );
    for what in ["refused", "late"] {
        let none = clients[what].as_array().is_some_and(Vec::is_empty);
        assert!(none, "{what}: {clients:#}\n{}", lab.state());
    }
    lab.wait_for("ActiveState", |state| state == "active");
    stored(lab, "4");
}

/// Another file in the place of the program, and a restart: what a package does.
fn no_client_is_refused_by_an_upgrade(lab: &Lab) {
    // A copy that can be replaced, without what a debugger needs, which is most of it.
    lab.run("strip --strip-debug -o /srv/tunneld /usr/bin/tunneld");
    lab.drop_in("copy", "ExecStart=\nExecStart=/srv/tunneld run");
    let clients = clients::during(lab, KINDS, "systemctl restart tunneld", "true");
    all_were_served(lab, &clients);
    let upgrade =
        "cp /srv/tunneld /srv/new && mv /srv/new /srv/tunneld && systemctl restart tunneld";
    let clients = clients::during(lab, KINDS, upgrade, "true");
    all_were_served(lab, &clients);
    let runs = lab.run("readlink /proc/$(systemctl show tunneld -P MainPID)/exe");
    assert_eq!(runs, "/srv/tunneld");
}

fn is_refused(lab: &Lab, port: u16) -> bool {
    let tried = lab.sh(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}"));
    printed(&tried).contains("Connection refused")
}

#[track_caller]
fn refused_soon(lab: &Lab, port: u16) {
    let refused = poll(LONG, || is_refused(lab, port).then_some(()));
    assert!(refused.is_some(), "{port}\n{}", lab.state());
}

/// Its clients are refused at once, and do not wait for a service that is not theirs any more.
fn what_is_stopped_or_taken_out_of_the_file_is_kept_no_more(lab: &Lab) {
    file(lab, false);
    lab.run("systemctl reload tunneld");
    refused_soon(lab, 1080);
    stored(lab, "3");
    // The metrics are the daemon's.
    lab.run("tunneld stop db");
    assert!(is_refused(lab, 5432), "{}", lab.state());
    stored(lab, "1");
    lab.run("tunneld start db && tunneld wait db --timeout 60s");
    stored(lab, "3");
    // Not in the file when the service comes back: the same.
    file(lab, true);
    lab.run("systemctl reload tunneld");
    stored(lab, "4");
    file(lab, false);
    lab.run("systemctl restart tunneld");
    assert!(is_refused(lab, 1080), "{}", lab.state());
    stored(lab, "3");
    assert!(lab.echoes(5432), "{}", lab.state());
}

/// Of another version, no listener, or for nothing in the file.
fn what_cannot_be_used_is_dropped_and_the_service_starts(lab: &Lab) {
    lab.run(STRANGERS);
    lab.drop_in(
        "strangers",
        "NotifyAccess=all\nExecStartPre=+/usr/bin/python3 /srv/strangers.py",
    );
    lab.run("systemctl restart tunneld && test -e /run/lab-strangers");
    stored(lab, "3");
    for port in [6001, 6003] {
        assert!(is_refused(lab, port), "{port}\n{}", lab.state());
    }
    for port in [5432, 5500] {
        assert!(lab.echoes(port), "{port}\n{}", lab.state());
    }
    lab.no_drop_in("strangers");
}

/// The ports of the old one would be open where nobody looks for them.
fn in_another_network_namespace_ports_are_made_anew(lab: &Lab) {
    lab.drop_in("moved", "PrivateNetwork=yes");
    lab.run("systemctl restart tunneld");
    // The server is not there, and the start does not wait for the ports of a tunnel that is down.
    let inside = "nsenter -n -t $(systemctl show tunneld -P MainPID) \
                  bash -c 'exec 3<>/dev/tcp/127.0.0.1/5432'";
    let open = poll(LONG, || lab.sh(inside).status.success().then_some(()));
    assert!(open.is_some(), "{}", lab.state());
    refused_soon(lab, 5432);
    lab.no_drop_in("moved");
}

/// Nobody is coming back: systemd drops what it has kept.
fn a_stop_ends_it(lab: &Lab) {
    lab.run("systemctl stop tunneld-web.socket tunneld");
    // systemd clears up after it has said that the service is stopped.
    refused_soon(lab, 5432);
    stored(lab, "0");
    lab.run("systemctl start tunneld");
    assert!(lab.echoes(5432), "{}", lab.state());
}
