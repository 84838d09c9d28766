//! UpdateHostKeys: a server that is known can change its keys, and nobody has to do anything here.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{KeyFiles, KeyType, ssh_keygen};
use tunneld_lab::process::{poll, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{LONG, Table, text, up};

const LEARNT: &str = "learnt a further host key";

/// A server with an Ed25519 key, which is known, and others.
fn server(others: &[KeyType]) -> Sshd {
    let kinds = [&[KeyType::Ed25519], others].concat();
    let sshd = Sshd::builder().host_keys(&kinds).start();
    fs::write(sshd.known_hosts(), known(&sshd)).unwrap();
    sshd
}

/// The line of the key that is known.
fn known(sshd: &Sshd) -> String {
    line(sshd, 0)
}

fn line(sshd: &Sshd, key: usize) -> String {
    let lines = sshd.known_hosts_lines();
    format!("{}\n", lines.lines().nth(key).unwrap())
}

fn table(sshd: &Sshd) -> Table {
    let table = Table::to(sshd).set("update_host_keys", true);
    table.forward(free_addr(), free_addr())
}

/// Waits until the file of known hosts is this.
fn wait_for_lines(sshd: &Sshd, expected: &str) {
    let read = || fs::read_to_string(sshd.known_hosts()).unwrap();
    poll(LONG, || (read() == expected).then_some(()))
        .unwrap_or_else(|| panic!("known_hosts is\n{}", read()));
}

/// Waits until the server has answered a keepalive: what it has to say of its keys came before.
fn settled(daemon: &Daemon) {
    daemon.wait_for("t", LONG, |status| {
        let session = status.session.as_ref();
        session.is_some_and(|session| session.round_trip_us.is_some())
    });
}

/// Lets the server have only one of its keys.
fn keep_only(sshd: &mut Sshd, kind: KeyType) {
    let path = sshd.dir().join("sshd_config");
    let config = fs::read_to_string(&path).unwrap();
    let kept = format!("host_{}", kind.as_str());
    let keep = |line: &&str| !line.starts_with("HostKey ") || line.ends_with(&kept);
    let lines: Vec<_> = config.lines().filter(keep).collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    sshd.restart();
}

#[test]
fn a_server_can_change_its_key_without_anybody_at_the_client() {
    // The new key is announced and proved while the old one is still there; then the old one goes.
    let mut sshd = server(&[KeyType::Ecdsa]);
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd).set("update_host_keys", true);
    let daemon = table.forward(listen, echo.addr()).up();
    let both = known(&sshd) + &line(&sshd, 1);
    wait_for_lines(&sshd, &both);
    let said = daemon.wait_for_log(LEARNT, LONG);
    let new = sshd.host_keys()[1].fingerprint();
    for part in [
        &new,
        &sshd.known_hosts().display().to_string(),
        &sshd.host(),
    ] {
        assert!(said.contains(part.as_str()), "{part}: {said}");
    }
    let mark = daemon.log_mark();
    keep_only(&mut sshd, KeyType::Ecdsa);
    daemon.wait_for_log_from(mark, "tunnel up", LONG);
    let session = up(&daemon, "t").session.unwrap();
    assert_eq!(session.host_key, "ecdsa-sha2-nistp256");
    echoes(listen).unwrap();
    // It is only said that the other one is gone, and only once.
    let part = "host key no longer announced by the host";
    let said = daemon.wait_for_log(part, LONG);
    let place = format!("{}:1", sshd.known_hosts().display());
    assert!(said.contains(&place), "{said}");
    let mark = daemon.log_mark();
    sshd.restart();
    daemon.wait_for_log_from(mark, "tunnel up", LONG);
    wait_for_lines(&sshd, &both);
    assert_eq!(daemon.log_text().matches(part).count(), 1);
}

#[test]
fn every_type_of_key_is_learnt_once_with_the_proof_of_each() {
    // RSA proofs come signed with SHA-2.
    let sshd = server(&[KeyType::Ecdsa, KeyType::Rsa]);
    let daemon = table(&sshd).up();
    wait_for_lines(&sshd, &sshd.known_hosts_lines());
    let log = daemon.wait_for_log(LEARNT, LONG);
    assert!(!log.is_empty());
    daemon.cli(&["restart", "t"]);
    up(&daemon, "t");
    wait_for_lines(&sshd, &sshd.known_hosts_lines());
    assert_eq!(daemon.log_text().matches(LEARNT).count(), 2);
}

#[test]
fn the_default_is_on_with_accept_new_and_off_with_files_of_ones_own() {
    let sshd = server(&[KeyType::Ecdsa]);
    let known_hosts = sshd.known_hosts();
    fs::remove_file(&known_hosts).unwrap();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let accept_new = table
        .clone()
        .set("strict_host_key_checking", text("accept-new"));
    let daemon = accept_new.up();
    wait_for_lines(&sshd, &sshd.known_hosts_lines());
    drop(daemon);

    fs::write(&known_hosts, known(&sshd)).unwrap();
    let daemon = table.alive("100ms", 100).up();
    settled(&daemon);
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), known(&sshd));
}

#[test]
fn a_line_for_other_hosts_too_a_pin_and_another_port_learn_nothing() {
    let sshd = server(&[KeyType::Ecdsa]);
    let key = sshd.host_keys()[0].public_line();
    let (port, host) = (sshd.port(), sshd.host());
    let pin = text(sshd.host_keys()[0].fingerprint());
    let pinned = table(&sshd)
        .set("host_key_fingerprint", pin)
        .set("update_host_keys", false);
    for (lines, table) in [
        (format!("[127.*]:{port} {key}\n"), table(&sshd)),
        (format!("{host} {key}\n"), table(&sshd)),
        (format!("[{host}]:{port},a,b {key}\n"), table(&sshd)),
        (known(&sshd), pinned),
    ] {
        fs::write(sshd.known_hosts(), &lines).unwrap();
        let daemon = table.alive("100ms", 100).up();
        settled(&daemon);
        assert_eq!(fs::read_to_string(sshd.known_hosts()).unwrap(), lines);
    }
}

