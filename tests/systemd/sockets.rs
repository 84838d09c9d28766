//! Sockets of systemd's own: `.socket` units that the shipped service listens on.

use tunneld_core::events;
use tunneld_core::status::{DaemonStatus, Phase};

use crate::lab::{LISTEN, LONG, Lab};
use tunneld_lab::process::poll;

/// Where the `.socket` unit of a port listens.
const PORT: u16 = 5500;

/// Two units, a port and a file.
const UNITS: &str = r"
set -e
cat >/etc/systemd/system/tunneld-web.socket <<END
[Socket]
ListenStream=127.0.0.1:5500
FileDescriptorName=web
Service=tunneld.service
END
cat >/etc/systemd/system/tunneld-file.socket <<END
[Socket]
ListenStream=/run/lab-web.sock
SocketMode=0666
FileDescriptorName=file
Service=tunneld.service
END
";

/// Clients of the port and of the file in turn, each with a line that has to come back, until told
/// to stop. Prints how many there were and what the slowest took.
const CLIENTS: &str = r#"
import os, socket, time
count, worst = 0, 0
while not os.path.exists("/run/lab-enough"):
    began = time.monotonic()
    if count % 2:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect("/run/lab-web.sock")
    else:
        client = socket.create_connection(("127.0.0.1", 5500), 60)
    client.sendall(b"hello\n")
    said = client.recv(6)
    assert said == b"hello\n", (count, said)
    client.close()
    count += 1
    worst = max(worst, time.monotonic() - began)
    open("/run/lab-count", "w").write(str(count))
    # The echo is a service for each connection, and systemd starts so many only.
    time.sleep(0.05)
print(count, round(worst, 2))
"#;

fn tunnel(lab: &Lab, listens: &[&str]) {
    let forward =
        |listen: &&str| format!("{{ listen = \"{listen}\", connect = \"127.0.0.1:9000\" }}, ");
    let forwards: String = listens.iter().map(forward).collect();
    lab.file(&[]);
    lab.run(&format!(
        "sed -i 's|^local_forward = .*|local_forward = [{forwards}]|' /etc/tunneld/tunneld.toml"
    ));
}

fn status(lab: &Lab) -> DaemonStatus {
    // Not `run`: the exit code says whether everything is up.
    serde_json::from_slice(&lab.sh("tunneld status --json").stdout).unwrap()
}

/// A client starts the service; one that comes while it is restarted is served and not refused.
pub(crate) fn a_client_of_a_systemd_socket_is_served_whenever_it_comes(lab: &Lab) {
    tunnel(lab, &["fd:web", "fd:file"]);
    lab.run(UNITS);
    lab.drop_in("sockets", "Sockets=tunneld-web.socket tunneld-file.socket");
    lab.run(
        "systemctl stop tunneld
         systemctl start tunneld-web.socket tunneld-file.socket",
    );
    assert_ne!(lab.property("ActiveState"), "active");
    assert!(lab.echoes(PORT), "{}", lab.state());
    lab.wait_for("StatusText", |text| text == "1 of 1 up");

    let pid = lab.property("MainPID");
    lab.run(&format!(
        "rm -f /run/lab-enough /run/lab-count; cat >/srv/clients.py <<'END'\n{CLIENTS}END"
    ));
    let seen = lab.run(
        "python3 /srv/clients.py & clients=$!
         count() { cat /run/lab-count 2>/dev/null || echo 0; }
         more() { for _ in $(seq 600); do
             test $(count) -lt $1 || return 0
             kill -0 $clients || return 1
             sleep 0.1
         done; return 1; }
         more 10 && systemctl restart tunneld && more $(($(count) + 10)) &&
             systemctl restart tunneld && more $(($(count) + 10))
         happened=$?
         touch /run/lab-enough
         wait $clients && test $happened = 0",
    );
    println!("clients during two restarts, and what the slowest took in seconds: {seen}");
    assert_ne!(lab.property("MainPID"), pid);
}

/// The file of a `.socket` unit belongs to systemd: it is there when the service is not.
pub(crate) fn the_file_of_a_systemd_socket_is_left_alone(lab: &Lab) {
    let inode = "stat -c %i /run/lab-web.sock";
    let before = lab.run(inode);
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.run(inode), before);
    assert_eq!(lab.run("stat -c %a /run/lab-web.sock"), "666");
}

/// A name without a unit degrades its tunnel and says what is missing; the others are served.
pub(crate) fn a_name_without_a_unit_is_told(lab: &Lab) {
    tunnel(lab, &["fd:web", "fd:nothing"]);
    lab.run("systemctl start tunneld");
    let degraded = poll(LONG, || {
        let status = status(lab);
        (status.tunnels[0].phase == Phase::Degraded).then_some(status)
    });
    let status = degraded.unwrap_or_else(|| panic!("{}", lab.state()));
    let failure = status.tunnels[0].failure.clone().unwrap();
    assert_eq!(
        failure.cause,
        "no socket named nothing was passed by the service manager (passed: file, web)"
    );
    assert!(failure.hint.unwrap().contains("FileDescriptorName=nothing"));
    assert!(lab.echoes(PORT), "{}", lab.state());
    // The other one is in no forward.
    let entries = lab.entries(&format!("MESSAGE_ID={}", events::SOCKET_UNUSED));
    let told: Vec<_> = entries
        .iter()
        .filter_map(|e| e["MESSAGE"].as_str())
        .collect();
    assert!(
        told.len() == 1 && told[0].contains(" socket file "),
        "{told:?}"
    );
}

/// A client is turned away when the file is wrong, and not what starts the service for ever.
pub(crate) fn a_client_does_not_start_a_wrong_file_over_and_over(lab: &Lab) {
    lab.run("systemctl stop tunneld");
    lab.write("[tunnels.db]\nlisten_wrong = true");
    let ended = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT} && timeout 30 cat <&3");
    let ended = lab.sh(&ended);
    assert!(ended.status.success(), "{}", lab.state());
    lab.wait_for("ActiveState", |state| state == "failed");
    assert_eq!(lab.property("ExecMainStatus"), "78");
    let starts = lab.said("tunneld", "").matches("listen_wrong").count();
    assert!((1..=8).contains(&starts), "{starts}\n{}", lab.state());
}

/// Takes the units away again.
pub(crate) fn remove(lab: &Lab) {
    lab.file(&[LISTEN]);
    lab.run(
        "systemctl stop tunneld-web.socket tunneld-file.socket tunneld
         rm -r /etc/systemd/system/tunneld-*.socket
         rm -f /run/lab-web.sock",
    );
    lab.no_drop_ins();
    lab.run("systemctl start tunneld");
}
