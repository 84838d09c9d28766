//! Whatever a file has too much of, it is refused in bounded time and in few words.

use std::fmt::Write;

use super::*;
use crate::config::{MAX_FILE_LEN, control_socket, hides_control_socket, load_bytes};

fn first(text: &str) -> String {
    let problems = load(text).unwrap_err();
    problems.iter().next().unwrap().message.clone()
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let bytes = vec![b'#'; MAX_FILE_LEN + 1];
    let problems = load_bytes(&bytes, &origin(), &surroundings()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "error: `/etc/tunneld/tunneld.toml` has more than 4194304 bytes, which is all that is read
--> /etc/tunneld/tunneld.toml
"
    );
}

#[test]
fn a_byte_that_is_not_utf8_is_shown_in_its_place() {
    let bytes = b"[daemon]\n# \xc3\xa9 caf\xe9 x\n";
    let problems = load_bytes(bytes, &origin(), &surroundings()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "error: the file is not UTF-8
 --> /etc/tunneld/tunneld.toml:2:8
  |
2 | # é caf\u{fffd} x
  |        ^ byte 0xe9
"
    );
}

#[test]
fn there_are_limits_to_every_list() {
    let mut tunnels = String::from("[tunnels]\n");
    for n in 0..10_001 {
        writeln!(tunnels, "t{n} = 1").unwrap();
    }
    assert_eq!(
        first(&tunnels),
        "`tunnels` has 10001 tunnels, at most 10000 are kept"
    );
    let many = |n: usize, one: &str| vec![one; n].join(", ");
    let forwards = many(1_001, "'1:a:1'");
    assert_eq!(
        first(&format!(
            "[tunnels.a]\nhost = 'a'\nlocal_forward = [{forwards}]"
        )),
        "`local_forward` has 1001 forwards, a tunnel has at most 1000"
    );
    let half = many(501, "'0'");
    assert_eq!(
        first(&format!(
            "[tunnels.a]\nhost = 'a'\nremote_forward = [{half}]\ndynamic_forward = [{half}]"
        )),
        "`dynamic_forward` makes it 1002 forwards, a tunnel has at most 1000"
    );
    let networks = many(101, "'10.0.0.1'");
    assert_eq!(
        first(&format!(
            "[tunnels.a]\nhost = 'a'\nremote_forward = {{ listen = 1, allow = [{networks}] }}"
        )),
        "`allow` has 101 entries, at most 100 are taken"
    );
    let words = many(101, "'x'");
    assert_eq!(
        first(&format!("[defaults]\nproxy_command = [{words}]")),
        "`proxy_command` has 101 entries, at most 100 are taken"
    );
    assert_eq!(
        first(&format!(
            "[defaults]\nproxy_jump = '{}'",
            ",".repeat(99_999)
        )),
        "`proxy_jump` has 100000 jump hosts, at most 8 are taken"
    );
    for key in [
        "identity_file",
        "certificate_file",
        "known_hosts",
        "host_key_fingerprint",
        "kex_algorithms",
    ] {
        let list = many(101, "'x'");
        assert_eq!(
            first(&format!("[defaults]\n{key} = [{list}]")),
            format!("`{key}` has 101 entries, at most 100 are taken")
        );
    }
}

#[test]
fn a_list_of_algorithms_is_as_long_with_commas_as_without() {
    // Each pattern stands for all of them.
    let many = |name: &str, n: usize| vec![name; n].join(",");
    assert_eq!(
        first(&format!(
            "[defaults]\nkex_algorithms = '{}'",
            many("*", 2_000_000)
        )),
        "`kex_algorithms` has 2000000 names, at most 100 are taken"
    );
    let half = many("*", 60);
    assert_eq!(
        first(&format!("[defaults]\nciphers = ['-{half}', '{half}']")),
        "`ciphers` has 120 names, at most 100 are taken"
    );
    assert_eq!(
        first(&format!("[defaults]\nmacs = '{}'", "*a".repeat(2_000_000))),
        "`macs` has a name of more than 64 characters"
    );
    let text = format!(
        "[tunnels.a]\nhost = 'a'\nlocal_forward = '1:a:1'\nciphers = '{}'",
        many("*", 100)
    );
    assert_eq!(
        tunnel(&text).target.algorithms.ciphers.unwrap().len(),
        6,
        "each is taken once"
    );
}

#[test]
fn rubbish_is_counted_and_not_kept() {
    let mut text = String::from("[daemon]\n");
    for n in 0..20_000 {
        writeln!(text, "k{n} = 1").unwrap();
    }
    let problems = load(&text).unwrap_err();
    assert_eq!(problems.len(), 20_000);
    assert_eq!(problems.to_json_items().len(), 1_000);
    assert!(problems.to_string().ends_with("\nand 19950 more\n"));
}

#[test]
fn a_thousand_tunnels_that_all_listen_on_one_port_are_compared_by_address() {
    let mut text = String::new();
    for n in 0..1_000 {
        let (a, b) = (n / 250, n % 250 + 1);
        writeln!(
            text,
            "[tunnels.t{n}]\nhost = 'a'\nlocal_forward = '127.1.{a}.{b}:80:a:80'"
        )
        .unwrap();
    }
    assert_eq!(loaded(&text).tunnels.len(), 1_000);
    text += "[tunnels.every]\nhost = 'a'\nlocal_forward = '*:80:a:80'\n";
    assert_eq!(load(&text).unwrap_err().len(), 1);
}

#[test]
fn a_thousand_tunnels_that_all_listen_at_one_server_are_compared_by_target() {
    let mut text = String::new();
    for n in 0..1_000 {
        writeln!(
            text,
            "[tunnels.t{n}]\nhost = 'gw'\nuser = 'u{n}'\nremote_forward = '80:a:80'"
        )
        .unwrap();
    }
    assert_eq!(loaded(&text).tunnels.len(), 1_000);
    text += "[tunnels.again]\nhost = 'gw'\nuser = 'u7'\nremote_forward = '80:a:80'\n";
    assert_eq!(load(&text).unwrap_err().len(), 1);
}

#[test]
fn tables_in_tables_in_tables_end_somewhere() {
    for text in [
        "a = ".to_owned() + &"[".repeat(100_000),
        "a = ".to_owned() + &"{a=".repeat(50_000),
        "a.".repeat(50_000) + "a = 1",
        "[".to_owned() + &"a.".repeat(50_000) + "a]",
    ] {
        assert!(load(&text).is_err());
    }
}

#[test]
fn the_control_socket_is_found_in_a_file_that_is_wrong() {
    // Whatever else the file says, the daemon that still runs can be asked.
    let origin = origin();
    let cases = [
        (
            "[daemon]\ncontrol_socket = \"/s\"\n[tunnels.a]\nhost = \n",
            Some("/s"),
        ),
        (
            "[daemon]\ncontrol_socket = \"/s\"\nnonsense = 1\n",
            Some("/s"),
        ),
        ("[daemon]\ncontrol_socket = 7\n", None),
        ("\u{0}\u{1}garbage", None),
    ];
    // One that is no TOML may name it where nobody can see it.
    let hidden = ["\u{0}\u{1}garbage", "# cut off\n", "[daemon]\nx = \n"];
    for text in hidden {
        assert!(hides_control_socket(text.as_bytes(), &origin), "{text}");
    }
    for (text, _) in &cases[..3] {
        assert!(!hides_control_socket(text.as_bytes(), &origin), "{text}");
    }
    for (text, expected) in cases {
        let found = control_socket(text.as_bytes(), &origin);
        assert_eq!(
            found.as_deref(),
            expected.map(std::path::Path::new),
            "{text}"
        );
    }
}
