//! `tunneld check` reads what the file names: keys and known_hosts, and says what is wrong with
//! each, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tunneld_lab::keys::{KeyType, ssh_keygen};

use crate::support::{Folder, assert_exit, assert_has, command, stderr, tunneld};

const FILE: &str = "[tunnels.db]\nhost = \"h\"\nuser = \"u\"\nidentity_file = \"KEY\"\n\
                    known_hosts = \"KNOWN\"\nlocal_forward = \"127.0.0.1:5432:localhost:5432\"\n";

/// Checks a file that names this key and these known_hosts: where the report points, and what it
/// says.
#[track_caller]
fn refused(folder: &Folder, key: &str, known_hosts: &str, at: &str, said: &[&str]) {
    let file = folder.write(
        "t.toml",
        &FILE.replace("KEY", key).replace("KNOWN", known_hosts),
    );
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    let report = stderr(&output);
    assert_has(&report, &[&format!("{file}:{at}")]);
    assert_has(&report, said);
    assert!(report.ends_with("1 error\n"), "{report}");
}

#[test]
fn a_missing_key_is_found_where_it_is_named() {
    // The path, the place in the file, the reason.
    let folder = Folder::new();
    let missing = folder.at("nokey").display().to_string();
    refused(&folder, "nokey", "kh", "4:17", &[&missing, "no such file"]);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    // As ssh does; with the command that mends it.
    let folder = Folder::new();
    fs::set_permissions(folder.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let key = folder.key().display().to_string();
    refused(&folder, "id", "kh", "4:17", &[&key, "0644", "chmod 600"]);
}

#[test]
fn an_encrypted_key_is_refused() {
    // A daemon has nobody to ask for a passphrase.
    let folder = Folder::new();
    let dir = folder.at("");
    ssh_keygen(KeyType::Ed25519, &dir, "locked", "a passphrase", &[]);
    ssh_keygen(
        KeyType::Ecdsa,
        &dir,
        "locked_pem",
        "a passphrase",
        &["-m", "PEM"],
    );
    for key in ["locked", "locked_pem"] {
        refused(&folder, key, "kh", "4:17", &["passphrase"]);
    }
}

#[test]
fn a_public_key_is_not_a_private_key() {
    // The other half was named by mistake: it is said which file was meant.
    let folder = Folder::new();
    let public = folder.at("id.pub");
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    let path = public.display().to_string();
    refused(&folder, "id.pub", "kh", "4:17", &[&path, "public key"]);
}

#[test]
fn a_tunnel_without_any_key_has_to_have_another_way_to_log_in() {
    // IdentityFile none of ssh_config(5): a password is one.
    let folder = Folder::new();
    folder.write("kh", "");
    let none = FILE.replace("KEY", "none").replace("KNOWN", "kh");
    let file = folder.write("t.toml", &none);
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    assert_has(
        &stderr(&output),
        &[
            "tunnel `db` has no key to authenticate with",
            &format!("{file}:1:10"),
        ],
    );
    let file = folder.write("t.toml", &format!("{none}password_credential = \"db\"\n"));
    assert_exit(&tunneld(&["check", &file]), 0);
}

#[test]
fn what_is_no_key_at_all_is_refused() {
    // Garbage, an empty file, a folder, a pipe.
    let folder = Folder::new();
    for (name, text) in [("garbage", "not a key\n"), ("empty", "")] {
        folder.write(name, text);
        fs::set_permissions(folder.at(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::create_dir(folder.at("folder")).unwrap();
    let fifo = command("mkfifo")
        .args(["-m", "600"])
        .arg(folder.at("pipe"))
        .status();
    assert!(fifo.unwrap().success());
    for name in ["garbage", "empty", "folder", "pipe"] {
        refused(
            &folder,
            name,
            "kh",
            "4:17",
            &[&folder.at(name).display().to_string()],
        );
    }
}

#[test]
fn known_hosts_that_cannot_be_used_are_found() {
    // A folder or a pipe in its place; a missing one is passed over, as ssh does.
    let folder = Folder::new();
    fs::create_dir(folder.at("folder")).unwrap();
    assert!(
        command("mkfifo")
            .arg(folder.at("pipe"))
            .status()
            .unwrap()
            .success()
    );
    for name in ["folder", "pipe"] {
        refused(
            &folder,
            "id",
            name,
            "5:15",
            &[&folder.at(name).display().to_string()],
        );
    }
    let file = folder.write(
        "t.toml",
        &FILE.replace("KEY", "id").replace("KNOWN", "none"),
    );
    assert_exit(&tunneld(&["check", &file]), 0);
}

#[test]
fn a_broken_line_of_known_hosts_is_named() {
    // With its file and line: passed over, it could be the one that revokes a key.
    let folder = Folder::new();
    let key = tunneld_lab::keys::generate(&folder.at(""), "host").public_line();
    let good = format!("# a comment\nh,[h]:2222 {key}\n");
    for broken in [
        "h ssh-ed25519 %%%",
        &format!("@what h {key}"),
        "h",
        "h ssh-ed25519",
    ] {
        folder.write("kh", &format!("{good}{broken}\n"));
        let line = format!("{}:3: ", folder.at("kh").display());
        refused(
            &folder,
            "id",
            "kh",
            "5:15",
            &[&line, "mend the line or remove it"],
        );
    }
}

#[test]
fn a_program_that_cannot_be_started_is_found_where_it_is_named() {
    // It is not there, it may not be executed, or PATH does not have it.
    let folder = Folder::new();
    folder.write("text", "no program");
    for (program, said, help) in [
        (
            "./nothing",
            "nothing: no such file or directory",
            "correct `on_up`",
        ),
        ("./text", "text: permission denied", "make it executable"),
        ("/etc", "cannot run /etc: is a directory", "correct `on_up`"),
        (
            "no-such-program",
            "cannot run no-such-program: not found in PATH",
            "its whole path",
        ),
    ] {
        let file = FILE.replace("KEY", "id").replace("KNOWN", "kh");
        let file = folder.write("t.toml", &format!("{file}on_up = [{program:?}, \"up\"]\n"));
        let output = tunneld(&["check", &file]);
        assert_exit(&output, 78);
        assert_has(&stderr(&output), &[&format!("{file}:7:9"), said, help]);
    }
    let file = FILE.replace("KEY", "id").replace("KNOWN", "kh");
    let file = folder.write("t.toml", &format!("{file}on_up = [\"true\"]\n"));
    assert_exit(&tunneld(&["check", &file]), 0);
}

#[test]
fn files_of_defaults_are_one_problem_however_many_tunnels_use_them() {
    // One mistake, one error.
    let folder = Folder::new();
    let mut text = String::from("[defaults]\nuser = \"u\"\nidentity_file = \"nokey\"\n");
    for n in 0..5 {
        let tunnel = format!(
            "[tunnels.t{n}]\nhost = \"h\"\nlocal_forward = \"127.0.0.1:{}:h:1\"\n",
            9000 + n
        );
        text.push_str(&tunnel);
    }
    let file = folder.write("t.toml", &text);
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &[&format!("{file}:3:17")]);
    assert!(
        stderr(&output).ends_with("\n1 error\n"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_host_that_known_hosts_does_not_have_is_a_warning_with_the_command() {
    // Each host once, jump hosts too, and the file is right all the same. By its line, bare or with the
    // port, by its alias, an authority, a pin or `accept-new` a host is known; a revoked key is nothing.
    let folder = Folder::new();
    let key = fs::read_to_string(folder.at("id.pub")).unwrap();
    let lines = ["known", "bare", "[port]:2222", "alias", "@revoked * "];
    let mut known: String = lines[..4]
        .iter()
        .map(|name| format!("{name} {key}"))
        .collect();
    known.push_str(&format!("@cert-authority *.signed {key}"));
    ssh_keygen(KeyType::Ed25519, &folder.at(""), "lost", "", &[]);
    let lost = fs::read_to_string(folder.at("lost.pub")).unwrap();
    known.push_str(&format!("{}{lost}", lines[4]));
    folder.write("kh", &known);
    let pin = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    let tunnels = [
        ("a1", "known", "", ""),
        ("a2", "bare", "port = 2222\n", ""),
        ("a3", "port", "port = 2222\n", ""),
        ("a4", "10.0.0.1", "host_key_alias = \"alias\"\n", ""),
        ("a5", "x.signed", "", ""),
        ("a6", "pinned", "", pin),
        (
            "a7",
            "new",
            "strict_host_key_checking = \"accept-new\"\n",
            "",
        ),
        ("a8", "off", "enabled = false\n", ""),
        ("b1", "one", "proxy_jump = \"u@jump:2022\"\n", ""),
        ("b2", "one", "", ""),
        ("b3", "port", "", ""),
    ];
    let mut file =
        String::from("[defaults]\nuser = \"u\"\nidentity_file = \"id\"\nknown_hosts = \"kh\"\n");
    for (n, (name, host, more, pin)) in tunnels.into_iter().enumerate() {
        file.push_str(&format!("[tunnels.{name}]\nhost = \"{host}\"\n{more}"));
        if !pin.is_empty() {
            file.push_str(&format!("host_key_fingerprint = \"{pin}\"\n"));
        }
        file.push_str(&format!(
            "local_forward = \"127.0.0.1:{}:t:1\"\n",
            20_000 + n
        ));
    }
    let file = folder.write("t.toml", &file);
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 0);
    let expected: String = [
        ("jump:2022", "b1", " --hop jump:2022"),
        ("one:22", "b1", ""),
        ("port:22", "b3", ""),
    ]
    .into_iter()
    .map(|(place, name, hop)| {
        format!(
            "warning: no key of {place} is known yet: `tunneld trust {name} --config {file}{hop}` \
             shows what it has, and adds it\n"
        )
    })
    .collect();
    assert_eq!(stderr(&output), expected);
}

#[test]
fn of_many_unknown_hosts_ten_are_named() {
    // A fresh fleet does not fill the screen.
    let folder = Folder::new();
    let mut file =
        String::from("[defaults]\nuser = \"u\"\nidentity_file = \"id\"\nknown_hosts = \"kh\"\n");
    for n in 10..23 {
        let port = 20_000 + n;
        file.push_str(&format!(
            "[tunnels.t{n}]\nhost = \"h{n}\"\nlocal_forward = \"127.0.0.1:{port}:t:1\"\n"
        ));
    }
    let output = tunneld(&["check", &folder.write("t.toml", &file)]);
    assert_exit(&output, 0);
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 11, "{said}");
    assert_has(
        &said,
        &["no key of h19:22 is", "\nwarning: nor of 3 more hosts\n"],
    );
}
