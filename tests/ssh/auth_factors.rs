//! Servers that want more than one proof (AuthenticationMethods in sshd_config(5)): each is given
//! once, in the order that the server wants, and what is still missing is said.

use tunneld_lab::asking::Asking;
use tunneld_lab::keys::generate;
use tunneld_lab::login::Passwords;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{LONG, NEVER, Table, secret, text, unauthenticated};

const PASSWORD: &str = "correct horse battery";

/// A server that wants these methods.
fn wants(passwords: &Passwords, methods: &str) -> Sshd {
    let config = format!(
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication yes\n\
         AuthenticationMethods {methods}"
    );
    passwords.sshd(&config).start()
}

fn table(sshd: &Sshd, password: &str) -> Table {
    Table::to(sshd)
        .set(
            "password_credential",
            secret(sshd.dir(), "password", password),
        )
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr())
}

#[test]
fn a_key_and_a_password_get_in_in_every_order_and_by_every_method() {
    let passwords = Passwords::new(PASSWORD);
    for methods in [
        "publickey,password",
        "publickey,keyboard-interactive",
        "password,publickey",
        "keyboard-interactive,publickey",
    ] {
        let sshd = wants(&passwords, methods);
        table(&sshd, PASSWORD).up();
        let methods: Vec<_> = methods.split(',').collect();
        let (last, first) = methods.split_last().unwrap();
        let name = |method: &str| method.replace("interactive", "interactive/pam");
        sshd.wait_for_log(&format!("Accepted {} for ", name(last)), LONG);
        for method in first {
            sshd.wait_for_log(&format!("Partial {} for ", name(method)), LONG);
        }
    }
}

#[test]
fn a_password_that_was_right_is_not_sent_again_as_the_answer_to_a_question() {
    // It asks for something else by then, and a wrong code counts.
    let passwords = Passwords::new(PASSWORD);
    let sshd = wants(&passwords, "password,keyboard-interactive");
    sshd.authorize_nobody();
    let failure = unauthenticated(&table(&sshd, PASSWORD).start());
    let path = sshd.dir().join("password");
    let accepted = format!(
        "server accepted the password of {} and wants more: keyboard-interactive; it ",
        path.display()
    );
    assert!(failure.cause.starts_with(&accepted), "{failure:?}");
    let asks = "it asks for more than a password: \"Password:\"";
    assert!(failure.cause.ends_with(asks), "{failure:?}");
    assert!(failure.hint.unwrap().starts_with("nobody is there"));
    let failed = "Failed keyboard-interactive";
    assert!(!sshd.log().contains(failed), "{}", sshd.log());
}

#[test]
fn two_keys_get_in_where_two_are_wanted() {
    // The one that was taken is not offered again: the server would refuse it.
    let sshd = Sshd::builder()
        .config("AuthenticationMethods publickey,publickey")
        .start();
    let wrong = generate(sshd.dir(), "wrong");
    let second = generate(sshd.dir(), "second");
    sshd.authorize(&second.public_line());
    let keys = [sshd.client_key(), &wrong.private, &second.private];
    let keys = keys.map(|key| text(key.display())).join(", ");
    let table = Table::to(&sshd).set("identity_file", format!("[{keys}]"));
    table.forward(free_addr(), free_addr()).up();
    let log = sshd.log();
    let first = sshd.client_key_files().fingerprint();
    assert!(log.contains("Partial publickey for "), "{log}");
    // Asked whether it would do, and signed: no third time.
    assert_eq!(
        log.matches(&format!("Accepted key ED25519 {first}"))
            .count(),
        2,
        "{log}"
    );
}

#[test]
fn what_is_still_wanted_is_said_after_what_was_right() {
    let passwords = Passwords::new(PASSWORD);
    let sshd = wants(&passwords, "publickey,password");
    let key = sshd.client_key_files().fingerprint();
    let failure = unauthenticated(&table(&sshd, "wrong").start());
    let path = sshd.dir().join("password");
    let path = path.display();
    let cause = format!(
        "server accepted the key {key} and wants more: password; it rejected the password of \
         {path}"
    );
    assert_eq!(failure.cause, cause);

    let table = table(&sshd, "wrong").without("password_credential");
    let failure = unauthenticated(&table.start());
    let cause = format!("server accepted the key {key} and wants more: password");
    assert_eq!(failure.cause, cause);
    let hint = "name a password in password_credential; AuthenticationMethods in the server's \
                sshd_config says what it wants";
    assert_eq!(failure.hint.unwrap(), hint);

    let sshd = wants(&passwords, "password,publickey");
    sshd.authorize_nobody();
    let password = secret(sshd.dir(), "password", PASSWORD);
    let table = Table::to(&sshd)
        .set("password_credential", &password)
        .forward(free_addr(), free_addr());
    let failure = unauthenticated(&table.start());
    let key = sshd.client_key_files().fingerprint();
    let path = password.trim_matches('"');
    let cause = format!(
        "server accepted the password of {path} and wants more: publickey; it rejected every \
         other key (tried 1: {key})"
    );
    assert_eq!(failure.cause, cause);
}

#[test]
fn a_code_after_the_key_is_told_with_its_question() {
    let dir = tempfile::tempdir().unwrap();
    let key = generate(dir.path(), "key");
    let server = LabServer::start(LabOptions {
        asking: Asking {
            after_key: true,
            ..Asking::rounds(PASSWORD, &[&["Password: "], &["Verification code: "]])
        },
        ..LabOptions::for_key(&key)
    });
    let known_hosts = dir.path().join("known_hosts");
    std::fs::write(&known_hosts, server.host_key_line()).unwrap();
    let table = Table::new(server.addr(), "anyone", &key.private, &known_hosts)
        .set(
            "password_credential",
            secret(dir.path(), "password", PASSWORD),
        )
        .forward(free_addr(), free_addr());
    let key = key.fingerprint();
    let failure = unauthenticated(&table.start());
    let cause = format!(
        "server accepted the key {key} and wants more: keyboard-interactive; it asks for more \
         than a password: \"Verification code:\""
    );
    assert_eq!(failure.cause, cause);

    let failure = unauthenticated(&table.without("password_credential").start());
    let cause = format!("server accepted the key {key} and wants more: keyboard-interactive");
    assert_eq!(failure.cause, cause);
}
