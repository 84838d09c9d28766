//! `on_up` and `on_down`: what is written arrives, and what is wrong is told.

use std::time::Duration;

use super::*;
use crate::config::{Hook, Sourced, effective};

fn text(settings: &str) -> String {
    format!("[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{settings}")
}

fn shown(hook: Option<Sourced<Hook>>) -> String {
    hook.map_or_else(|| "none".to_owned(), |hook| hook.value.to_string())
}

#[test]
fn a_program_is_a_name_or_a_path_and_its_arguments_are_as_they_are_written() {
    for (written, meant) in [
        ("'notify'", "(within 30s) notify"),
        ("['notify', '']", "(within 30s) notify "),
        (
            "['/bin/x', 'a b', '%h', '~']",
            "(within 30s) /bin/x a b %h ~",
        ),
        ("['./x', './y']", "(within 30s) /etc/tunneld/./x ./y"),
        ("'~/x'", "(within 30s) /home/svc/x"),
        ("{ command = 'x', timeout = '1h' }", "(within 1h) x"),
        ("{ command = ['x'], timeout = 1 }", "(within 1s) x"),
        ("' None '", "none"),
    ] {
        let spec = tunnel(&text(&format!("on_up = {written}")));
        assert_eq!(shown(spec.on_up), meant);
        assert_eq!(shown(spec.on_down), "none");
    }
}

#[test]
fn a_tunnel_has_the_last_word() {
    // Also to say that nothing is started.
    let defaults = "[defaults]\non_up = 'a'\non_down = { command = 'b', timeout = '2s' }\n";
    let spec = tunnel(&format!("{defaults}{}", text("on_up = 'none'")));
    assert_eq!(spec.on_up, None);
    let down = spec.on_down.unwrap();
    assert_eq!(down.value.command, ["b"]);
    assert_eq!(down.value.timeout, Duration::from_secs(2));
    let place = down.span.unwrap();
    assert_eq!(&defaults[place], "{ command = 'b', timeout = '2s' }");
}

#[test]
fn what_is_printed_is_read_again() {
    let config = loaded(&text("on_up = ['a', \"b ' \\\" \\n\"]\non_down = 'none'"));
    let printed = effective(&config);
    let line = "on_up = { command = [\"a\", ";
    assert!(printed.contains(line), "{printed}");
    assert!(printed.contains("\non_down = \"none\"\n"), "{printed}");
    assert_eq!(loaded(&printed), config);
}

#[test]
fn there_is_no_shell() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
on_up = "notify up && true"
on_down = { command = "notify down", timeout = "0s", shell = true }
"#,
        r#"error: `on_up` is a program and its arguments in one string, and there is no shell
 --> /etc/tunneld/tunneld.toml:4:9
  |
4 | on_up = "notify up && true"
  |         ^^^^^^^^^^^^^^^^^^^
  |
  = help: write an array: ["/usr/bin/program", "argument"]; if a shell is wanted, ["/bin/sh", "-c", "…"]

error: `on_down.command` is a program and its arguments in one string, and there is no shell
 --> /etc/tunneld/tunneld.toml:5:23
  |
5 | on_down = { command = "notify down", timeout = "0s", shell = true }
  |                       ^^^^^^^^^^^^^
  |
  = help: write an array: ["/usr/bin/program", "argument"]; if a shell is wanted, ["/bin/sh", "-c", "…"]

error: `on_down.timeout` has to be at least 1s
 --> /etc/tunneld/tunneld.toml:5:48
  |
5 | on_down = { command = "notify down", timeout = "0s", shell = true }
  |                                                ^^^^

error: unknown key `shell`
 --> /etc/tunneld/tunneld.toml:5:54
  |
5 | on_down = { command = "notify down", timeout = "0s", shell = true }
  |                                                      ^^^^^
"#,
    );
}

#[test]
fn a_hook_without_a_program_is_none() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
on_up = []
on_down = { timeout = "2h" }
[tunnels.e]
host = "db"
local_forward = "2:a:1"
on_up = ["", 3]
on_down = { command = "none", timeout = true }
[defaults]
on_up = true
"#,
        r#"error: `on_up` names no program
 --> /etc/tunneld/tunneld.toml:4:9
  |
4 | on_up = []
  |         ^^
  |
  = help: write the program first, and then its arguments

error: `on_down` has no `command`
 --> /etc/tunneld/tunneld.toml:5:11
  |
5 | on_down = { timeout = "2h" }
  |           ^^^^^^^^^^^^^^^^^^
  |
  = help: write { command = ["/usr/bin/program"] }

error: `on_down.timeout` has to be at most 1h
 --> /etc/tunneld/tunneld.toml:5:23
  |
5 | on_down = { timeout = "2h" }
  |                       ^^^^

error: `on_up` names no program
 --> /etc/tunneld/tunneld.toml:9:10
  |
9 | on_up = ["", 3]
  |          ^^
  |
  = help: write the program first, and then its arguments

error: `on_up` wants an array of a program and its arguments, not a number
 --> /etc/tunneld/tunneld.toml:9:14
  |
9 | on_up = ["", 3]
  |              ^

error: `on_down.command` has `none` where a program is wanted
  --> /etc/tunneld/tunneld.toml:10:23
   |
10 | on_down = { command = "none", timeout = true }
   |                       ^^^^^^

error: `on_down.timeout` wants a duration, not a boolean
  --> /etc/tunneld/tunneld.toml:10:41
   |
10 | on_down = { command = "none", timeout = true }
   |                                         ^^^^
   |
   = help: write "15s", "500ms" or "1m30s"; a bare number is seconds

error: `on_up` wants an array of a program and its arguments, not a boolean
  --> /etc/tunneld/tunneld.toml:12:9
   |
12 | on_up = true
   |         ^^^^
"#,
    );
}
