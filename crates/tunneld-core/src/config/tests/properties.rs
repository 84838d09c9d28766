//! Promises that hold for every text.

use proptest::prelude::*;

use super::*;
use crate::config::{Texts, effective, effective_with_places, load_bytes};

/// Pieces of files: valid, nearly valid, and not.
fn piece() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "host",
        "port",
        "user",
        "identity_file",
        "known_hosts",
        "strict_host_key_checking",
        "host_key_fingerprint",
        "certificate_file",
        "identity_agent",
        "identities_only",
        "passphrase_credential",
        "password_credential",
        "host_key_alias",
        "update_host_keys",
        "ciphers",
        "macs",
        "kex_algorithms",
        "host_key_algorithms",
        "compression",
        "rekey_limit",
        "address_family",
        "bind_address",
        "certificate_expiry_warning",
        "connect_timeout",
        "server_alive_interval",
        "reconnect",
        "reconnect.initial",
        "reconnect.max",
        "on_up",
        "on_down.command",
        "on_down.timeout",
        "enabled",
        "local_forward",
        "name",
        "listen",
        "connect",
        "while_down",
        "wait_timeout",
        "max_connections",
        "idle_timeout",
        "allow",
        "socket_mode",
        "socket_owner",
        "probe",
        "probe.expect",
        "probe.path",
        "min_sessions",
        "max_sessions",
        "proxy_jump",
        "proxy",
        "proxy_command",
        "remote_forward",
        "dynamic_forward",
        "control_socket",
        "ready_when",
        "include",
        "password",
        "hsot",
        "\"a b\"",
        "",
    ]);
    let values = prop::sample::select(vec![
        "\"db\"",
        "22",
        "0",
        "-1",
        "1.5",
        "true",
        "false",
        "\"yes\"",
        "\"15s\"",
        "\"\"",
        "\"5432:db:5432\"",
        "\"*:80:[::1]:80\"",
        "[\"1:a:1\", { listen = 80, connect = \"a:1\" }]",
        "{ initial = \"9m\" }",
        "[]",
        "{}",
        "[",
        "{",
        "\"",
        "\"\"\"",
        "''' x",
        "é",
        "2026-01-01",
        "99999999999999999999999999999999999999999999",
        "1e999",
        "nan",
        "[[[]]]",
        "\"~/x\"",
        "[1, [2], {}]",
        "\"/run/a.sock\"",
        "\"/run/a.sock:/run/b.sock\"",
        "\"fd:web\"",
        "\"0\"",
        "\"0660\"",
        "\"web:web\"",
        "\"10.0.0.0/8\"",
        "\"none\"",
        "\"me@b:22,c\"",
        "[\"b\", { host = \"c\" }]",
        "\"socks5://p:1\"",
        "[\"nc\", \"%h\"]",
        "{ expect = 200 }",
        "{ expect = \"SSH-\", path = 3 }",
        "{ listen = 0 }",
        "\"\\u0000\"",
        "\"SSH_AUTH_SOCK\"",
        "\"$X\"",
        "\"-*\"",
        "\"^*\"",
        "[\"+aes256-ctr\", \"*-ctr\"]",
        "\"1G 1h\"",
        "\"inet6\"",
        "\"::1\"",
    ]);
    let headers = prop::sample::select(vec![
        "[daemon]",
        "[defaults]",
        "[tunnels]",
        "[tunnels.a]",
        "[tunnels.b]",
        "[tunnels.a.reconnect]",
        "[[tunnels.a.local_forward]]",
        "[[tunnels.a.remote_forward]]",
        "[[tunnels.b.dynamic_forward]]",
        "[[tunnels.a.proxy_jump]]",
        "[tunnels.\"a b\"]",
        "[tunnels.é]",
        "[",
        "[[",
        "[tunnels",
        "[x]",
        "# comment",
        "\u{feff}",
        "\r",
        "\0",
        "]",
        "}",
    ]);
    prop_oneof![
        3 => (keys, values).prop_map(|(key, value)| format!("{key} = {value}\n")),
        2 => headers.prop_map(|header| format!("{header}\n")),
        1 => any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

/// A secret as somebody may write it.
fn secret() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "password = \"hunter2\"",
        "  \"password\" = 'hunter2' # hunter2",
        "password = hunter2",
        "password = 'hunter2",
        "password = [\n'hunter2',\n]",
        "password = \"\"\"\nhunter2\"\"\"",
        "proxy_jump = { password = 'hunter2', port = 0 }",
        "local_forward = [{ secret = 'hunter2'",
        "passphrase_credential = 'a hunter2'",
        "password_credential = hunter2",
        "proxy = 'http://u:hunter2@p'",
        "proxy_jump = [\n'b:22',\n'u:hunter2@c'",
        "host = u:hunter2@db",
    ])
}

