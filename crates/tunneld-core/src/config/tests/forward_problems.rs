//! The exact words for each problem of a forward, as a person reads them.

use super::*;

#[test]
fn a_wrong_remote_forward_says_how_to_write_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
"#,
        r#"error: `remote_forward` has `http` where a port is wanted
 --> /etc/tunneld/tunneld.toml:3:19
  |
3 | remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
  |                   ^^^^^^^^^^^^
  |
  = help: write "port:host:hostport", "bind:port:host:hostport", or "port" alone for SOCKS

error: `remote_forward` has the path of a unix socket that does not begin with `/`: `run/a`
 --> /etc/tunneld/tunneld.toml:3:33
  |
3 | remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
  |                                 ^^^^^^^^^^^^^
  |
  = help: write the whole path

error: `remote_forward` names a folder, and no unix socket in it: `/run/a/`
 --> /etc/tunneld/tunneld.toml:3:48
  |
3 | remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
  |                                                ^^^^^^^^^^^^^^

error: `remote_forward` has a bind address that has a character that no host has: ' '
 --> /etc/tunneld/tunneld.toml:3:64
  |
3 | remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
  |                                                                ^^^^^^^^^^^^^
  |
  = help: write "port:host:hostport", "bind:port:host:hostport", or "port" alone for SOCKS

error: `remote_forward` wants strings as `ssh -R` takes them, or tables, not a number
 --> /etc/tunneld/tunneld.toml:3:79
  |
3 | remote_forward = ["http:db:80", "run/a:db:80", "8081:/run/a/", "a b:1:db:80", 80]
  |                                                                               ^^
  |
  = help: write "80" for SOCKS at the server, or "80:host:hostport"
"#,
    );
}

#[test]
fn a_socket_of_systemd_is_not_at_the_server() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
remote_forward = [{ listen = "fd:web", connect = "h:80" }, "fd:web:h:80", "fd:8080:h:80"]
"#,
        r#"error: `listen` is a place of the server, and `fd:` names a socket of this machine
 --> /etc/tunneld/tunneld.toml:3:30
  |
3 | remote_forward = [{ listen = "fd:web", connect = "h:80" }, "fd:web:h:80", "fd:8080:h:80"]
  |                              ^^^^^^^^
  |
  = help: write "bind:port", "port" or "/path"

error: `remote_forward` is a place of the server, and `fd:` names a socket of this machine
 --> /etc/tunneld/tunneld.toml:3:60
  |
3 | remote_forward = [{ listen = "fd:web", connect = "h:80" }, "fd:web:h:80", "fd:8080:h:80"]
  |                                                            ^^^^^^^^^^^^^
  |
  = help: write "bind:port", "port" or "/path"
"#,
    );
}

#[test]
fn a_wrong_dynamic_forward_says_how_to_write_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
"#,
        r#"error: `dynamic_forward` takes no destination, each client asks for its own: `1080:db:80`
 --> /etc/tunneld/tunneld.toml:3:20
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                    ^^^^^^^^^^^^
  |
  = help: write "port", "address:port" or "/path", or move it to `local_forward`

error: `dynamic_forward` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:3:34
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                                  ^

error: `dynamic_forward` has too many colons: `::1:1080`
 --> /etc/tunneld/tunneld.toml:3:37
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                                     ^^^^^^^^^^
  |
  = help: an IPv6 address is written in brackets: "[::1]:1080"

error: `dynamic_forward` cannot listen on `gw`: it is not an address
 --> /etc/tunneld/tunneld.toml:3:49
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                                                 ^^^^^^^^^
  |
  = help: give an IP address, `localhost`, or `*` for every address

error: `dynamic_forward` has no name after `fd:`
 --> /etc/tunneld/tunneld.toml:3:60
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                                                            ^^^^^
  |
  = help: the name is the FileDescriptorName= of the socket unit

error: `dynamic_forward` wants strings as `ssh -D` takes them, ports, or tables, not a boolean
 --> /etc/tunneld/tunneld.toml:3:67
  |
3 | dynamic_forward = ["1080:db:80", 0, "::1:1080", "gw:1080", "fd:", true]
  |                                                                   ^^^^
"#,
    );
}

