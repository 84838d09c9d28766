//! The exact words for what is wrong with keys, secrets, host keys and algorithms.

use super::*;

/// The only problem of a tunnel with this line: its message, its place and its help.
#[track_caller]
fn problem(line: &str) -> (String, String) {
    let text = format!("[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{line}\n");
    let problems = load(&text).expect_err(line);
    assert_eq!(problems.len(), 1, "{problems}");
    let item = problems.iter().next().unwrap();
    let help = item.help.clone().or_else(|| item.label.clone());
    (item.message.clone(), help.unwrap_or_default())
}

#[test]
fn an_algorithm_that_tunneld_does_not_have_is_named_with_the_nearest_and_with_all() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
ciphers = ["aes256-ctr", "aes128-gmc@openssh.com"]
macs = "umac-64@openssh.com"
host_key_algorithms = "+ssh-rsa"
"#,
        r#"error: `ciphers` names a cipher that tunneld does not have: `aes128-gmc@openssh.com`
 --> /etc/tunneld/tunneld.toml:4:26
  |
4 | ciphers = ["aes256-ctr", "aes128-gmc@openssh.com"]
  |                          ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: did you mean aes128-gcm@openssh.com? there are aes128-gcm@openssh.com, aes256-gcm@openssh.com, chacha20-poly1305@openssh.com, aes128-ctr, aes192-ctr, aes256-ctr

error: `macs` names a MAC that tunneld does not have: `umac-64@openssh.com`
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | macs = "umac-64@openssh.com"
  |        ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: there are hmac-sha2-512-etm@openssh.com, hmac-sha2-256-etm@openssh.com, hmac-sha2-512, hmac-sha2-256, hmac-sha1-etm@openssh.com, hmac-sha1

error: `host_key_algorithms` names a type of host key that tunneld does not have: `ssh-rsa`
 --> /etc/tunneld/tunneld.toml:6:23
  |
6 | host_key_algorithms = "+ssh-rsa"
  |                       ^^^^^^^^^^
  |
  = help: it signs with SHA-1, which can be forged; the same keys sign with rsa-sha2-512 and rsa-sha2-256
"#,
    );
}

#[test]
fn a_list_of_algorithms_names_some_and_its_sign_is_in_front() {
    for (line, said) in [
        ("ciphers = ''", "`ciphers` has an empty name"),
        ("ciphers = []", "`ciphers` leaves no cipher"),
        ("macs = '-*'", "`macs` leaves no MAC"),
        (
            "kex_algorithms = '-*'",
            "`kex_algorithms` leaves no key exchange method",
        ),
        (
            "host_key_algorithms = ['-ssh-*', 'ecdsa-*', 'rsa-*']",
            "`host_key_algorithms` leaves no type of host key",
        ),
        (
            "ciphers = ['aes256-ctr', '+aes128-ctr']",
            "`ciphers` has a + that is not in front of the list",
        ),
        (
            "ciphers = [1]",
            "`ciphers` wants a string or an array of strings, not a number",
        ),
        (
            "macs = 'hmac-sha3-*'",
            "`macs` has a pattern that nothing fits: `hmac-sha3-*`",
        ),
    ] {
        assert_eq!(problem(line).0, said);
    }
    let many = vec!["'aes128-ctr'"; 101].join(", ");
    let (said, _) = problem(&format!("ciphers = [{many}]"));
    assert_eq!(said, "`ciphers` has 101 entries, at most 100 are taken");
}

#[test]
fn nobody_is_there_to_answer_a_question() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
update_host_keys = "ask"
"#,
        r#"error: `update_host_keys` cannot be `ask`: nobody is there to answer
 --> /etc/tunneld/tunneld.toml:4:20
  |
4 | update_host_keys = "ask"
  |                    ^^^^^
  |
  = help: write true to have the keys written that the server proves to have
"#,
    );
    let (said, _) = problem("update_host_keys = 1");
    assert_eq!(
        said,
        "`update_host_keys` wants `true` or `false`, not a number"
    );
    let (said, _) = problem("update_host_keys = 'maybe'");
    assert_eq!(
        said,
        "`update_host_keys` wants \"yes\" or \"no\", not `maybe`"
    );
}

