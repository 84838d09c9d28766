//! Passwords: one that is right gets in by the method that the server offers, one that is wrong is
//! said to be, and none goes where it does not belong.

use std::fs;
use std::path::Path;

use tunneld_core::failure::Class;
use tunneld_lab::asking::Asking;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::expired::ExpiredPassword;
use tunneld_lab::keys::generate;
use tunneld_lab::login::Passwords;
use tunneld_lab::process::Signal;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, daemon, fails, secret, text, unauthenticated, up};

const PASSWORD: &str = "correct horse battery";

/// By password alone, and by keyboard-interactive alone.
const PLAIN: &str = "PasswordAuthentication yes";
const PAM: &str = "UsePAM yes\nKbdInteractiveAuthentication yes";

/// A tunnel without a key.
fn table(sshd: &Sshd) -> Table {
    Table::to(sshd)
        .without("identity_file")
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr())
}

/// A daemon whose user has no keys.
fn start(table: &Table, home: &Path) -> Daemon {
    let home = home.join("home");
    fs::create_dir_all(&home).unwrap();
    let daemon = daemon().env("HOME", home.to_str().unwrap());
    daemon.config(&table.toml()).start()
}

#[test]
fn a_password_gets_in_by_the_method_that_the_server_offers() {
    // Without a key the server is asked first which that is.
    let passwords = Passwords::new(PASSWORD);
    for (config, method) in [(PLAIN, "password"), (PAM, "keyboard-interactive/pam")] {
        let sshd = passwords.sshd(config).start();
        let file = secret(sshd.dir(), "password", &format!("{PASSWORD}\n"));
        let daemon = start(&table(&sshd).set("password_credential", file), sshd.dir());
        up(&daemon, "t");
        sshd.wait_for_log(&format!("Accepted {method} for "), LONG);
        assert!(!sshd.log().contains("Failed"), "{}", sshd.log());
    }
}

#[test]
fn a_wrong_password_is_said_to_be_and_tried_once_by_each_method() {
    // One that keyboard-interactive refuses is sent as a password too, as ssh does; corrected, it
    // is read afresh.
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords.sshd(&format!("{PLAIN}\n{PAM}")).start();
    let file = secret(sshd.dir(), "password", "wrong");
    let daemon = start(&table(&sshd).set("password_credential", &file), sshd.dir());
    let failure = unauthenticated(&daemon);
    let path = file.trim_matches('"');
    let cause = format!(
        "server rejected the password of {path}; it accepts: \
         publickey, password, keyboard-interactive"
    );
    assert_eq!(failure.cause, cause);
    assert_eq!(
        failure.hint.unwrap(),
        "correct what password_credential names, or `user`"
    );
    assert_eq!(failure.class, Class::Blocked);
    for method in ["keyboard-interactive/pam", "password"] {
        let failed = format!("Failed {method} for ");
        sshd.wait_for_log(&failed, LONG);
        assert_eq!(sshd.log().matches(&failed).count(), 1, "{}", sshd.log());
    }
    secret(sshd.dir(), "password", PASSWORD);
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}

#[test]
fn a_server_that_takes_only_passwords_is_said_to() {
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords
        .sshd("PubkeyAuthentication no\nPasswordAuthentication yes")
        .start();
    let with_key = Table::to(&sshd).forward(free_addr(), free_addr());
    let failure = unauthenticated(&with_key.start());
    let key = sshd.client_key_files().fingerprint();
    let cause = format!("server rejected every key (tried 1: {key}); it accepts: password");
    assert_eq!(failure.cause, cause);
    let hint = "name a password in password_credential";
    assert_eq!(failure.hint.unwrap(), hint);

    let failure = unauthenticated(&start(&table(&sshd), sshd.dir()));
    assert_eq!(
        failure.cause,
        "there is no key to try; it accepts: password"
    );
    assert_eq!(failure.hint.unwrap(), hint);
}

