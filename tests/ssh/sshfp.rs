//! `tunneld trust` and the DNS: records are compared with the keys, and proof is only what a resolver
//! has checked that may say so. A real resolver, with a zone that is signed, or not, or badly.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use tunneld_lab::dns::{Resolver, Signed, ZONE};
use tunneld_lab::keys::{KeyType, generate};
use tunneld_lab::process::run;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;

use crate::support::{Table, text};
use crate::trust::{Desk, has};

/// Where the server is, and the resolver, too.
const HERE: &str = "127.0.0.1";

const TRUSTED: &str = "nameserver 127.0.0.1\noptions edns0 trust-ad\n";

/// A machine with a server that is `db` in the zone, and a tunnel to it whose host key nobody knows.
struct Lab {
    sshd: Sshd,
    desk: Desk,
    topology: Topology,
}

impl Lab {
    fn new(resolv_conf: &str) -> Self {
        Lab::at(22, resolv_conf, |table| table)
    }

    /// The server is at this port, and the tunnel's table is what `change` makes of it.
    fn at(port: u16, resolv_conf: &str, change: impl FnOnce(Table) -> Table) -> Self {
        let topology = Topology::new(&["M"]);
        topology.asks("M", resolv_conf);
        let host = format!("db.{ZONE}");
        topology.knows("M", &host, HERE);
        let prefix = topology.exec_prefix("M");
        let sshd = Sshd::builder()
            .host_keys(&[KeyType::Ed25519, KeyType::Rsa])
            .listen(HERE.parse().unwrap())
            .port(port)
            .prefix(&prefix)
            .start();
        fs::write(sshd.known_hosts(), "").unwrap();
        let table = change(Table::to(&sshd).set("host", text(host)));
        let desk = Desk::new(&table).below(&prefix);
        Lab {
            sshd,
            desk,
            topology,
        }
    }

    fn resolver(&self, records: &str, signed: Signed) -> Resolver {
        Resolver::start(&self.topology.exec_prefix("M"), records, signed)
    }

    /// The records of the server's keys, as OpenSSH says them.
    fn right(&self) -> String {
        let keys = self.sshd.host_keys().iter();
        keys.map(|key| records(&key.public)).collect()
    }

    /// Adds the first key without a person; what was printed.
    #[track_caller]
    fn adds(&self) -> String {
        let fingerprint = self.sshd.host_keys()[0].fingerprint();
        let said = self.desk.ends(&["--yes", "--fingerprint", &fingerprint], 0);
        let known = fs::read_to_string(self.sshd.known_hosts()).unwrap();
        assert_eq!(known.lines().count(), 1, "{known}");
        said
    }

    /// Refuses to; what was printed.
    #[track_caller]
    fn refuses(&self) -> String {
        let fingerprint = self.sshd.host_keys()[0].fingerprint();
        let said = self.desk.ends(&["--yes", "--fingerprint", &fingerprint], 1);
        let known = fs::read_to_string(self.sshd.known_hosts()).unwrap();
        assert_eq!(known, "");
        said
    }
}

/// `ssh-keygen -r`: two records, of SHA-1 and of SHA-256.
fn records(public: &std::path::Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    run(keygen.args(["-r", "db", "-f"]).arg(public))
}

/// The records of a key that nobody has.
fn foreign() -> String {
    let dir = tempfile::tempdir().unwrap();
    records(&generate(dir.path(), "key").public)
}

#[test]
fn records_that_dnssec_protects_are_vouched_for_by_a_resolver_that_is_trusted_with_it() {
    // Every key of the server, by the records that its own ssh-keygen makes.
    let lab = Lab::new(TRUSTED);
    let _resolver = lab.resolver(&lab.right(), Signed::Yes);
    let said = "SSHFP: matches ED25519, RSA; the resolver vouches for that (DNSSEC)\n";
    has(&lab.adds(), &[said]);
}

#[test]
fn a_resolver_that_is_not_trusted_with_it_proves_nothing() {
    // The same answer, which anybody on the way could have made, without `trust-ad`.
    let lab = Lab::new("nameserver 127.0.0.1\n");
    let _resolver = lab.resolver(&lab.right(), Signed::Yes);
    has(
        &lab.adds(),
        &[
            "SSHFP: matches ED25519, RSA; but it proves nothing: ",
            "trust-ad",
        ],
    );
}

#[test]
fn records_of_a_zone_that_is_not_signed_prove_nothing() {
    // Neither for a key nor against it: a person or a fingerprint decides.
    let lab = Lab::new(TRUSTED);
    let resolver = lab.resolver(&lab.right(), Signed::No);
    let nothing = "but it proves nothing: the resolver does not vouch for it (no DNSSEC)\n";
    let matches = format!("SSHFP: matches ED25519, RSA; {nothing}");
    has(&lab.desk.ends(&[], 1), &[&matches]);
    drop(resolver);
    let _resolver = lab.resolver(&foreign(), Signed::No);
    has(
        &lab.adds(),
        &[&format!("SSHFP: DIFFERS from ED25519; {nothing}")],
    );
}

