//! Each type of private key, in each format that ssh-keygen writes, logs in to the real server.

use tunneld_lab::keys::{KeyType, ssh_keygen};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::support::{Table, daemon, text, up};

#[test]
fn each_type_and_format_of_key_logs_in() {
    // Ed25519, ECDSA on three curves, RSA; in OpenSSH's format, PEM and PKCS#8.
    let sshd = Sshd::start();
    let echo = EchoServer::start();
    let keys: [(&str, KeyType, &[&str]); 9] = [
        ("ed25519", KeyType::Ed25519, &[]),
        ("ecdsa", KeyType::Ecdsa, &[]),
        ("ecdsa-384", KeyType::Ecdsa, &["-b", "384"]),
        ("ecdsa-521", KeyType::Ecdsa, &["-b", "521"]),
        ("ecdsa-pem", KeyType::Ecdsa, &["-m", "PEM"]),
        ("ecdsa-pkcs8", KeyType::Ecdsa, &["-m", "PKCS8"]),
        ("rsa", KeyType::Rsa, &[]),
        ("rsa-pem", KeyType::Rsa, &["-m", "PEM"]),
        ("rsa-pkcs8", KeyType::Rsa, &["-m", "PKCS8"]),
    ];
    sshd.authorize_nobody();
    let mut config = String::new();
    let mut listens = Vec::new();
    for (name, kind, options) in keys {
        let key = ssh_keygen(kind, sshd.dir(), name, "", options);
        sshd.authorize(&key.public_line());
        let listen = free_addr();
        let table = Table::to(&sshd).named(name).forward(listen, echo.addr());
        config.push_str(
            &table
                .set("identity_file", text(key.private.display()))
                .toml(),
        );
        listens.push((name, listen, key.fingerprint()));
    }
    let daemon = daemon().config(&config).start();
    for (name, listen, fingerprint) in listens {
        up(&daemon, name);
        echoes(listen).unwrap();
        let log = sshd.log();
        assert!(
            log.contains(&fingerprint),
            "{name} did not log in with its own key\n{log}"
        );
    }
}

#[test]
fn rsa_keys_never_sign_with_sha1() {
    // A server that takes RSA signatures with SHA-2 only lets an RSA key in.
    let builder = Sshd::builder().client_key(KeyType::Rsa);
    let config = "PubkeyAcceptedAlgorithms rsa-sha2-512,rsa-sha2-256";
    let sshd = builder.config(config).start();
    Table::to(&sshd).forward(free_addr(), free_addr()).up();
}
