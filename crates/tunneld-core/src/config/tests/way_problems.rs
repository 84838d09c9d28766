//! The exact words for each problem of the way to a host, as a person reads them.

use super::*;

#[test]
fn a_wrong_jump_host_says_how_to_write_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
"#,
        r#"error: `proxy_jump` has `x` where a port is wanted
 --> /etc/tunneld/tunneld.toml:4:15
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |               ^^^^^^^^^

error: `proxy_jump` has a jump host that is empty
 --> /etc/tunneld/tunneld.toml:4:26
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                          ^^
  |
  = help: write "host", "user@host:port" or "user@[v6]:port"

error: `proxy_jump` has a jump host that cannot begin with `-`
 --> /etc/tunneld/tunneld.toml:4:30
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                              ^^^^

error: this jump host has no `host`
 --> /etc/tunneld/tunneld.toml:4:36
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                                    ^^^^^^^^^^^^^
  |
  = help: write { host = "bastion.example.com" }

error: unknown key `hots`
 --> /etc/tunneld/tunneld.toml:4:53
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                                                     ^^^^ did you mean `host`?

error: `proxy_jump` wants strings like "user@host:port", or tables, not a number
 --> /etc/tunneld/tunneld.toml:4:67
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                                                                   ^

error: `proxy_jump` has `none` among jump hosts
 --> /etc/tunneld/tunneld.toml:4:70
  |
4 | proxy_jump = ["ops@b:x", "", "-J", { port = 22 }, { hots = "x" }, 3, "none"]
  |                                                                      ^^^^^^
  |
  = help: write proxy_jump = "none" for no jump host at all
"#,
    );
}

#[test]
fn a_jump_host_has_only_its_own_keys() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
[[tunnels.db.proxy_jump]]
host = "ops@b"
port = 0
proxy_jump = "c"
compression = true
identity_file = []
strict_host_key_checking = "no"
host_key_fingerprint = "x"
"#,
        r#"error: `host` is the host alone, without a user
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | host = "ops@b"
  |        ^^^^^^^
  |
  = help: write host = "b" and user = "ops"

error: `port` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:6:8
  |
6 | port = 0
  |        ^

error: unknown key `proxy_jump`
 --> /etc/tunneld/tunneld.toml:7:1
  |
7 | proxy_jump = "c"
  | ^^^^^^^^^^ `proxy_jump` belongs in [tunnels.NAME] or [defaults]

error: unknown key `compression`
 --> /etc/tunneld/tunneld.toml:8:1
  |
8 | compression = true
  | ^^^^^^^^^^^ `compression` belongs in [tunnels.NAME] or [defaults]

error: `identity_file` names no file
 --> /etc/tunneld/tunneld.toml:9:17
  |
9 | identity_file = []
  |                 ^^
  |
  = help: name a private key, leave the key out to use those in ~/.ssh, or write `none` to use none

error: `strict_host_key_checking` cannot be `no`: host keys are always checked
  --> /etc/tunneld/tunneld.toml:10:28
   |
10 | strict_host_key_checking = "no"
   |                            ^^^^
   |
   = help: write "accept-new" to trust a host's key the first time it is seen, or pin it with `host_key_fingerprint`

error: `host_key_fingerprint` is not a fingerprint: `x` does not begin with `SHA256:`
  --> /etc/tunneld/tunneld.toml:11:24
   |
11 | host_key_fingerprint = "x"
   |                        ^^^
   |
   = help: `ssh-keygen -l -f FILE` prints it: SHA256: and 43 characters
"#,
    );
}

#[test]
fn there_are_at_most_eight_jump_hosts() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
proxy_jump = ["a,b,c,d,e", "f,g,h,i"]
"#,
        r#"error: `proxy_jump` has 9 jump hosts, at most 8 are taken
 --> /etc/tunneld/tunneld.toml:4:14
  |
4 | proxy_jump = ["a,b,c,d,e", "f,g,h,i"]
  |              ^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn the_key_of_a_jump_host_is_checked_too() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
known_hosts = []
host_key_fingerprint = "SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U"
proxy_jump = "b"
"#,
        r"error: `known_hosts` names no file, so the host key of jump host `b` cannot be checked
 --> /etc/tunneld/tunneld.toml:4:15
  |
