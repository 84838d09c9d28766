//! The exact words for each kind of problem, as a person reads them.

use super::*;

#[test]
fn an_unknown_key_is_named_with_the_key_that_was_meant() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_foward = ["5432:localhost:5432"]
"#,
        r#"error: unknown key `local_foward`
 --> /etc/tunneld/tunneld.toml:3:1
  |
3 | local_foward = ["5432:localhost:5432"]
  | ^^^^^^^^^^^^ did you mean `local_forward`?
"#,
    );
}

#[test]
fn nonsense_gets_no_suggestion() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
frobnicate = 1
"#,
        r"error: unknown key `frobnicate`
 --> /etc/tunneld/tunneld.toml:4:1
  |
4 | frobnicate = 1
  | ^^^^^^^^^^
",
    );
}

#[test]
fn a_key_of_ssh_config_is_led_to_its_spelling_here() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
ServerAliveInterval = 15
"#,
        r"error: unknown key `ServerAliveInterval`
 --> /etc/tunneld/tunneld.toml:4:1
  |
4 | ServerAliveInterval = 15
  | ^^^^^^^^^^^^^^^^^^^ did you mean `server_alive_interval`?
",
    );
}

#[test]
fn a_key_of_another_table_is_sent_there() {
    assert_problems(
        r#"[defaults]
host = "db"
[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
ready_when = "all"
"#,
        r#"error: unknown key `host`
 --> /etc/tunneld/tunneld.toml:2:1
  |
2 | host = "db"
  | ^^^^ `host` belongs in [tunnels.NAME]

error: unknown key `ready_when`
 --> /etc/tunneld/tunneld.toml:6:1
  |
6 | ready_when = "all"
  | ^^^^^^^^^^ `ready_when` belongs in [daemon]
"#,
    );
}

#[test]
fn a_tunnel_outside_of_tunnels_is_sent_there() {
    assert_problems(
        r#"[db]
host = "db"
"#,
        r"error: unknown key `db`
 --> /etc/tunneld/tunneld.toml:1:2
  |
1 | [db]
  |  ^^ did you mean [tunnels.db]?
",
    );
}

#[test]
fn a_wrong_type_says_what_was_wanted_and_what_was_found() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
port = "22"
user = 7
enabled = "yes"
connect_timeout = 1.5
reconnect = 3
identity_file = [1]
stall_timeout = 2026-01-01
"#,
        r#"error: `port` wants a number from 1 to 65535, not a string
 --> /etc/tunneld/tunneld.toml:4:8
  |
4 | port = "22"
  |        ^^^^

error: `user` wants a login name, not a number
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | user = 7
  |        ^

error: `enabled` wants `true` or `false`, not a string
 --> /etc/tunneld/tunneld.toml:6:11
  |
6 | enabled = "yes"
  |           ^^^^^

error: `connect_timeout` wants a duration, not a float
 --> /etc/tunneld/tunneld.toml:7:19
  |
7 | connect_timeout = 1.5
  |                   ^^^
  |
  = help: write "15s", "500ms" or "1m30s"; a bare number is seconds

error: `reconnect` wants a table, not a number
 --> /etc/tunneld/tunneld.toml:8:13
  |
8 | reconnect = 3
  |             ^

error: `identity_file` wants a path or an array of paths, not a number
 --> /etc/tunneld/tunneld.toml:9:18
  |
9 | identity_file = [1]
  |                  ^

error: `stall_timeout` wants a duration, not a date
  --> /etc/tunneld/tunneld.toml:10:17
   |
10 | stall_timeout = 2026-01-01
   |                 ^^^^^^^^^^
   |
   = help: write "15s", "500ms" or "1m30s"; a bare number is seconds
"#,
    );
}

#[test]
fn a_number_out_of_range_says_the_range() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
port = 65536
server_alive_count_max = 1001
reconnect = { multiplier = 0.5, jitter = 2 }
"#,
        r"error: `port` wants a number from 1 to 65535, not `65536`
 --> /etc/tunneld/tunneld.toml:4:8
  |
