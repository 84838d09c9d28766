//! What the file says about a connection is what is used: algorithms, compression, and the address
//! that it comes from.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Command;

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::SessionStatus;
use tunneld_lab::keys::KeyType;
use tunneld_lab::pattern::{Digest, Pattern};
use tunneld_lab::process::run;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, Sink, Source, connect, echoes, free_addr};

use crate::support::{LONG, NEVER, Rig, Table, daemon, exchange, fails, text, up};
use crate::ways::{at_hop, blocked, hop};

/// What of these the installed sshd has, too.
fn common(what: &str, ours: &[&'static str]) -> Vec<&'static str> {
    let theirs = run(Command::new("ssh").args(["-Q", what]));
    let has = |name: &&str| theirs.lines().any(|line| line == *name);
    let found: Vec<_> = ours.iter().copied().filter(has).collect();
    assert!(found.len() >= ours.len() / 2, "{theirs}");
    found
}

/// What a session has of something.
type Fact = fn(&SessionStatus) -> &String;

#[test]
fn each_algorithm_is_used_where_the_file_has_it_alone() {
    // Every cipher, MAC, key exchange and type of host key that both sides have, one tunnel each,
    // and bytes go through each.
    const GCM: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];
    const CTR: [&str; 3] = ["aes128-ctr", "aes192-ctr", "aes256-ctr"];
    let sshd = Sshd::builder()
        .host_keys(&[KeyType::Ed25519, KeyType::Ecdsa, KeyType::Rsa])
        .start();
    let echo = EchoServer::start();
    let ciphers = [&GCM[..], &["chacha20-poly1305@openssh.com"], &CTR].concat();
    let macs = [
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512",
        "hmac-sha2-256",
        "hmac-sha1-etm@openssh.com",
        "hmac-sha1",
    ];
    let kex = [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        // The larger groups are the same with larger numbers, which take a debug build half a minute.
        "diffie-hellman-group14-sha256",
    ];
    let types = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ];
    let kinds: [(&str, &[&'static str], &'static str, Fact); 4] = [
        ("cipher", &ciphers, "ciphers", |s| &s.cipher),
        ("mac", &macs, "macs", |s| &s.mac),
        ("kex", &kex, "kex_algorithms", |s| &s.kex),
        ("HostKeyAlgorithms", &types, "host_key_algorithms", |s| {
            &s.host_key
        }),
    ];
    let mut tunnels = Vec::new();
    for (what, ours, key, fact) in kinds {
        for name in common(what, ours) {
            let (tunnel, listen) = (format!("t{}", tunnels.len()), free_addr());
            let mut table = Table::to(&sshd)
                .named(&tunnel)
                .set("connect_timeout", text("60s"))
                .set(key, text(name))
                .forward(listen, echo.addr());
            if what == "mac" {
                // The other ciphers need none.
                table = table.set("ciphers", text("*-ctr"));
            }
            tunnels.push((tunnel, table.toml(), listen, name, fact));
        }
    }
    let config: String = tunnels.iter().map(|(_, toml, ..)| toml.as_str()).collect();
    let daemon = daemon().config(&config).start();
    for (tunnel, _, listen, name, fact) in &tunnels {
        let session = up(&daemon, tunnel).session.unwrap();
        assert_eq!(fact(&session), name);
        echoes(*listen).unwrap();
    }
}

#[test]
fn nothing_in_common_is_blocked_and_names_the_key_that_leaves_out_what_the_server_has() {
    // With what the server offers, and what to add.
    let sshd = Sshd::builder()
        .config("Ciphers aes256-ctr\nMACs hmac-sha2-512\nKexAlgorithms ecdh-sha2-nistp384")
        .start();
    for (key, list, cause, hint) in [
        (
            "ciphers",
            "*gcm*",
            "no common cipher; the server offers aes256-ctr",
            "`ciphers` allows only aes128-gcm@openssh.com,aes256-gcm@openssh.com; \
             add aes256-ctr to it",
        ),
        (
            "macs",
            "hmac-sha2-256",
            "no common MAC; the server offers hmac-sha2-512",
            "`macs` allows only hmac-sha2-256; add hmac-sha2-512 to it",
        ),
        (
            "kex_algorithms",
            "curve25519-sha256",
            "no common key exchange method; the server offers ecdh-sha2-nistp384",
            "`kex_algorithms` allows only curve25519-sha256; add ecdh-sha2-nistp384 to it",
        ),
        (
            "host_key_algorithms",
            "rsa-sha2-512",
            "no common host key type; the server offers ssh-ed25519",
            "`host_key_algorithms` allows only rsa-sha2-512; add ssh-ed25519 to it",
        ),
    ] {
        let daemon = Table::to(&sshd)
            .set(key, text(list))
            .forward(free_addr(), free_addr())
            .start();
        let failure = blocked(&daemon, "t");
        assert_eq!(failure.stage, Stage::KeyExchange);
        assert_eq!(failure.cause, cause);
        assert_eq!(failure.hint.as_deref(), Some(hint));
    }
}

#[test]
fn only_certificates_without_an_authority_is_blocked_before_the_server_is_asked() {
    // Nothing could be made of what it shows.
    let sshd = Sshd::start();
    let daemon = Table::to(&sshd)
        .set("host_key_algorithms", text("*-cert-v01@openssh.com"))
        .forward(free_addr(), free_addr())
        .start();
    let failure = blocked(&daemon, "t");
    assert_eq!(failure.stage, Stage::HostKey);
    assert_eq!(
        failure.cause,
        "`host_key_algorithms` allows only certificates, and known_hosts has no authority for \
         this host"
    );
}

#[test]
fn compressed_bytes_arrive_as_they_were_sent_both_ways() {
    // What compresses well and what does not, large and small, across new keys.
    const LEN: u64 = 16 << 20;
    let sshd = Sshd::builder()
        .config("Compression yes\nRekeyLimit 4M")
        .log_level("DEBUG1")
        .start();
    let (source, sink) = (Source::start(LEN, 3), Sink::start());
    let (down, into) = (free_addr(), free_addr());
    let rig = Rig::with(sshd, |t| {
        t.set("compression", true)
            .forward(down, source.addr())
            .forward(into, sink.addr())
    });
    let session = rig.status().session.unwrap();
    assert_eq!(session.compression, "zlib@openssh.com");
    assert!(rig.sshd.log().contains("compression: zlib@openssh.com"));
    let downloads = std::thread::spawn(move || Digest::of(connect(down)));
    let mut upload = connect(into);
    std::io::copy(&mut Pattern::new(LEN, 4), &mut upload).unwrap();
    upload.shutdown(Shutdown::Write).unwrap();
    assert_eq!(sink.next(LONG).unwrap(), Digest::of(Pattern::new(LEN, 4)));
    assert_eq!(downloads.join().unwrap(), Digest::of(Pattern::new(LEN, 3)));
    let mut client = connect(rig.listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    for len in [1, 100, 32 << 10, 100_000] {
        exchange(&mut client, &vec![0; len]);
        exchange(&mut client, &vec![b'a'; len]);
    }
    assert_eq!(rig.status().sessions, 1);
}

#[test]
fn a_server_that_does_not_compress_is_no_obstacle() {
    // It is a wish: the tunnel is up without it.
    let sshd = Sshd::builder().config("Compression no").start();
    let rig = Rig::with(sshd, |t| t.set("compression", true));
    echoes(rig.listen).unwrap();
    assert_eq!(rig.status().session.unwrap().compression, "none");
}

#[test]
fn the_server_sees_the_address_that_the_connection_is_to_come_from() {
    // In its log, and over a jump host at the first host of the way.
    let (bastion, sshd) = (Sshd::start(), Sshd::start());
    let table = Table::to(&sshd).set("bind_address", text("127.0.0.9"));
    let direct = table.clone().forward(free_addr(), free_addr()).up();
    sshd.wait_for_log("Connection from 127.0.0.9 port ", LONG);
    drop(direct);
    let over = table.over(&[&bastion]);
    let _over = over.forward(free_addr(), free_addr()).up();
    bastion.wait_for_log("Connection from 127.0.0.9 port ", LONG);
}

#[test]
fn a_proxy_sees_the_address_that_the_connection_is_to_come_from() {
    // It is the one connection that leaves this machine.
    let sshd = Sshd::start();
    let proxy = TcpListener::bind(free_addr()).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let _daemon = Table::to(&sshd)
        .set("proxy", text(url))
        .set("bind_address", text("127.0.0.9"))
        .forward(free_addr(), free_addr())
        .start();
    let (mut client, from) = proxy.accept().unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    let mut line = [0; 8];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"CONNECT ");
    client.write_all(b"HTTP/1.1 502 no\r\n\r\n").unwrap();
}

#[test]
fn an_address_that_this_machine_does_not_have_is_its_own_cause() {
    // It may get it: that is tried again.
    let sshd = Sshd::start();
    let table = Table::to(&sshd).set("reconnect", NEVER);
    let daemon = table
        .set("bind_address", text("192.0.2.1"))
        .forward(free_addr(), free_addr())
        .start();
    let failure = fails(&daemon, "t", "cannot connect from");
    assert_eq!(
        failure.cause,
        "cannot connect from 192.0.2.1: this machine does not have the address"
    );
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );
    assert!(failure.hint.unwrap().contains("`bind_address`"));
    // One of the other family reaches nothing.
    let table = Table::to(&sshd).set("bind_address", text("::1"));
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = fails(&daemon, "t", "cannot resolve");
    let cause = format!("cannot resolve {}: no IPv6 address", sshd.host());
    assert_eq!(failure.cause, cause);
    assert!(failure.hint.unwrap().starts_with("`bind_address` is ::1"));
}

