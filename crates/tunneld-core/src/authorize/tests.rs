//! What is printed for each kind of forward, to the letter.

use super::*;
use crate::config::{Config, Origin, Surroundings, TunnelSpec, load};

const KEY: &str = "ssh-ed25519 AAAA tunneld@web1";

/// The options that every line has behind its places.
const COMMAND: &str = "command=\"/usr/sbin/nologin\"";

fn config(toml: &str) -> Config {
    let around = Surroundings::default();
    load(toml, &Origin::for_tests(), &around).unwrap_or_else(|e| panic!("{}", e.render(false)))
}

/// The tunnel `t` to db.example.com with these forwards.
fn spec(forwards: &str) -> TunnelSpec {
    let toml = format!(
        "[tunnels.t]\nhost = \"db.example.com\"\nuser = \"tunnel\"\n\
         identity_file = \"/k\"\nknown_hosts = \"/h\"\n{forwards}\n"
    );
    let mut tunnels = config(&toml).tunnels.into_values();
    tunnels.next().unwrap()
}

fn target() -> Target {
    Target::new("db.example.com", 22, "tunnel")
}

fn plain() -> Key {
    Key::Plain {
        line: KEY.to_owned(),
    }
}

fn account(rights: &Rights) -> Account {
    let mut account = Account::of(&target());
    account.rights.add(rights);
    account.grant(&plain(), rights);
    account
}

/// The options of the places and the lines of the block that are about them.
fn places(forwards: &str) -> (String, String) {
    let rights = Rights::at_end(&spec(forwards));
    let account = account(&rights);
    let text = account.authorized_keys();
    let line = text.lines().last().unwrap();
    let options = line.strip_prefix("restrict,port-forwarding,").unwrap();
    let options = options.strip_suffix(&format!(",{COMMAND} {KEY}")).unwrap();
    let text = account.sshd_config();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let about = |line: &&str| !NEVER.contains(line);
    let block: Vec<_> = lines.filter(about).collect();
    (options.to_owned(), block.join("\n"))
}

/// What every block forbids.
const NEVER: [&str; 5] = [
    "MaxSessions 0",
    "PermitTTY no",
    "X11Forwarding no",
    "AllowAgentForwarding no",
    "PermitTunnel no",
];

const NO_LISTENER_OPTION: &str = "permitlisten=\"NONE:1\"";
const NO_TARGET_OPTION: &str = "permitopen=\"255.255.255.255:1\"";

/// What a block has where something listens.
const ALIVE: &str = "ClientAliveInterval 15\nClientAliveCountMax 3";

