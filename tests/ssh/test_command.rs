//! `tunneld test`: the way to the server is said step by step, with the fix for what does not work,
//! and nothing is changed by finding out. Its forwards are in `test_forwards.rs`.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tunneld_lab::keys::generate;
use tunneld_lab::process::{Signal, printed, signal, wait_exit};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};

use crate::gateway::gateway;
use crate::support::{Broken, LATE, LONG, Table, text, with_hosts};
use crate::tested::{File, ends_with, json, line, marked, names, said, tested};

#[test]
fn a_way_over_a_jump_host_is_shown_host_by_host() {
    // Each with its own heading, key and time.
    let (bastion, sshd, echo) = (Sshd::start(), Sshd::start(), EchoServer::start());
    let table = Table::to(&sshd)
        .over(&[&bastion])
        .forward(free_addr(), echo.addr());
    let text = tested(&table, 0);
    let heading = |sshd: &Sshd| format!("  {}@{}\n", sshd.user(), sshd.addr());
    let first = text.find(&heading(&bastion)).unwrap();
    let second = text.find(&heading(&sshd)).unwrap();
    assert!(first < second, "{text}");
    let lines = marked(&text[second..], "✓");
    let over = format!("{} over {}", sshd.addr(), bastion.addr());
    assert!(
        lines[0].starts_with("connect") && lines[0].ends_with(&over),
        "{text}"
    );

    let report = json(&table, 0);
    let hosts = [bastion.addr().to_string(), sshd.addr().to_string()];
    assert_eq!(names(&report["hosts"], "host"), hosts);
    let steps = |host: usize| names(&report["hosts"][host]["steps"], "step");
    let all = [
        "resolve",
        "connect",
        "host-key",
        "key-exchange",
        "authenticate",
    ];
    assert_eq!((steps(0), steps(1)), (all.to_vec(), all[1..].to_vec()));
}

#[test]
fn a_jump_host_that_lets_nobody_in_ends_the_way_under_its_own_heading() {
    // The server behind it is not spoken of.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    bastion.authorize_nobody();
    let table = Table::to(&sshd)
        .over(&[&bastion])
        .forward(free_addr(), free_addr());
    let text = tested(&table, 3);
    let (failed, _) = ends_with(&text, "authenticate");
    let cause = format!("jump host {}: server rejected every key", bastion.addr());
    assert!(failed.contains(&cause), "{text}");
    assert!(!text.contains(&sshd.addr().to_string()), "{text}");
    let report = json(&table, 3);
    assert_eq!(
        names(&report["hosts"], "host"),
        [bastion.addr().to_string()]
    );
}

#[test]
fn the_json_has_everything_that_people_are_told() {
    // Typed, and without values that are not there.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let table = Table::to(&sshd)
        .forward(free_addr(), echo.addr())
        .dynamic(free_addr())
        .remote("127.0.0.1:0", echo.addr());
    let report = json(&table, 0);
    assert_eq!(
        (&report["tunnel"], &report["ok"]),
        (&"t".into(), &true.into())
    );
    assert!(report.get("failure").is_none(), "{report:#}");
    let host = &report["hosts"][0];
    assert_eq!(host["host"], sshd.addr().to_string());
    assert_eq!(host["user"], sshd.user());
    let steps = host["steps"].as_array().unwrap();
    let all = [
        "resolve",
        "connect",
        "host-key",
        "key-exchange",
        "authenticate",
    ];
    assert_eq!(names(&host["steps"], "step"), all);
    for step in steps {
        assert!(step["ok"] == true && step["ms"].is_u64(), "{step:#}");
        assert!(step.get("failure").is_none(), "{step:#}");
    }
    assert_eq!(steps[0]["resolved"]["name"], sshd.host());
    assert_eq!(steps[0]["resolved"]["addresses"][0], sshd.host());
    assert_eq!(steps[1]["peer"], sshd.addr().to_string());
    let key = format!("ED25519 {}", sshd.host_keys()[0].fingerprint());
    assert_eq!(steps[2]["host_key"]["key"], key);
    let agreed = &steps[3]["agreed"];
    let kex = agreed["kex"].as_str().unwrap();
    let post_quantum = kex.starts_with("mlkem") || kex.starts_with("sntrup");
    assert_eq!(agreed["post_quantum"], post_quantum);
    assert_eq!(agreed["host_key"], "ssh-ed25519");
    assert!(
        agreed["server"]
            .as_str()
            .unwrap()
            .starts_with("SSH-2.0-OpenSSH")
    );
    assert!(agreed["cipher"].is_string(), "{agreed:#}");
    let tried = &steps[4]["tried"][0];
    assert_eq!(
        (&tried["method"], &tried["answer"]),
        (&"publickey".into(), &"accepted".into())
    );

    let forwards = report["forwards"].as_array().unwrap();
    let kinds = names(&report["forwards"], "kind");
    assert_eq!(kinds, ["dynamic", "local", "remote"]);
    assert_eq!(forwards[0]["note"], "any target; asked when used");
    assert_eq!(forwards[1]["connect"], echo.addr().to_string());
    assert_eq!(names(&forwards[1]["checks"], "check"), ["target"]);
    let listen_and_target = names(&forwards[2]["checks"], "check");
    assert_eq!(listen_and_target, ["listen", "target"]);
    assert!(forwards[2]["checks"][0]["port"].as_u64().unwrap() > 0);
    assert!(forwards.iter().all(|f| f["ok"] == true), "{report:#}");
}

