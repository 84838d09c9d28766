//! What the commands do with their streams: data to stdout, words to stderr, and a stream that takes
//! nothing is no reason to crash.

use std::process::Output;

use crate::support::{Bed, LONG, assert_exit, assert_has, binary, command, stderr, stdout, within};

/// Runs a line of the shell; `$0` is the program, `$1` the socket.
fn shell(line: &str, socket: &str) -> Output {
    let mut bash = command("bash");
    bash.args(["-c", line]).arg(binary()).arg(socket);
    within(&mut bash, LONG)
}

#[test]
fn a_stream_that_is_closed_or_takes_nothing_changes_no_exit_code() {
    // Closed, full, or with a reader that has gone: never a panic, which would be 101.
    let bed = Bed::new();
    let daemon = bed.up();
    let socket = daemon.socket().display().to_string();
    for stderr_to in ["2>&-", "2>/dev/full", "2> >(true)", ""] {
        for (words, code) in [
            ("status", 0),
            ("status db --json", 0),
            ("status bd", 1),
            ("stop bd", 1),
            ("wait bd", 1),
            ("wait db --timeout 0", 0),
            ("reload --dry-run", 0),
        ] {
            for more in ["", "<&-", ">&-"] {
                let line = format!("\"$0\" {words} --socket \"$1\" {more} {stderr_to}");
                assert_exit(&shell(&line, &socket), code);
            }
            let line = format!("\"$0\" {words} --socket \"$1\" </dev/null >&- 2>&-");
            assert_exit(&shell(&line, &socket), code);
        }
    }
    // What cannot be written is not done.
    let full = shell("\"$0\" status --socket \"$1\" >/dev/full", &socket);
    assert_exit(&full, 1);
    assert_has(
        &stderr(&full),
        &["error: cannot write: no space left on device"],
    );
}

#[test]
fn no_arguments_help() {
    // 2, for nothing was done, and the whole help.
    let output = within(&mut command(binary()), LONG);
    assert_exit(&output, 2);
    assert_has(
        &stderr(&output),
        &["Usage: tunneld", "status", "Exit codes:"],
    );
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_terminal_of_twenty_columns_gets_lines_of_twenty() {
    // And one of 200 a line for each forward; COLUMNS counts where the terminal does not say.
    let bed = Bed::new();
    let daemon = bed.up();
    let line = format!(
        "{} status --socket {}",
        binary().display(),
        daemon.socket().display()
    );
    let at = |set: &str| {
        let mut script = command("script");
        script.args(["-qec", &format!("{set} {line}"), "/dev/null"]);
        script.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
        stdout(&within(&mut script, LONG)).replace('\r', "")
    };
    for set in ["stty cols 20;", "stty cols 0 rows 0; COLUMNS=20"] {
        let page = at(set);
        assert!(
            page.lines().all(|line| line.chars().count() <= 20),
            "{page}"
        );
        assert_has(&page, &["db up"]);
    }
    let road = format!(
        "{} ─▶ {} ─▶ {}  no connections yet\n",
        bed.listen,
        bed.sshd.host(),
        bed.echo.addr()
    );
    assert_has(&at("stty cols 200;"), &[&road, "-sha256\n"]);
}
