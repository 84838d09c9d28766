//! `tunneld check` looks at certificates and secrets that the file names, and never at what a
//! secret is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use tunneld_lab::keys::{KeyType, certify, generate, ssh_keygen};

use crate::support::{Folder, LONG, assert_exit, assert_has, binary, command, stderr, within};

/// Checks a tunnel with these keys, as a service that was passed the credentials of this folder.
fn check(folder: &Folder, keys: &str, credentials: Option<&Path>) -> (String, Output) {
    let file = folder.write(
        "t.toml",
        &format!(
            "[tunnels.db]\nhost = \"h\"\nuser = \"u\"\nidentity_file = \"id\"\n\
             local_forward = \"127.0.0.1:5432:localhost:5432\"\n{keys}\n"
        ),
    );
    let mut command = command(binary());
    command.args(["check", &file]);
    command.env_remove("CREDENTIALS_DIRECTORY");
    if let Some(directory) = credentials {
        command.env("CREDENTIALS_DIRECTORY", directory);
    }
    (file, within(&mut command, LONG))
}

/// One problem in line 6, at this column, which says this.
#[track_caller]
fn refused((file, output): &(String, Output), column: u32, said: &[&str]) {
    assert_exit(output, 78);
    let report = stderr(output);
    assert_has(&report, &[&format!("{file}:6:{column}\n")]);
    assert_has(&report, said);
    assert!(report.ends_with("1 error\n"), "{report}");
}

#[test]
fn a_certificate_that_is_of_no_use_is_found_where_it_is_named() {
    // Missing, a folder, another thing, for hosts, over; and then one that is right.
    let folder = Folder::new();
    fs::create_dir(folder.at("folder")).unwrap();
    let certificate = |name: &str, options: &[&str]| {
        let files = generate(folder.at("").as_path(), name);
        certify(&files, &files.public, "the id", options);
    };
    certificate("host", &["-h"]);
    certificate("over", &["-V", "0x5e0be100:0x5e0d3280"]);
    let authority = generate(folder.at("").as_path(), "authority");
    let good = certify(&authority, &folder.at("id.pub"), "the id", &[]);
    fs::rename(good, folder.at("good-cert.pub")).unwrap();
    for (name, reason) in [
        ("none-cert.pub", ": no such file"),
        ("folder", ": is a directory"),
        ("id.pub", " is a plain public key, not a user certificate"),
        (
            "host-cert.pub",
            " is a host certificate, not a user certificate",
        ),
        ("over-cert.pub", " expired on 2020-01-02 00:00:00 UTC"),
    ] {
        let found = check(&folder, &format!("certificate_file = \"{name}\""), None);
        let said = format!("certificate {}{reason}", folder.at(name).display());
        refused(&found, 20, &[&said]);
    }
    let (_, output) = check(&folder, "certificate_file = \"good-cert.pub\"", None);
    assert_exit(&output, 0);
}

#[test]
fn a_secret_is_a_file_for_its_owner_alone() {
    // Missing, open to others, a folder; and then one that is right.
    let folder = Folder::new();
    fs::create_dir(folder.at("folder")).unwrap();
    folder.write("open", "hunter2\n");
    folder.write("good", "hunter2\n");
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("open", 0o640);
    mode("good", 0o600);
    for (name, reason) in [
        ("./missing", ": no such file"),
        ("./open", " is open to others: mode 0640"),
        ("./folder", ": is a directory"),
    ] {
        let found = check(&folder, &format!("password_credential = \"{name}\""), None);
        let file = folder.at(name).display().to_string();
        refused(&found, 23, &[&format!("credential file {file}{reason}")]);
        assert!(!stderr(&found.1).contains("hunter2"));
    }
    let (_, output) = check(&folder, "password_credential = \"./good\"", None);
    assert_exit(&output, 0);
}

#[test]
fn a_credential_of_systemd_is_looked_for_only_where_systemd_has_passed_some() {
    // A person who runs `check` has no such folder: then nothing can be said.
    let folder = Folder::new();
    let line = "passphrase_credential = \"db-key\"";
    assert_exit(&check(&folder, line, None).1, 0);
    let passed = folder.at("credentials");
    fs::create_dir(&passed).unwrap();
    let found = check(&folder, line, Some(&passed));
    let said = [
        "credential \"db-key\" is missing: no file ",
        "LoadCredential=db-key:/path/to/the/file in [Service]",
    ];
    refused(&found, 25, &said);
    fs::write(passed.join("db-key"), "hunter2").unwrap();
    let mode = fs::Permissions::from_mode(0o440);
    fs::set_permissions(passed.join("db-key"), mode).unwrap();
    assert_exit(&check(&folder, line, Some(&passed)).1, 0);
}

#[test]
fn a_key_with_a_passphrase_is_right_where_its_passphrase_is_named() {
    // And wrong where it is not: a daemon has nobody to ask.
    let folder = Folder::new();
    fs::remove_file(folder.key()).unwrap();
    ssh_keygen(KeyType::Ed25519, &folder.at(""), "id", "a passphrase", &[]);
    assert_exit(&check(&folder, "", None).1, 78);
    let line = "passphrase_credential = \"db-key\"";
    assert_exit(&check(&folder, line, None).1, 0);
}

#[test]
fn the_public_half_of_a_key_is_right_where_an_agent_has_the_other() {
    // As with ssh: it picks a key of the agent.
    let folder = Folder::new();
    let public = folder.at("id.pub");
    fs::rename(public, folder.key()).unwrap();
    fs::set_permissions(folder.key(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_exit(&check(&folder, "", None).1, 78);
    let line = "identity_agent = \"SSH_AUTH_SOCK\"";
    assert_exit(&check(&folder, line, None).1, 0);
}

#[test]
fn what_an_attempt_would_say_is_said_by_check() {
    // A certificate beside its key, one without its key, and an agent that is not there.
    let folder = Folder::new();
    let dir = folder.at("");
    let line = "identity_agent = \"/run/no-such-agent\"";
    let (_, output) = check(&folder, line, None);
    assert_exit(&output, 78);
    let said = ["agent /run/no-such-agent: no such file", "start the agent"];
    assert_has(&stderr(&output), &said);

    let other = generate(&dir, "other");
    certify(&other, &other.public, "the id", &[]);
    let (_, output) = check(&folder, "certificate_file = \"other-cert.pub\"", None);
    assert_exit(&output, 78);
    let said = ["is in no identity_file", "name the private key"];
    assert_has(&stderr(&output), &said);

    let public = folder.at("id.pub");
    certify(&other, &public, "the id", &["-V", "0x5e0be100:0x5e0d3280"]);
    let (_, output) = check(&folder, "", None);
    assert_exit(&output, 78);
    let said = ["id-cert.pub expired on 2020-01-02", "sign the key again"];
    assert_has(&stderr(&output), &said);
}