4 | port = 65536
  |        ^^^^^

error: `server_alive_count_max` wants a number from 0 to 1000, not `1001`
 --> /etc/tunneld/tunneld.toml:5:26
  |
5 | server_alive_count_max = 1001
  |                          ^^^^

error: `reconnect.multiplier` wants a number from 1 to 100, not `0.5`
 --> /etc/tunneld/tunneld.toml:6:28
  |
6 | reconnect = { multiplier = 0.5, jitter = 2 }
  |                            ^^^

error: `reconnect.jitter` wants a number from 0 to 1, not `2`
 --> /etc/tunneld/tunneld.toml:6:42
  |
6 | reconnect = { multiplier = 0.5, jitter = 2 }
  |                                          ^
",
    );
}

#[test]
fn a_wrong_duration_says_how_to_write_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
connect_timeout = "15 parsecs"
server_alive_interval = -1
stall_timeout = "0s"
reconnect.reset_after = "2y"
reconnect.initial = 0
"#,
        r#"error: `connect_timeout` is not a duration: there is no unit `parsecs`
 --> /etc/tunneld/tunneld.toml:4:19
  |
4 | connect_timeout = "15 parsecs"
  |                   ^^^^^^^^^^^^
  |
  = help: write "15s", "500ms" or "1m30s"

error: `server_alive_interval` cannot be negative
 --> /etc/tunneld/tunneld.toml:5:25
  |
5 | server_alive_interval = -1
  |                         ^^
  |
  = help: write "15s", "500ms" or "1m30s"; a bare number is seconds

error: `stall_timeout` has to be more than 0
 --> /etc/tunneld/tunneld.toml:6:17
  |
6 | stall_timeout = "0s"
  |                 ^^^^

error: `reconnect.reset_after` cannot be longer than 365 days
 --> /etc/tunneld/tunneld.toml:7:25
  |
7 | reconnect.reset_after = "2y"
  |                         ^^^^

error: `reconnect.initial` has to be more than 0
 --> /etc/tunneld/tunneld.toml:8:21
  |
8 | reconnect.initial = 0
  |                     ^
"#,
    );
}

#[test]
fn the_first_delay_is_at_most_the_longest() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
reconnect = { initial = "2m" }
"#,
        r#"error: `reconnect.initial` is longer than `reconnect.max`: 2m > 1m
 --> /etc/tunneld/tunneld.toml:4:25
  |
4 | reconnect = { initial = "2m" }
  |                         ^^^^
"#,
    );
}

#[test]
fn a_mistake_in_the_defaults_is_reported_once() {
    assert_problems(
        r#"[defaults]
reconnect = { initial = "2m", max = "1m" }
[tunnels.a]
host = "a"
local_forward = "1:a:1"
[tunnels.b]
host = "b"
local_forward = "2:b:2"
"#,
        r#"error: `reconnect.initial` is longer than `reconnect.max`: 2m > 1m
 --> /etc/tunneld/tunneld.toml:2:37
  |
2 | reconnect = { initial = "2m", max = "1m" }
  |                                     ^^^^
"#,
    );
}

#[test]
fn host_keys_are_always_checked() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
strict_host_key_checking = "no"
"#,
        r#"error: `strict_host_key_checking` cannot be `no`: host keys are always checked
 --> /etc/tunneld/tunneld.toml:4:28
  |
4 | strict_host_key_checking = "no"
  |                            ^^^^
  |
  = help: write "accept-new" to trust a host's key the first time it is seen, or pin it with `host_key_fingerprint`
"#,
    );
}

#[test]
fn false_is_no_way_around_host_keys() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
strict_host_key_checking = false
"#,
        r#"error: `strict_host_key_checking` cannot be `false`: host keys are always checked
 --> /etc/tunneld/tunneld.toml:4:28
  |
4 | strict_host_key_checking = false
  |                            ^^^^^
  |
  = help: write "accept-new" to trust a host's key the first time it is seen, or pin it with `host_key_fingerprint`
"#,
    );
}