/// Keys that go with every forward to one place.
fn limits() -> impl Strategy<Value = String> {
    some_of(vec![
        ", max_connections = 7",
        ", idle_timeout = \"1m 1ms\"",
        ", name = \"NAME\"",
    ])
}

/// A probe that is valid whatever is probed.
fn probe() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        ", probe = true",
        ", probe = { interval = \"1s\" }",
        ", probe = { timeout = \"100ms\", expect = \"SSH-2.0-\\\"ä\" }",
        ", probe = { expect = 404, path = \"/x?y='z'\" }",
    ])
}

fn allow() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        ", allow = []",
        ", allow = [\"10.0.0.0/8\", \"::1\", \"0.0.0.0/0\"]",
    ])
}

/// Any of these, one after the other.
fn some_of(parts: Vec<&'static str>) -> impl Strategy<Value = String> {
    let all = parts.len();
    prop::sample::subsequence(parts, 0..=all).prop_map(|some| some.concat())
}

/// Where something of this machine listens; a `true` beside it has an address. The number makes it
/// unlike any other.
fn listen_here(port: u16) -> impl Strategy<Value = (String, bool)> {
    let tcp = prop::sample::select(vec!["", "*:", "127.0.0.1:", "[::1]:", "localhost:", ":"]);
    prop_oneof![
        4 => tcp.prop_map(move |address| (format!("{address}{port}"), true)),
        1 => Just((format!("/run/a b:c/%{port}.sock"), false)),
        1 => Just((format!("fd:web {port}"), true)),
    ]
}

fn connect() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "db:5432",
        "[2001:db8::1]:80",
        "10.0.0.1:1",
        "/run/x.sock",
    ])
}

/// What only a listener of this machine has.
fn listener_keys(has_address: bool) -> BoxedStrategy<String> {
    let always = vec![", while_down = \"refuse\"", ", wait_timeout = \"1m 1ms\""];
    match has_address {
        true => (some_of(always), allow())
            .prop_map(|(keys, allow)| keys + allow)
            .boxed(),
        false => some_of(
            [
                always,
                vec![", socket_mode = \"0666\"", ", socket_owner = \"a:b\""],
            ]
            .concat(),
        )
        .boxed(),
    }
}

/// Whether a place can stand in a string as it is.
fn is_plain(place: &str) -> bool {
    !place.contains([' ', '%']) && !place.starts_with("fd:")
}

/// A forward that is valid alone; its port makes it valid among others.
fn local(port: u16) -> impl Strategy<Value = String> {
    let parts = listen_here(port).prop_flat_map(|(listen, has_address)| {
        let keys = (listener_keys(has_address), limits(), probe());
        (Just(listen), connect(), keys, any::<bool>())
    });
    parts.prop_map(|(listen, connect, (keys, limits, probe), table)| {
        if table || !is_plain(&listen) {
            let all = format!("{keys}{limits}{probe}");
            format!("{{ listen = \"{listen}\", connect = \"{connect}\"{all} }}")
        } else {
            format!("\"{listen}:{connect}\"")
        }
    })
}

