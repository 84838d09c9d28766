//! Rules that `ssh -G` does not show: what our own keys decide, where values are, and which files
//! are asked for.

use super::*;

#[test]
fn a_value_knows_its_file_and_line() {
    let mut sources = sources("# one\nHost db\n  Port = 2222 # why\n  Include more\n");
    sources.add(
        "/etc/ssh/more".into(),
        Ok(vec![("/etc/ssh/more".into(), "\nUser me\n".to_owned())]),
    );
    let answer = evaluate(&sources, &Query::new("db"));
    let port = answer.port.unwrap();
    assert_eq!((port.place.file, port.place.line), (0, 3));
    assert_eq!(port.place.span, 23..27);
    let user = answer.user.unwrap();
    assert_eq!(
        (user.place.file, user.place.line, user.place.span),
        (1, 2, 6..8)
    );
    let files: Vec<_> = sources.files().map(|(path, _)| path.to_owned()).collect();
    assert_eq!(
        files,
        [Path::new("/etc/ssh/ssh_config"), Path::new("/etc/ssh/more")]
    );
}

#[test]
fn each_word_of_a_list_knows_its_place() {
    let known = answer("UserKnownHostsFile /a ~/b\n", "db")
        .user_known_hosts
        .unwrap()
        .value;
    let places: Vec<_> = known.into_iter().map(|f| f.place.span).collect();
    assert_eq!(places, [19..21, 22..25]);
}

/// What the tunnel says itself is as what ssh is told on its command line.
#[test]
fn what_is_decided_elsewhere_is_neither_taken_nor_judged() {
    let text = "StrictHostKeyChecking no\nPort 2222\nUser you\nBindAddress eth0\n\
                Match user me\nIdentityFile ~/%r-%p\n";
    let sources = sources(text);
    let query = Query {
        user: Some("me"),
        port: Some(2200),
        decided: &["StrictHostKeyChecking", "Port", "User", "BindAddress"],
        ..Query::new("db")
    };
    let answer = evaluate(&sources, &query);
    assert_eq!(answer.problems, []);
    assert_eq!(
        (answer.port, answer.user, answer.bind_address),
        (None, None, None)
    );
    assert_eq!(paths(&answer.identity_file).unwrap(), ["/home/svc/me-2200"]);
}

#[test]
fn included_files_are_asked_for_by_whole_patterns() {
    let sources = sources(
        "Include a.d/*.conf ~/b /c ${LAB}/d\nHost nobody\n  Include never\nHost *\nInclude a.d/*.conf\n",
    );
    let wanted = [
        "/c",
        "/etc/ssh/a.d/*.conf",
        "/etc/ssh/never",
        "/home/svc/b",
        "/lab/d",
    ];
    assert_eq!(sources.missing(), wanted.map(PathBuf::from));
}

#[test]
fn an_included_file_includes_others_next_to_the_first_one() {
    let mut sources = sources("Include sub/a\n");
    let a = ("/etc/ssh/sub/a".into(), "Include b\n".to_owned());
    sources.add("/etc/ssh/sub/a".into(), Ok(vec![a]));
    assert_eq!(sources.missing(), [PathBuf::from("/etc/ssh/b")]);
    sources.add("/etc/ssh/b".into(), Ok(Vec::new()));
    assert_eq!(sources.missing(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_file_is_read_once_and_walked_through_as_often_as_it_is_included() {
    let mut sources = sources("Match user me\nInclude a\nHost db\nInclude a ./a\n");
    let a = |text: &str| vec![(PathBuf::from("/etc/ssh/a"), text.to_owned())];
    sources.add("/etc/ssh/a".into(), Ok(a("Port 1\nUser me\n")));
    sources.add("/etc/ssh/./a".into(), Ok(a("Port 2\n")));
    assert_eq!(sources.files().count(), 2);
    assert_eq!(value(&evaluate(&sources, &Query::new("db")).port), Some(1));
}

#[test]
fn a_block_of_an_included_file_ends_with_it() {
    let mut sources = sources("Host db\nInclude a\nUser outer\n");
    let a = "Host other\nPort 1\n".to_owned();
    sources.add("/etc/ssh/a".into(), Ok(vec![("/etc/ssh/a".into(), a)]));
    let answer = evaluate(&sources, &Query::new("db"));
    assert_eq!(
        (value(&answer.user).unwrap().as_str(), answer.port),
        ("outer", None)
    );
}

#[test]
fn the_tokens_of_jump_hosts_are_expanded() {
    let text = "Host db\nHostName %h.internal\nUser me\nProxyJump %r@gate-%n:2222,%h\n";
    let hops = ["me@gate-db:2222", "db.internal"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(value(&answer(text, "db").way), Some(Way::Jump(hops)));
}

/// As OpenSSH 9.2 does it: `ProxyJump none` is as if it were not there.
#[test]
fn no_jump_host_leaves_the_way_to_a_command() {
    let way = |text: &str| value(&answer(text, "db").way);
    let command = Some(Way::Command("nc db 22".to_owned()));
    assert_eq!(
        way("ProxyJump none\nProxyCommand nc %h %p\nProxyJump gate\n"),
        command
    );
    assert_eq!(way("ProxyCommand nc %h %p\nProxyJump gate\n"), command);
    assert_eq!(
        way("ProxyCommand none\nProxyJump gate\n"),
        Some(Way::Direct)
    );
    assert_eq!(way("ProxyJump none\nProxyJump gate\n"), Some(Way::Direct));
    let gate = Some(Way::Jump(vec!["gate".to_owned()]));
    assert_eq!(way("ProxyJump gate\nProxyCommand nc %h %p\n"), gate);
    assert_eq!(way("Port 1\n"), None);
}

#[test]
fn no_key_and_no_known_hosts_is_something_else_than_nothing() {
    let text =
        "IdentityFile none\nCertificateFile none\nUserKnownHostsFile none\nIdentityAgent none\n";
    let found = answer(text, "db");
    assert_eq!(found.identity_file, Some(Vec::new()));
    assert_eq!(found.certificate_file, Some(Vec::new()));
    assert_eq!(value(&found.user_known_hosts), Some(Vec::new()));
    assert_eq!(value(&found.identity_agent), Some(None));
    assert_eq!(answer("", "db"), Answer::default());
}

#[test]
fn a_comment_may_be_in_any_encoding() {
    assert_eq!(
        value(&answer("# caf\u{fffd}\nPort 1 # \u{fffd}\n", "db").port),
        Some(1)
    );
}

#[test]
fn the_variables_are_not_shown() {
    let shown = format!("{:?}", environment());
    assert!(shown.contains("LAB") && !shown.contains("/lab"), "{shown}");
}
