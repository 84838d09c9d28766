//! `tunneld status` of every kind of forward, and of several sessions.

use tunneld_core::status::{DaemonStatus, Phase};
use tunneld_lab::process::{kill_tree, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LONG, assert_has, builder, daemon, stdout, tunnel_table, up};

#[test]
fn each_kind_is_shown_with_where_it_listens_and_where_it_leads() {
    // A port and a socket of ours, one of the server's, one that the server chose, and those whose
    // clients say where to; for people and for programs.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let (local, dynamic, to) = (free_addr(), free_addr(), echo.addr());
    let config = tunnel_table("db", &sshd)
        + &format!(
            "local_forward = [\"{local}:{to}\", \"{{dir}}/near.sock:{to}\"]\n\
             remote_forward = [\"0:{to}\", \"{{dir}}/far.sock:{to}\", {{ listen = \"0\", name = \"reverse\" }}]\n\
             dynamic_forward = [\"{dynamic}\"]\n"
        );
    let daemon = up(builder().config(&config));
    echoes(local).unwrap();
    let output = daemon.cli(&["status", "--json"]);
    let status: DaemonStatus = serde_json::from_slice(&output.stdout).unwrap();
    let db = &status.tunnels[0];
    let (near, far) = (
        daemon.dir().join("near.sock"),
        daemon.dir().join("far.sock"),
    );
    let (near, far) = (near.display().to_string(), far.display().to_string());
    let (local, dynamic, to) = (local.to_string(), dynamic.to_string(), to.to_string());
    let seen: Vec<_> = db
        .forwards
        .iter()
        .map(|f| (f.kind.as_str(), f.listen.as_str(), f.connect.as_str()))
        .collect();
    let asked = db.forwards[5].connect.as_str();
    let expected = [
        ("local", local.as_str(), to.as_str()),
        ("local", &near, &to),
        ("remote", db.forwards[2].listen.as_str(), &to),
        ("remote", &far, &to),
        ("remote", db.forwards[4].listen.as_str(), asked),
        ("dynamic", &dynamic, asked),
    ];
    assert_eq!(seen, expected);
    for forward in &db.forwards {
        let chosen = forward.allocated_port;
        assert_eq!(
            chosen.is_some(),
            forward.listen.contains(":0"),
            "{forward:#?}"
        );
        assert_eq!(forward.failure, None);
        if let Some(port) = chosen.filter(|_| forward.connect == to) {
            echoes(([127, 0, 0, 1], port).into()).unwrap();
        }
    }
    let page = stdout(&daemon.cli(&["status"]));
    for forward in &db.forwards {
        // Who asks for port 0 has to be told which it is.
        let port = forward.allocated_port.map(|port| format!(" (port {port})"));
        let listen = format!("{}{}", forward.listen, port.unwrap_or_default());
        // Who listens is said where it is not this machine.
        let road = match forward.kind.as_str() {
            "remote" => format!(
                "{listen} at {} ─▶ here ─▶ {}  ",
                sshd.host(),
                forward.connect
            ),
            _ => format!("{listen} ─▶ {} ─▶ {}  ", sshd.host(), forward.connect),
        };
        assert_has(&page, &[&road]);
    }
}

#[test]
fn missing_sessions_are_shown_while_the_tunnel_is_up() {
    // A warning under the tunnel; exit 0, for it is up; gone with the spare.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let config = tunnel_table("db", &sshd)
        + &format!(
            "local_forward = [\"{listen}:{}\"]\nmin_sessions = 2\n\
             reconnect = {{ initial = \"1s\", max = \"1s\", jitter = 0.0 }}\n",
            echo.addr()
        );
    let daemon = daemon(&config);
    let two = |t: &tunneld_core::status::TunnelStatus| t.sessions_open == 2;
    daemon.wait_for("db", LONG, two);
    let one = stdout(&daemon.cli(&["status", "db"]));
    assert_has(&one, &["sessions: 2 open\n"]);
    sshd.authorize_nobody();
    kill_tree(sshd.sessions()[0]);
    let warned = poll(LONG, || {
        let output = daemon.cli(&["status"]);
        let page = stdout(&output);
        page.contains("warning: 1 of 2 sessions missing (min_sessions)")
            .then_some((output.status.code(), page))
    });
    let (code, page) = warned.unwrap_or_else(|| panic!("{}", daemon.log_text()));
    assert_eq!(code, Some(0), "{page}");
    assert_has(&page, &["db  up "]);
    echoes(listen).unwrap();
    sshd.authorize(&sshd.client_key_files().public_line());
    let db = daemon.wait_for("db", LONG, two);
    assert_eq!((db.phase, db.warnings.len()), (Phase::Up, 0));
}