#[test]
fn a_server_that_takes_no_password_is_sent_none() {
    let sshd = Sshd::start();
    let file = secret(sshd.dir(), "password", PASSWORD);
    let daemon = start(&table(&sshd).set("password_credential", file), sshd.dir());
    let cause = "there is no key to try, and the server takes no password; it accepts: publickey";
    assert_eq!(unauthenticated(&daemon).cause, cause);
    assert!(!sshd.log().contains("Failed password"), "{}", sshd.log());
}

#[test]
fn a_password_that_has_to_be_changed_needs_somebody_at_a_keyboard() {
    // PAM asks for the old one again, and for a new one.
    let passwords = Passwords::new(PASSWORD);
    passwords.set_expired(PASSWORD);
    passwords.set_pam(&[
        "auth required pam_unix.so",
        "account required pam_unix.so",
        "password required pam_unix.so",
    ]);
    let sshd = passwords.sshd(PAM).start();
    let file = secret(sshd.dir(), "password", PASSWORD);
    let daemon = start(&table(&sshd).set("password_credential", file), sshd.dir());
    let failure = unauthenticated(&daemon);
    let cause = "the server asks for more than a password: \"";
    assert!(failure.cause.starts_with(cause), "{failure:?}");
    assert!(failure.cause.ends_with("password:\""), "{failure:?}");
    assert!(failure.hint.unwrap().starts_with("nobody is there"));
}

#[test]
fn a_missing_credential_blocks_the_tunnel_with_the_line_of_the_unit() {
    // And one that systemd has put there is found by its name.
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords.sshd(PLAIN).start();
    let table = table(&sshd).set("password_credential", text("db-password"));
    let failure = unauthenticated(&start(&table, sshd.dir()));
    let cause = "credential \"db-password\" is missing: $CREDENTIALS_DIRECTORY is not set; the \
                 server accepts: publickey, password";
    assert_eq!(failure.cause, cause);
    let hint = "LoadCredential=db-password:/path/to/the/file in [Service], then systemctl restart";
    assert!(failure.hint.unwrap().contains(hint));

    let credentials = sshd.dir().join("credentials");
    fs::create_dir(&credentials).unwrap();
    secret(&credentials, "db-password", PASSWORD);
    let daemon = daemon().env("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    let daemon = daemon.config(&table.toml()).start();
    up(&daemon, "t");
}

#[test]
fn a_server_that_wants_another_password_is_told_once_the_time_is_over() {
    // russh takes its question in silence; a server that is slow to answer may look the same.
    let server = ExpiredPassword::start();
    let dir = tempfile::tempdir().unwrap();
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, server.known_hosts_line()).unwrap();
    let file = secret(dir.path(), "password", PASSWORD);
    let table = Table::new(server.addr(), "anyone", &known_hosts, &known_hosts)
        .without("identity_file")
        .set("connect_timeout", text("8s"))
        .set("password_credential", &file)
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr());
    let daemon = start(&table, dir.path());
    server.wait_until_it_asks(LONG);
    let failure = unauthenticated(&daemon);
    let path = file.trim_matches('"');
    let cause = format!(
        "authentication not finished within 8s: the server said something, and neither accepted \
         nor rejected the password of {path}: it wants a new one, or takes long to check it"
    );
    assert_eq!(failure.cause, cause);
    let (ip, port) = (server.addr().ip(), server.addr().port());
    let hint = format!(
        "see what ssh -p {port} anyone@{ip} says: a password that has expired is changed there, \
         and the new one written to the credential; for a slow server raise connect_timeout"
    );
    assert_eq!(failure.hint.unwrap(), hint);
    assert_eq!(failure.class, Class::Blocked);
}