#[test]
fn a_certificate_learns_nothing() {
    let mut sshd = server(&[KeyType::Ecdsa]);
    let authority = ssh_keygen(KeyType::Ed25519, sshd.dir(), "authority", "", &[]);
    let host_key = sshd.dir().join("host_ed25519.pub");
    let mut sign = Command::new("ssh-keygen");
    sign.arg("-qs")
        .arg(&authority.private)
        .args(["-I", "id", "-hn", &sshd.host()]);
    run(sign.arg(host_key));
    let certificate = sshd.dir().join("host_ed25519-cert.pub");
    sshd.restart_with(&format!("HostCertificate {}", certificate.display()));
    let lines = known(&sshd) + &format!("@cert-authority * {}\n", authority.public_line());
    fs::write(sshd.known_hosts(), &lines).unwrap();
    let daemon = table(&sshd).alive("100ms", 100).up();
    settled(&daemon);
    assert_eq!(fs::read_to_string(sshd.known_hosts()).unwrap(), lines);
}

#[test]
fn the_line_goes_where_the_known_key_was_found_under_the_name_that_is_looked_up() {
    // A second file, an alias, and a name that is hashed there.
    let sshd = server(&[KeyType::Ecdsa]);
    let first = sshd.dir().join("first");
    fs::write(&first, "# nothing\n").unwrap();
    let key = sshd.host_keys()[0].public_line();
    fs::write(sshd.known_hosts(), format!("cluster {key}\n")).unwrap();
    run(Command::new("ssh-keygen")
        .arg("-H")
        .arg("-f")
        .arg(sshd.known_hosts()));
    let files = [&first, &sshd.known_hosts()].map(|path| text(path.display()));
    let table = table(&sshd).set("known_hosts", format!("[{}]", files.join(", ")));
    let daemon = table.set("host_key_alias", text("Cluster")).up();
    daemon.wait_for_log(LEARNT, LONG);
    assert_eq!(fs::read_to_string(&first).unwrap(), "# nothing\n");
    let mut find = Command::new("ssh-keygen");
    let found = run(find.args(["-F", "cluster", "-f"]).arg(sshd.known_hosts()));
    let new = sshd.host_keys()[1].public_line();
    assert!(found.contains(new.split(' ').nth(1).unwrap()), "{found}");
    let lines = fs::read_to_string(sshd.known_hosts()).unwrap();
    assert!(lines.lines().all(|line| line.starts_with("|1|")), "{lines}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_of_once_and_the_tunnel_is_up() {
    let mut sshd = server(&[KeyType::Ecdsa]);
    let dir = sshd.dir().display().to_string();
    let script =
        format!("mount --bind {dir} {dir} && mount -o remount,bind,ro {dir} && exec \"$0\" \"$@\"");
    let daemon = crate::support::daemon()
        .prefix(&["unshare", "--mount", "sh", "-c", &script])
        .config(&table(&sshd).toml())
        .start();
    let part = "further host keys not learnt";
    let said = daemon.wait_for_log(part, LONG);
    let cause = format!(
        "cannot add [{}]:{} to {}: read-only file system",
        sshd.host(),
        sshd.port(),
        sshd.known_hosts().display()
    );
    for part in [cause.as_str(), "or set `update_host_keys = false`"] {
        assert!(said.contains(part), "{said}");
    }
    up(&daemon, "t");
    let mark = daemon.log_mark();
    sshd.restart();
    daemon.wait_for_log_from(mark, "tunnel up", LONG);
    assert_eq!(daemon.log_text().matches(part).count(), 1);
    assert_eq!(
        fs::read_to_string(sshd.known_hosts()).unwrap(),
        known(&sshd)
    );
}

/// An ssh-agent without keys, for the server.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(sshd: &Sshd) -> Self {
        let socket = sshd.dir().join("agent");
        let mut command = Command::new("ssh-agent");
        let child = command
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        poll(LONG, || socket.exists().then_some(())).expect("no agent");
        Agent { child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_that_the_server_announces_and_does_not_have_is_not_learnt_and_asked_for_once() {
    // Its private half is said to be in an agent, which does not have it: sshd ends the session over
    // the proof. The next one is up, and none of the others that it announces counts, either.
    let mut sshd = server(&[KeyType::Ecdsa]);
    let agent = Agent::start(&sshd);
    let KeyFiles { private, public } = ssh_keygen(KeyType::Rsa, sshd.dir(), "stolen", "", &[]);
    fs::remove_file(private).unwrap();
    let lines = format!(
        "HostKeyAgent {}\nHostKey {}",
        agent.socket.display(),
        public.display()
    );
    sshd.restart_with(&lines);
    let daemon = table(&sshd).alive("100ms", 100).start();
    let said = daemon.wait_for_log("further host keys not learnt", LONG);
    let cause = "a session ended during the proof of them, so that it is not asked for again";
    assert!(said.contains(cause), "{said}");
    up(&daemon, "t");
    settled(&daemon);
    assert_eq!(daemon.log_text().matches("tunnel down").count(), 1);
    assert_eq!(
        fs::read_to_string(sshd.known_hosts()).unwrap(),
        known(&sshd)
    );
}
