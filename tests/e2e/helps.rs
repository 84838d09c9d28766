//! The command line explains itself.

use crate::support::{assert_exit, assert_has, stderr, stdout, tunneld};

#[test]
fn without_arguments_it_helps_and_says_usage() {
    // No arguments: the help, on stderr, exit 2.
    let output = tunneld(&[]);
    assert_exit(&output, 2);
    let help = stderr(&output);
    assert_has(
        &help,
        &["Usage: tunneld", "Commands:", "Examples:", "Exit codes:"],
    );
    assert!(stdout(&output).is_empty());
}

#[test]
fn the_help_names_every_command_and_every_exit_code() {
    // `--help` goes to stdout with exit 0, and has the whole of it.
    let output = tunneld(&["--help"]);
    assert_exit(&output, 0);
    let help = stdout(&output);
    let commands = [
        "run",
        "check",
        "status",
        "test",
        "reload",
        "trust",
        "restart",
        "stop",
        "start",
        "authorize",
        "explain",
        "import",
    ];
    assert_has(
        &help,
        &commands
            .map(|name| format!("  {name} "))
            .each_ref()
            .map(|s| s.as_str()),
    );
    assert_has(
        &help,
        &[
            "0 done", "1 failed", "2 usage", "3 some", "4 daemon", "78 bad",
        ],
    );
    assert_has(
        &help,
        &[
            "TUNNELD_CONFIG",
            "TUNNELD_SOCKET",
            "/etc/tunneld/tunneld.toml",
        ],
    );
}

#[test]
fn the_help_of_each_command_says_more_than_its_name() {
    // `--help` of each command: what it does, what it takes, and what it depends on.
    let wanted: [(&str, &[&str]); 11] = [
        (
            "run",
            &[
                "SIGTERM",
                "SIGHUP",
                "SIGUSR1",
                "--log-format",
                "journal",
                "json",
            ],
        ),
        ("check", &["[FILE]", "--print", "every problem"]),
        ("status", &["[NAME]", "--json", "Exits with 3"]),
        (
            "test",
            &[
                "<NAME>",
                "--json",
                "Exits with 3",
                "apart from the daemon",
                "sudo -u tunneld",
                "hosts[]",
                "forwards[]",
                "notes[]",
            ],
        ),
        ("reload", &["--dry-run", "all of it, or nothing"]),
        (
            "trust",
            &[
                "<NAME>",
                "--hop",
                "--yes",
                "--fingerprint",
                "SSHFP",
                "ssh-keygen -lv",
            ],
        ),
        ("restart", &["<NAME>...", "new session"]),
        ("stop", &["<NAME>...", "until they are started"]),
        ("start", &["<NAME>...", "stopped"]),
        (
            "authorize",
            &[
                "<NAME>...",
                "authorized_keys",
                "--hop",
                "--key",
                "--from",
                "--expiry-time",
                "--only",
                "Examples:",
            ],
        ),
        (
            "import",
            &[
                "[UNIT|HOST]...",
                "tunneld import autossh-db.service",
                "systemctl cat",
                "--instance",
                "is not taken again",
            ],
        ),
    ];
    for (name, parts) in wanted {
        let output = tunneld(&[name, "--help"]);
        assert_exit(&output, 0);
        assert_has(&stdout(&output), parts);
        assert_has(
            &stdout(&output),
            &["--config", "--socket", "Usage: tunneld"],
        );
    }
}

#[test]
fn help_is_a_command_too() {
    // `help` is `--help`, and `help NAME` is `NAME --help`: on stdout, exit 0.
    for (help, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "check"], &["check", "--help"]),
    ] {
        let output = tunneld(help);
        assert_exit(&output, 0);
        assert_eq!(stdout(&output), stdout(&tunneld(same)));
    }
    let output = tunneld(&["help", "chekc"]);
    assert_exit(&output, 2);
    assert_has(&stderr(&output), &["chekc"]);
}

#[test]
fn the_version_is_the_package_s() {
    // `--version`: one line.
    let output = tunneld(&["--version"]);
    assert_exit(&output, 0);
    assert_eq!(
        stdout(&output),
        concat!("tunneld ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
