//! `include`: tunnels of several files, each problem in the file that has it.

use super::{origin, surroundings};
use crate::config::{Config, Diagnostics, Include, Included, Surroundings, Texts};
use crate::config::{effective_with_places, include_patterns};

const MAIN: &str = "include = \"d/*.toml\"\n";

/// What was found for `d/*.toml`.
fn found(files: &[(&str, &[u8])]) -> Surroundings {
    let files = files.iter().map(|(name, bytes)| Included {
        path: format!("/etc/tunneld/d/{name}").into(),
        bytes: bytes.to_vec(),
    });
    let include = Include {
        pattern: "d/*.toml".to_owned(),
        found: Ok(files.collect()),
    };
    Surroundings {
        includes: vec![include],
        ..surroundings()
    }
}

fn load_with(text: &str, files: &[(&str, &str)]) -> Result<Config, Diagnostics> {
    let files: Vec<_> = files.iter().map(|(n, t)| (*n, t.as_bytes())).collect();
    crate::config::load(text, &origin(), &found(&files))
}

#[track_caller]
fn assert_said(text: &str, files: &[(&str, &str)], shown: &str) {
    let problems = load_with(text, files).unwrap_err().to_string();
    assert_eq!(problems, shown, "got:\n{problems}\nwanted:\n{shown}");
}

/// A tunnel with a place of its own.
fn tunnel(name: &str, more: &str) -> String {
    let port = 1_000 + name.bytes().map(usize::from).sum::<usize>();
    format!("[tunnels.{name}]\nhost = \"{name}\"\nlocal_forward = \"{port}:a:1\"\n{more}")
}

#[test]
fn an_included_file_has_tunnels_and_defaults_of_its_own_on_top_of_those_above() {
    // Its [defaults] are for its own tunnels only, and its paths are relative to itself.
    let main = format!(
        "{MAIN}{}[defaults]\nuser = \"top\"\nport = 1\n",
        tunnel("a", "")
    );
    let b = format!(
        "[defaults]\nport = 2\nidentity_file = \"key\"\n{}",
        tunnel("b", "")
    );
    let c = tunnel("c", "user = \"own\"\nidentity_file = \"key\"\n");
    let config = load_with(&main, &[("b.toml", &b), ("c.toml", &c)]).unwrap();
    let seen: Vec<_> = config
        .tunnels
        .values()
        .map(|t| {
            let target = &t.target;
            let own = (!target.identity_file_is_default).then(|| &target.identity_file[0].value);
            let key = own.map(|path| path.display().to_string());
            (target.to_string(), key)
        })
        .collect();
    let key = Some("/etc/tunneld/d/key".to_owned());
    assert_eq!(
        seen,
        [
            ("top@a:1".to_owned(), None),
            ("top@b:2".to_owned(), key.clone()),
            ("own@c:1".to_owned(), key)
        ]
    );
}

#[test]
fn every_value_says_in_which_file_it_is_written() {
    let main = format!("{MAIN}[defaults]\nuser = \"top\"\n");
    let text = format!("# a comment\n{}", tunnel("b", "port = 2\n"));
    let files = found(&[("b.toml", text.as_bytes())]);
    let config = crate::config::load(&main, &origin(), &files).unwrap();
    let texts = Texts::with_all(&origin(), main, &files);
    let printed = effective_with_places(&config, &texts);
    for line in [
        "host = \"b\"  # b.toml:3\n",
        "port = 2  # b.toml:5\n",
        "user = \"top\"  # tunneld.toml:3\n",
        "listen = \"localhost:1098\"  # b.toml:4\n",
    ] {
        assert!(printed.contains(line), "{line} is not in:\n{printed}");
    }
}

#[test]
fn a_problem_is_shown_in_the_file_that_has_it() {
    // Values, keys, broken syntax, and what concerns two files.
    let b = tunnel("b", "prot = 2\nport = \"x\"\n");
    assert_said(
        MAIN,
        &[("a.toml", &tunnel("a", "")), ("b.toml", &b)],
        "error: unknown key `prot`
 --> /etc/tunneld/d/b.toml:4:1
  |
4 | prot = 2
  | ^^^^ did you mean `port`?

error: `port` wants a number from 1 to 65535, not a string
 --> /etc/tunneld/d/b.toml:5:8
  |
5 | port = \"x\"
  |        ^^^
",
    );
    assert_said(
        &format!("{MAIN}{}", tunnel("db", "")),
        &[
            ("a.toml", "x = \n"),
            ("b.toml", &tunnel("bd", "")),
            ("c.toml", &format!("\n{}", tunnel("db", ""))),
        ],
        "error: this key has no value
 --> /etc/tunneld/d/a.toml:1:5
  |
1 | x =
  |     ^

error: `db` and `bd` both listen on localhost:1198
 --> /etc/tunneld/d/b.toml:3:17
  |
3 | local_forward = \"1198:a:1\"
  |                 ^^^^^^^^^^ first used at /etc/tunneld/tunneld.toml:4

error: there are two tunnels `db`
 --> /etc/tunneld/d/c.toml:2:10
  |
2 | [tunnels.db]
  |          ^^ the first is at /etc/tunneld/tunneld.toml:2
",
    );
}

