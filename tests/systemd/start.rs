//! `systemctl start` returns when it is known how the tunnels are, and not later.

use std::time::{Duration, Instant};

use crate::lab::{LISTEN, Lab, db};

/// Something that needs the tunnel and does not try twice.
const DEPENDENT: &str = r#"
cat >/run/systemd/system/lab-app.service <<'END'
[Unit]
After=tunneld.service
Requires=tunneld.service
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/5432; echo hello >&3; read -t 20 -r line <&3; test "$$line" = hello'
END
systemctl daemon-reload
"#;

/// A port where connections are taken and nothing is ever said.
const MUTE: &str = r"
cat >/run/systemd/system/lab-mute.socket <<END
[Socket]
ListenStream=127.0.0.1:2223
END
cat >/run/systemd/system/lab-mute.service <<END
[Service]
ExecStart=/bin/sleep infinity
END
systemctl daemon-reload
systemctl start lab-mute.socket
";

/// `systemctl start` blocks until READY=1; the status line says how things are.
pub(crate) fn a_start_returns_when_the_tunnels_are_up(lab: &Lab) {
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    assert_eq!(
        lab.run("ps -o user= -p $(systemctl show tunneld -P MainPID)"),
        "tunneld"
    );
    lab.run("tunneld status");
}

/// A server that is away is not a failed start: it is known, said, and tried again.
pub(crate) fn a_dead_server_does_not_hang_the_start(lab: &Lab) {
    lab.run("systemctl stop lab-sshd.service");
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    let text = lab.property("StatusText");
    assert!(
        text.starts_with("0 of 1 up; db: ") && text.contains("connection refused"),
        "{text}"
    );
    lab.run("systemctl start lab-sshd.service");
    lab.run("systemctl kill -s USR1 tunneld");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// Exit 78: the start fails, says where the mistake is, and is not tried again.
pub(crate) fn a_bad_file_does_not_loop(lab: &Lab) {
    lab.write("[tunnels.db]\nhosst = \"127.0.0.1\"");
    assert!(!lab.sh("systemctl start tunneld").status.success());
    assert_eq!(lab.property("ActiveState"), "failed");
    assert_eq!(lab.property("ExecMainStatus"), "78");
    // A restart that was coming would show as `activating (auto-restart)`.
    assert_eq!(
        (lab.property("SubState"), lab.property("NRestarts")),
        ("failed".into(), "0".into())
    );
    // Found by its unit and its priority, although the process was gone in a moment.
    let said = lab.said("tunneld", "-p err -n 20");
    assert!(said.contains("/etc/tunneld/tunneld.toml:2:1"), "{said}");
}

/// A server of which nothing is heard is waited for as long as `start_timeout` says.
pub(crate) fn a_mute_server_has_its_start_timeout(lab: &Lab) {
    lab.run("systemctl stop tunneld");
    lab.run(MUTE);
    let limit = Duration::from_secs(1);
    let mute = db("127.0.0.1", &[LISTEN]).replace("port = 2222", "port = 2223");
    lab.write(&format!("[daemon]\nstart_timeout = \"1s\"\n{mute}"));
    let began = Instant::now();
    lab.run("systemctl start tunneld");
    let took = began.elapsed();
    assert!(took >= limit && took < limit * 10, "{took:?}");
    assert_eq!(lab.property("StatusText"), "0 of 1 up; db: connecting");
    lab.run("systemctl stop lab-mute.socket lab-mute.service");
}

/// With `ready_when = "all"` the start goes on until the last server has come, and says meanwhile
/// what it waits for. A unit with `After=` and `Requires=` finds the tunnel up.
pub(crate) fn what_requires_it_waits_for_a_server_that_comes_late(lab: &Lab) {
    lab.run("systemctl stop tunneld lab-sshd.service");
    lab.run(DEPENDENT);
    // A client that is too early shall not be let wait.
    let refuses = format!(
        "{{ listen = \"127.0.0.1:{LISTEN}\", connect = \"127.0.0.1:9000\", while_down = \"refuse\" }}"
    );
    lab.write(&format!(
        "[daemon]\nready_when = \"all\"\nstart_timeout = \"1s\"\n{}\
         reconnect = {{ initial = \"1s\", max = \"1s\" }}\n",
        db("127.0.0.1", &[]).replace("[]", &format!("[{refuses}]"))
    ));
    lab.run("systemctl start --no-block lab-app");
    lab.wait_for("StatusText", |text| {
        text.starts_with("0 of 1 up; db: retry in ") && text.ends_with("(connection refused)")
    });
    assert_eq!(lab.property("ActiveState"), "activating");
    assert_eq!(lab.run("systemctl show lab-app -P ActiveState"), "inactive");
    // Whoever starts it now waits for the same start.
    lab.run("systemctl start lab-sshd.service && systemctl start lab-app");
    assert_eq!(lab.property("ActiveState"), "active");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    lab.file(&[LISTEN]);
}