#[test]
fn nobody_is_there_to_be_asked() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
strict_host_key_checking = "ask"
"#,
        r#"error: `strict_host_key_checking` cannot be `ask`: nobody is there to answer
 --> /etc/tunneld/tunneld.toml:4:28
  |
4 | strict_host_key_checking = "ask"
  |                            ^^^^^
  |
  = help: write "accept-new" to trust a host's key the first time it is seen, or pin it with `host_key_fingerprint`
"#,
    );
}

#[test]
fn a_word_that_is_no_choice_finds_the_choices() {
    assert_problems(
        r#"[daemon]
ready_when = "setled"
"#,
        r#"error: `ready_when` wants "settled", "all" or "any", not `setled`
 --> /etc/tunneld/tunneld.toml:2:14
  |
2 | ready_when = "setled"
  |              ^^^^^^^^ did you mean `settled`?
"#,
    );
}

#[test]
fn metrics_are_served_at_an_address_and_not_at_a_name() {
    assert_problems(
        r#"[daemon]
metrics_listen = "db1:9478"
"#,
        r#"error: `metrics_listen` wants an address of this machine, and not a name
 --> /etc/tunneld/tunneld.toml:2:18
  |
2 | metrics_listen = "db1:9478"
  |                  ^^^^^^^^^^
  |
  = help: write "127.0.0.1:9478", or "[::]:9478" for every address
"#,
    );
}

#[test]
fn a_fingerprint_is_of_sha256() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
host_key_fingerprint = ["MD5:16:27", "SHA256:abc", 1]
"#,
        r#"error: `host_key_fingerprint` takes no MD5 fingerprint, MD5 is broken
 --> /etc/tunneld/tunneld.toml:4:25
  |
4 | host_key_fingerprint = ["MD5:16:27", "SHA256:abc", 1]
  |                         ^^^^^^^^^^^
  |
  = help: `ssh-keygen -l -E sha256 -f FILE` prints the SHA256 fingerprint

error: `host_key_fingerprint` is not a fingerprint: `SHA256:abc` has 3 characters after it, not 43
 --> /etc/tunneld/tunneld.toml:4:38
  |
4 | host_key_fingerprint = ["MD5:16:27", "SHA256:abc", 1]
  |                                      ^^^^^^^^^^^^
  |
  = help: `ssh-keygen -l -f FILE` prints it: SHA256: and 43 characters

error: `host_key_fingerprint` wants a string or an array of strings, not a number
 --> /etc/tunneld/tunneld.toml:4:52
  |
4 | host_key_fingerprint = ["MD5:16:27", "SHA256:abc", 1]
  |                                                    ^
"#,
    );
}

#[test]
fn a_file_is_named() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
identity_file = []
known_hosts = []
"#,
        r"error: `identity_file` names no file
 --> /etc/tunneld/tunneld.toml:4:17
  |
4 | identity_file = []
  |                 ^^
  |
  = help: name a private key, leave the key out to use those in ~/.ssh, or write `none` to use none

error: `known_hosts` names no file, so no host key can be checked
 --> /etc/tunneld/tunneld.toml:5:15
  |
5 | known_hosts = []
  |               ^^
  |
  = help: name a file, leave the key out to use the usual ones, or pin the host's key with `host_key_fingerprint`
",
    );
}

#[test]
fn a_path_is_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = "5432:db:5432"
identity_file = ["", "~me/key", "a\u0000b"]
"#,
        r#"error: `identity_file` is an empty path
 --> /etc/tunneld/tunneld.toml:4:18
  |
4 | identity_file = ["", "~me/key", "a\u0000b"]
  |                  ^^

error: `identity_file` has a `~` that is not followed by `/`
 --> /etc/tunneld/tunneld.toml:4:22
  |
4 | identity_file = ["", "~me/key", "a\u0000b"]
  |                      ^^^^^^^^^
  |
  = help: write the whole path, or `./~…` for a file of that name

error: `identity_file` has a control character: '\0'
 --> /etc/tunneld/tunneld.toml:4:33
  |
4 | identity_file = ["", "~me/key", "a\u0000b"]
  |                                 ^^^^^^^^^^
