//! `tunneld import`: what is printed where, what `tunneld check` says of it, and what is refused.

use std::fs;
use std::process::{Command, Output};

use crate::support::{Folder, LONG, assert_exit, assert_has, binary, stderr, stdout, within};

/// tunneld with a home of its own, in its own folder, with no file of its own.
pub(crate) fn command(folder: &Folder, args: &[&str]) -> Command {
    let mut command = crate::support::command(binary());
    command
        .env("HOME", folder.at(""))
        .env("TUNNELD_CONFIG", folder.at("none.toml"))
        .env_remove("SSH_AUTH_SOCK");
    command.current_dir(folder.at("")).args(args);
    command
}

pub(crate) fn tunneld(folder: &Folder, args: &[&str]) -> Output {
    within(&mut command(folder, args), LONG)
}

fn import(folder: &Folder, args: &[&str]) -> Output {
    tunneld(folder, &[&["import"], args].concat())
}

/// What is printed, which `tunneld check` accepts.
#[track_caller]
fn accepted(folder: &Folder, args: &[&str]) -> String {
    taken(folder, &import(folder, args))
}

/// What was printed, which `tunneld check` accepts.
#[track_caller]
pub(crate) fn taken(folder: &Folder, output: &Output) -> String {
    assert_exit(output, 0);
    let file = folder.write("imported.toml", &stdout(output));
    let checked = tunneld(folder, &["check", &file]);
    assert_exit(&checked, 0);
    stdout(output)
}

#[test]
fn a_command_line_is_made_into_a_tunnel_that_check_accepts() {
    // The key is named as it is from here; the words behind `--` are the command's own.
    let folder = Folder::new();
    let line = "autossh -M 0 -f -i id -N -L 5432:localhost:5432 user@db";
    let words: Vec<_> = ["--"].into_iter().chain(line.split(' ')).collect();
    let text = accepted(&folder, &words);
    let key = folder.key().display().to_string();
    let wanted = format!(
        "# from a command line\n[tunnels.db]\nhost = \"db\"\nuser = \"user\"\n\
         identity_file = \"{key}\"\nlocal_forward = \"5432:localhost:5432\"\n\
         # always so: -f -N\n# dropped: -M 0: "
    );
    assert!(text.starts_with(&wanted), "{text}");
    let text = accepted(&folder, &[&["--name", "pg"], &words[..]].concat());
    assert_has(&text, &["[tunnels.pg]\n"]);
}

#[test]
fn a_command_that_is_not_behind_the_dashes_is_told_where_it_goes() {
    // As words of its own, of which ours would be options, and as one word.
    let folder = Folder::new();
    let right = "error: a command goes behind `--`: tunneld import -- autossh …\n";
    let words: Vec<_> = "autossh -M 0 -N -L 1:a:2 h".split(' ').collect();
    let output = import(&folder, &words);
    assert_exit(&output, 2);
    assert_eq!(stderr(&output), right);
    let output = import(&folder, &["autossh", "h"]);
    assert_exit(&output, 1);
    assert_eq!(stderr(&output), right);
    let output = import(&folder, &["autossh -L 1:a:2 b"]);
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &["a command goes behind `--`: tunneld import -- autossh …\n"],
    );
}

/// A unit with this in its section [Service].
pub(crate) fn unit(folder: &Folder, name: &str, service: &str) -> String {
    folder.write(
        name,
        &format!("[Unit]\nDescription=x\n[Service]\n{service}\n"),
    )
}

#[test]
fn several_units_are_one_file_with_a_name_for_each() {
    // The names of the units; two that listen at one place do not both listen.
    let folder = Folder::new();
    let one = unit(
        &folder,
        "autossh-db.service",
        "ExecStart=ssh -i {dir}/id -NL 1001:a:1 one",
    );
    let two = unit(
        &folder,
        "ssh-tunnel-db.service",
        "ExecStart=ssh -i {dir}/id -NL 1001:a:1 two",
    );
    let text = accepted(&folder, &[&one, &two]);
    assert_has(
        &text,
        &[
            "[tunnels.db]\nhost = \"one\"\n",
            "[tunnels.db-2]\nhost = \"two\"\n",
            "enabled = false\n",
            "# not enabled: `db` and `db-2` both listen on localhost:1001\n",
        ],
    );
}

