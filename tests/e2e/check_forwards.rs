//! `tunneld check` on what forwards can say: each mistake with its place, its reason and its help.

use crate::support::{Folder, assert_exit, assert_has, stderr, stdout, tunneld, values};

/// An entry of a file, what of it is wrong, and what is said of that.
type Case = (&'static str, &'static str, &'static [&'static str]);

const LOCAL: &[Case] = &[
    (
        r#""/run/a.sock""#,
        r#""/run/a.sock""#,
        &[
            "is not a forward that `ssh -L` takes",
            r#"write "port:/remote/sock""#,
        ],
    ),
    (
        r#""relative.sock:localhost:80""#,
        r#""relative.sock"#,
        &["has `relative.sock` where a port is wanted"],
    ),
    (
        r#"{ listen = "fd:", connect = "h:1" }"#,
        r#""fd:""#,
        &["has no name after `fd:`", "FileDescriptorName="],
    ),
    (
        r#"{ listen = "127.0.0.1:1001", connect = "h:1", socket_mode = "0600" }"#,
        r#""0600""#,
        &["`socket_mode` is for a unix socket that tunneld makes"],
    ),
    (
        r#"{ listen = "fd:web", connect = "h:1", socket_owner = "root" }"#,
        r#""root""#,
        &[
            "`socket_owner` is for a unix socket that tunneld makes",
            "SocketUser=",
        ],
    ),
    (
        r#"{ listen = "/run/b.sock", connect = "h:1", socket_mode = 660 }"#,
        "660",
        &[
            "wants a string of octal digits, not a number",
            r#"write "0660""#,
        ],
    ),
    (
        r#"{ listen = "/run/c.sock", connect = "h:1", socket_mode = "1777" }"#,
        r#""1777""#,
        &["has more than permission bits: `1777`"],
    ),
    (
        r#"{ listen = "/run/d.sock", connect = "h:1", socket_owner = "root:" }"#,
        r#""root:""#,
        &[
            "has no group after `:`",
            r#"write "user", "user:group" or ":group""#,
        ],
    ),
    (
        r#"{ listen = "/run/e.sock", connect = "h:1", allow = "10.0.0.0/8" }"#,
        r#""10.0.0.0/8""#,
        &[
            "the clients of a unix socket have none",
            "`socket_mode` and `socket_owner` say",
        ],
    ),
    (
        r#"{ listen = "127.0.0.1:1002", connect = "h:1", allow = ["10.1.0.0/8"] }"#,
        r#""10.1.0.0/8""#,
        &[
            "has bits of a host in a network",
            r#"the network is "10.0.0.0/8""#,
        ],
    ),
    (
        r#"{ listen = "127.0.0.1:1003", connect = "h:1", allow = "lan" }"#,
        r#""lan""#,
        &["has no address and no network in `lan`"],
    ),
    (
        r#"{ listen = "127.0.0.1:1004", connect = "h:1", idle_timeout = "soon" }"#,
        r#""soon""#,
        &["`idle_timeout` is not a duration: `soon`"],
    ),
    (
        r#"{ listen = "127.0.0.1:1005", connect = "h:1", max_connections = 0 }"#,
        "0 }",
        &["`max_connections` wants a number from 1 to 1000000, not `0`"],
    ),
    (
        r#"{ listen = "127.0.0.1:1006", connect = "h:1", probe = "yes" }"#,
        r#""yes""#,
        &["`probe` wants `true` or a table"],
    ),
    (
        r#"{ listen = "127.0.0.1:1007", connect = "h:1", probe = { interval = "1s", timeout = "2s" } }"#,
        r#""2s""#,
        &["`probe.timeout` is longer than `probe.interval`: 2s > 1s"],
    ),
    (
        r#"{ listen = "127.0.0.1:1008", connect = "h:1", probe = { expect = 99 } }"#,
        "99",
        &["`probe.expect` wants a number from 100 to 599, not `99`"],
    ),
    (
        r#"{ listen = "127.0.0.1:1009", connect = "h:1", probe = { path = "/" } }"#,
        r#""/""#,
        &["`probe.path` is for an HTTP status", "write expect = 200"],
    ),
    (
        r#"{ listen = "127.0.0.1:1010", connect = "h:1", probe = { expect = 200, path = "health" } }"#,
        r#""health""#,
        &["`probe.path` does not begin with `/`"],
    ),
    (
        r#"{ listen = "127.0.0.1:1011", connect = "h:1", probe = { expect = "" } }"#,
        r#""" }"#,
        &["`probe.expect` is empty"],
    ),
    (
        r#"{ listen = "127.0.0.1:1012", connect = "h:1", probe = { intervall = "1s" } }"#,
        "intervall",
        &["unknown key `intervall`", "did you mean `interval`?"],
    ),
    (
        r#"{ listen = "fd:other", connect = "h:1", max_conections = 3 }"#,
        "max_conections",
        &[
            "unknown key `max_conections`",
            "did you mean `max_connections`?",
        ],
    ),
];