#[test]
fn a_wrong_unix_socket_says_what_is_wrong_with_its_path() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = ["run/a:db:80", "80:/run/%u/x", "/run/:db:80"]
"#,
        r#"error: `local_forward` has the path of a unix socket that does not begin with `/`: `run/a`
 --> /etc/tunneld/tunneld.toml:3:18
  |
3 | local_forward = ["run/a:db:80", "80:/run/%u/x", "/run/:db:80"]
  |                  ^^^^^^^^^^^^^
  |
  = help: write the whole path

error: `local_forward` has `%u` in a path, which ssh fills in and tunneld does not
 --> /etc/tunneld/tunneld.toml:3:33
  |
3 | local_forward = ["run/a:db:80", "80:/run/%u/x", "/run/:db:80"]
  |                                 ^^^^^^^^^^^^^^
  |
  = help: write the path out, or use a table: it takes every character as it is

error: `local_forward` names a folder, and no unix socket in it: `/run/`
 --> /etc/tunneld/tunneld.toml:3:49
  |
3 | local_forward = ["run/a:db:80", "80:/run/%u/x", "/run/:db:80"]
  |                                                 ^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn each_kind_of_forward_says_what_it_lacks() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = { listen = 80 }
remote_forward = { connect = "db:80" }
dynamic_forward = {}
"#,
        r#"error: this forward has no `connect`
 --> /etc/tunneld/tunneld.toml:3:17
  |
3 | local_forward = { listen = 80 }
  |                 ^^^^^^^^^^^^^^^
  |
  = help: write { listen = "127.0.0.1:5432", connect = "localhost:5432" }

error: this forward has no `listen`
 --> /etc/tunneld/tunneld.toml:4:18
  |
4 | remote_forward = { connect = "db:80" }
  |                  ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write { listen = "8080", connect = "localhost:80" }

error: this forward has no `listen`
 --> /etc/tunneld/tunneld.toml:5:19
  |
5 | dynamic_forward = {}
  |                   ^^
  |
  = help: write { listen = "127.0.0.1:1080" }
"#,
    );
}

#[test]
fn a_remote_forward_has_no_key_of_a_listener_here() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
[[tunnels.db.remote_forward]]
listen = 0
connect = "localhost"
while_down = "wait"
wait_timeout = "1s"
socket_mode = "0660"
socket_owner = "web"
"#,
        r#"error: `connect` needs a port after its host
 --> /etc/tunneld/tunneld.toml:5:11
  |
5 | connect = "localhost"
  |           ^^^^^^^^^^^
  |
  = help: write "host:port"

error: `while_down` has no meaning here: a remote forward listens only while there is a session
 --> /etc/tunneld/tunneld.toml:6:14
  |
6 | while_down = "wait"
  |              ^^^^^^

error: `wait_timeout` has no meaning here: a remote forward listens only while there is a session
 --> /etc/tunneld/tunneld.toml:7:16
  |
7 | wait_timeout = "1s"
  |                ^^^^

error: `socket_mode` is for a unix socket of this machine: that of a remote forward is the server's
 --> /etc/tunneld/tunneld.toml:8:15
  |
8 | socket_mode = "0660"
  |               ^^^^^^
  |
  = help: the server has StreamLocalBindMask for it, see sshd_config(5)

error: `socket_owner` is for a unix socket of this machine: that of a remote forward is the server's
 --> /etc/tunneld/tunneld.toml:9:16
  |
9 | socket_owner = "web"
  |                ^^^^^
  |
  = help: the server has StreamLocalBindMask for it, see sshd_config(5)
"#,
    );
}

#[test]
fn a_dynamic_forward_has_no_destination() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
dynamic_forward = { listen = 1080, connect = "db:80", probe = true }
remote_forward = { listen = 1080, probe = {} }
"#,
        r#"error: `connect` has no place in `dynamic_forward`: each client asks for its own destination
 --> /etc/tunneld/tunneld.toml:3:46
  |
3 | dynamic_forward = { listen = 1080, connect = "db:80", probe = true }
  |                                              ^^^^^^^
  |
  = help: leave it out, or move this forward to `local_forward`

error: `probe` has no place to check: each client asks for its own destination
 --> /etc/tunneld/tunneld.toml:3:63
  |
3 | dynamic_forward = { listen = 1080, connect = "db:80", probe = true }
  |                                                               ^^^^

error: `probe` has no place to check: each client asks for its own destination
 --> /etc/tunneld/tunneld.toml:4:43
  |