"#,
    );
}

#[test]
fn a_host_is_only_the_host() {
    assert_problems(
        r#"[tunnels.a]
host = "me@a"
local_forward = "1:a:1"
[tunnels.b]
host = "b:2222"
local_forward = "2:b:2"
[tunnels.c]
host = "-oProxyCommand=x"
local_forward = "3:c:3"
"#,
        r#"error: `host` is the host alone, without a user
 --> /etc/tunneld/tunneld.toml:2:8
  |
2 | host = "me@a"
  |        ^^^^^^
  |
  = help: write host = "a" and user = "me"

error: `host` is the host alone, without a port
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | host = "b:2222"
  |        ^^^^^^^^
  |
  = help: write host = "b" and port = 2222

error: `host` cannot begin with `-`
 --> /etc/tunneld/tunneld.toml:8:8
  |
8 | host = "-oProxyCommand=x"
  |        ^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_tunnel_needs_a_host_and_a_forward() {
    assert_problems(
        r#"[tunnels.db]
user = "me"
[tunnels.e]
host = "e"
local_forward = []
"#,
        r#"error: tunnel `db` has no `host`
 --> /etc/tunneld/tunneld.toml:1:10
  |
1 | [tunnels.db]
  |          ^^

error: tunnel `db` forwards nothing
 --> /etc/tunneld/tunneld.toml:1:10
  |
1 | [tunnels.db]
  |          ^^
  |
  = help: add local_forward = "5432:localhost:5432"

error: tunnel `e` forwards nothing
 --> /etc/tunneld/tunneld.toml:3:10
  |
3 | [tunnels.e]
  |          ^
  |
  = help: add local_forward = "5432:localhost:5432"
"#,
    );
}

#[test]
fn a_tunnel_is_a_table_and_is_checked_whatever_its_name() {
    assert_problems(
        r#"[tunnels]
db = 3
"a b" = { host = "db", local_forward = "5432:db:5432", port = "ssh" }
"#,
        r#"error: `tunnels.db` wants a table, not a number
 --> /etc/tunneld/tunneld.toml:2:6
  |
2 | db = 3
  |      ^

error: bad tunnel name `a b`: a name has only letters, digits, `-`, `_` and `.`, not ' '
 --> /etc/tunneld/tunneld.toml:3:1
  |
3 | "a b" = { host = "db", local_forward = "5432:db:5432", port = "ssh" }
  | ^^^^^

error: `port` wants a number from 1 to 65535, not a string
 --> /etc/tunneld/tunneld.toml:3:63
  |
3 | "a b" = { host = "db", local_forward = "5432:db:5432", port = "ssh" }
  |                                                               ^^^^^
"#,
    );
}

#[test]
fn tunnels_is_a_table() {
    assert_problems(
        r"tunnels = 3
daemon = []
",
        r"error: `tunnels` wants a table, not a number
 --> /etc/tunneld/tunneld.toml:1:11
  |
1 | tunnels = 3
  |           ^

error: `daemon` wants a table, not an array
 --> /etc/tunneld/tunneld.toml:2:10
  |
2 | daemon = []
  |          ^^
",
    );
}

#[test]
fn a_wrong_forward_says_how_to_write_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = ["5432", "0:db:80", "gateway:80:db:80", 80]
"#,
        r#"error: `local_forward` is not a forward that `ssh -L` takes: `5432`
 --> /etc/tunneld/tunneld.toml:3:18
  |
3 | local_forward = ["5432", "0:db:80", "gateway:80:db:80", 80]
  |                  ^^^^^^
  |
  = help: write "port:host:hostport" or "address:port:host:hostport"

error: `local_forward` has port 0, a port is from 1 to 65535
 --> /etc/tunneld/tunneld.toml:3:26
  |
3 | local_forward = ["5432", "0:db:80", "gateway:80:db:80", 80]
  |                          ^^^^^^^^^
  |
  = help: write "port:host:hostport" or "address:port:host:hostport"

error: `local_forward` cannot listen on `gateway`: it is not an address
 --> /etc/tunneld/tunneld.toml:3:37
  |
3 | local_forward = ["5432", "0:db:80", "gateway:80:db:80", 80]
  |                                     ^^^^^^^^^^^^^^^^^^
  |
  = help: give an IP address, `localhost`, or `*` for every address

error: `local_forward` wants strings as `ssh -L` takes them, or tables, not a number
 --> /etc/tunneld/tunneld.toml:3:57
  |
3 | local_forward = ["5432", "0:db:80", "gateway:80:db:80", 80]
  |                                                         ^^
  |
  = help: write "80:host:hostport"
"#,
    );
}

