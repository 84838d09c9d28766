//! What is wrong or not supported: each with its line, and with what to do about it.

use super::*;

fn only(text: &str) -> String {
    let mut all = problems(text, &Query::new("db"));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn what_tunneld_does_not_support_is_a_problem_in_a_block_that_holds() {
    for (line, said) in [
        (
            "StrictHostKeyChecking off",
            "`StrictHostKeyChecking` cannot be off: host keys are always checked \
             (write `accept-new` to trust a host's key the first time it is seen)",
        ),
        (
            "CheckHostIP yes",
            "`CheckHostIP yes` is not supported: tunneld looks host keys up by name, not also by \
             address (remove the line, as ssh does without it since OpenSSH 8.5)",
        ),
        (
            "PubkeyAuthentication no",
            "`PubkeyAuthentication no` is not supported: tunneld always tries its keys \
             (remove the line; `IdentityFile none` leaves no key to try)",
        ),
        (
            "RefuseConnection \"use the new host\"",
            "`RefuseConnection use the new host` is not supported: this host is not to be \
             connected to (remove the line, or the tunnel)",
        ),
        (
            "SmartcardDevice /usr/lib/x.so",
            "`PKCS11Provider /usr/lib/x.so` is not supported: tunneld loads no library for keys \
             (give the keys to an agent with `ssh-add -s`, and name it in `IdentityAgent`)",
        ),
    ] {
        let text = format!("Host db\n  {line}\n");
        assert_eq!(only(&text), format!("2: {said}"), "{line}");
        // Elsewhere it is none, nor after a value that won before it.
        assert_eq!(problems(&text, &Query::new("web")), [""; 0], "{line}");
    }
    assert_eq!(
        problems("CheckHostIP no\nCheckHostIP yes\n", &Query::new("db")),
        [""; 0]
    );
    let strict = "StrictHostKeyChecking yes\nStrictHostKeyChecking no\n";
    assert_eq!(problems(strict, &Query::new("db")), [""; 0]);
}

#[test]
fn a_method_for_passwords_is_a_problem_where_there_is_one() {
    let text = "PasswordAuthentication no\n";
    assert_eq!(problems(text, &Query::new("db")), [""; 0]);
    let query = Query {
        has_password: true,
        ..Query::new("db")
    };
    assert_eq!(
        problems(text, &query),
        [
            "1: `PasswordAuthentication no` is not supported: there is a `password_credential`, which \
          is for this method (remove the one or the other)"
        ]
    );
}

#[test]
fn a_block_that_may_hold_is_a_problem_and_one_that_cannot_is_none() {
    let said = |name: &str| {
        format!(
            "1: tunneld cannot tell whether `Match {name}` holds for `db` (write what the block \
             says into the tunnel, and exclude the host from it with `!host`, or name another file \
             in `ssh_config`)"
        )
    };
    for (criteria, name) in [
        ("exec \"test -f /x\"", "exec"),
        ("host db exec true", "exec"),
        ("exec true !host web", "exec"),
        ("!exec true", "exec"),
        ("localnetwork 10.0.0.0/8", "localnetwork"),
        ("tagged work", "tagged"),
        ("command \"\"", "command"),
        ("version OpenSSH_10*", "version"),
        ("sessiontype=none", "sessiontype"),
    ] {
        let text = format!("Match {criteria}\n  CheckHostIP yes\n");
        assert_eq!(only(&text), said(name), "{criteria}");
        let other = format!("Match host web {criteria}\n  CheckHostIP yes\n");
        assert_eq!(problems(&other, &Query::new("db")), [""; 0], "{criteria}");
        let other = format!("Match {criteria} originalhost web\n");
        assert_eq!(problems(&other, &Query::new("db")), [""; 0], "{criteria}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_a_problem_where_it_is_used() {
    let no_path = "write the whole path, or `~/` and the rest";
    for (line, said) in [
        ("HostName %h.%p", "`HostName` has a token that tunneld does not have here: `%p` (there are %h, %%)".to_owned()),
        ("HostName a@b", "`HostName` has a character that no host has: '@'".to_owned()),
        ("HostName db:22", "`HostName` is no host: `db:22`".to_owned()),
        ("User %u", "`User` has a token, which not every version of ssh expands here (write the name of the user)".to_owned()),
        ("User -l", "`User` cannot begin with `-`".to_owned()),
        ("IdentityFile id", format!("`IdentityFile` is a relative path: `id` ({no_path})")),
        ("IdentityFile ~you/id", "`IdentityFile` has a `~` that is not followed by `/` (write the whole path)".to_owned()),
        ("IdentityFile /%C", "`IdentityFile` has a token that tunneld does not have here: `%C` (there are %d, %h, %k, %n, %p, %r, %u, %%)".to_owned()),
        ("IdentityFile /a%", "`IdentityFile` ends in a `%` without its letter".to_owned()),
        ("CertificateFile ${NOT}", "`CertificateFile` needs the environment variable `NOT`, which is not set".to_owned()),
        ("IdentityAgent ${LAB", "`IdentityAgent` has a `${` without its `}`".to_owned()),
        ("IdentityAgent $a-b", "`IdentityAgent` has `a-b` where a variable is wanted".to_owned()),
        ("UserKnownHostsFile /a b", format!("`UserKnownHostsFile` is a relative path: `b` ({no_path})")),
        ("BindAddress eth0", "`BindAddress` wants an address of this machine, not `eth0`".to_owned()),
        ("ProxyJump a%d", "`ProxyJump` has a token that tunneld does not have here: `%d` (there are %h, %n, %p, %r, %%)".to_owned()),
        ("ProxyCommand nc %u", "`ProxyCommand` has a token that tunneld does not have here: `%u` (there are %h, %n, %p, %r, %%)".to_owned()),
    ] {
        let text = format!("Host db\n{line}\n");
        assert_eq!(only(&text), format!("2: {said}"), "{line}");
        assert_eq!(problems(&text, &Query::new("web")), [""; 0], "{line}");
    }
}

#[test]
fn what_is_not_known_here_is_said_to_be_so() {
    let sources = Sources::new(
        Path::new("c"),
        "IdentityFile /a/%r\nCertificateFile ~/b\nInclude ~/c\nMatch localuser x\nUser y\n"
            .to_owned(),
        Environment::default(),
    );
    assert_eq!(
        shown(&sources, &Query::new("db")),
        [
            "3: `Include` is in the home directory, and there is none (write the whole path)",
            "1: `IdentityFile` has `%r`, and that is not known here",
            "2: `CertificateFile` is in the home directory, and there is none (write the whole path)",
            "4: tunneld cannot tell whether `Match localuser` holds for `db` (write what the block \
             says into the tunnel, and exclude the host from it with `!host`, or name another file \
             in `ssh_config`)",
        ]
    );
}

#[test]
fn a_line_that_is_wrong_is_wrong_for_every_host() {
    let text = "Host nobody\n  Port x\n  ProxyJump a b\n  Hostnme x\n  UseKeychain yes\n";
    assert_eq!(
        problems(text, &Query::new("db")),
        [
            "2: `Port` has `x` where a port is wanted",
            "3: `ProxyJump` has a jump host that has a character that no host has: ' '",
            "4: unknown keyword `Hostnme` (did you mean `HostName`?)",
            "5: unknown keyword `UseKeychain` (ssh does not know it either, unless `IgnoreUnknown` \
             names it before)",
        ]
    );
}

#[test]
fn a_text_that_is_no_file_of_ssh_is_told_so() {
    let long = format!("Port {}\n", "2".repeat(20_000));
    for (text, said) in [
        (
            "\u{feff}Port 22\n",
            "1: the file begins with a byte order mark (save the file without it: ssh does not read it either)",
        ),
        ("Port 22\u{fffd}\n", "1: this line is not UTF-8"),
        (
            "User a\u{1}b\n",
            "1: this line has a control character: `\\u{1}`",
        ),
        (long.as_str(), "1: this line has more than 16384 bytes"),
    ] {
        assert_eq!(only(text), said);
    }
    assert_eq!(
        only(&"Port 22\n".repeat(50_001)),
        "50001: there are more than 50000 lines, which is all that is read"
    );
    assert_eq!(
        only(&"# a long comment, as it were\n".repeat(40_000)),
        "1: the file has more than 1048576 bytes, which is all that is read"
    );
}

#[test]
fn a_file_that_includes_itself_is_a_problem() {
    let mut sources = sources("Include a\nPort 22\n");
    let a = (
        "/etc/ssh/a".into(),
        "Host x\nInclude ssh_config\n".to_owned(),
    );
    sources.add("/etc/ssh/a".into(), Ok(vec![a]));
    let first = ("/etc/ssh/ssh_config".into(), String::new());
    sources.add("/etc/ssh/ssh_config".into(), Ok(vec![first]));
    assert_eq!(sources.missing(), [""; 0].map(PathBuf::from));
    assert_eq!(
        shown(&sources, &Query::new("db")),
        ["a:2: this includes a file in itself"]
    );
}

#[test]
fn files_may_include_each_other_sixteen_deep() {
    let chain = |depth: usize| {
        let mut sources = sources("Include 1\n");
        for n in 1..=depth {
            let path = PathBuf::from(format!("/etc/ssh/{n}"));
            let text = format!("Include {}\n", n + 1);
            sources.add(path.clone(), Ok(vec![(path, text)]));
        }
        let last = PathBuf::from(format!("/etc/ssh/{}", depth + 1));
        sources.add(last, Ok(Vec::new()));
        shown(&sources, &Query::new("db"))
    };
    assert_eq!(chain(16), [""; 0]);
    assert_eq!(
        chain(17),
        ["16:1: files include each other more than 16 deep"]
    );
}

#[test]
fn files_that_include_each_other_too_often_are_not_walked_for_ever() {
    let mut sources = sources("Include 1 1 1 1\n");
    for n in 1..=12 {
        let path = PathBuf::from(format!("/etc/ssh/{n}"));
        let next = n + 1;
        let text = format!("Include {next} {next} {next} {next}\n");
        sources.add(path.clone(), Ok(vec![(path, text)]));
    }
    sources.add("/etc/ssh/13".into(), Ok(Vec::new()));
    let all = shown(&sources, &Query::new("db"));
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].ends_with("there are more than 200000 lines with those of `Include`"));
}

#[test]
fn an_included_file_that_cannot_be_read_is_a_problem_of_its_line() {
    let mut sources = sources("Port 22\nInclude a\nHost x\nInclude a\n");
    sources.add("/etc/ssh/a".into(), Err("permission denied".to_owned()));
    let said = "cannot include `/etc/ssh/a`: permission denied";
    let wanted = [format!("2: {said}"), format!("4: {said}")];
    assert_eq!(shown(&sources, &Query::new("db")), wanted);
}

#[test]
fn too_many_files_are_a_problem() {
    let mut sources = sources("Include *\n");
    let file = |n| (PathBuf::from(format!("/etc/ssh/{n}")), String::new());
    sources.add("/etc/ssh/*".into(), Ok((0..1_000).map(file).collect()));
    assert_eq!(
        shown(&sources, &Query::new("db")),
        ["1: cannot include `/etc/ssh/*`: there are more than 1000 files"]
    );
}