4 | remote_forward = { listen = 1080, probe = {} }
  |                                           ^^
"#,
    );
}

#[test]
fn a_mode_and_an_owner_are_those_of_a_unix_socket() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
[[tunnels.db.local_forward]]
listen = 80
connect = "db:80"
socket_mode = "0660"
[[tunnels.db.local_forward]]
listen = "fd:web"
connect = "db:80"
socket_owner = "web"
[[tunnels.db.local_forward]]
listen = "/run/a.sock"
connect = "db:80"
socket_mode = 660
socket_owner = "web:"
[[tunnels.db.local_forward]]
listen = "/run/b.sock"
connect = "db:80"
socket_mode = "rw"
"#,
        r#"error: `socket_mode` is for a unix socket that tunneld makes, and `listen` is none
 --> /etc/tunneld/tunneld.toml:6:15
  |
6 | socket_mode = "0660"
  |               ^^^^^^

error: `socket_owner` is for a unix socket that tunneld makes, and `listen` is none
  --> /etc/tunneld/tunneld.toml:10:16
   |
10 | socket_owner = "web"
   |                ^^^^^
   |
   = help: the unit of the socket has SocketMode=, SocketUser= and SocketGroup=

error: `socket_mode` wants a string of octal digits, not a number
  --> /etc/tunneld/tunneld.toml:14:15
   |
14 | socket_mode = 660
   |               ^^^
   |
   = help: write "0660": the bare number 660 is another one than the octal 0o660

error: `socket_owner` has no group after `:`
  --> /etc/tunneld/tunneld.toml:15:16
   |
15 | socket_owner = "web:"
   |                ^^^^^^
   |
   = help: write "user", "user:group" or ":group"

error: `socket_mode` is not three or four octal digits: `rw`
  --> /etc/tunneld/tunneld.toml:19:15
   |
19 | socket_mode = "rw"
   |               ^^^^
   |
   = help: write "0600", "0660" or "0666"
"#,
    );
}

#[test]
fn an_address_is_asked_of_those_who_have_one() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = [
  { listen = 80, connect = "db:80", allow = ["10.1.2.3/8", "lan", 7] },
  { listen = "/run/a.sock", connect = "db:80", allow = "10.0.0.0/8" },
]
remote_forward = { listen = "/run/b.sock", allow = [] }
"#,
        r#"error: `allow` has bits of a host in a network: `10.1.2.3/8`
 --> /etc/tunneld/tunneld.toml:4:46
  |
4 |   { listen = 80, connect = "db:80", allow = ["10.1.2.3/8", "lan", 7] },
  |                                              ^^^^^^^^^^^^
  |
  = help: the network is "10.0.0.0/8", the address alone "10.1.2.3"

error: `allow` has no address and no network in `lan`
 --> /etc/tunneld/tunneld.toml:4:60
  |
4 |   { listen = 80, connect = "db:80", allow = ["10.1.2.3/8", "lan", 7] },
  |                                                            ^^^^^
  |
  = help: write "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"

error: `allow` wants an address, a network, or an array of them, not a number
 --> /etc/tunneld/tunneld.toml:4:67
  |
4 |   { listen = 80, connect = "db:80", allow = ["10.1.2.3/8", "lan", 7] },
  |                                                                   ^

error: `allow` is for addresses, and the clients of a unix socket have none
 --> /etc/tunneld/tunneld.toml:5:56
  |
5 |   { listen = "/run/a.sock", connect = "db:80", allow = "10.0.0.0/8" },
  |                                                        ^^^^^^^^^^^^
  |
  = help: `socket_mode` and `socket_owner` say who may connect

error: `allow` is for addresses, and the clients of a unix socket have none
 --> /etc/tunneld/tunneld.toml:7:52
  |
7 | remote_forward = { listen = "/run/b.sock", allow = [] }
  |                                                    ^^
  |
  = help: who may connect is decided on the server
"#,
    );
}