#[test]
fn what_adds_to_a_unit_counts_and_a_template_wants_an_instance() {
    let folder = Folder::new();
    let template = unit(
        &folder,
        "tunnel@.service",
        "EnvironmentFile={dir}/%i.env\nExecStart=ssh -i {dir}/id -N -L ${PORT}:a:1 %i",
    );
    folder.write("db.env", "PORT=1001\n");
    let said = import(&folder, &[&template]);
    assert_exit(&said, 1);
    assert_eq!(stdout(&said), "");
    assert_has(&stderr(&said), &["say which instance with --instance NAME"]);
    let text = accepted(&folder, &["--instance", "db", &template]);
    assert_has(
        &text,
        &["[tunnels.tunnel-db]\nhost = \"db\"\n", "\"1001:a:1\""],
    );
    fs::create_dir(folder.at("tunnel@.service.d")).unwrap();
    let more = "[Service]\nExecStart=\nExecStart=ssh -i {dir}/id -N -L 7:b:7 %i\n";
    folder.write("tunnel@.service.d/more.conf", more);
    let text = accepted(&folder, &["--instance", "db", &template]);
    assert_has(&text, &["more.conf:3\n", "\"7:b:7\""]);
}

#[test]
fn what_adds_to_an_instance_and_to_its_template_is_read_also_beside_a_link() {
    // Of two files with one name that of the instance counts.
    let folder = Folder::new();
    let template = unit(
        &folder,
        "tunnel@.service",
        "ExecStart=ssh -i {dir}/id -N -L 1001:a:1 old",
    );
    for name in [
        "tunnel@.service.d",
        "tunnel@db.service.d",
        "wants",
        "wants/tunnel@db.service.d",
    ] {
        fs::create_dir(folder.at(name)).unwrap();
    }
    let start = |host: &str| {
        format!("[Service]\nExecStart=\nExecStart=ssh -i {{dir}}/id -N -L 1001:a:1 {host}\n")
    };
    folder.write("tunnel@.service.d/x.conf", &start("template"));
    let text = accepted(&folder, &["--instance", "db", &template]);
    assert_has(&text, &["host = \"template\"\n"]);
    folder.write("tunnel@db.service.d/x.conf", &start("instance"));
    let text = accepted(&folder, &["--instance", "db", &template]);
    assert_has(&text, &["host = \"instance\"\n"]);
    let text = accepted(&folder, &["--instance", "other", &template]);
    assert_has(&text, &["host = \"template\"\n"]);
    let link = folder.at("wants/tunnel@db.service");
    std::os::unix::fs::symlink(&template, &link).unwrap();
    let link = link.display().to_string();
    let text = accepted(&folder, &[&link]);
    assert_has(&text, &["host = \"instance\"\n"]);
    folder.write("wants/tunnel@db.service.d/y.conf", &start("link"));
    let text = accepted(&folder, &[&link]);
    assert_has(&text, &["host = \"link\"\n"]);
}

#[test]
fn a_user_and_a_key_that_are_not_here_are_told() {
    // The unit may be from another machine: what is only likely is said.
    let folder = Folder::new();
    let file = unit(
        &folder,
        "t.service",
        "User=nobody-here\nExecStart=ssh -i ~/.ssh/k -N -L 1:a:1 db",
    );
    let output = import(&folder, &[&file]);
    assert_exit(&output, 0);
    assert_has(
        &stdout(&output),
        &["user = \"nobody-here\"\nidentity_file = \"/home/nobody-here/.ssh/k\"\n"],
    );
    assert_has(
        &stderr(&output),
        &[
            "warning: there is no user `nobody-here` here: /home/nobody-here is taken",
            "warning: t: /home/nobody-here/.ssh/k: no such file",
            "warning: keys in a home directory are out of reach for the service",
        ],
    );
}