#[test]
fn a_key_exchange_is_told_from_one_that_withstands_a_quantum_computer() {
    // Neither is a failure.
    let broken = Broken::new(None);
    let classic = Sshd::builder()
        .config("KexAlgorithms curve25519-sha256")
        .start();
    let echo = EchoServer::start();
    let classic = Table::to(&classic).forward(free_addr(), echo.addr());
    for (table, kex, quantum, said) in [
        (&broken.table, "mlkem768x25519-sha256", true, "post-quantum"),
        (&classic, "curve25519-sha256", false, "not post-quantum"),
    ] {
        let text = tested(table, 0);
        let line = line(&text, "✓", "key exchange");
        assert!(line.contains(&format!(" {kex} ({said}), ")), "{text}");
        let agreed = &json(table, 0)["hosts"][0]["steps"][3]["agreed"];
        assert_eq!(
            (&agreed["kex"], &agreed["post_quantum"]),
            (&kex.into(), &quantum.into())
        );
    }
}

#[test]
fn the_log_is_for_stderr_and_only_where_it_is_asked_for() {
    // The page is the same.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let table = Table::to(&sshd).forward(free_addr(), echo.addr());
    let file = File::new(&table);
    let output = file
        .command(&[], &["--log-level", "debug"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("host key trusted"), "{}", printed(&output));
    let page = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        page.starts_with("t: testing, ") && page.ends_with("t: everything works\n"),
        "{page}"
    );
    assert!(!page.contains("host key trusted"), "{page}");
}

#[test]
fn a_key_that_is_rejected_is_named_with_what_the_server_accepts() {
    // Exit 3; each try, the cause, and what to do about it.
    let sshd = Sshd::start();
    sshd.authorize_nobody();
    let other = generate(sshd.dir(), "other");
    let missing = sshd.dir().join("missing");
    let files = [&missing, &other.private, &sshd.client_key_files().private];
    let files: Vec<_> = files.map(|f| text(f.display())).into();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let table = table.set("identity_file", format!("[{}]", files.join(", ")));
    let said = tested(&table, 3);
    let (failed, fix) = ends_with(&said, "authenticate");
    assert!(
        failed.contains("server rejected every key (tried 2: "),
        "{said}"
    );
    assert!(fix.contains("authorized_keys"), "{said}");
    let tries = marked(&said, "·");
    assert!(tries[0].contains(": not tried: key file "), "{said}");
    for (at, key) in [(1, &other), (2, sshd.client_key_files())] {
        let tried = format!(
            "{} ({}): rejected; the server accepts publickey",
            key.fingerprint(),
            key.private.display()
        );
        assert!(tries[at].contains(&tried), "{said}");
    }

    let report = json(&table, 3);
    assert_eq!(report["ok"], false);
    let failure = &report["failure"];
    assert_eq!(
        (&failure["stage"], &failure["class"]),
        (&"authenticate".into(), &"blocked".into())
    );
    assert_eq!(report["forwards"], Value::Array(vec![]));
    let steps = report["hosts"][0]["steps"].as_array().unwrap();
    let last = steps.last().unwrap();
    assert_eq!((&last["ok"], &last["failure"]), (&false.into(), failure));
    let answers = names(&last["tried"], "answer");
    assert_eq!(answers, ["skipped", "rejected", "rejected"]);
}

