//! `tunneld authorize`: what is printed where, and what is refused.

use crate::support::{Folder, assert_exit, assert_has, stderr, stdout, tunneld};

const FILE: &str = r#"
[defaults]
identity_file = "id"
known_hosts = "kh"
[tunnels.db]
host = "db.example.com"
user = "tunnel"
proxy_jump = "ops@bastion.example.com:2222"
local_forward = "5432:localhost:5432"
[tunnels.wiki]
host = "bastion.example.com"
port = 2222
user = "ops"
local_forward = "8080:wiki.internal:80"
[tunnels.apart]
host = "apart.example.com"
user = "tunnel"
remote_forward = "8080:localhost:80"
"#;

/// Runs `tunneld authorize` with the file.
fn authorize(args: &[&str]) -> std::process::Output {
    let folder = Folder::new();
    let file = folder.write("t.toml", FILE);
    let all = [&["authorize", "--config", &file], args].concat();
    tunneld(&all)
}

/// What it prints, each line cut at the key.
fn printed(args: &[&str]) -> Vec<String> {
    let output = authorize(args);
    assert_exit(&output, 0);
    let line = |line: &str| line.split(" AAAA").next().unwrap_or_default().to_owned();
    stdout(&output).lines().map(line).collect()
}

#[test]
fn each_host_on_the_way_has_its_two_parts_and_everything_else_is_a_comment() {
    // What is printed can be pasted: hints are on stderr.
    let output = authorize(&["db"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let heads: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("# on "))
        .collect();
    let place = [
        "bastion.example.com:2222, in ~ops",
        "bastion.example.com:2222, at",
    ];
    let place = [place, ["db.example.com, in ~tunnel", "db.example.com, at"]].concat();
    assert_eq!(heads.len(), place.len());
    for (head, place) in heads.iter().zip(place) {
        assert!(head.starts_with(&format!("# on {place}")), "{head}");
    }
    for line in text.lines() {
        let pasted = ["restrict,", "Match User ", "    "].iter();
        let pasted = pasted.map(|start| line.starts_with(start));
        assert!(
            line.is_empty() || line.starts_with("# ") || pasted.into_iter().any(|p| p),
            "{line}"
        );
    }
    assert_has(
        &text,
        &[
            "permitopen=\"db.example.com:22\"",
            "permitopen=\"localhost:5432\"",
        ],
    );
    assert!(text.ends_with("    PermitTunnel no\n"), "{text}");
}

#[test]
fn one_host_and_one_part_can_be_asked_for() {
    // By its name, with its port, with its user.
    for hop in [
        "bastion.example.com",
        "bastion.example.com:2222",
        "OPS@Bastion.example.com:2222",
    ] {
        let lines = printed(&["db", "--hop", hop, "--only", "authorized_keys"]);
        let keys: Vec<_> = lines.iter().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            keys,
            [concat!(
                "restrict,port-forwarding,permitopen=\"db.example.com:22\",",
                "permitlisten=\"NONE:1\",command=\"/usr/sbin/nologin\" ssh-ed25519"
            )]
        );
    }
    let lines = printed(&["apart", "--only", "sshd_config"]);
    assert_eq!(
        lines[1..3],
        ["Match User tunnel", "    AllowTcpForwarding remote"]
    );
    assert!(
        !lines.iter().any(|line| line.contains("restrict")),
        "{lines:?}"
    );
}

#[test]
fn tunnels_with_a_common_account_are_told_and_go_together() {
    // sshd would not read a second line for the key.
    let said = stderr(&authorize(&["db"]));
    assert_has(
        &said,
        &["tunneld authorize db wiki --config /", "/t.toml\n"],
    );
    let output = authorize(&["db", "wiki", "--hop", "bastion.example.com"]);
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert_has(
        &text,
        &[
            "permitopen=\"db.example.com:22\",permitopen=\"wiki.internal:80\",",
            "    PermitOpen db.example.com:22 wiki.internal:80\n",
        ],
    );
    assert_eq!(text.matches("restrict,").count(), 1);
    assert_eq!(stderr(&authorize(&["apart"])), "");
}