#[test]
fn the_entries_of_a_file_of_ssh_that_forward_something_are_taken_or_those_that_are_named() {
    let folder = Folder::new();
    let text = "Host db\n  HostName db.example.com\n  LocalForward 5432 localhost:5432\n\
                Host wiki\n  DynamicForward 1080\nHost other\n  User me\n\
                Host *\n  IdentityFile {dir}/id\n";
    let file = folder.write("config", text);
    let all = accepted(&folder, &["--ssh-config", &file]);
    assert_eq!(all.matches("[tunnels.").count(), 2, "{all}");
    let one = accepted(&folder, &["--ssh-config", &file, "wiki"]);
    assert_has(&one, &["[tunnels.wiki]\n", "dynamic_forward = \"1080\"\n"]);
    assert_eq!(one.matches("[tunnels.").count(), 1, "{one}");
    let output = import(&folder, &["--ssh-config", &file, "other"]);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["Host other: forwards nothing: "]);
}

#[test]
fn what_cannot_be_made_into_a_tunnel_is_told_on_stderr_and_the_others_are_printed() {
    // Exit 1; and 2 for what is on no command line of tunneld.
    let folder = Folder::new();
    let good = unit(
        &folder,
        "good.service",
        "ExecStart=ssh -i {dir}/id -N -L 1:a:1 db",
    );
    let bad = unit(
        &folder,
        "bad.service",
        "ExecStart=/bin/sh -c 'ssh -N db | cat'",
    );
    let output = import(&folder, &[&bad, &good, "/nonexistent.service"]);
    assert_exit(&output, 1);
    assert_has(&stdout(&output), &["[tunnels.good]\n"]);
    assert_has(
        &stderr(&output),
        &[
            "bad.service:4: has a command for a shell that is more than one simple command",
            "error: /nonexistent.service: no such file",
        ],
    );
    for (words, said) in [
        (&["--", "ssh", "-N", "db"][..], "forwards nothing: "),
        (
            &["--", "rsync", "a", "b"],
            "begins with `rsync`, which is neither ssh nor autossh",
        ),
        (
            &["--", "ssh", "-F", "/nonexistent", "db"],
            "/nonexistent: no such file",
        ),
        (
            &["--ssh-config", "/nonexistent"],
            "/nonexistent: no such file",
        ),
    ] {
        let output = import(&folder, words);
        assert_exit(&output, 1);
        assert_eq!(stdout(&output), "");
        assert_has(&stderr(&output), &[said]);
    }
    for words in [
        &[][..],
        &["--name", "a b", "--", "ssh", "db"],
        &["x.service", "--", "ssh", "db"],
        &["--ssh-config", "x", "--", "ssh", "db"],
    ] {
        assert_exit(&import(&folder, words), 2);
    }
}

#[test]
fn an_entry_that_is_not_right_does_not_take_the_others_with_it() {
    // An IPv4 address for IPv6 only: ssh fails, and the configuration refuses it.
    let folder = Folder::new();
    let text = "Host bad\n  BindAddress 192.0.2.7\n  AddressFamily inet6\n  LocalForward 1001 a:1\n\
                Host good\n  LocalForward 1001 a:1\n\
                Host *\n  IdentityFile {dir}/id\n";
    let file = folder.write("config", text);
    let output = import(&folder, &["--ssh-config", &file]);
    assert_exit(&output, 1);
    let printed = stdout(&output);
    assert_has(&printed, &["[tunnels.good]\n"]);
    assert!(!printed.contains("enabled = false"), "{printed}");
    assert!(!printed.contains("[tunnels.bad]"), "{printed}");
    assert_has(&stderr(&output), &["error: ", "config, Host bad: "]);
}