#[test]
fn an_address_to_come_from_is_not_a_name_and_of_the_family_that_is_wanted() {
    assert_problems(
        r#"[defaults]
address_family = "inet"
[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
bind_address = "eth0"
[tunnels.web]
host = "web"
local_forward = "80:web:80"
bind_address = "::1"
[tunnels.x]
host = "x"
local_forward = "81:x:80"
address_family = "v6"
"#,
        r#"error: `bind_address` is no IP address: `eth0`
 --> /etc/tunneld/tunneld.toml:6:16
  |
6 | bind_address = "eth0"
  |                ^^^^^^
  |
  = help: write an address of this machine, such as "192.0.2.7"; a name is not looked up here

error: `bind_address` is ::1, and `address_family` is "inet"
  --> /etc/tunneld/tunneld.toml:10:16
   |
10 | bind_address = "::1"
   |                ^^^^^

error: `address_family` wants "any", "inet" or "inet6", not `v6`
  --> /etc/tunneld/tunneld.toml:14:18
   |
14 | address_family = "v6"
   |                  ^^^^
"#,
    );
}

#[test]
fn a_credential_is_a_name_that_is_no_secret() {
    let long = format!("password_credential = '{}'", "x".repeat(256));
    let no_name = "is no name of a credential: letters, digits, `.`, `_` and `-`";
    for (line, said) in [
        ("password_credential = ''", "`password_credential` is empty"),
        (
            "password_credential = '..'",
            &format!("`password_credential` {no_name}"),
        ),
        (
            "passphrase_credential = 'a:b'",
            &format!("`passphrase_credential` {no_name}"),
        ),
        (
            "passphrase_credential = 'key@x'",
            &format!("`passphrase_credential` {no_name}"),
        ),
        (
            "passphrase_credential = 'a b'",
            &format!("`passphrase_credential` {no_name}"),
        ),
        (
            "passphrase_credential = '~x'",
            &format!("`passphrase_credential` {no_name}"),
        ),
        (
            "passphrase_credential = 'é'",
            &format!("`passphrase_credential` {no_name}"),
        ),
        (&long, "`password_credential` has more than 255 bytes"),
    ] {
        let help = "write the name that LoadCredential= has in the unit, or a path with a `/`; \
                    secrets are never in this file";
        assert_eq!(problem(line), (said.to_owned(), help.to_owned()));
    }
    let (said, _) = problem("password_credential = ['a']");
    let wanted = "`password_credential` wants the name of a credential, or a path, not an array";
    assert_eq!(said, wanted);
    let (said, _) = problem("password_credential = '~me/x'");
    assert_eq!(
        said,
        "`password_credential` has a `~` that is not followed by `/`"
    );
}

#[test]
fn an_agent_is_a_socket_that_can_be() {
    let long = format!("identity_agent = '/{}'", "x".repeat(107));
    for (line, said) in [
        ("identity_agent = ''", "`identity_agent` is an empty path"),
        (
            "identity_agent = '$1'",
            "`identity_agent` has no environment variable in `$1`",
        ),
        (
            "identity_agent = '${X}'",
            "`identity_agent` has no environment variable in `${X}`",
        ),
        (
            "identity_agent = '$'",
            "`identity_agent` has no environment variable in `$`",
        ),
        (
            "identity_agent = true",
            "`identity_agent` wants a path, \"SSH_AUTH_SOCK\" or \"none\", not a boolean",
        ),
        (
            &long,
            "`identity_agent` has a path of 108 bytes, that of a unix socket has at most 107",
        ),
    ] {
        assert_eq!(problem(line).0, said);
    }
}

#[test]
fn an_alias_is_a_name_without_a_port_and_without_wildcards() {
    for (line, said) in [
        ("host_key_alias = ''", "`host_key_alias` is empty"),
        (
            "host_key_alias = 'db:22'",
            "`host_key_alias` is a name alone, without a port",
        ),
        (
            "host_key_alias = '*.example.com'",
            "`host_key_alias` has a character that no host has: '*'",
        ),
        (
            "host_key_alias = '[db]:22'",
            "`host_key_alias` has a character that no host has: '['",
        ),
    ] {
        assert_eq!(problem(line).0, said);
    }
}

#[test]
fn a_limit_that_would_change_keys_all_the_time_is_refused() {
    for (line, said) in [
        (
            "rekey_limit = '16'",
            "`rekey_limit` has to be at least 1M bytes",
        ),
        (
            "rekey_limit = 'default 1s'",
            "`rekey_limit` has a time that has to be at least 10s",
        ),
        (
            "rekey_limit = '1h'",
            "`rekey_limit` has no number of bytes in `1h`",
        ),
        (
            "rekey_limit = 1000000",
            "`rekey_limit` wants a string such as \"1G 1h\", not a number",
        ),
    ] {
        assert_eq!(problem(line).0, said);
    }
}

#[test]
fn a_key_of_ssh_is_known_under_its_own_name() {
    for (written, name) in [
        ("CertificateFile = 'x'", "certificate_file"),
        ("HostKeyAlgorithms = 'x'", "host_key_algorithms"),
        ("MACs = 'x'", "macs"),
        ("RekeyLimit = 'x'", "rekey_limit"),
        ("UpdateHostKeys = 'x'", "update_host_keys"),
    ] {
        assert_eq!(problem(written).1, format!("did you mean `{name}`?"));
    }
}