fn dynamic(port: u16) -> impl Strategy<Value = String> {
    let parts = listen_here(port).prop_flat_map(|(listen, has_address)| {
        let keys = (listener_keys(has_address), limits());
        (Just(listen), keys, any::<bool>())
    });
    parts.prop_map(|(listen, (keys, limits), table)| {
        if table || !is_plain(&listen) {
            format!("{{ listen = \"{listen}\"{keys}{limits} }}")
        } else {
            format!("\"{listen}\"")
        }
    })
}

fn remote(port: u16) -> impl Strategy<Value = String> {
    let tcp = prop::sample::select(vec!["", "*:", "0.0.0.0:", "[::]:", "gw.example.com:", ":"]);
    let listen = prop_oneof![
        4 => (tcp.clone(), Just(port)).prop_map(|(bind, port)| (format!("{bind}{port}"), true)),
        1 => tcp.prop_map(|bind| (format!("{bind}0"), true)),
        1 => Just((format!("/run/{port}.sock"), false)),
    ];
    let goal = (prop::option::of(connect()), probe(), limits(), allow());
    (listen, goal, any::<bool>()).prop_map(
        |((listen, has_address), (connect, probe, limits, allow), table)| {
            if !table {
                let connect = connect.map(|c| format!(":{c}")).unwrap_or_default();
                return format!("\"{listen}{connect}\"");
            }
            let goal = connect.map(|c| format!(", connect = \"{c}\"{probe}"));
            let allow = if has_address { allow } else { "" };
            let goal = goal.unwrap_or_default();
            format!("{{ listen = \"{listen}\"{goal}{limits}{allow} }}")
        },
    )
}

/// Any of these lines.
fn lines(keys: Vec<&'static str>) -> impl Strategy<Value = String> {
    let all = keys.len();
    prop::sample::subsequence(keys, 0..=all).prop_map(|keys| {
        keys.into_iter()
            .fold(String::new(), |all, key| all + key + "\n")
    })
}

/// Keys of `[defaults]`, `[tunnels.NAME]` and jump hosts with values that are valid in every
/// combination.
fn server() -> impl Strategy<Value = String> {
    let pin = "host_key_fingerprint = \"SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U\"";
    let agent = prop::sample::select(vec![
        "",
        "identity_agent = \"none\"\n",
        "identity_agent = \"SSH_AUTH_SOCK\"\n",
        "identity_agent = \"$SSH_AUTH_SOCK\"\n",
        "identity_agent = \"$MY_AGENT\"\n",
        "identity_agent = \"~/a b.sock\"\n",
        "identity_agent = \"./none\"\n",
    ]);
    let ciphers = prop::sample::select(vec![
        "",
        "ciphers = \"aes256-ctr,aes128-gcm@openssh.com\"\n",
        "ciphers = [\"^chacha20-poly1305@openssh.com\"]\n",
        "ciphers = \"-aes*-ctr\"\n",
        "ciphers = \"+aes128-ctr\"\n",
        "ciphers = \"default\"\n",
    ]);
    let keys = lines(vec![
        "port = 2222",
        "user = \"o'neil\\\\\\\"x\"",
        "certificate_file = [\"~/k-cert.pub\", \"c\"]",
        "identities_only = true",
        "passphrase_credential = \"a.b\"",
        "password_credential = \"./none\"",
        "known_hosts = \"/kh\"",
        "strict_host_key_checking = \"accept-new\"",
        pin,
        "host_key_alias = \"Farm_1\"",
        "update_host_keys = \"no\"",
        "required_rsa_size = 2048",
        "macs = \"-hmac-sha1*\"",
        "kex_algorithms = [\"ecdh-*\", \"curve25519-sha256\"]",
        "host_key_algorithms = \"*-cert-v01@openssh.com\"",
        "rekey_limit = \"1048577 90\"",
    ]);
    let identity = prop::sample::select(vec![
        "",
        "identity_file = [\"~/k\", \"k \\\"2\\\"\"]\n",
        "identity_file = \"none\"\n",
        "identity_file = \"default\"\n",
    ]);
    (keys, identity, agent, ciphers)
        .prop_map(|(keys, identity, agent, ciphers)| format!("{keys}{identity}{agent}{ciphers}"))
}