#[test]
fn a_jump_host_has_the_algorithms_of_the_defaults_or_its_own() {
    // What the tunnel's host is asked for is not asked of a bastion that may not have it. Each host's
    // own log says what was agreed on.
    const OLD: &str = "KexAlgorithms ecdh-sha2-nistp256";
    let server = |lines: &str| Sshd::builder().config(lines).log_level("DEBUG1").start();
    let (taking, own, sshd) = (server(OLD), server(OLD), server(""));
    let with = |hop: String, more: &str| hop.replace(" }", &format!(", {more} }}"));
    let hops = [
        hop(&taking, taking.addr()),
        with(hop(&own, own.addr()), "ciphers = \"aes128-ctr\""),
    ];
    let table = Table::to(&sshd)
        .set("ciphers", text("aes256-ctr"))
        .set("kex_algorithms", text("curve25519-sha256"))
        .set("proxy_jump", format!("[{}]", hops.join(", ")))
        .forward(free_addr(), free_addr());
    let defaults = "[defaults]\nciphers = \"aes192-ctr\"\n";
    let daemon = daemon()
        .config(&(defaults.to_owned() + &table.toml()))
        .start();
    up(&daemon, "t");
    for (server, cipher, kex) in [
        (&taking, "aes192-ctr", "ecdh-sha2-nistp256"),
        (&own, "aes128-ctr", "ecdh-sha2-nistp256"),
        (&sshd, "aes256-ctr", "curve25519-sha256"),
    ] {
        let log = server.log();
        let agreed = format!("kex: client->server cipher: {cipher} ");
        assert!(log.contains(&agreed), "{log}");
        assert!(log.contains(&format!("kex: algorithm: {kex}")), "{log}");
    }
}

#[test]
fn nothing_in_common_with_a_jump_host_is_told_of_that_host() {
    // By its own list, not the tunnel's.
    let bastion = Sshd::builder().config("Ciphers aes256-ctr").start();
    let sshd = Sshd::start();
    let hop = hop(&bastion, bastion.addr()).replace(" }", ", ciphers = \"aes128-ctr\" }");
    let table = Table::to(&sshd).set("proxy_jump", hop);
    let daemon = table.forward(free_addr(), free_addr()).start();
    let failure = blocked(&daemon, "t");
    let cause = "no common cipher; the server offers aes256-ctr";
    assert_eq!(failure.cause, format!("{}{cause}", at_hop(&bastion)));
    let hint = "`ciphers` allows only aes128-ctr; add aes256-ctr to it";
    assert_eq!(failure.hint.as_deref(), Some(hint));
}
