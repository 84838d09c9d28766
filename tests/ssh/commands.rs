//! Over the standard input and output of a program: what it is told, what it has, and what it says.

use std::fs;

use tunneld_core::failure::{Class, Failure, Stage};
use tunneld_lab::pattern::pattern;
use tunneld_lab::process::{descendants, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, half_close_exchange};

use crate::program::{RELAY, array, once, running, ssh_through};
use crate::support::{LONG, Rig, Table, carried, daemon, fails, text, up};
use crate::ways::{descriptors, logins};

/// Why the tunnel over this command failed; nothing of it is left.
fn failure_of(command: &str) -> Failure {
    let (_sshd, daemon) = once(command);
    let failure = fails(&daemon, "t", "");
    let none = poll(LONG, || descendants(daemon.pid()).is_empty().then_some(()));
    assert!(none.is_some(), "{:?}", descendants(daemon.pid()));
    failure
}

/// Waits until a process has become this program.
fn becomes(pid: u32, program: &str) {
    let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let is = poll(LONG, || (comm().trim() == program).then_some(()));
    assert!(is.is_some(), "{}", comm());
}

#[test]
fn ssh_itself_is_the_way_to_a_server_as_a_string_and_as_an_array() {
    // With the tokens for host and port; the jump host sees ssh's login.
    let bastion = Sshd::start();
    let words = ssh_through(&bastion);
    for (n, command) in [text(words.join(" ")), array(&words)].iter().enumerate() {
        let rig = Rig::new(|t| t.set("proxy_command", command));
        echoes(rig.listen).unwrap();
        logins(&bastion, n + 1);
        let way = format!("{} over a proxy command", rig.sshd.addr());
        assert_eq!(rig.status().session.unwrap().peer, way);
    }
}

#[test]
fn each_token_stands_for_what_ssh_config_says() {
    // The shell gets them, and a program that no shell has seen.
    let sh = [
        "sh",
        "-c",
        "echo \"$*\" >&2; exit 1",
        "x",
        "%h",
        "%n",
        "%p",
        "%r",
        "%%",
    ];
    let array = array(sh.map(|word| word.replace('"', "\\\"")));
    let line = text("sh -c 'echo $0 $* >&2; exit 1' %h %n %p %r %%");
    for command in [array, line] {
        let (sshd, daemon) = once(&command);
        let (host, port, user) = (sshd.host(), sshd.port(), sshd.user());
        let said = format!("{host} {host} {port} {user} %");
        let failure = fails(&daemon, "t", "exited");
        let cause = format!("proxy command exited with status 1: {said}");
        assert_eq!(failure.cause, cause);
    }
}

#[test]
fn the_first_jump_host_is_reached_over_the_program() {
    // The program is told the jump host's address, and the rest goes over that.
    let bastion = Sshd::start();
    let rig = Rig::new(|t| t.over(&[&bastion]).set("proxy_command", text(RELAY.0)));
    echoes(rig.listen).unwrap();
    let (host, via) = (rig.sshd.addr(), bastion.addr());
    let way = format!("{host} over {via} over a proxy command");
    assert_eq!(rig.status().session.unwrap().peer, way);
    logins(&bastion, 1);
}

#[test]
fn a_program_that_ends_at_once_is_told_with_its_status_and_its_last_words() {
    // What it says may be wrong today and right tomorrow: it is tried again.
    let command = r#""sh -c 'echo first >&2; echo the gateway is closed >&2; exit 7'""#;
    let failure = failure_of(command);
    let cause = "proxy command exited with status 7: the gateway is closed";
    assert_eq!(failure.cause, cause);
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );
    let killed = failure_of(r#"["sh", "-c", "kill -9 $$"]"#);
    assert_eq!(killed.cause, "proxy command was killed by signal 9");
}

#[test]
fn a_program_that_is_missing_needs_a_person() {
    // Both forms, and one that is there and may not be run.
    let shell = failure_of(r#""/no/such/program %h""#);
    let words = "proxy command exited with status 127: ";
    assert!(shell.cause.starts_with(words), "{shell:?}");
    let array = failure_of(r#"["/no/such/program", "%h"]"#);
    let words = "proxy command: /no/such/program: no such file or directory";
    assert_eq!(array.cause, words);
    let denied = failure_of(r#"["/etc/passwd"]"#);
    assert_eq!(
        denied.cause,
        "proxy command: /etc/passwd: permission denied"
    );
    for failure in [shell, array, denied] {
        assert_eq!(
            (failure.stage, failure.class),
            (Stage::Connect, Class::Blocked)
        );
        assert!(failure.hint.unwrap().contains("proxy_command"));
    }
}

#[test]
fn the_program_has_no_descriptor_of_the_daemon_but_the_first_three() {
    // Whatever else the daemon has open: another tunnel, a client, its sockets.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    // A program from the start: the first one needs a restart.
    let busy = Table::to(&sshd).set("on_down", text("/bin/true"));
    let busy = busy.forward(listen, echo.addr());
    let waiting = Table::to(&sshd)
        .named("waiting")
        .set("proxy_command", text("sleep 1000"))
        .set("connect_timeout", text("60s"))
        .forward(free_addr(), free_addr());
    // Whoever runs the tests may have left descriptors open that are none of the daemon's.
    let close =
        "for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval \"exec $fd>&-\"; done";
    let clean = ["bash", "-c", &format!("{close}; exec \"$0\" \"$@\"")];
    let daemon = daemon().prefix(&clean).config(&busy.toml()).start();
    up(&daemon, "t");
    let _client = carried(listen);
    daemon.write_config(&(busy.toml() + &waiting.toml()));
    assert!(daemon.reload().status.success());
    let pid = running(&daemon, 1)[0];
    becomes(pid, "sleep");
    assert_eq!(descriptors(pid), [0, 1, 2].into());
}

#[test]
fn the_program_has_the_signals_that_every_program_has() {
    // None is blocked or ignored because the daemon does so for itself. Whoever runs the tests may
    // ignore some, as nohup(1) does.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let table = table.set("proxy_command", text("sleep 1000"));
    let clean = ["env", "--default-signal"];
    let daemon = daemon().prefix(&clean).config(&table.toml()).start();
    let pid = running(&daemon, 1)[0];
    becomes(pid, "sleep");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for mask in ["SigBlk:", "SigIgn:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(mask));
        let bits = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
        // Above them are those that the C library has for itself.
        assert_eq!(bits & 0x7fff_ffff, 0, "{status}");
    }
}

#[test]
fn a_transfer_over_a_program_is_complete() {
    // 16 MiB both ways at once.
    let rig = Rig::new(|t| t.set("proxy_command", text(RELAY.0)));
    let bytes = pattern(16 << 20, 31);
    assert!(half_close_exchange(rig.listen, &bytes).unwrap() == bytes);
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_program_that_complains_at_length_is_read_and_does_not_stand_still() {
    // It would wait for ever with a full pipe; what is kept of a line has a bound.
    const NOISE: &str = "seq -s x 3000000 >&2";
    let (shell, relay) = RELAY.0.split_once("exec").unwrap();
    let command = format!("{shell}{NOISE}; exec{relay}");
    let rig = Rig::new(|t| t.set("proxy_command", text(command)));
    echoes(rig.listen).unwrap();
    let longest = rig.daemon.log().iter().map(String::len).max();
    assert!(longest.unwrap() < 3000, "{longest:?}");
    rig.daemon.wait_for_log("proxy command: 1x2x3x", LONG);
}