#[test]
fn a_forward_in_a_table_says_what_it_lacks() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
"#,
        r#"error: this forward has no `connect`
 --> /etc/tunneld/tunneld.toml:3:18
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                  ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write { listen = "127.0.0.1:5432", connect = "localhost:5432" }

error: `listen` has too many colons: `::1:80`
 --> /etc/tunneld/tunneld.toml:3:29
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                             ^^^^^^^^
  |
  = help: an IPv6 address is written in brackets: "[::1]:80"

error: this forward has no `listen`
 --> /etc/tunneld/tunneld.toml:3:41
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                                         ^^^^^^^^^^^^^^^^^^
  |
  = help: write { listen = "127.0.0.1:5432", connect = "localhost:5432" }

error: `connect` needs a port after its host
 --> /etc/tunneld/tunneld.toml:3:53
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                                                     ^^^^
  |
  = help: write "host:port"

error: bad `name`: a name has only letters, digits, `-`, `_` and `.`, not ' '
 --> /etc/tunneld/tunneld.toml:3:70
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                                                                      ^^^^^

error: `listen` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:3:86
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                                                                                      ^

error: `connect` wants "host:port", "[v6]:port" or "/path", not a number
 --> /etc/tunneld/tunneld.toml:3:99
  |
3 | local_forward = [{ listen = "::1:80" }, { connect = "db" }, { name = "a b", listen = 0, connect = 3 }]
  |                                                                                                   ^
"#,
    );
}

#[test]
fn the_rest_of_a_forward_is_checked() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
[[tunnels.db.local_forward]]
listen = 80
connect = "db:80"
while_down = "hold"
wait_timeout = 0
max_connections = 0
"#,
        r#"error: `while_down` wants "wait" or "refuse", not `hold`
 --> /etc/tunneld/tunneld.toml:6:14
  |
6 | while_down = "hold"
  |              ^^^^^^

error: `wait_timeout` has to be more than 0
 --> /etc/tunneld/tunneld.toml:7:16
  |
7 | wait_timeout = 0
  |                ^

error: `max_connections` wants a number from 1 to 1000000, not `0`
 --> /etc/tunneld/tunneld.toml:8:19
  |
8 | max_connections = 0
  |                   ^
"#,
    );
}

#[test]
fn two_forwards_of_one_name_are_shown_both() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = [
  { name = "pg", listen = 80, connect = "db:80" },
  { name = "pg", listen = 81, connect = "db:80" },
]
"#,
        r#"error: two forwards of this tunnel are named `pg`
 --> /etc/tunneld/tunneld.toml:5:12
  |
5 |   { name = "pg", listen = 81, connect = "db:80" },
  |            ^^^^ first used at line 4
"#,
    );
}

#[test]
fn two_tunnels_cannot_listen_on_one_address() {
    assert_problems(
        r#"[tunnels.reports]
host = "a"
local_forward = ["127.0.0.1:5432:a:5432"]
[tunnels.db]
host = "a"
local_forward = ["127.0.0.1:5432:a:5432"]
"#,
        r#"error: `reports` and `db` both listen on 127.0.0.1:5432
 --> /etc/tunneld/tunneld.toml:6:18
  |
6 | local_forward = ["127.0.0.1:5432:a:5432"]
  |                  ^^^^^^^^^^^^^^^^^^^^^^^ first used at line 3
"#,
    );
}