#[test]
fn a_forward_that_is_lost_is_no_success() {
    // The tunnel is printed without it, and what is missing is told on stderr, too.
    let folder = Folder::new();
    let line = "ssh -i id -N -L 1001:a:1 -L nonsense -B eth0 db";
    let words: Vec<_> = ["--"].into_iter().chain(line.split(' ')).collect();
    let output = import(&folder, &words);
    assert_exit(&output, 1);
    assert_has(&stdout(&output), &["local_forward = \"1001:a:1\"\n"]);
    assert_has(
        &stderr(&output),
        &[
            "warning: db: -L nonsense is dropped: ",
            "warning: db: -B eth0 is dropped: ",
        ],
    );
}

#[test]
fn what_comes_from_elsewhere_does_not_reach_the_terminal_as_it_is() {
    // Neither what moves the cursor nor what turns the direction of writing.
    let folder = Folder::new();
    let evil = "x\u{1b}[2J\u{202e}y";
    let file = folder.write("config", "Host a\n");
    let service = unit(
        &folder,
        "t.service",
        &format!("User={evil}\nExecStart=ssh -i /no/{evil} -N -L 1:a:1 -L {evil} db"),
    );
    for args in [
        &[format!("{evil}.service")][..],
        &["--ssh-config".to_owned(), file, evil.to_owned()],
        &[service],
        &[
            "--".to_owned(),
            "ssh".to_owned(),
            format!("-L{evil}"),
            "db".to_owned(),
        ],
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let output = import(&folder, &args);
        assert_exit(&output, 1);
        let said = stdout(&output) + &stderr(&output);
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
        assert_has(&said, &["error: "]);
    }
}

#[test]
fn forwards_of_patterns_and_of_blocks_that_cannot_be_told_are_mentioned() {
    let folder = Folder::new();
    let text = "Host db\n  IdentityFile {dir}/id\n  LocalForward 1001 a:1\n\
                Host *.lan !x.lan\n  LocalForward 1002 a:1\n  LocalForward 1003 a:1\n\
                Match exec \"test -e /x\"\n  LocalForward 1004 a:1\n\
                Host *\n  DynamicForward 1005\n";
    let file = folder.write("config", text);
    let output = import(&folder, &["--ssh-config", &file]);
    assert_exit(&output, 0);
    assert_has(
        &stderr(&output),
        &["config: 2 of its blocks with forwards are for patterns or `Match`: name the hosts"],
    );
    let file = folder.write(
        "other",
        "Match exec \"test -e /x\"\n  LocalForward 1004 a:1\n",
    );
    let output = import(&folder, &["--ssh-config", &file, "db"]);
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &[
            "forwards nothing: ",
            "tunneld cannot tell whether `Match exec` holds for `db`",
        ],
    );
}

#[test]
fn more_entries_than_one_run_takes_are_refused() {
    let folder = Folder::new();
    let entry = |n: usize| format!("Host h{n}\n  LocalForward {n} a:1\n");
    let text: String = (1..=1_001).map(entry).collect();
    let file = folder.write("config", &text);
    let output = import(&folder, &["--ssh-config", &file]);
    assert_exit(&output, 1);
    assert_eq!(stdout(&output), "");
    assert_has(
        &stderr(&output),
        &["names 1001 hosts, and at most 1000 are looked at in one run"],
    );
    let output = import(&folder, &["--ssh-config", &file, "h7"]);
    assert_has(&stdout(&output), &["[tunnels.h7]\n"]);
    let many = vec!["x.service"; 1_001];
    let output = import(&folder, &many);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["at most 1000 are taken in one run"]);
}

#[test]
fn a_file_that_is_too_large_or_no_file_is_refused() {
    let folder = Folder::new();
    let large = folder.write("large.service", &"#".repeat((1 << 20) + 1));
    let output = import(&folder, &[&large]);
    assert_exit(&output, 1);
    assert_has(&stderr(&output), &["has more than 1048576 bytes"]);
    for path in ["/dev/zero", "/"] {
        assert_exit(&import(&folder, &[path]), 1);
    }
}
