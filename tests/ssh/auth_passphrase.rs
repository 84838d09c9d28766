//! Encrypted keys: their passphrase is read when the server wants them and not before, and what is
//! wrong with it is said and mended without a restart.

use std::fs;
use std::path::Path;

use tunneld_core::failure::Class;
use tunneld_lab::agent::SshAgent;
use tunneld_lab::keys::{KeyFiles, KeyType, generate, ssh_keygen};
use tunneld_lab::process::Signal;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use crate::support::{NEVER, Table, daemon, fails, secret, text, unauthenticated, up};

const PHRASE: &str = "a secret phrase";

fn locked(sshd: &Sshd, kind: KeyType, format: &str) -> KeyFiles {
    let name = format!("{}-{format}", kind.as_str());
    let files = ssh_keygen(kind, sshd.dir(), &name, PHRASE, &["-a", "1", "-m", format]);
    sshd.authorize(&files.public_line());
    files
}

fn table(sshd: &Sshd, key: &Path) -> Table {
    Table::to(sshd)
        .set("identity_file", text(key.display()))
        .set("reconnect", NEVER)
        .forward(free_addr(), free_addr())
}

#[test]
fn an_encrypted_key_of_each_format_gets_in_with_its_passphrase() {
    let sshd = Sshd::start();
    let phrase = secret(sshd.dir(), "phrase", &format!("{PHRASE}\n"));
    for (kind, format) in [
        (KeyType::Ed25519, "RFC4716"),
        (KeyType::Ecdsa, "PKCS8"),
        (KeyType::Rsa, "PKCS8"),
        (KeyType::Rsa, "PEM"),
    ] {
        let key = locked(&sshd, kind, format);
        let table = table(&sshd, &key.private).set("passphrase_credential", &phrase);
        table.up();
        // Where only the encrypted file shows what it is, it is opened to know.
        fs::remove_file(&key.public).unwrap();
        table.up();
    }
}

#[test]
fn a_passphrase_that_is_not_needed_does_no_harm() {
    let sshd = Sshd::start();
    let phrase = secret(sshd.dir(), "phrase", PHRASE);
    let table = table(&sshd, sshd.client_key());
    table.set("passphrase_credential", phrase).up();
}

#[test]
fn a_wrong_passphrase_is_said_to_be_until_it_is_corrected() {
    let sshd = Sshd::start();
    let key = locked(&sshd, KeyType::Ed25519, "RFC4716");
    let phrase = secret(sshd.dir(), "phrase", "something else");
    let table = table(&sshd, &key.private).set("passphrase_credential", phrase);
    let daemon = table.start();
    let failure = unauthenticated(&daemon);
    let file = key.private.display();
    assert_eq!(failure.cause, format!("key file {file}: wrong passphrase"));
    let hint = format!(
        "correct what passphrase_credential names; ssh-keygen -y -f {file} tries a passphrase"
    );
    assert_eq!(failure.hint.unwrap(), hint);
    secret(sshd.dir(), "phrase", PHRASE);
    daemon.signal(Signal::USR1);
    up(&daemon, "t");
}

