//! `tunneld authorize`: with what it prints every forward works, and nothing else does.

use std::net::SocketAddr;

use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr, free_low_port, free_port};
use tunneld_lab::unix::UnixServer;

use crate::asking::{Protocol, ask};
use crate::authorized::{By, Proof, authorized, each_by};
use crate::gateway::named;
use crate::intruder::Intruder;
use crate::places::{Echo, Folder};
use crate::support::{Table, exchange, text, up};

/// A socket file that says its name and closes.
fn named_socket(folder: &Folder, name: &'static str) -> UnixServer {
    use std::io::Write;
    UnixServer::start(&folder.at(name), move |mut stream| {
        let _ = stream.write_all(name.as_bytes());
    })
}

#[test]
fn a_key_for_local_forwards_opens_their_targets_and_nothing_else() {
    // By IPv4, by IPv6, by name, and a socket file whose path has to be escaped.
    each_by(|by| {
        let folder = Folder::new();
        let (v4, other) = (EchoServer::start(), named("other"));
        let v6: SocketAddr = ([0, 0, 0, 0, 0, 0, 0, 1], free_port("::1".parse().unwrap())).into();
        let (v6, by_name) = (EchoServer::start_on(v6), EchoServer::start_on(localhost()));
        let odd = Echo::on_unix(&folder.at(r#"a "b" c.sock"#));
        let elsewhere = named_socket(&folder, "elsewhere");
        let listens = [(); 4].map(|()| free_addr());
        let name = format!("localhost:{}", by_name.addr().port());
        let proof = Proof::new(by, |table| {
            table
                .forward(listens[0], v4.addr())
                .forward(listens[1], v6.addr())
                .forward(listens[2], &name)
                .raw(
                    "local_forward",
                    format_args!(
                        "{{ listen = \"{}\", connect = '{}' }}",
                        listens[3],
                        odd.place()
                    ),
                )
        });
        listens.iter().for_each(|listen| echoes(*listen).unwrap());
        let intruder = proof.intruder();
        intruder.cannot_open(&other.addr().to_string());
        // Another name of the same place is another place to sshd.
        intruder.cannot_open(&by_name.addr().to_string());
        intruder.cannot_open("255.255.255.255:1");
        intruder.cannot_open_socket(elsewhere.path());
        cannot_listen_at_all(&proof);
        intruder.runs_nothing();
    });
}

/// A port of 127.0.0.1.
fn localhost() -> SocketAddr {
    ([127, 0, 0, 1], free_low_port()).into()
}

/// Neither a port, by whatever address, nor a socket file where that can be forbidden.
fn cannot_listen_at_all(proof: &Proof) {
    let (intruder, port) = (proof.intruder(), free_low_port());
    for address in ["localhost:", "127.0.0.1:", "*:", "NONE:", "none:"] {
        intruder.cannot_listen(&format!("{address}{port}:localhost:22"));
    }
    // What stands for nowhere is not a place, not even for root.
    intruder.cannot_listen("NONE:1:localhost:22");
    intruder.cannot_listen("none:1:localhost:22");
    intruder.cannot_listen("0:localhost:22");
    if proof.by != By::Line {
        intruder.cannot_make_sockets();
    }
}

#[test]
fn a_key_for_remote_forwards_listens_there_and_nowhere_else() {
    // On loopback by name, on every address, on one address.
    each_by(|by| {
        let (echo, other) = (EchoServer::start(), named("other"));
        let (loopback, every, one) = (free_low_port(), free_low_port(), free_addr());
        let proof = Proof::new(by, |table| {
            table
                .remote(format!("localhost:{loopback}"), echo.addr())
                .remote(format!("*:{every}"), echo.addr())
                .remote(one, echo.addr())
        });
        for listen in [
            ([127, 0, 0, 1], loopback).into(),
            ([0, 0, 0, 0, 0, 0, 0, 1], loopback).into(),
            ([127, 9, 9, 9], every).into(),
            one,
        ] {
            echoes(listen).unwrap();
        }
        let (intruder, free) = (proof.intruder(), free_low_port());
        for place in [
            format!("localhost:{free}"),
            format!("*:{free}"),
            format!("{}:{free}", one.ip()),
            // The port of another place, where nobody listens.
            format!("127.0.0.2:{loopback}"),
            format!("localhost:{}", one.port()),
            format!("127.0.0.1:{}", one.port()),
            "0".to_owned(),
        ] {
            intruder.cannot_listen(&format!("{place}:localhost:22"));
        }
        for place in [other.addr(), one] {
            intruder.cannot_open(&place.to_string());
        }
        // The block does not even let it try; nobody is there in any case.
        intruder.finds_nobody("255.255.255.255:1");
        if proof.by != By::Line {
            intruder.cannot_make_sockets();
        }
        intruder.runs_nothing();
    });
}

#[test]
fn a_key_for_a_port_that_the_server_chooses_gets_any_port_of_that_address() {
    each_by(|by| {
        let (echo, other) = (EchoServer::start(), named("other"));
        let proof = Proof::new(by, |table| table.remote("localhost:0", echo.addr()));
        let port = proof.daemon.tunnel("t").forwards[0].allocated_port.unwrap();
        echoes(([127, 0, 0, 1], port).into()).unwrap();
        let (intruder, free) = (proof.intruder(), free_low_port());
        intruder.may_listen(&format!("localhost:{free}:localhost:22"));
        for address in ["127.0.0.1", "*", "0.0.0.0"] {
            intruder.cannot_listen(&format!("{address}:{free}:localhost:22"));
            intruder.cannot_listen(&format!("{address}:0:localhost:22"));
        }
        intruder.cannot_open(&other.addr().to_string());
    });
}

#[test]
fn a_key_for_socket_files_works_both_ways_and_opens_no_port() {
    // Twice: the file that the first session has left is replaced.
    each_by(|by| {
        let folder = Folder::new();
        let (near, far) = (
            Echo::on_unix(&folder.at("near")),
            Echo::on_unix(&folder.at("far")),
        );
        let (other, elsewhere) = (named("other"), named_socket(&folder, "elsewhere"));
        let (listen, made) = (folder.socket("listen.sock"), folder.socket("made.sock"));
        let proof = Proof::new(by, |table| {
            table
                .forward(&listen, far.place())
                .remote(&made, near.place())
        });
        for round in 0..2 {
            up(&proof.daemon, "t");
            listen.carries(100_000, round);
            made.carries(100_000, round);
            if round == 0 {
                proof.sshd.kill_sessions();
                proof
                    .daemon
                    .wait_for_log("tunnel down", crate::support::LONG);
            }
        }
        let (intruder, free) = (proof.intruder(), free_low_port());
        intruder.cannot_open_socket(elsewhere.path());
        intruder.cannot_open(&other.addr().to_string());
        intruder.cannot_listen(&format!("{free}:localhost:22"));
        intruder.cannot_listen("0:localhost:22");
    });
}

#[test]
fn a_key_for_a_dynamic_forward_opens_any_port_and_listens_nowhere() {
    each_by(|by| {
        let (echo, other, folder) = (EchoServer::start(), named("other"), Folder::new());
        let elsewhere = named_socket(&folder, "elsewhere");
        let listen = free_addr();
        let proof = Proof::new(by, |table| table.dynamic(listen));
        exchange(&mut ask(Protocol::Socks5, listen, echo.addr()), b"there");
        let intruder = proof.intruder();
        intruder.reaches(&other.addr().to_string(), "other");
        // Where ports are not limited, the line does not limit socket files either.
        match by {
            By::Line => intruder.reaches_socket(elsewhere.path(), "elsewhere"),
            By::Block | By::Both => intruder.cannot_open_socket(elsewhere.path()),
        }
        cannot_listen_at_all(&proof);
        intruder.runs_nothing();
    });
}

#[test]
fn a_key_for_socks_at_the_server_opens_nothing_there() {
    // Its clients are at the server, and what they ask for is opened here.
    each_by(|by| {
        let (echo, listen) = (EchoServer::start(), free_addr());
        let proof = Proof::new(by, |table| table.raw("remote_forward", text(listen)));
        exchange(&mut ask(Protocol::Socks5, listen, echo.addr()), b"here");
        let intruder = proof.intruder();
        intruder.cannot_open(&echo.addr().to_string());
        intruder.cannot_listen(&format!("{}:localhost:22", free_addr()));
    });
}

#[test]
fn a_probe_of_a_remote_forward_gets_the_way_back_and_no_other() {
    // The tunnel is up, which it is not before its probes are answered.
    each_by(|by| {
        let (echo, folder, other) = (EchoServer::start(), Folder::new(), named("other"));
        let (one, file, every) = (free_addr(), folder.socket("made.sock"), free_low_port());
        let probe = "probe = { interval = \"1s\" }";
        let proof = Proof::new(by, |table| {
            table
                .remote_with(one, echo.addr(), probe)
                .remote_with(&file, echo.addr(), probe)
                .remote_with(format!("*:{every}"), echo.addr(), probe)
        });
        let forwards = proof.daemon.tunnel("t").forwards;
        assert!(
            forwards.iter().all(|f| f.connections.total > 0),
            "{forwards:?}"
        );
        let intruder = proof.intruder();
        intruder.cannot_open(&other.addr().to_string());
        intruder.cannot_open(&format!("127.0.0.1:{every}"));
    });
}

#[test]
fn a_jump_host_opens_the_next_host_and_nothing_else() {
    // Each host has its own lines; nothing is listened on anywhere.
    each_by(|by| {
        let (mut bastion, mut sshd) = (Sshd::start(), Sshd::start());
        let (echo, other, listen) = (EchoServer::start(), named("other"), free_addr());
        let table = Table::to(&sshd)
            .over(&[&bastion])
            .forward(listen, echo.addr());
        for host in [&mut bastion, &mut sshd] {
            by.put(host, &table.toml(), &["t"]);
        }
        let daemon = table.up();
        echoes(listen).unwrap();
        for (host, next) in [(&bastion, echo.addr()), (&sshd, sshd.addr())] {
            let intruder = Intruder::at(host);
            intruder.cannot_open(&other.addr().to_string());
            intruder.cannot_open(&next.to_string());
            intruder.cannot_listen(&format!("{}:localhost:22", free_low_port()));
            intruder.runs_nothing();
        }
        drop(daemon);
    });
}

#[test]
fn what_one_key_needs_for_two_tunnels_is_in_one_line_and_one_block() {
    // Two lines for one key would be of no use: sshd reads the first.
    each_by(|by| {
        let (mut sshd, other) = (Sshd::start(), named("other"));
        let (near, far) = (EchoServer::start(), EchoServer::start());
        let (listen, remote) = (free_addr(), free_addr());
        let one = Table::to(&sshd).named("one").forward(listen, far.addr());
        let two = Table::to(&sshd).named("two").remote(remote, near.addr());
        let config = one.toml() + &two.toml();
        by.put(&mut sshd, &config, &["one", "two"]);
        let daemon = crate::support::daemon().config(&config).start();
        for (name, place) in [("one", listen), ("two", remote)] {
            up(&daemon, name);
            echoes(place).unwrap();
        }
        let intruder = Intruder::at(&sshd);
        intruder.cannot_open(&other.addr().to_string());
        intruder.cannot_listen(&format!("{}:localhost:22", free_addr()));
    });
}

#[test]
fn every_line_of_the_block_is_taken_and_holds() {
    // As sshd itself tells it, at the end of its file and in a file that it includes at the start.
    let (mut sshd, folder) = (Sshd::start(), Folder::new());
    let table = Table::to(&sshd)
        .forward("5432", "localhost:5432")
        .forward(folder.at("a").display(), "/run/b.sock")
        .remote("*:8080", "localhost:80")
        .remote("0", "localhost:80")
        .remote(folder.at("c").display(), "localhost:80");
    let block = authorized(&table.toml(), &["t", "--only", "sshd_config"]);
    let holds = |sshd: &Sshd| {
        let effective = sshd.effective();
        let lines = block.lines().filter_map(|line| line.strip_prefix("    "));
        for line in lines {
            let (keyword, value) = line.split_once(' ').unwrap();
            let wanted = format!("{} {value}", keyword.to_lowercase());
            assert!(
                effective.lines().any(|line| line == wanted),
                "{wanted} is not in {effective}"
            );
        }
    };
    assert!(block.lines().count() >= 15, "{block}");
    let included = folder.at("tunnel.conf");
    std::fs::write(&included, &block).unwrap();
    sshd.restart_with(&format!("Include {}", included.display()));
    holds(&sshd);
    let mut sshd = Sshd::start();
    sshd.restart_with_block(&block);
    holds(&sshd);
}