#[test]
fn a_probe_is_over_before_the_next_one_and_does_not_flood() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = [
  { listen = 1, connect = "db:80", probe = { interval = "2s", timeout = "5s" } },
  { listen = 2, connect = "db:80", probe = { timeout = "1m" } },
  { listen = 3, connect = "db:80", probe = { interval = 0, timeout = "1m" } },
  { listen = 4, connect = "db:80", probe = { interval = "99ms", timeout = "1ms" } },
  { listen = 5, connect = "db:80", probe = { interval = "100ms", timeout = "100ms" } },
]
"#,
        r#"error: `probe.timeout` is longer than `probe.interval`: 5s > 2s
 --> /etc/tunneld/tunneld.toml:4:73
  |
4 |   { listen = 1, connect = "db:80", probe = { interval = "2s", timeout = "5s" } },
  |                                                                         ^^^^

error: `probe.timeout` is longer than `probe.interval`: 1m > 30s
 --> /etc/tunneld/tunneld.toml:5:56
  |
5 |   { listen = 2, connect = "db:80", probe = { timeout = "1m" } },
  |                                                        ^^^^

error: `probe.interval` has to be at least 100ms
 --> /etc/tunneld/tunneld.toml:6:57
  |
6 |   { listen = 3, connect = "db:80", probe = { interval = 0, timeout = "1m" } },
  |                                                         ^

error: `probe.interval` has to be at least 100ms
 --> /etc/tunneld/tunneld.toml:7:57
  |
7 |   { listen = 4, connect = "db:80", probe = { interval = "99ms", timeout = "1ms" } },
  |                                                         ^^^^^^

error: `probe.timeout` has to be at least 100ms
 --> /etc/tunneld/tunneld.toml:7:75
  |
7 |   { listen = 4, connect = "db:80", probe = { interval = "99ms", timeout = "1ms" } },
  |                                                                           ^^^^^
"#,
    );
}

#[test]
fn a_probe_expects_a_line_or_a_status() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = [
  { listen = 1, connect = "db:80", probe = { expect = 99, path = "health" } },
  { listen = 2, connect = "db:80", probe = { expect = "a\nb" } },
  { listen = 3, connect = "db:80", probe = { expect = "", path = "/" } },
  { listen = 4, connect = "db:80", probe = { expect = "SSH-2.0-", path = "/" } },
  { listen = 5, connect = "db:80", probe = { path = "/" } },
  { listen = 6, connect = "db:80", probe = { expect = 200, path = "/a b" } },
  { listen = 7, connect = "db:80", probe = { expect = true, intervall = 1 } },
  { listen = 8, connect = "db:80", probe = 30 },
]
"#,
        r#"error: `probe.expect` wants a number from 100 to 599, not `99`
 --> /etc/tunneld/tunneld.toml:4:55
  |
4 |   { listen = 1, connect = "db:80", probe = { expect = 99, path = "health" } },
  |                                                       ^^

error: `probe.path` does not begin with `/`: `health`
 --> /etc/tunneld/tunneld.toml:4:66
  |
4 |   { listen = 1, connect = "db:80", probe = { expect = 99, path = "health" } },
  |                                                                  ^^^^^^^^

error: `probe.expect` has a control character: '\n'
 --> /etc/tunneld/tunneld.toml:5:55
  |
5 |   { listen = 2, connect = "db:80", probe = { expect = "a\nb" } },
  |                                                       ^^^^^^
  |
  = help: it is the beginning of one line, without its end

error: `probe.expect` is empty
 --> /etc/tunneld/tunneld.toml:6:55
  |
6 |   { listen = 3, connect = "db:80", probe = { expect = "", path = "/" } },
  |                                                       ^^
  |
  = help: leave it out where it is enough that a connection can be made

error: `probe.path` is for an HTTP status, and `probe.expect` is a line
 --> /etc/tunneld/tunneld.toml:7:74
  |
7 |   { listen = 4, connect = "db:80", probe = { expect = "SSH-2.0-", path = "/" } },
  |                                                                          ^^^
  |
  = help: write expect = 200

error: `probe.path` is for an HTTP status, and there is no `probe.expect`
 --> /etc/tunneld/tunneld.toml:8:53
  |
8 |   { listen = 5, connect = "db:80", probe = { path = "/" } },
  |                                                     ^^^
  |
  = help: write expect = 200

error: `probe.path` has a character that no request has: ' '
 --> /etc/tunneld/tunneld.toml:9:67
  |
9 |   { listen = 6, connect = "db:80", probe = { expect = 200, path = "/a b" } },
  |                                                                   ^^^^^^
  |
  = help: percent-encode it