#[test]
fn a_passphrase_is_a_credential_of_systemd_where_it_is_named_so() {
    let sshd = Sshd::start();
    let key = locked(&sshd, KeyType::Ed25519, "RFC4716");
    let table = table(&sshd, &key.private).set("passphrase_credential", text("db-key"));
    let failure = unauthenticated(&table.start());
    let cause = "credential \"db-key\" is missing: $CREDENTIALS_DIRECTORY is not set";
    assert_eq!(failure.cause, cause);
    let hint = "LoadCredential=db-key:/path/to/the/file in [Service], then systemctl restart";
    assert!(failure.hint.unwrap().contains(hint));

    let credentials = sshd.dir().join("credentials");
    fs::create_dir(&credentials).unwrap();
    secret(&credentials, "db-key", PHRASE);
    let daemon = daemon().env("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    up(&daemon.config(&table.toml()).start(), "t");
}

#[test]
fn a_key_that_cannot_be_opened_does_not_keep_the_next_from_being_tried() {
    let sshd = Sshd::start();
    let key = locked(&sshd, KeyType::Ed25519, "RFC4716");
    let phrase = secret(sshd.dir(), "phrase", "something else");
    let keys = [&key.private, sshd.client_key()].map(|key| text(key.display()));
    let table = table(&sshd, &key.private)
        .set("identity_file", format!("[{}]", keys.join(", ")))
        .set("passphrase_credential", phrase);
    table.up();

    // Rejected with the rest, it is told why it was not tried.
    sshd.authorize_nobody();
    sshd.authorize(&key.public_line());
    let failure = unauthenticated(&table.start());
    let client = sshd.client_key_files().fingerprint();
    let file = key.private.display();
    let cause = format!(
        "server rejected every key (tried 1: {client}); it accepts: publickey; not tried: key \
         file {file}: wrong passphrase"
    );
    assert_eq!(failure.cause, cause);
}

#[test]
fn a_key_that_the_server_does_not_know_is_not_even_opened() {
    // The passphrase would be wrong: nobody asks for it.
    let sshd = Sshd::start();
    let key = locked(&sshd, KeyType::Ed25519, "RFC4716");
    sshd.authorize_nobody();
    let phrase = secret(sshd.dir(), "phrase", "something else");
    let table = table(&sshd, &key.private).set("passphrase_credential", phrase);
    let failure = unauthenticated(&table.start());
    let cause = format!(
        "server rejected every key (tried 1: {}); it accepts: publickey",
        key.fingerprint()
    );
    assert_eq!(failure.cause, cause);
}

#[test]
fn an_agent_signs_for_an_encrypted_key_that_has_no_passphrase_here() {
    let sshd = Sshd::start();
    let key = locked(&sshd, KeyType::Ed25519, "RFC4716");
    let agent = SshAgent::start(&sshd.dir().join("agent"));
    let table = table(&sshd, &key.private)
        .set("identity_agent", text(agent.socket().display()))
        .set("identities_only", true);
    let failure = unauthenticated(&table.start());
    let file = key.private.display();
    let cause = format!(
        "agent {} shows no key; key file {file} is encrypted with a passphrase",
        agent.socket().display()
    );
    assert_eq!(failure.cause, cause);

    // The same key, open, for the agent alone.
    let open = sshd.dir().join("open");
    fs::copy(&key.private, &open).unwrap();
    let path = open.to_str().unwrap();
    let args = ["-q", "-p", "-P", PHRASE, "-N", "", "-f", path];
    let mut command = std::process::Command::new("ssh-keygen");
    tunneld_lab::process::run(command.args(args));
    agent.add(&open);
    table.up();
    // And its public half alone is enough to name it.
    table.set("identity_file", text(key.public.display())).up();
}

#[test]
fn the_time_that_a_key_takes_to_be_opened_is_not_put_down_to_the_server() {
    // The server wants the key, and waits for the signature.
    let sshd = Sshd::start();
    let args = ["-a", "1000"];
    let key = ssh_keygen(KeyType::Ed25519, sshd.dir(), "slow", PHRASE, &args);
    sshd.authorize(&key.public_line());
    let phrase = secret(sshd.dir(), "phrase", PHRASE);
    let table = table(&sshd, &key.private)
        .set("passphrase_credential", phrase)
        .set("connect_timeout", text("3s"));
    let failure = fails(&table.start(), "t", "authentication not finished");
    let cause = format!(
        "authentication not finished within 3s: key file {} is still being opened: its passphrase \
         takes 1000 rounds of bcrypt",
        key.private.display()
    );
    assert_eq!(failure.cause, cause);
    assert_eq!(failure.class, Class::Transient);
}

#[test]
fn a_key_that_is_cut_short_is_said_to_be() {
    let sshd = Sshd::start();
    let whole = fs::read_to_string(sshd.client_key()).unwrap();
    let key = sshd.dir().join("cut");
    secret(sshd.dir(), "cut", &whole[..whole.len() / 2]);
    let failure = unauthenticated(&table(&sshd, &key).start());
    let cause = format!(
        "key file {}: cut short: `-----END OPENSSH PRIVATE KEY-----` is missing",
        key.display()
    );
    assert_eq!(failure.cause, cause);
}

/// How the group 65534 is called here.
fn nobodys_group() -> String {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let group = groups.lines().find(|line| line.contains(":65534:"));
    group.unwrap().split(':').next().unwrap().to_owned()
}

#[test]
fn a_key_of_another_owner_is_used_where_it_is_closed_and_has_to_become_ours_where_it_is_not() {
    // The daemon runs as somebody who is not root, and who has no say over the file.
    use std::os::unix::fs::{PermissionsExt, chown};
    let sshd = Sshd::start();
    let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    let keys = dir.path().join("keys");
    fs::create_dir(&keys).unwrap();
    mode(&keys, 0o755);
    let key = generate(&keys, "key");
    sshd.authorize(&key.public_line());
    let known_hosts = dir.path().join("known_hosts");
    fs::copy(sshd.known_hosts(), &known_hosts).unwrap();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let run = || {
        let builder = daemon();
        chown(builder.dir(), Some(65_534), Some(65_534)).unwrap();
        let table = table(&sshd, &key.private).set("known_hosts", text(known_hosts.display()));
        builder.prefix(&nobody).config(&table.toml()).start()
    };
    mode(&key.private, 0o644);
    let failure = unauthenticated(&run());
    let file = key.private.display();
    let cause = format!("key file {file} is open to others: mode 0644");
    assert_eq!(failure.cause, cause);
    let hint = format!("sudo chown nobody {file} && sudo chmod 600 {file}");
    assert_eq!(failure.hint.unwrap(), hint);

    mode(&key.private, 0o600);
    let failure = unauthenticated(&run());
    assert_eq!(failure.cause, format!("key file {file}: permission denied"));
    assert_eq!(failure.hint.unwrap(), hint);
    mode(&keys, 0o700);
    let daemon = run();
    let failure = unauthenticated(&daemon);
    let (_, enter) = failure.hint.as_ref().unwrap().split_once(": ").unwrap();
    let folder = keys.display();
    let group = nobodys_group();
    let expected = format!("sudo chgrp {group} {folder} && sudo chmod g+x {folder}");
    assert_eq!(enter, expected);
    // As typed by root.
    let as_root = |line: &str| {
        assert!(daemon.typed(&line.replace("sudo ", "")).status.success());
    };
    as_root(enter);
    as_root(&hint);
    assert!(daemon.cli(&["restart", "t"]).status.success());
    up(&daemon, "t");

    fs::rename(&key.private, keys.join("aside")).unwrap();
    assert!(daemon.cli(&["restart", "t"]).status.success());
    let failure = fails(&daemon, "t", "no such file");
    let (_, make) = failure.hint.as_ref().unwrap().split_once(" key: ").unwrap();
    as_root(make);
    sshd.authorize(&fs::read_to_string(key.private.with_extension("pub")).unwrap());
    assert!(daemon.cli(&["restart", "t"]).status.success());
    up(&daemon, "t");
    drop(daemon);

    // Root can read what is another's: closed to all but its owner, it is used, as ssh uses it.
    table(&sshd, &key.private).up();
}
