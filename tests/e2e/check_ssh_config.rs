//! `tunneld check` with `ssh_config`: where each value comes from, and what is wrong in ssh's own
//! files, each in its place.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::support::{
    Folder, LONG, assert_exit, assert_has, binary, command, stderr, stdout, values, within,
};

/// A tunnel that takes from the file `ssh` what it does not say.
const TUNNEL: &str = "[tunnels.db]\nhost = \"db\"\nssh_config = \"ssh\"\n\
                      local_forward = \"127.0.0.1:5432:localhost:5432\"\nuser = \"own\"\n";

/// A file of ssh, for ssh wants it so.
fn write(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.write(name, text);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    path
}

fn check(folder: &Folder, arguments: &[&str]) -> Output {
    let file = folder.write("t.toml", TUNNEL);
    let mut command = command(binary());
    command.arg("check").args(arguments).arg(file);
    command.env("LAB_KEY", folder.key());
    within(&mut command, LONG)
}

#[test]
fn each_value_is_printed_with_its_file_and_line() {
    // Of tunneld.toml, of ssh's file, of a file that this one includes, and the defaults.
    let folder = Folder::new();
    folder.write("kh", "");
    write(
        &folder,
        "ssh",
        "Host db\n  HostName 192.0.2.1\n  User theirs\n  Include more/*.conf\n  IdentityFile ${LAB_KEY}\n",
    );
    fs::create_dir_all(folder.at("more/folder.conf")).unwrap();
    write(&folder, "more/.hidden.conf", "Port 1\n");
    write(&folder, "more/a.conf", "# nothing\nPort 2222\n");
    write(
        &folder,
        "more/b.conf",
        "Port 2223\nUserKnownHostsFile {dir}/kh\n",
    );
    let output = check(&folder, &["--print"]);
    assert_exit(&output, 0);
    let printed = stdout(&output);
    assert_has(
        &printed,
        &[
            "host = \"192.0.2.1\"  # ssh:2\n",
            "port = 2222  # a.conf:2\n",
            "user = \"own\"  # t.toml:5\n",
            &format!("identity_file = [{:?}]  # ssh:5\n", folder.key()),
            "  # b.conf:2\n",
            "connect_timeout = \"15s\"  # default\n",
            "connect = \"localhost:5432\"  # t.toml:4\n",
        ],
    );
    // What is printed needs no file of ssh any more, and says the same.
    let again = folder.write("again.toml", &printed);
    let mut command = command(binary());
    let output = within(command.args(["check", "--print", &again]), LONG);
    assert_exit(&output, 0);
    assert_eq!(values(&stdout(&output)), values(&printed));
}

#[test]
fn what_is_not_supported_is_found_in_the_file_that_says_it() {
    // With file, line, column and caret, also in an included one; each problem once.
    let folder = Folder::new();
    let more = write(&folder, "more", "Hostnam db\nMatch exec true\n  Port 1\n");
    let ssh = write(
        &folder,
        "ssh",
        "Host db\n  VerifyHostKeyDNS yes\nHost other\n  Port x\n  CheckHostIP yes\nHost *\nInclude more\n",
    );
    let output = check(&folder, &[]);
    assert_exit(&output, 78);
    let report = stderr(&output);
    assert_has(
        &report,
        &[
            &format!("{ssh}:2:20\n"),
            "2 |   VerifyHostKeyDNS yes\n",
            "  |                    ^^^\n",
            "help: let `tunneld trust` put the host's key into known_hosts",
            &format!("{ssh}:4:8\n"),
            "`Port` has `x` where a port is wanted",
            &format!("{more}:1:1\n"),
            "did you mean `HostName`?",
            &format!("{more}:2:7\n"),
            "tunneld cannot tell whether `Match exec` holds for `db`",
        ],
    );
    assert!(report.ends_with("\n4 errors\n"), "{report}");
}

#[test]
fn a_file_that_cannot_be_read_is_said_where_it_is_named() {
    // No file, a folder; one that others can write to, as such or as an included one.
    let folder = Folder::new();
    let refused = |said: &str, place: &str| {
        let output = check(&folder, &[]);
        assert_exit(&output, 78);
        assert_has(&stderr(&output), &[said, place]);
    };
    let path = folder.at("ssh").display().to_string();
    refused(
        &format!("cannot read {path}: no such file"),
        "t.toml:3:14\n",
    );
    fs::create_dir(folder.at("ssh")).unwrap();
    refused(
        &format!("cannot read {path}: is a directory"),
        "t.toml:3:14\n",
    );
    fs::remove_dir(folder.at("ssh")).unwrap();
    write(&folder, "ssh", "Host web\n  Include m*\n");
    let more = write(&folder, "more", "Port 22\n");
    fs::set_permissions(&more, Permissions::from_mode(0o664)).unwrap();
    refused(
        &format!("{more}: others can change it: mode 0664 (chmod go-w {more})"),
        "ssh:2:11\n",
    );
    fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
    refused(
        &format!("cannot read {path}: others can change it: mode 0646"),
        "t.toml:3:14\n",
    );
}

#[test]
fn files_that_ssh_names_are_checked_in_their_place() {
    // A key that is missing, and a known_hosts that is a folder.
    let folder = Folder::new();
    fs::create_dir(folder.at("kh")).unwrap();
    let ssh = write(
        &folder,
        "ssh",
        "Host db\n  IdentityFile {dir}/none\n  UserKnownHostsFile /dev/null {dir}/kh\n",
    );
    let output = check(&folder, &[]);
    assert_exit(&output, 78);
    let report = stderr(&output);
    let column = "UserKnownHostsFile /dev/null ".len() + 3;
    assert_has(
        &report,
        &[
            &format!("{ssh}:2:16\n"),
            &format!("{ssh}:3:{column}\n"),
            "2 errors",
        ],
    );
}

#[test]
fn the_stock_file_of_this_machine_is_without_errors() {
    // /etc/ssh/ssh_config as the package of openssh-client has it.
    let folder = Folder::new();
    folder.write("kh", "");
    let text = TUNNEL.replace("\"ssh\"", "\"/etc/ssh/ssh_config\"");
    let file = folder.write(
        "t.toml",
        &format!("{text}identity_file = \"id\"\nknown_hosts = \"kh\"\n"),
    );
    let mut command = command(binary());
    let output = within(command.args(["check", &file]), LONG);
    assert_exit(&output, 0);
}