#[test]
fn an_account_has_its_line_and_its_block_with_a_word_on_each() {
    let rights = Rights::at_end(&spec(r#"local_forward = "5432:localhost:5432""#));
    let account = account(&rights);
    assert_eq!(
        account.authorized_keys(),
        "# on db.example.com, in ~tunnel/.ssh/authorized_keys (OpenSSH 7.8 or later)\n\
         # each line takes the place of an earlier one with its key: sshd reads the first of them\n\
         # NONE:1 stands for nowhere: sshd compares in lower case\n\
         # no option forbids listening on unix sockets: AllowStreamLocalForwarding does\n\
         restrict,port-forwarding,permitopen=\"localhost:5432\",permitlisten=\"NONE:1\",\
         command=\"/usr/sbin/nologin\" ssh-ed25519 AAAA tunneld@web1\n"
    );
    assert_eq!(
        account.sshd_config(),
        "# on db.example.com, at the end of sshd_config; whoever logs in as tunnel can then do this \
         and nothing else\n\
         Match User tunnel\n\
         \x20   AllowTcpForwarding local\n\
         \x20   PermitOpen localhost:5432\n\
         \x20   AllowStreamLocalForwarding no\n\
         \x20   MaxSessions 0\n\
         \x20   PermitTTY no\n\
         \x20   X11Forwarding no\n\
         \x20   AllowAgentForwarding no\n\
         \x20   PermitTunnel no\n"
    );
}

#[test]
fn a_local_forward_needs_its_target_and_nothing_else() {
    // Two forwards to one target are one place; the case of a name is as it is sent.
    let (options, block) = places(
        r#"local_forward = ["5432:DB.internal:5432", "5433:DB.internal:5432", "80:[fd00::5]:80"]"#,
    );
    assert_eq!(
        options,
        format!("permitopen=\"DB.internal:5432\",permitopen=\"[fd00::5]:80\",{NO_LISTENER_OPTION}")
    );
    assert_eq!(
        block,
        "AllowTcpForwarding local\nPermitOpen DB.internal:5432 [fd00::5]:80\n\
         AllowStreamLocalForwarding no"
    );
}

#[test]
fn a_unix_socket_as_a_target_is_a_host_with_any_port() {
    let (options, block) = places(r#"local_forward = ["/run/a:/run/b", "80:web:80"]"#);
    assert_eq!(
        options,
        format!("permitopen=\"[/run/b]:*\",permitopen=\"web:80\",{NO_LISTENER_OPTION}")
    );
    assert_eq!(
        block,
        "AllowTcpForwarding local\nPermitOpen [/run/b]:* web:80\nAllowStreamLocalForwarding local"
    );
}

#[test]
fn a_path_is_escaped_as_each_of_the_two_files_is_read() {
    let forward = r##"local_forward = [{ listen = "80", connect = '/run/a "b" \c:#d' }]"##;
    let (options, block) = places(forward);
    assert_eq!(
        options,
        format!(r##"permitopen="[/run/a \"b\" \c:#d]:*",{NO_LISTENER_OPTION}"##)
    );
    let line = block.lines().nth(1).unwrap();
    assert_eq!(line, r##"PermitOpen "[/run/a \"b\" \\c:#d]:*""##);
}

#[test]
fn what_cannot_be_written_is_not_open_and_that_is_said() {
    // A bracket in the path would end the host. To leave the limits out would open everything.
    let forwards = r#"local_forward = ["80:web:80", { listen = "81", connect = "/run/a]b" }]"#;
    let (options, block) = places(forwards);
    assert_eq!(
        options,
        format!("permitopen=\"web:80\",{NO_LISTENER_OPTION}")
    );
    assert_eq!(
        block,
        "AllowTcpForwarding local\nPermitOpen web:80\nAllowStreamLocalForwarding local"
    );
    let rights = Rights::at_end(&spec(forwards));
    assert_eq!(rights.unwritable().collect::<Vec<_>>(), ["/run/a]b"]);
    let text = account(&rights).authorized_keys();
    assert!(
        text.contains("# /run/a]b is not in it: OpenSSH has no way to write that path\n"),
        "{text}"
    );
    let long = format!("/{}", "x".repeat(1022));
    let (options, block) = places(&format!(
        r#"local_forward = [{{ listen = "81", connect = "{long}" }}]"#
    ));
    assert_eq!(options, format!("{NO_TARGET_OPTION},{NO_LISTENER_OPTION}"));
    assert!(block.contains("PermitOpen none\n"), "{block}");
    // Where clients may go anywhere, they may go there as well.
    let anywhere = format!("{forwards}\ndynamic_forward = \"1080\"");
    let rights = Rights::at_end(&spec(&anywhere));
    assert_eq!(rights.unwritable().count(), 0);
}

#[test]
fn a_dynamic_forward_may_go_anywhere() {
    let (options, block) = places(r#"dynamic_forward = "1080""#);
    assert_eq!(options, NO_LISTENER_OPTION);
    assert_eq!(
        block,
        "AllowTcpForwarding local\nAllowStreamLocalForwarding no"
    );
    let text = account(&Rights::at_end(&spec(r#"dynamic_forward = "1080""#))).sshd_config();
    let said = "can then do this, have it connect to any place, and nothing else\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_remote_forward_needs_its_listening_place_as_it_is_asked_for() {
    // The address in lower case, as sshd compares it. What stays on loopback must not be widened.
    let (options, block) = places(r#"remote_forward = ["8080:localhost:80", "[::1]:81:web:80"]"#);
    assert_eq!(
        options,
        format!("{NO_TARGET_OPTION},permitlisten=\"localhost:8080\",permitlisten=\"[::1]:81\"")
    );
    assert_eq!(
        block,
        format!(
            "AllowTcpForwarding remote\nPermitListen localhost:8080 [::1]:81\nGatewayPorts no\n\
             {ALIVE}\nAllowStreamLocalForwarding no"
        )
    );
    let (options, block) = places(
        r#"remote_forward = ["*:8080:web:80", "GW.example.com:81:web:80", "0.0.0.0:82:web:80"]"#,
    );
    assert_eq!(
        options,
        format!(
            "{NO_TARGET_OPTION},permitlisten=\":8080\",permitlisten=\"gw.example.com:81\",\
             permitlisten=\"0.0.0.0:82\""
        )
    );
    assert_eq!(
        block,
        format!(
            "AllowTcpForwarding remote\nPermitListen :8080 gw.example.com:81 0.0.0.0:82\n\
             GatewayPorts clientspecified\n{ALIVE}\nAllowStreamLocalForwarding no"
        )
    );
}

#[test]
fn a_port_that_the_server_chooses_can_be_any() {
    let (options, block) = places(r#"remote_forward = ["0:localhost:80", "[fd00::1]:0:web:80"]"#);
    assert_eq!(
        options,
        format!("{NO_TARGET_OPTION},permitlisten=\"localhost:*\",permitlisten=\"[fd00::1]:*\"")
    );
    assert!(block.contains("PermitListen localhost:* [fd00::1]:*\nGatewayPorts clientspecified"));
}

#[test]
fn clients_at_the_server_may_ask_for_anything_without_a_right_at_the_server() {
    let (options, block) = places(r#"remote_forward = ["1080"]"#);
    assert_eq!(
        options,
        format!("{NO_TARGET_OPTION},permitlisten=\"localhost:1080\"")
    );
    assert!(block.starts_with("AllowTcpForwarding remote\nPermitListen localhost:1080\n"));
}

#[test]
fn a_unix_socket_that_is_listened_on_is_up_to_the_block() {
    // OpenSSH asks AllowTcpForwarding about it, too; PermitListen keeps ports out.
    let (options, block) = places(r#"remote_forward = ["/run/x.sock:localhost:80"]"#);
    assert_eq!(options, format!("{NO_TARGET_OPTION},{NO_LISTENER_OPTION}"));
    assert_eq!(
        block,
        format!(
            "AllowTcpForwarding remote\nPermitListen none\n{ALIVE}\n\
             AllowStreamLocalForwarding remote\nStreamLocalBindUnlink yes"
        )
    );
    let forwards = "local_forward = [\"/run/a:/run/b\"]\nremote_forward = [\"/run/c:/run/d\"]";
    let (_, block) = places(forwards);
    assert!(block.starts_with("AllowTcpForwarding yes\nPermitOpen [/run/b]:*\nPermitListen none"));
    assert!(block.contains("AllowStreamLocalForwarding yes"));
}

#[test]
fn a_probe_of_a_remote_forward_opens_the_place_that_it_listens_on() {
    for (listen, opens) in [
        ("8080", "localhost:8080"),
        ("*:8080", "localhost:8080"),
        ("[::]:8080", "localhost:8080"),
        ("192.0.2.1:8080", "192.0.2.1:8080"),
        ("0", "localhost:*"),
        ("/run/x.sock", "[/run/x.sock]:*"),
    ] {
        let forward = format!(
            r#"remote_forward = [{{ listen = "{listen}", connect = "web:80", probe = true }}]"#
        );
        let (options, block) = places(&forward);
        let first = options.split(",permitlisten").next().unwrap();
        assert_eq!(first, format!("permitopen=\"{opens}\""), "{listen}");
        assert!(block.contains(&format!("PermitOpen {opens}\n")), "{block}");
        assert!(block.starts_with("AllowTcpForwarding yes\n"), "{block}");
        let text = account(&Rights::at_end(&spec(&forward))).authorized_keys();
        assert!(
            text.contains(&format!("# permitopen=\"{opens}\" is for a probe")),
            "{text}"
        );
    }
    // A probe of a local forward goes where its clients go.
    let (options, _) =
        places(r#"local_forward = [{ listen = "80", connect = "web:80", probe = true }]"#);
    assert_eq!(
        options,
        format!("permitopen=\"web:80\",{NO_LISTENER_OPTION}")
    );
}

#[test]
fn a_jump_host_may_open_the_next_host_and_nothing_else() {
    let way = "proxy_jump = [\"ops@one:2222\", \"ops@[fd00::2]\"]\nlocal_forward = \"80:web:80\"";
    let spec = spec(way);
    let hops = spec.target.hops();
    let next = [hops[1], &spec.target];
    let opens = next.map(|next| Rights::on_the_way_to(next).open_patterns().unwrap());
    assert_eq!(opens, [["[fd00::2]:22"], ["db.example.com:22"]]);
    let mut account = Account::of(hops[0]);
    account.rights = Rights::on_the_way_to(next[0]);
    let text = account.sshd_config();
    assert!(text.starts_with("# on one:2222, at the end"), "{text}");
    assert!(
        text.contains(
            "Match User ops\n    AllowTcpForwarding local\n    PermitOpen [fd00::2]:22\n"
        )
    );
}

#[test]
fn what_a_key_needs_for_several_tunnels_is_one_line() {
    // And what another key needs is another one.
    let one = Rights::at_end(&spec(r#"local_forward = "80:web:80""#));
    let two = Rights::at_end(&spec(r#"local_forward = ["80:web:80", "81:db:81"]"#));
    let mut account = Account::of(&target());
    let other = Key::Plain {
        line: "ssh-rsa BBBB".to_owned(),
    };
    for (key, rights) in [(&plain(), &one), (&other, &one), (&plain(), &two)] {
        account.grant(key, rights);
    }
    let text = account.authorized_keys();
    let lines: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("permitopen=\"web:80\",permitopen=\"db:81\",permitlisten"));
    assert!(lines[1].contains("permitopen=\"web:80\",permitlisten"));
    assert_eq!(text.matches("stands for nowhere").count(), 1);
}

#[test]
fn the_authority_of_a_certificate_is_limited_to_one_of_its_names() {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let options = |given: &[&str], command| {
        let key = Key::authority(KEY.to_owned(), "tunnel", &names(given), command);
        let rights = Rights::on_the_way_to(&target());
        let line = line::line(&key, &rights, &Limits::default());
        let places = "port-forwarding,permitopen=\"db.example.com:22\",permitlisten=\"NONE:1\"";
        line.replace(places, "…")
    };
    assert_eq!(
        options(&["ops", "tunnel"], None),
        format!("cert-authority,principals=\"tunnel\",restrict,…,{COMMAND} {KEY}")
    );
    // A comma would make two names of one, a line end two lines.
    assert_eq!(
        options(
            &["a,root", "a\nb", "c\\", "say \"x\""],
            Some("/bin/x \"y\"")
        ),
        format!(r#"cert-authority,principals="say \"x\"",restrict,…,command="/bin/x \"y\"" {KEY}"#)
    );
    // The certificate's own command is left to the certificate where it cannot be written.
    assert_eq!(
        options(&[], Some("a\nb")),
        format!("cert-authority,restrict,… {KEY}")
    );
}

#[test]
fn where_from_and_until_when_are_at_the_end_of_the_line() {
    let limits = Limits {
        from: Some(FromList::parse("192.0.2.0/24,!192.0.2.9,*.example.com").unwrap()),
        expiry: Some(ExpiryTime::parse("20271231Z").unwrap()),
    };
    let line = line::line(&plain(), &Rights::default(), &limits);
    let end = format!(
        "{COMMAND},from=\"192.0.2.0/24,!192.0.2.9,*.example.com\",expiry-time=\"20271231Z\" {KEY}"
    );
    assert!(line.ends_with(&end), "{line}");
    let mut account = account(&Rights::default());
    account.limits = limits;
    assert!(account.authorized_keys().contains("(OpenSSH 9.1 or later)"));
}

#[test]
fn a_list_of_sources_that_sshd_would_not_understand_is_refused() {
    for good in [
        "192.0.2.1",
        "2001:db8::/32",
        "10.0.0.*,!10.0.0.1",
        "h?st.example.com",
    ] {
        assert_eq!(FromList::parse(good).unwrap().as_str(), good);
    }
    for (bad, said) in [
        ("", "has an empty pattern"),
        ("a,,b", "has an empty pattern"),
        ("!", "has an empty pattern"),
        (
            "a\" ,b",
            "has a character that no address or name has: '\"'",
        ),
        ("a b", "has a character that no address or name has: ' '"),
        (
            "10.0.0.0/33",
            "has `10.0.0.0/33`, which is no address block",
        ),
        ("10.0.0.5/8", "has `10.0.0.5/8`, write 10.0.0.0/8"),
        (
            "!10.0.0.1",
            "lets nobody in: `!` only takes away from what other patterns let in",
        ),
    ] {
        assert_eq!(FromList::parse(bad).unwrap_err(), said, "{bad}");
    }
}

#[test]
fn an_expiry_time_is_one_that_there_is() {
    for good in [
        "20271231",
        "20280229",
        "202712312359",
        "20271231235959",
        "20271231Z",
        "20271231235959Z",
    ] {
        assert_eq!(ExpiryTime::parse(good).unwrap().as_str(), good);
    }
    let form = "is written YYYYMMDD[HHMM[SS]], with a Z behind it for UTC";
    for (bad, said) in [
        ("", form),
        ("2027-12-31", form),
        ("2027123123", form),
        ("20271231z", form),
        ("２0271231", form),
        ("20270229", "has a day that there is not: 20270229"),
        ("20271301", "has a day that there is not: 20271301"),
        ("20270400", "has a day that there is not: 20270400"),
        ("00000101", "has a day that there is not: 00000101"),
        ("202712312400", "has a time that there is not: 2400"),
        ("20271231235960", "has a time that there is not: 235960"),
    ] {
        assert_eq!(ExpiryTime::parse(bad).unwrap_err(), said, "{bad}");
    }
}

#[test]
fn a_time_is_over_when_it_is_over_wherever_the_server_is() {
    // 2026-11-20 10:00:00 UTC. Where it is told in no zone, it may be twelve hours earlier there.
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_168_800);
    for (time, over) in [
        ("20261120Z", true),
        ("202611201000Z", true),
        ("20261120100001Z", false),
        ("20261121Z", false),
        ("20261119", true),
        ("202611192200", true),
        ("20261119220001", false),
        ("20261120", false),
        ("99991231", false),
    ] {
        assert_eq!(
            ExpiryTime::parse(time).unwrap().is_over(now),
            over,
            "{time}"
        );
    }
}

#[test]
fn a_user_whose_name_is_a_pattern_gets_no_block() {
    for user in ["a*", "a,b", "!a", "a\"b", "a?", "#a"] {
        let mut account = account(&Rights::default());
        account.user = user.to_owned();
        let text = account.sshd_config();
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}

/// The options and the key of a line, as sshkey_advance_past_options() of OpenSSH parts them.
fn parted(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if escaped => escaped = false,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return (&line[..at], &line[at + 1..]),
            _ => escaped = c == '\\',
        }
    }
    (line, "")
}

/// The value of an option, as opt_dequote() of OpenSSH reads it.
fn dequoted(text: &str) -> String {
    let mut rest = text.strip_prefix('"').unwrap();
    let mut value = String::new();
    loop {
        let mut chars = rest.chars();
        match chars.next().unwrap() {
            '"' => return value,
            '\\' if chars.as_str().starts_with('"') => {
                chars.next();
                value.push('"');
            }
            c => value.push(c),
        }
        rest = chars.as_str();
    }
}

proptest::proptest! {
    #[test]
    fn sshd_reads_back_what_was_written_and_nothing_else(
        path in "/[ -~é]{0,40}", command in "[ -~\n]{0,20}", name in "[ -~\n]{0,20}"
    ) {
        // Whatever a path, a command and a principal have in them.
        let key = Key::authority(KEY.to_owned(), "tunnel", &[name], Some(&command));
        let place = crate::config::Destination::Unix(path.clone());
        let mut rights = Rights::default();
        rights.open.push(rights::Open { place: (&place).into(), for_probe: false });
        let line = line::line(&key, &rights, &Limits::default());
        let (options, rest) = parted(&line);
        proptest::prop_assert_eq!(rest, KEY);
        if let Some((_, value)) = options.split_once("permitopen=") {
            let whole = rights.open[0].place.pattern();
            proptest::prop_assert_eq!(whole.is_none(), path.contains(']'));
            // A principal may look like an option; then this is not the option.
            if !options.starts_with("cert-authority,principals=") {
                let wanted = whole.unwrap_or_else(|| NO_TARGET.to_owned());
                proptest::prop_assert_eq!(dequoted(value), wanted);
            }
        }
        let Key::Authority { principal, command, .. } = &key else { unreachable!() };
        if let Some(principal) = principal {
            let value = options.strip_prefix("cert-authority,principals=").unwrap();
            proptest::prop_assert_eq!(&dequoted(value), principal);
        }
        if let (Some(command), None) = (command, principal) {
            let (_, value) = options.rsplit_once(",command=").unwrap();
            proptest::prop_assert_eq!(&dequoted(value), command);
        }
    }
}