/// Keys of `[defaults]` and `[tunnels.NAME]` with values that are valid in every combination.
fn settings() -> impl Strategy<Value = String> {
    let address = prop::sample::select(vec![
        "",
        "address_family = \"any\"\nbind_address = \"::1\"\n",
        "address_family = \"inet\"\nbind_address = \"none\"\n",
        "address_family = \"inet6\"\nbind_address = \"2001:db8:0::1\"\n",
    ]);
    let keys = lines(vec![
        "compression = true",
        "connect_timeout = \"365d\"",
        "server_alive_interval = 0",
        "server_alive_count_max = 1000",
        "certificate_expiry_warning = 0",
        "stall_timeout = \"1us\"",
        "reconnect.multiplier = 1.1",
        "reconnect.jitter = 1e-9",
        "reconnect.initial = \"1ns\"",
        "reconnect.max = \"1d 1ns\"",
        "min_sessions = 2",
        "max_sessions = 16",
        "enabled = false",
    ]);
    (server(), address, keys).prop_map(|(server, address, keys)| format!("{server}{address}{keys}"))
}

/// Keys of the way to a host, valid in every combination with those of another table.
fn way() -> impl Strategy<Value = String> {
    let jump = prop::sample::select(vec![
        "",
        "proxy_jump = \"none\"\n",
        "proxy_jump = []\n",
        "proxy_jump = \"b\"\n",
        "proxy_jump = \"ops@b:2222,ssh://[::1]:22/\"\n",
    ])
    .prop_map(str::to_owned);
    // The lines of a table within an array.
    let table = server().prop_map(|keys| {
        let keys: String = keys.lines().map(|key| format!(", {key}")).collect();
        format!("proxy_jump = [\"a\", {{ host = \"::1\"{keys} }}]\n")
    });
    let jump = prop_oneof![1 => jump, 1 => table];
    let first = prop::sample::select(vec![
        "",
        "proxy = \"none\"\n",
        "proxy = \"socks5h://[::1]:1080/\"\n",
        "proxy = \"http://p:3128\"\n",
        "proxy_command = \"none\"\n",
        "proxy_command = \"nc '%h' \\\"%p\\\" # %%\"\n",
        "proxy_command = [\"none\", \"\", \"a\\tb %r\"]\n",
        "proxy = \"none\"\nproxy_command = \"nc\"\n",
    ]);
    (jump, first).prop_map(|(jump, first)| format!("{jump}{first}"))
}

fn valid_file() -> impl Strategy<Value = String> {
    let tunnel = |name: &'static str, base: u16| {
        let forwards = (
            local(base),
            local(base + 1),
            remote(base + 2),
            remote(base + 3),
            dynamic(base + 4),
            dynamic(base + 5),
        );
        (settings(), way(), forwards).prop_map(move |(settings, way, (a, b, c, d, e, f))| {
            // Each forward that wants a name has one of its own.
            let forwards = format!(
                "remote_forward = [{c}, {d}]\nlocal_forward = [{a}, {b}]\n\
                 dynamic_forward = [{e}, {f}]\n"
            );
            let parts: Vec<&str> = forwards.split("NAME").collect();
            let named = parts.iter().enumerate();
            let named = named.map(|(n, part)| match n + 1 == parts.len() {
                true => (*part).to_owned(),
                false => format!("{part}name-{n}"),
            });
            let forwards = named.collect::<String>();
            format!("[tunnels.{name}]\nhost = \"h\"\n{settings}{way}{forwards}")
        })
    };
    (settings(), way(), tunnel("db", 100), tunnel("'a.b'", 200))
        .prop_map(|(defaults, way, a, b)| format!("[defaults]\n{defaults}{way}{a}{b}"))
}