#[test]
fn where_from_is_asked_of_the_host_that_sees_us_and_until_when_of_each() {
    let args = ["--from", "192.0.2.7", "--expiry-time", "20991231Z"];
    let output = authorize(&[&["db", "--only", "authorized_keys"][..], &args].concat());
    assert_exit(&output, 0);
    let text = stdout(&output);
    let keys: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("restrict,"))
        .collect();
    assert_eq!(keys.len(), 2);
    assert_has(keys[0], &[",from=\"192.0.2.7\",expiry-time=\"20991231Z\" "]);
    assert_has(keys[1], &["nologin\",expiry-time=\"20991231Z\" "]);
    assert_has(&text, &["(OpenSSH 9.1 or later)"]);
    assert_has(
        &stderr(&output),
        &["hint: --from is only for the first host"],
    );
    // Whoever asks for one host alone knows what it sees.
    let args = ["db", "--hop", "db.example.com", "--from", "192.0.2.7"];
    let lines = printed(&args);
    assert!(
        lines.iter().any(|line| line.contains("from=\"192.0.2.7\"")),
        "{lines:?}"
    );
}

#[test]
fn what_would_keep_a_line_from_working_is_told_and_the_line_stays_tight() {
    // A socket that permitopen cannot name is refused, and nothing else is let in for it; a time
    // that is over lets nobody in.
    let folder = Folder::new();
    let socket = "{ listen = \"81\", connect = \"/run/a]b\" }";
    let toml = FILE.replace(
        "\"8080:wiki.internal:80\"",
        &format!("[\"8080:wiki.internal:80\", {socket}]"),
    );
    let file = folder.write("t.toml", &toml);
    let output = tunneld(&[
        "authorize",
        "wiki",
        "db",
        "--config",
        &file,
        "--only",
        "authorized_keys",
    ]);
    assert_exit(&output, 0);
    let said = stderr(&output);
    assert_has(
        &said,
        &["hint: the forward to /run/a]b is not covered, and will be refused"],
    );
    assert_has(
        &stdout(&output),
        &["permitopen=\"wiki.internal:80\",permitopen=\"db.example.com:22\",permitlisten="],
    );
    let said = stderr(&authorize(&["apart", "--expiry-time", "20200101Z"]));
    assert_has(&said, &["hint: --expiry-time 20200101Z is over"]);
    let said = stderr(&authorize(&["apart", "--expiry-time", "20991231"]));
    assert_eq!(said, "");
}

#[test]
fn what_is_not_there_is_told_and_nothing_is_printed() {
    // Exit 1; what is on no command line at all, 2; what no file may say, 78.
    for (args, said) in [
        (
            &["nope"][..],
            "error: no tunnel `nope`; there are: apart, db, wiki\n",
        ),
        (
            &["db", "--hop", "other"],
            "error: `other` is not on the way, which is: \
             ops@bastion.example.com:2222, tunnel@db.example.com:22\n",
        ),
        (
            &["db", "--key", "/nonexistent/key.pub"],
            "error: /nonexistent/key.pub: no such file\n",
        ),
    ] {
        let output = authorize(args);
        assert_exit(&output, 1);
        assert_eq!(
            (stdout(&output), stderr(&output)),
            (String::new(), said.to_owned())
        );
    }
    for args in [
        &[][..],
        &["db", "--from", "10.0.0.5/8"],
        &["db", "--expiry-time", "tomorrow"],
        &["db", "--only", "known_hosts"],
    ] {
        let output = authorize(args);
        assert_exit(&output, 2);
        assert_eq!(stdout(&output), "");
    }
    let folder = Folder::new();
    let file = folder.write("bad.toml", "[tunnels.db]\n");
    let output = tunneld(&["authorize", "db", "--config", &file]);
    assert_exit(&output, 78);
    assert_has(&stderr(&output), &["has no `host`"]);
}

#[test]
fn root_is_not_locked_out() {
    // Its key gets its line; the block, which is for whoever logs in as root, only who asks for it.
    let folder = Folder::new();
    let file = folder.write("t.toml", &FILE.replace("\"tunnel\"", "\"root\""));
    let output = tunneld(&["authorize", "apart", "--config", &file]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert_has(
        &text,
        &[
            "restrict,",
            "# on apart.example.com, no lines for sshd_config: `Match User root` would",
            "an account of its own",
        ],
    );
    let pasted: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(
        !pasted.iter().any(|line| line.starts_with("Match")),
        "{text}"
    );
    let output = tunneld(&[
        "authorize",
        "apart",
        "--config",
        &file,
        "--only",
        "sshd_config",
    ]);
    assert_has(&stdout(&output), &["\nMatch User root\n", "MaxSessions 0"]);
}