#[test]
fn a_password_is_not_sent_again_and_again_to_a_server_that_hangs_up_on_it() {
    // It is likely wrong, and accounts are locked over that.
    let dir = tempfile::tempdir().unwrap();
    let server = LabServer::start(LabOptions {
        asking: Asking {
            hangs_up: true,
            ..Asking::for_password("another")
        },
        ..LabOptions::default()
    });
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, server.host_key_line()).unwrap();
    let file = secret(dir.path(), "password", PASSWORD);
    let table = Table::new(server.addr(), "anyone", &known_hosts, &known_hosts)
        .without("identity_file")
        .set("password_credential", &file)
        .forward(free_addr(), free_addr());
    let failure = unauthenticated(&start(&table, dir.path()));
    let path = file.trim_matches('"');
    let ends = format!(", without an answer to the password of {path}");
    assert!(failure.cause.ends_with(&ends), "{failure:?}");
    assert_eq!(
        failure.hint.unwrap(),
        "correct what password_credential names, or `user`"
    );
    assert_eq!(failure.class, Class::Blocked);
    assert_eq!(server.answers(), [PASSWORD]);
}

#[test]
fn a_wrong_password_beside_a_key_is_what_is_corrected() {
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords
        .sshd("PubkeyAuthentication no\nPasswordAuthentication yes")
        .start();
    let file = secret(sshd.dir(), "password", "wrong");
    let table = Table::to(&sshd)
        .set("password_credential", file)
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr());
    let failure = unauthenticated(&table.start());
    assert_eq!(
        failure.hint.unwrap(),
        "correct what password_credential names, or `user`"
    );
    assert_eq!(failure.class, Class::Blocked);
}

#[test]
fn a_password_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let passwords = Passwords::new(PASSWORD);
    let sshd = passwords.sshd(PLAIN).start();
    let file = secret(sshd.dir(), "password", PASSWORD);
    let path = file.trim_matches('"').to_owned();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = start(&table(&sshd).set("password_credential", file), sshd.dir());
    let failure = unauthenticated(&daemon);
    let cause = format!("credential file {path} is open to others: mode 0644");
    assert!(failure.cause.starts_with(&cause), "{failure:?}");
    assert_eq!(failure.hint.unwrap(), format!("chmod 600 {path}"));
    assert!(!sshd.log().contains("password for"), "{}", sshd.log());
}

#[test]
fn a_password_is_never_sent_to_a_jump_host_that_it_is_not_for() {
    // The tunnel's is the server's alone; the hop has one of its own, or none.
    let sshd = Sshd::start();
    let asking = Asking::for_password("the hop's own");
    let hop = LabServer::start(LabOptions {
        authorized: vec![generate(sshd.dir(), "nobody").public_line()],
        asking,
        ..LabOptions::default()
    });
    let known = sshd.dir().join("known");
    let lines = format!("{}{}", hop.host_key_line(), sshd.known_hosts_lines());
    fs::write(&known, lines).unwrap();
    let own = secret(sshd.dir(), "own", "the hop's own");
    let tunnels = secret(sshd.dir(), "tunnels", PASSWORD);
    let jump = |more: &str| {
        let (ip, port) = (hop.ip(), hop.addr().port());
        format!("[{{ host = \"{ip}\", port = {port}, user = \"hop\"{more} }}]")
    };
    let table = Table::to(&sshd)
        .set("known_hosts", text(known.display()))
        .set("password_credential", tunnels)
        .forward(free_addr(), free_addr());
    let without = table.clone().set("proxy_jump", jump(""));
    let failure = fails(&without.start(), "t", "jump host ");
    let cause = format!("jump host {}: server rejected every key", hop.addr());
    assert!(failure.cause.starts_with(&cause), "{failure:?}");
    assert!(failure.cause.ends_with("it accepts: publickey, password"));
    assert_eq!(hop.answers(), Vec::<String>::new());

    let with = jump(&format!(", password_credential = {own}"));
    table.set("proxy_jump", with).up();
    assert_eq!(hop.answers(), ["the hop's own"]);
}