/// A file of ssh that is valid, whatever of it is decided elsewhere.
fn ssh_file() -> impl Strategy<Value = String> {
    let entry = || {
        let way = prop::sample::select(vec!["", "ProxyCommand nc %h 100%%\n", "ProxyJump none\n"]);
        let keys = lines(vec![
            "HostName Real.internal",
            "Port 2201",
            "User them",
            "IdentityFile ~/.ssh/%r",
            "IdentityFile none",
            "CertificateFile \"/a b\"",
            "IdentityAgent none",
            "IdentitiesOnly yes",
            "UserKnownHostsFile none",
            "GlobalKnownHostsFile /g1 /g2",
            "HostKeyAlias Alias",
            "StrictHostKeyChecking accept-new",
            "UpdateHostKeys yes",
            "RequiredRSASize 4096",
            "ServerAliveInterval 0",
            "ServerAliveCountMax 0",
            "ConnectTimeout 1w",
            "Ciphers -aes128-*",
            "MACs +umac-64@openssh.com",
            "KexAlgorithms ecdh-sha2-nistp256",
            "HostKeyAlgorithms ^rsa-sha2-256,ssh-rsa",
            "Compression yes",
            "RekeyLimit default 1h",
            "ForwardAgent yes",
        ]);
        (keys, way).prop_map(|(keys, way)| format!("{keys}{way}"))
    };
    let jump = prop::sample::select(vec!["", "ProxyJump ops@gate:23,b\n", "ProxyJump gate\n"]);
    (jump, entry(), entry(), entry()).prop_map(|(jump, host, gate, all)| {
        format!("Host h\n{jump}{host}Host gate a\n{gate}Host *\n{all}")
    })
}

proptest! {
    #[test]
    fn no_text_panics_and_every_place_is_in_the_text(text in text()) {
        if let Err(problems) = load(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.render(false).starts_with("error: "));
            for item in &problems {
                for span in item.span.iter().chain(item.related.iter().map(|r| &r.span)) {
                    prop_assert!(text.get(span.clone()).is_some(), "{:?} {:?}", span, item);
                }
            }
            let lines = text.split('\n').count();
            for view in problems.to_json_items() {
                prop_assert!(view.line.is_none_or(|line| (1..=lines).contains(&line)));
                prop_assert!(view.column.is_none_or(|column| column >= 1));
            }
        }
    }

    #[test]
    fn a_secret_is_not_shown_whatever_is_around_it(
        before in text(),
        secret in secret(),
        after in text(),
    ) {
        if let Err(problems) = load(&format!("{before}\n{secret}\n{after}")) {
            let told = format!("{problems}{:?}", problems.to_json_items());
            prop_assert!(!told.contains("hunter2"), "{}", told);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problems) = load_bytes(&bytes, &origin(), &surroundings()) {
            prop_assert!(problems.render(true).contains("error"));
        }
    }

    #[test]
    fn the_effective_configuration_loads_to_the_same(text in valid_file()) {
        let config = loaded(&text);
        prop_assert_eq!(&loaded(&effective(&config)), &config);
    }

    #[test]
    fn what_ssh_says_is_part_of_the_effective_configuration(text in valid_file(), ssh in ssh_file()) {
        let text = text.replacen("[defaults]\n", "[defaults]\nssh_config = \"~/c\"\n", 1);
        let there = with_ssh(&[("/home/svc/c", &ssh)]);
        let config = match super::super::load(&text, &origin(), &there) {
            Ok(config) => config,
            Err(problems) => return Err(TestCaseError::fail(format!("{problems}"))),
        };
        prop_assert_eq!(&loaded(&effective(&config)), &config);
        let texts = Texts::with_all(&origin(), text, &there);
        let printed = effective_with_places(&config, &texts);
        prop_assert_eq!(&loaded(&printed), &config, "{}", printed);
    }

    #[test]
    fn what_loads_at_all_loads_again_from_its_effective_form(text in text()) {
        if let Ok(config) = load(&text) {
            prop_assert_eq!(&loaded(&effective(&config)), &config);
        }
    }
}