4 | known_hosts = []
  |               ^^
  |
  = help: name a file, leave the key out to use the usual ones, or pin the host's key with `host_key_fingerprint`
",
    );
}

#[test]
fn a_proxy_is_a_url_without_a_secret() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
proxy = "http://me:pw@p:80"
[tunnels.a]
host = "a"
local_forward = "2:a:1"
proxy = "https://p:80"
[tunnels.b]
host = "b"
local_forward = "3:a:1"
proxy = "p:80"
[tunnels.c]
host = "c"
local_forward = "4:a:1"
proxy = "socks5://p"
"#,
        r#"error: `proxy` has a user or a password: secrets are never in this file
 --> /etc/tunneld/tunneld.toml:4:9
  |
4 | proxy = …
  |         ^
  |
  = help: use a proxy that asks for none, or a `proxy_command`

error: `proxy` cannot speak `https` to a proxy
 --> /etc/tunneld/tunneld.toml:8:9
  |
8 | proxy = "https://p:80"
  |         ^^^^^^^^^^^^^^
  |
  = help: write "socks5://host:port" or "http://host:port"

error: `proxy` is not the URL of a proxy: `p:80`
  --> /etc/tunneld/tunneld.toml:12:9
   |
12 | proxy = "p:80"
   |         ^^^^^^
   |
   = help: write "socks5://host:port" or "http://host:port"

error: `proxy` has no port
  --> /etc/tunneld/tunneld.toml:16:9
   |
16 | proxy = "socks5://p"
   |         ^^^^^^^^^^^^
   |
   = help: write "socks5://host:port" or "http://host:port"
"#,
    );
}

#[test]
fn a_command_has_a_program_and_known_tokens() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
proxy_command = "nc %d"
[tunnels.a]
host = "a"
local_forward = "2:a:1"
proxy_command = ["", "%h"]
[tunnels.b]
host = "b"
local_forward = "3:a:1"
proxy_command = []
[tunnels.c]
host = "c"
local_forward = "4:a:1"
proxy_command = ["nc", 3]
"#,
        r#"error: `proxy_command` has a token that is not known: `%d`
 --> /etc/tunneld/tunneld.toml:4:17
  |
4 | proxy_command = "nc %d"
  |                 ^^^^^^^
  |
  = help: there are %h and %n (the host), %p (the port), %r (the user) and %%

error: `proxy_command` names no program
 --> /etc/tunneld/tunneld.toml:8:17
  |
8 | proxy_command = ["", "%h"]
  |                 ^^^^^^^^^^
  |
  = help: write the program first, and then its arguments

error: `proxy_command` names no program
  --> /etc/tunneld/tunneld.toml:12:17
   |
12 | proxy_command = []
   |                 ^^
   |
   = help: write the program first, and then its arguments

error: `proxy_command` wants a command, or an array of a program and its arguments, not a number
  --> /etc/tunneld/tunneld.toml:16:24
   |
16 | proxy_command = ["nc", 3]
   |                        ^
"#,
    );
}

#[test]
fn there_is_one_way_to_make_a_connection() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "1:a:1"
proxy_command = "nc %h %p"
proxy = "socks5://p:1080"
"#,
        r#"error: `proxy` and `proxy_command` exclude each other
 --> /etc/tunneld/tunneld.toml:5:9
  |
5 | proxy = "socks5://p:1080"
  |         ^^^^^^^^^^^^^^^^^ the other one at line 4
"#,
    );
}

#[test]
fn the_fewest_sessions_are_not_more_than_the_most() {
    assert_problems(
        r#"[defaults]
min_sessions = 4
[tunnels.db]
host = "db"
local_forward = "1:a:1"
max_sessions = 2
[tunnels.a]
host = "a"
local_forward = "2:a:1"
min_sessions = 0
max_sessions = 17
"#,
        r"error: `min_sessions` is more than `max_sessions`: 4 > 2
 --> /etc/tunneld/tunneld.toml:6:16
  |
6 | max_sessions = 2
  |                ^

error: `min_sessions` wants a number from 1 to 16, not `0`
  --> /etc/tunneld/tunneld.toml:10:16
   |
10 | min_sessions = 0
   |                ^

error: `max_sessions` wants a number from 1 to 16, not `17`
  --> /etc/tunneld/tunneld.toml:11:16
   |
11 | max_sessions = 17
   |                ^^
",
    );
}