const REMOTE: &[Case] = &[
    (
        r#""8080:localhost""#,
        r#""8080"#,
        &["has `localhost` where a port is wanted"],
    ),
    (
        r#"{ listen = "8081", connect = "h:1", while_down = "wait" }"#,
        r#""wait""#,
        &["`while_down` has no meaning here"],
    ),
    (
        r#"{ listen = "/run/r.sock", connect = "h:1", socket_mode = "0600" }"#,
        r#""0600""#,
        &[
            "that of a remote forward is the server's",
            "StreamLocalBindMask",
        ],
    ),
    (
        r#"{ listen = "/run/s.sock", connect = "h:1", allow = "10.0.0.0/8" }"#,
        r#""10.0.0.0/8""#,
        &[
            "the clients of a unix socket have none",
            "decided on the server",
        ],
    ),
    (
        r#"{ listen = "8082", probe = true }"#,
        "true",
        &["`probe` has no place to check"],
    ),
    (
        r#"{ listen = "70000", connect = "h:1" }"#,
        r#""70000""#,
        &["70000"],
    ),
];

const DYNAMIC: &[Case] = &[
    (
        r#"{ listen = "127.0.0.1:1080", connect = "h:1" }"#,
        r#""h:1""#,
        &[
            "`connect` has no place in `dynamic_forward`",
            "move this forward to `local_forward`",
        ],
    ),
    (
        r#"{ listen = "127.0.0.1:1081", probe = true }"#,
        "true",
        &["`probe` has no place to check"],
    ),
    (
        "70000",
        "70000",
        &["wants a number from 1 to 65535, not `70000`"],
    ),
];

const HEAD: &str =
    "[tunnels.a]\nhost = \"h\"\nuser = \"u\"\nidentity_file = \"id\"\nknown_hosts = \"kh\"\n";

#[test]
fn every_mistake_of_every_forward_is_reported_at_once_where_it_is() {
    // One file with all of them: each has its line, its column, its reason and its help, and
    // nothing else is complained of.
    let mut text = HEAD.to_owned();
    let mut places = Vec::new();
    let kinds = [
        ("local_forward", LOCAL),
        ("remote_forward", REMOTE),
        ("dynamic_forward", DYNAMIC),
    ];
    for (key, cases) in kinds {
        text += &format!("{key} = [\n");
        for (entry, wrong, said) in cases {
            let line = text.lines().count() + 1;
            let column = entry.find(wrong).unwrap() + 1;
            places.push((format!("t.toml:{line}:{column}\n"), said));
            text += &format!("{entry},\n");
        }
        text += "]\n";
    }
    let folder = Folder::new();
    let file = folder.write("t.toml", &text);
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    let report = stderr(&output);
    let problems: Vec<&str> = report.split("\n\n").collect();
    for (place, said) in &places {
        let found = problems
            .iter()
            .find(|problem| problem.contains(place.as_str()));
        assert_has(
            found.unwrap_or_else(|| panic!("nothing at {place}{report}")),
            said,
        );
    }
    let count = format!("\n{} errors\n", places.len());
    assert!(report.ends_with(&count), "not {count}: {report}");
}