#[test]
fn a_key_that_vouched_records_deny_is_refused_whoever_agrees() {
    // Even with its fingerprint, and although the other key is right.
    let lab = Lab::new(TRUSTED);
    let rsa = records(&lab.sshd.host_keys()[1].public);
    let _resolver = lab.resolver(&(foreign() + &rsa), Signed::Yes);
    let said = lab.refuses();
    has(
        &said,
        &[
            "SSHFP: matches RSA, DIFFERS from ED25519; the resolver vouches for that (DNSSEC)\n",
            "the DNS names another key for db.lab.example, and DNSSEC vouches for it",
            "`ssh-keygen -r db.lab.example`",
        ],
    );
}

#[test]
fn records_of_the_name_do_not_refuse_who_is_not_the_server_that_they_are_of() {
    // Records know no port, and an alias is a name of ours.
    let vouched = "SSHFP: DIFFERS from ED25519; the resolver vouches for that (DNSSEC); ";
    for (port, alias, doubt) in [
        (2222, None, "they may be those of the server at port 22\n"),
        (
            22,
            Some("cluster"),
            "the host goes by its `host_key_alias`\n",
        ),
    ] {
        let lab = Lab::at(port, TRUSTED, |table| match alias {
            Some(alias) => table.set("host_key_alias", text(alias)),
            None => table,
        });
        let _resolver = lab.resolver(&foreign(), Signed::Yes);
        has(&lab.adds(), &[&format!("{vouched}{doubt}")]);
    }
}

#[test]
fn a_question_that_gets_lost_is_put_once_more() {
    // Datagrams do.
    let lab = Lab::new("nameserver 127.0.0.1\n");
    let socket = lab
        .topology
        .inside("M", || UdpSocket::bind((HERE, 53)).unwrap());
    let resolver = std::thread::spawn(move || {
        let mut bytes = [0; 512];
        socket.recv_from(&mut bytes).unwrap();
        let (n, from) = socket.recv_from(&mut bytes).unwrap();
        // A response: there is no such name.
        bytes[2] |= 0x80;
        bytes[3] = 3;
        socket.send_to(&bytes[..n], from).unwrap();
    });
    has(&lab.desk.ends(&[], 1), &["SSHFP: no records\n"]);
    resolver.join().unwrap();
}

#[test]
fn records_that_do_not_fit_their_signatures_are_no_answer() {
    // The resolver keeps them to itself.
    let lab = Lab::new(TRUSTED);
    let _resolver = lab.resolver(&lab.right(), Signed::Tampered);
    has(
        &lab.adds(),
        &["SSHFP: the resolver 127.0.0.1 has no answer: server failure\n"],
    );
}

#[test]
fn a_host_without_records_has_none_and_one_with_others_has_none_of_its_keys() {
    // The name exists, or not even that; a record of another algorithm says nothing.
    let lab = Lab::new(TRUSTED);
    for records in ["db A 127.0.0.1", ""] {
        let _resolver = lab.resolver(records, Signed::Yes);
        has(&lab.desk.ends(&[], 1), &["SSHFP: no records\n"]);
    }
    let dsa = format!("db SSHFP 2 2 {}", "ab".repeat(32));
    let _resolver = lab.resolver(&dsa, Signed::Yes);
    let none = "SSHFP: no record of a key that the host has shown\n";
    has(&lab.adds(), &[none]);
}

#[test]
fn more_records_than_fit_into_a_datagram_come_by_tcp() {
    // All of them count: the right ones are somewhere among them.
    let lab = Lab::new(TRUSTED);
    let others: String = (0..40).map(|_| foreign()).collect();
    let _resolver = lab.resolver(&(others + &lab.right()), Signed::Yes);
    has(
        &lab.adds(),
        &["SSHFP: matches ED25519, RSA; the resolver vouches"],
    );
}

#[test]
fn a_resolver_that_is_silent_or_away_is_told_and_holds_nobody_up() {
    // Another one is asked after it; the keys are shown all the same.
    let lab = Lab::new("nameserver 127.0.0.1\n");
    let said = lab.desk.ends(&[], 1);
    has(
        &said,
        &["SSHFP: the resolver 127.0.0.1 has no answer: connection refused\n"],
    );
    let bind = || UdpSocket::bind((HERE, 53)).unwrap();
    let silent = lab.topology.inside("M", bind);
    let said = lab.desk.ends(&[], 1);
    has(
        &said,
        &["SSHFP: the resolver 127.0.0.1 did not answer in 3s\n"],
    );
    // Two of them share the time, and each is told.
    lab.topology
        .asks("M", "nameserver 127.0.0.1\nnameserver 127.0.0.9\n");
    let said = lab.desk.ends(&[], 1);
    let both = "SSHFP: the resolver 127.0.0.1 did not answer in 1.5s; the resolver 127.0.0.9 has no \
                answer: connection refused\n";
    has(&said, &[both]);
    drop(silent);
    lab.topology
        .asks("M", &format!("nameserver 127.0.0.9\n{TRUSTED}"));
    let _resolver = lab.resolver(&lab.right(), Signed::Yes);
    has(
        &lab.adds(),
        &["SSHFP: matches ED25519, RSA; the resolver vouches"],
    );
}
