//! Our own keys: what is wrong with one is said, and put right it is used without a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tunneld_core::status::Phase;
use tunneld_lab::keys::{KeyType, generate, ssh_keygen};
use tunneld_lab::process::Signal;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{LONG, NEVER, Rig, Table, text, unauthenticated, up};

#[test]
fn a_key_file_that_is_removed_blocks_the_tunnel_until_it_is_put_back() {
    // The session does not need it; the next one does, and reads it afresh.
    let rig = Rig::new(|t| t);
    let key = rig.sshd.client_key().to_owned();
    let away = key.with_extension("away");
    fs::rename(&key, &away).unwrap();
    echoes(rig.listen).unwrap();
    rig.sshd.kill_sessions();
    let failure = unauthenticated(&rig.daemon);
    let cause = format!("key file {}: no such file", key.display());
    assert_eq!(failure.cause, cause);
    assert!(failure.hint.is_some());
    fs::rename(&away, &key).unwrap();
    rig.daemon.signal(Signal::USR1);
    up(&rig.daemon, "t");
    echoes(rig.listen).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused_until_its_mode_is_right() {
    // As ssh refuses it; the hint is the command.
    let sshd = Sshd::start();
    let key = sshd.client_key().to_owned();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let table = Table::to(&sshd).set("reconnect", NEVER);
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = unauthenticated(&daemon);
    let cause = format!("key file {} is open to others: mode 0644", key.display());
    assert_eq!(failure.cause, cause);
    assert_eq!(
        failure.hint.unwrap(),
        format!("chmod 600 {}", key.display())
    );
    assert_eq!(sshd.connections_authenticated(), 0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}

#[test]
fn an_encrypted_key_blocks_the_tunnel_with_the_way_out() {
    // Nobody is there to type a passphrase.
    let sshd = Sshd::start();
    let locked = ssh_keygen(
        KeyType::Ed25519,
        sshd.dir(),
        "locked",
        "secret",
        &["-a", "1"],
    );
    sshd.authorize(&locked.public_line());
    let table = Table::to(&sshd).set("identity_file", text(locked.private.display()));
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = unauthenticated(&daemon);
    let file = locked.private.display();
    assert_eq!(
        failure.cause,
        format!("key file {file} is encrypted with a passphrase")
    );
    let hint = format!(
        "name its passphrase in passphrase_credential, or take it off: ssh-keygen -p -f {file}"
    );
    assert_eq!(failure.hint.unwrap(), hint);
}

#[test]
fn a_key_that_is_authorized_later_gets_in_without_a_restart() {
    // Rejected is blocked; the real server rejects, and then does not.
    let sshd = Sshd::start();
    sshd.authorize_nobody();
    let daemon = Table::to(&sshd).forward(free_addr(), free_addr()).start();
    let failure = unauthenticated(&daemon);
    assert!(
        failure.cause.starts_with("server rejected every key"),
        "{failure:?}"
    );
    sshd.authorize(&sshd.client_key_files().public_line());
    up(&daemon, "t");
}

#[test]
fn of_several_keys_the_right_one_is_found() {
    // In the order of the file; one that is missing or rejected does not stop the next.
    let sshd = Sshd::start();
    let wrong = generate(sshd.dir(), "wrong");
    let missing = sshd.dir().join("missing");
    let keys = [&missing, &wrong.private, &sshd.client_key().to_owned()];
    let keys: Vec<_> = keys.iter().map(|k| text(k.display())).collect();
    let table = Table::to(&sshd).set("identity_file", format!("[{}]", keys.join(", ")));
    table.forward(free_addr(), free_addr()).up();
}

#[test]
fn too_many_keys_are_told_with_those_that_the_server_has_seen() {
    // MaxAuthTries: the server hangs up, and the right key was not even offered.
    let sshd = Sshd::builder().config("MaxAuthTries 3").start();
    let wrong = ["w1", "w2", "w3"].map(|name| generate(sshd.dir(), name));
    let mut keys: Vec<_> = wrong.iter().map(|k| text(k.private.display())).collect();
    keys.push(text(sshd.client_key().display()));
    let table = Table::to(&sshd)
        .set("identity_file", format!("[{}]", keys.join(", ")))
        .forward(free_addr(), free_addr());
    let failure = unauthenticated(&table.start());
    let seen: Vec<_> = wrong.iter().map(|key| key.fingerprint()).collect();
    let cause = format!(
        "server disconnected: Too many authentication failures (tried 3: {})",
        seen.join(", ")
    );
    assert_eq!(failure.cause, cause);
    let hint = "list only the right key in `identity_file`: each wrong one counts";
    assert_eq!(failure.hint.unwrap(), hint);
}

#[test]
fn a_server_that_takes_nothing_that_we_can_do_is_said_to() {
    // Its only method is one that needs a Kerberos ticket in the key exchange.
    let sshd = Sshd::builder()
        .config(
            "GSSAPIAuthentication yes\nGSSAPIKeyExchange yes\nAuthenticationMethods gssapi-keyex",
        )
        .start();
    let table = Table::to(&sshd).forward(free_addr(), free_addr());
    let failure = unauthenticated(&table.start());
    let key = sshd.client_key_files().fingerprint();
    let cause = format!(
        "server rejected every key (tried 1: {key}); it accepts: nothing that tunneld can do"
    );
    assert_eq!(failure.cause, cause);
}

#[test]
fn a_rejected_tunnel_does_not_keep_others_to_the_same_server_down() {
    // Each tunnel has its own fate.
    let sshd = Sshd::start();
    let wrong = generate(sshd.dir(), "wrong");
    let bad = Table::to(&sshd)
        .named("bad")
        .set("identity_file", text(wrong.private.display()));
    let config = [
        bad.forward(free_addr(), free_addr()).toml(),
        Table::to(&sshd).forward(free_addr(), free_addr()).toml(),
    ];
    let daemon = crate::support::daemon().config(&config.concat()).start();
    up(&daemon, "t");
    daemon.wait_phase("bad", Phase::Blocked, LONG);
}

#[test]
fn a_key_that_is_right_and_not_enough_is_not_called_rejected() {
    // A server that wants a password as well: the cause says which, and whose setting it is.
    let wanted = "PasswordAuthentication yes\nAuthenticationMethods publickey,password";
    let sshd = Sshd::builder().config(wanted).start();
    let daemon = Table::to(&sshd).forward(free_addr(), free_addr()).start();
    let failure = unauthenticated(&daemon);
    let cause = &failure.cause;
    assert!(cause.contains("accepted the key SHA256:"), "{cause}");
    assert!(cause.ends_with("wants more: password"), "{cause}");
    assert!(failure.hint.unwrap().contains("AuthenticationMethods"));
}