error: `probe.expect` wants the beginning of a line, or an HTTP status, not a boolean
  --> /etc/tunneld/tunneld.toml:10:55
   |
10 |   { listen = 7, connect = "db:80", probe = { expect = true, intervall = 1 } },
   |                                                       ^^^^

error: unknown key `intervall`
  --> /etc/tunneld/tunneld.toml:10:61
   |
10 |   { listen = 7, connect = "db:80", probe = { expect = true, intervall = 1 } },
   |                                                             ^^^^^^^^^ did you mean `interval`?

error: `probe` wants `true` or a table, not a number
  --> /etc/tunneld/tunneld.toml:11:44
   |
11 |   { listen = 8, connect = "db:80", probe = 30 },
   |                                            ^^
"#,
    );
}

#[test]
fn two_forwards_of_one_name_are_found_across_the_kinds() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
remote_forward = { name = "x", listen = 80 }
dynamic_forward = { name = "x", listen = 80 }
"#,
        r#"error: two forwards of this tunnel are named `x`
 --> /etc/tunneld/tunneld.toml:4:28
  |
4 | dynamic_forward = { name = "x", listen = 80 }
  |                            ^^^ first used at line 3
"#,
    );
}

#[test]
fn a_tunnel_that_only_takes_from_the_server_forwards_something() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
remote_forward = []
dynamic_forward = []
[tunnels.good]
host = "db"
remote_forwrad = "80"
"#,
        r#"error: tunnel `db` forwards nothing
 --> /etc/tunneld/tunneld.toml:1:10
  |
1 | [tunnels.db]
  |          ^^
  |
  = help: add local_forward = "5432:localhost:5432"

error: unknown key `remote_forwrad`
 --> /etc/tunneld/tunneld.toml:7:1
  |
7 | remote_forwrad = "80"
  | ^^^^^^^^^^^^^^ did you mean `remote_forward`?
"#,
    );
}

#[test]
fn two_forwards_cannot_have_one_socket() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
local_forward = ["/run/x.sock:a:1", { listen = "fd:web", connect = "a:1" }]
dynamic_forward = ["/run/./x.sock", { listen = "fd:web" }]
[tunnels.other]
host = "other"
local_forward = "/run/x.sock:b:1"
"#,
        r#"error: `db` listens on /run/x.sock and on /run/./x.sock, which overlap
 --> /etc/tunneld/tunneld.toml:4:20
  |
4 | dynamic_forward = ["/run/./x.sock", { listen = "fd:web" }]
  |                    ^^^^^^^^^^^^^^^ first used at line 3

error: `db` listens on fd:web twice
 --> /etc/tunneld/tunneld.toml:4:48
  |
4 | dynamic_forward = ["/run/./x.sock", { listen = "fd:web" }]
  |                                                ^^^^^^^^ first used at line 3

error: `db` and `other` both listen on /run/x.sock
 --> /etc/tunneld/tunneld.toml:7:17
  |
7 | local_forward = "/run/x.sock:b:1"
  |                 ^^^^^^^^^^^^^^^^^ first used at line 3
"#,
    );
}

#[test]
fn two_forwards_cannot_have_one_place_at_the_server() {
    assert_problems(
        r#"[tunnels.db]
host = "db"
remote_forward = ["8080:a:1", "localhost:8080", "/run/r:a:1", "/run/r:a:2"]
[tunnels.again]
host = "db"
remote_forward = "8080:b:1"
"#,
        r#"error: `db` listens on localhost:8080 at db twice
 --> /etc/tunneld/tunneld.toml:3:31
  |
3 | remote_forward = ["8080:a:1", "localhost:8080", "/run/r:a:1", "/run/r:a:2"]
  |                               ^^^^^^^^^^^^^^^^ first used at line 3

error: `db` listens on /run/r at db twice
 --> /etc/tunneld/tunneld.toml:3:63
  |
3 | remote_forward = ["8080:a:1", "localhost:8080", "/run/r:a:1", "/run/r:a:2"]
  |                                                               ^^^^^^^^^^^^ first used at line 3

error: `db` and `again` both listen on localhost:8080 at db
 --> /etc/tunneld/tunneld.toml:6:18
  |
6 | remote_forward = "8080:b:1"
  |                  ^^^^^^^^^^ first used at line 3
"#,
    );
}