#[test]
fn a_key_that_is_accepted_after_another_one_was_rejected_works() {
    // The rejected one is worth knowing: each of them counts at the server.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let other = generate(sshd.dir(), "other");
    let files = [&other.private, &sshd.client_key_files().private];
    let files = files.map(|f| text(f.display())).join(", ");
    let table = Table::to(&sshd).forward(free_addr(), echo.addr());
    let said = tested(&table.set("identity_file", format!("[{files}]")), 0);
    assert!(
        line(&said, "·", "authenticate").contains(&other.fingerprint()),
        "{said}"
    );
    let accepted = sshd.client_key_files().fingerprint();
    assert!(
        line(&said, "✓", "authenticate").contains(&accepted),
        "{said}"
    );
}

#[test]
fn an_unknown_host_and_a_changed_key_end_the_way_at_the_host_key() {
    // With the line, and the commands that mend it.
    let mut sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    sshd.restart_with_new_host_key();
    let (failed, fix) = ends_with(&tested(&table, 3), "host key");
    assert!(failed.contains("host key changed: "), "{failed}");
    assert!(fix.contains("ssh-keygen -R"), "{fix}");
    fs::write(sshd.known_hosts(), "").unwrap();
    let (failed, fix) = ends_with(&tested(&table, 3), "host key");
    assert!(failed.contains("unknown host "), "{failed}");
    assert!(!fix.is_empty());
    assert_eq!(json(&table, 3)["failure"]["stage"], "host-key");
    assert_eq!(fs::read_to_string(sshd.known_hosts()).unwrap(), "");
}

#[test]
fn a_server_that_refuses_the_connection_or_has_no_name_ends_the_way_there() {
    let sshd = Sshd::start();
    let nobody = free_addr();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let refused = table
        .clone()
        .set("host", text(nobody.ip()))
        .set("port", nobody.port());
    let text_of = tested(&refused, 3);
    let (failed, fix) = ends_with(&text_of, "connect");
    assert!(failed.ends_with("connection refused"), "{text_of}");
    assert!(fix.contains("`host` and `port`"), "{text_of}");
    assert!(line(&text_of, "✓", "resolve").ends_with(&nobody.ip().to_string()));

    let nameless = table.set("host", text("nobody.test"));
    let file = File::new(&nameless);
    let hosts = file.dir.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let output = file.command(&with_hosts(&hosts), &[]).output().unwrap();
    let text_of = said(&output, 3);
    let (failed, fix) = ends_with(&text_of, "resolve");
    assert!(fix.contains("getent ahosts"), "{text_of}");
    assert!(failed.contains("cannot resolve nobody.test: "), "{text_of}");
    assert!(!text_of.contains('✓'), "{text_of}");
}

#[test]
fn a_silent_server_is_given_up_after_connect_timeout() {
    let sshd = Sshd::start();
    sshd.freeze();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let text = tested(&table.set("connect_timeout", text("1s")), 3);
    let (failed, _) = ends_with(&text, "key exchange");
    assert!(failed.ends_with("did not speak SSH within 1s"), "{text}");
}

#[test]
fn ctrl_c_ends_a_test_at_once() {
    // Exit 1, and no word that anything works or not.
    let sshd = Sshd::start();
    sshd.freeze();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let file = File::new(&table.set("connect_timeout", text("1h")));
    let mut command = file.command(&[], &[]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has come to the key exchange, which nobody answers.
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("connect ") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let start = Instant::now();
    signal(child.id(), Signal::INT);
    let status = wait_exit(&mut child, LONG).expect("it goes on");
    assert!(start.elapsed() < 2 * LATE, "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(1));
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(error, "error: interrupted\n");
    stdout.read_to_end(&mut seen).unwrap();
    let text = String::from_utf8(seen).unwrap();
    assert!(!text.contains('✗') && !text.contains("works"), "{text}");
}

#[test]
fn without_utf_8_it_is_plain_ascii() {
    // As the locale says; and without a terminal there is no colour in either.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let table = Table::to(&sshd)
        .forward(free_addr(), echo.addr())
        .forward(free_addr(), free_addr())
        .dynamic(free_addr());
    let file = File::new(&table);
    let output = file.command(&[], &[]).env("LC_ALL", "C").output().unwrap();
    let text = said(&output, 3);
    assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    for part in [
        "    ok   connect ",
        "    FAIL local",
        "    -    dynamic",
        " -> ",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}