#[test]
fn addresses_that_overlap_are_a_conflict() {
    assert_problems(
        r#"[tunnels.a]
host = "a"
local_forward = ["5432:a:1", "*:5432:a:2"]
[tunnels.b]
host = "b"
local_forward = "[::1]:5432:b:3"
"#,
        r#"error: `a` listens on localhost:5432 and on *:5432, which overlap
 --> /etc/tunneld/tunneld.toml:3:30
  |
3 | local_forward = ["5432:a:1", "*:5432:a:2"]
  |                              ^^^^^^^^^^^^ first used at line 3

error: `a` listens on *:5432 and `b` on [::1]:5432, which overlap
 --> /etc/tunneld/tunneld.toml:6:17
  |
6 | local_forward = "[::1]:5432:b:3"
  |                 ^^^^^^^^^^^^^^^^ first used at line 3
"#,
    );
}

#[test]
fn an_empty_file_is_not_a_file_without_tunnels() {
    assert_problems(
        r"# nothing

  
",
        r#"error: `/etc/tunneld/tunneld.toml` is empty
--> /etc/tunneld/tunneld.toml
 = help: a tunnel needs a host and something to forward:
         [tunnels.db]
         host = "db.example.com"
         local_forward = "5432:localhost:5432"
"#,
    );
}

#[test]
fn a_syntax_error_is_shown_with_the_problems_around_it() {
    assert_problems(
        r"[daemon]
ready_when = nope
start_timeot = 3
[tunnels.db]
host = 
",
        r"error: a string has to be in quotes
 --> /etc/tunneld/tunneld.toml:2:14
  |
2 | ready_when = nope
  |              ^^^^

error: unknown key `start_timeot`
 --> /etc/tunneld/tunneld.toml:3:1
  |
3 | start_timeot = 3
  | ^^^^^^^^^^^^ did you mean `start_timeout`?

error: this key has no value
 --> /etc/tunneld/tunneld.toml:5:8
  |
5 | host =
  |        ^
",
    );
}

#[test]
fn an_array_that_is_not_closed_is_shown_where_it_is_opened() {
    assert_problems(
        r#"[tunnels.db]
prot = 1
local_forward = ["1:a:1"
host = "db"
[tunnels.b]
host = "b"
"#,
        r#"error: unknown key `prot`
 --> /etc/tunneld/tunneld.toml:2:1
  |
2 | prot = 1
  | ^^^^ did you mean `port`?

error: unclosed array
 --> /etc/tunneld/tunneld.toml:3:17
  |
3 | local_forward = ["1:a:1"
  |                 ^ opened here and never closed
"#,
    );
}

#[test]
fn a_header_that_is_not_closed_hides_its_keys() {
    assert_problems(
        r#"[tunnels.db
host = "db"
port = 1
[daemon]
x = 1
"#,
        r"error: unclosed table, expected `]`
 --> /etc/tunneld/tunneld.toml:1:12
  |
1 | [tunnels.db
  |            ^

error: unknown key `x`
 --> /etc/tunneld/tunneld.toml:5:1
  |
5 | x = 1
  | ^
",
    );
}

#[test]
fn a_key_is_written_once() {
    assert_problems(
        r#"[tunnels.db]
host = "a"
local_forward = "1:a:1"
host = "b"
[tunnels.db]
port = 1
"#,
        r#"error: duplicate key `host`
 --> /etc/tunneld/tunneld.toml:4:1
  |
4 | host = "b"
  | ^^^^ first used at line 2

error: duplicate key `db`
 --> /etc/tunneld/tunneld.toml:5:10
  |
5 | [tunnels.db]
  |          ^^ first used at line 1
"#,
    );
}

#[test]
fn strings_are_in_quotes_that_are_closed() {
    assert_problems(
        r#"[tunnels.db]
host = "db
port = 0
"#,
        r#"error: invalid basic string, expected `"`
 --> /etc/tunneld/tunneld.toml:2:11
  |
2 | host = "db
  |           ^

error: `port` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:3:8
  |
3 | port = 0
  |        ^
"#,
    );
}