#[test]
fn what_is_for_the_whole_daemon_is_in_the_file_itself() {
    let b = "include = \"x\"\nuser = \"u\"\n[daemon]\nwatch = true\n";
    assert_said(
        MAIN,
        &[("b.toml", b)],
        "error: an included file cannot have `include`
 --> /etc/tunneld/d/b.toml:1:1
  |
1 | include = \"x\"
  | ^^^^^^^ `include` belongs in the file that includes this one

error: unknown key `user`
 --> /etc/tunneld/d/b.toml:2:1
  |
2 | user = \"u\"
  | ^^^^ `user` belongs in [tunnels.NAME] or [defaults]

error: an included file cannot have `daemon`
 --> /etc/tunneld/d/b.toml:3:2
  |
3 | [daemon]
  |  ^^^^^^ `daemon` belongs in the file that includes this one
",
    );
}

#[test]
fn a_file_that_is_empty_or_no_text_is_told_and_one_of_comments_is_not() {
    // What an editor truncates before it writes must not stop its tunnels.
    let files = [
        ("a.toml", &b" \n"[..]),
        ("b.toml", b"# off\n"),
        ("c.toml", b"x\n\xff"),
    ];
    let problems = crate::config::load(MAIN, &origin(), &found(&files)).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "error: `/etc/tunneld/d/a.toml` is empty
 --> /etc/tunneld/d/a.toml:1:1
  |
1 |
  | ^
  |
  = help: remove it, or put a comment into it if it is to have no tunnels

error: the file is not UTF-8
 --> /etc/tunneld/d/c.toml:2:1
  |
2 | \u{fffd}
  | ^ byte 0xff
"
    );
}

#[test]
fn a_secret_in_an_included_file_is_not_shown() {
    let b = tunnel("b", "password = \"hunter2\"\n");
    let problems = load_with(MAIN, &[("b.toml", &b)]).unwrap_err();
    let shown = format!("{problems} {problems:?} {:?}", problems.to_json_items());
    assert!(shown.contains("unknown key `password`"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let files = found(&[("b.toml", b.as_bytes())]);
    assert!(!format!("{:?}", files.includes).contains("104, 117"));
}

#[test]
fn what_cannot_be_included_is_told_at_its_pattern() {
    let mut there = found(&[]);
    there.includes[0].found = Err("no such file or directory".to_owned().into());
    let said = |text: &str| {
        let problems = crate::config::load(text, &origin(), &there).unwrap_err();
        let first = problems.iter().next().unwrap();
        (problems.len(), first.message.clone())
    };
    let missing = "cannot include `d/*.toml`: no such file or directory";
    assert_eq!(said(MAIN), (1, missing.to_owned()));
    let problems = crate::config::load(MAIN, &origin(), &there).unwrap_err();
    assert!(problems.to_string().contains("tunneld.toml:1:11\n"));
    for (text, message) in [
        (
            "include = 1",
            "`include` wants a path or a pattern, not a number",
        ),
        ("include = ['']", "`include` is an empty path"),
        ("include = 'x'", "cannot include `x`: it was not looked for"),
    ] {
        assert_eq!(said(text), (1, message.to_owned()));
    }
    // No file is no problem.
    assert!(load_with(MAIN, &[]).unwrap().tunnels.is_empty());
}

#[test]
fn patterns_are_found_whatever_else_is_wrong() {
    for (text, patterns) in [
        ("include = 'a'\nx = \n", &["a"][..]),
        ("include = ['b', 1, 'a']", &["b", "a"]),
        ("include = 7", &[]),
        ("", &[]),
    ] {
        assert_eq!(include_patterns(text.as_bytes()), patterns, "{text}");
    }
}