#[test]
fn one_place_for_two_forwards_is_a_mistake_wherever_it_is() {
    // On this side, at one server, and with the sockets that systemd passes.
    let twice = [
        r#"local_forward = ["/run/f.sock:h:1", "/run/f.sock:h:2"]"#,
        r#"remote_forward = ["8083:h:1", "8083:h:2"]"#,
        r#"remote_forward = ["/run/g.sock:h:1", "/run/g.sock:h:2"]"#,
        "local_forward = [\"1080:h:1\"]\ndynamic_forward = [1080]",
        r#"local_forward = [{ listen = "fd:web", connect = "h:1" }, { listen = "fd:web", connect = "h:2" }]"#,
    ];
    let folder = Folder::new();
    for keys in twice {
        let file = folder.write("t.toml", &format!("{HEAD}{keys}\n"));
        let output = tunneld(&["check", &file]);
        assert_exit(&output, 78);
        assert_has(
            &stderr(&output),
            &["`a` listens on ", " twice", "first used"],
        );
    }
}

#[test]
fn fewer_sessions_at_most_than_at_least_is_a_mistake() {
    let folder = Folder::new();
    let text = format!("{HEAD}local_forward = [\"1:h:1\"]\nmin_sessions = 3\nmax_sessions = 2\n");
    let file = folder.write("t.toml", &text);
    let output = tunneld(&["check", &file]);
    assert_exit(&output, 78);
    let said = "`min_sessions` is more than `max_sessions`: 3 > 2";
    assert_has(&stderr(&output), &[said, "t.toml:8:16\n"]);
}

#[test]
fn every_kind_of_forward_is_printed_as_it_is_understood() {
    // `--print` has every key of each, and what it prints says the same.
    let folder = Folder::new();
    folder.write("kh", "");
    let file = folder.write(
        "t.toml",
        &format!(
            "{HEAD}min_sessions = 2\nmax_sessions = 4\n\
             local_forward = [\n\
             \"/run/in.sock:/run/out.sock\",\n\
             {{ listen = \"fd:web\", connect = \"h:80\", allow = [\"10.0.0.0/8\", \"::1\"],\n\
             probe = {{ expect = 204, path = \"/health\" }} }},\n\
             {{ listen = \"/run/b.sock\", connect = \"h:1\", socket_mode = \"660\", socket_owner = \":adm\",\n\
             idle_timeout = \"5m\", max_connections = 7, probe = {{ expect = \"SSH-2.0\" }} }},\n]\n\
             remote_forward = [\"0:h:1\", \"1080\", \"/run/r.sock:h:1\"]\n\
             dynamic_forward = [\"127.0.0.1:1080\"]\n"
        ),
    );
    let output = tunneld(&["check", "--print", &file]);
    assert_exit(&output, 0);
    let printed = stdout(&output);
    assert_has(
        &printed,
        &[
            "min_sessions = 2",
            "max_sessions = 4",
            "\"fd:web\"",
            "10.0.0.0/8",
            "expect = 204",
            "\"/health\"",
            "expect = \"SSH-2.0\"",
            "socket_mode = \"0660\"",
            "socket_mode = \"0600\"",
            "socket_owner = \":adm\"",
            "idle_timeout = \"5m\"",
            "max_connections = 7",
            "remote_forward",
            "dynamic_forward",
        ],
    );
    let again = folder.write("again.toml", &printed);
    let output = tunneld(&["check", "--print", &again]);
    assert_exit(&output, 0);
    assert_eq!(values(&stdout(&output)), values(&printed));
}
