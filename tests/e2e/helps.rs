//! The command line explains itself.

use crate::support::{
    LONG, assert_exit, assert_has, binary, command, stderr, stdout, tunneld, within,
};

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
fn what_the_environment_says_was_not_typed() {
    // No arguments are none with TUNNELD_CONFIG and TUNNELD_SOCKET, and the usage asks for neither.
    let told = |words: &[&str]| {
        let mut command = command(binary());
        command
            .env("TUNNELD_CONFIG", "/tmp/t.toml")
            .env("TUNNELD_SOCKET", "/tmp/t.sock")
            .env("TUNNELD_LOG", "debug");
        let output = within(command.args(words), LONG);
        assert_exit(&output, 2);
        assert_eq!(stdout(&output), "");
        stderr(&output)
    };
    let help = told(&[]);
    assert_has(&help, &["Usage: tunneld", "Examples:", "Exit codes:"]);
    assert_has(&help, &["[env: TUNNELD_CONFIG=/tmp/t.toml]"]);
    assert_has(&told(&["stop"]), &["Usage: tunneld stop <NAME>...\n"]);
    assert_has(&told(&["run", "now"]), &["Usage: tunneld run [OPTIONS]\n"]);
    // What was typed is there.
    let typed = told(&["stop", "--socket", "/tmp/s"]);
    assert_has(&typed, &["Usage: tunneld stop --socket <PATH> <NAME>...\n"]);
}

#[test]
fn an_environment_that_makes_no_sense_is_told() {
    // The words are right: 2, and the value that is not.
    let mut command = command(binary());
    let output = within(command.env("TUNNELD_LOG", "much").arg("run"), LONG);
    assert_exit(&output, 2);
    assert_has(
        &stderr(&output),
        &["invalid value 'much'", "--log-level", "TUNNELD_LOG"],
    );
}

#[test]
fn a_variable_that_is_empty_is_as_one_that_is_not_set() {
    // As service managers and containers have it: `TUNNELD_LOG=`. It goes on to the file.
    let mut command = command(binary());
    command.args(["run", "--config", "/no/such/file"]);
    for name in ["TUNNELD_LOG", "TUNNELD_CONFIG", "TUNNELD_SOCKET"] {
        command.env(name, "");
    }
    let output = within(&mut command, LONG);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &["/no/such/file"]);
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
