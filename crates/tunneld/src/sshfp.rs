//! What the DNS says of a host's keys: SSHFP records (RFC 4255, 6594 and 7479), and how far they
//! can be believed.
//!
//! A record proves something only where DNSSEC has been checked. A resolver says so with the AD bit
//! of its answer (RFC 4035 section 3.2.3), and anybody on the way to it can say so as well: the bit
//! counts only where /etc/resolv.conf has `options trust-ad`, as for the programs of glibc
//! (resolv.conf(5)). An address of this machine would be no reason: there may be a forwarder behind
//! it that passes on whatever it hears.

mod ask;

use std::net::IpAddr;

use tunneld_core::config::{Target, Via};
use tunneld_ssh::scan::HostKey;

/// The records of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sshfp {
    /// Nobody was asked for them; why.
    NotAsked(&'static str),
    /// There is no answer; why.
    NoAnswer(String),
    /// The answer.
    Answer {
        credit: Credit,
        records: Vec<Record>,
        /// Why they may be those of another server.
        doubt: Option<&'static str>,
    },
}

/// How far an answer can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credit {
    /// The resolver has checked DNSSEC, and is trusted to say so.
    Vouched,
    /// The resolver says that it has checked DNSSEC; it is not trusted to say so.
    Claimed,
    /// The resolver has not checked DNSSEC, or the zone is not signed.
    Nothing,
}

/// One record: the number of the key's algorithm, that of the hash, and the hash of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    algorithm: u8,
    hash: u8,
    digest: Vec<u8>,
}

/// SHA-256 (RFC 6594 section 4.1). Records with SHA-1 (1) are not looked at: whoever publishes them
/// publishes these beside them, and where both are there only these may count.
const SHA256: u8 = 2;

impl Record {
    fn parse(data: &[u8]) -> Option<Self> {
        let ([algorithm, hash], digest) = data.split_first_chunk()?;
        Some(Record {
            algorithm: *algorithm,
            hash: *hash,
            digest: digest.to_vec(),
        })
    }
}

/// Asks the resolver of this machine for the records of the server of `target`.
pub(crate) async fn look_up(target: &Target) -> Sshfp {
    if target.host.parse::<IpAddr>().is_ok() || target.host.contains(':') {
        return Sshfp::NotAsked("the host is an address");
    }
    if target.via != Via::Direct {
        return Sshfp::NotAsked("the host's name is looked up elsewhere");
    }
    match ask::ask(&target.host).await {
        Ok((credit, records)) => Sshfp::Answer {
            credit,
            records,
            doubt: doubt(target),
        },
        Err(why) => Sshfp::NoAnswer(why),
    }
}

/// Records are those of a name: they know nothing of ports, nor of who goes by another name with us.
fn doubt(target: &Target) -> Option<&'static str> {
    match (&target.host_key_alias, target.port) {
        (Some(_), _) => Some("the host goes by its `host_key_alias`"),
        (None, 22) => None,
        (None, _) => Some("they may be those of the server at port 22"),
    }
}

impl Sshfp {
    /// Whether the records say for certain that one of these keys is not the host's.
    pub(crate) fn contradicts(&self, keys: &[HostKey]) -> bool {
        match self {
            Sshfp::Answer {
                credit: Credit::Vouched,
                records,
                doubt: None,
            } => !Comparison::of_keys(records, keys).differ.is_empty(),
            _ => false,
        }
    }

    /// What they say of these keys, in one line.
    pub(crate) fn told(&self, keys: &[HostKey]) -> String {
        match self {
            Sshfp::NotAsked(why) => format!("not asked: {why}"),
            Sshfp::NoAnswer(why) => why.clone(),
            Sshfp::Answer { records, .. } if records.is_empty() => "no records".to_owned(),
            Sshfp::Answer {
                credit,
                records,
                doubt,
            } => {
                let comparison = Comparison::of_keys(records, keys);
                let told = comparison.told(*credit);
                match doubt.filter(|_| !comparison.differ.is_empty()) {
                    Some(doubt) => format!("{told}; {doubt}"),
                    None => told,
                }
            }
        }
    }
}

/// What the records say of the keys that a host has shown.
#[derive(Default)]
struct Comparison {
    /// Types of key.
    matching: Vec<&'static str>,
    differ: Vec<&'static str>,
}

impl Comparison {
    fn of_keys(records: &[Record], keys: &[HostKey]) -> Self {
        let keys = keys.iter().map(|key| (key.kind(), key.sshfp()));
        Comparison::new(records, &keys.collect::<Vec<_>>())
    }

    /// Each key by its type, the number of its algorithm and its hash.
    fn new(records: &[Record], keys: &[(&'static str, (u8, [u8; 32]))]) -> Self {
        let agrees = |(number, digest): &(u8, [u8; 32])| agreement(records, *number, digest);
        let mut comparison = Comparison::default();
        for (kind, key) in keys {
            // The curves of ECDSA have one number: the record may be of the host's other key.
            let alike = |(_, other): &(_, (u8, _))| other.0 == key.0 && agrees(other) == Some(true);
            match agrees(key) {
                Some(true) => comparison.matching.push(kind),
                Some(false) if !keys.iter().any(alike) => comparison.differ.push(kind),
                Some(false) | None => {}
            }
        }
        comparison
    }

    fn told(&self, credit: Credit) -> String {
        let belief = match credit {
            Credit::Vouched => "the resolver vouches for that (DNSSEC)",
            Credit::Claimed => {
                "but it proves nothing: the resolver vouches for it, and /etc/resolv.conf does not \
                 say `options trust-ad`"
            }
            Credit::Nothing => {
                "but it proves nothing: the resolver does not vouch for it (no DNSSEC)"
            }
        };
        let matching = self.matching.join(", ");
        match (self.matching.is_empty(), self.differ.is_empty()) {
            (true, true) => "no record of a key that the host has shown".to_owned(),
            (false, true) => format!("matches {matching}; {belief}"),
            (true, false) => format!("DIFFERS from {}; {belief}", self.differ.join(", ")),
            (false, false) => {
                let differ = self.differ.join(", ");
                format!("matches {matching}, DIFFERS from {differ}; {belief}")
            }
        }
    }
}

/// Whether a key is one of those that the records name for its algorithm; `None` if they name none.
fn agreement(records: &[Record], algorithm: u8, digest: &[u8]) -> Option<bool> {
    let mut of_its_kind = records
        .iter()
        .filter(|r| r.algorithm == algorithm && r.hash == SHA256)
        .peekable();
    of_its_kind.peek()?;
    Some(of_its_kind.any(|r| r.digest == digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_agrees_with_any_record_of_its_algorithm_and_with_no_other() {
        let record = |algorithm, hash, byte| Record {
            algorithm,
            hash,
            digest: vec![byte; 32],
        };
        let records = [
            record(4, 2, 1),
            record(4, 2, 2),
            record(1, 1, 3),
            record(9, 2, 3),
        ];
        let agrees = |algorithm, byte| agreement(&records, algorithm, &[byte; 32]);
        assert_eq!(agrees(4, 1), Some(true));
        assert_eq!(agrees(4, 2), Some(true));
        assert_eq!(agrees(4, 3), Some(false));
        // SHA-1 says nothing, and neither does another algorithm's record.
        assert_eq!(agrees(1, 3), None);
        assert_eq!(agrees(3, 3), None);
    }

    #[test]
    fn a_key_of_another_curve_does_not_differ_where_one_of_ecdsa_is_right() {
        let record = |algorithm, byte| Record {
            algorithm,
            hash: SHA256,
            digest: vec![byte; 32],
        };
        let keys = [
            ("ECDSA", (3, [1; 32])),
            ("ECDSA", (3, [2; 32])),
            ("RSA", (1, [3; 32])),
        ];
        let found = Comparison::new(&[record(3, 2), record(1, 4)], &keys);
        assert_eq!(found.matching, ["ECDSA"]);
        assert_eq!(found.differ, ["RSA"]);
        let found = Comparison::new(&[record(3, 9)], &keys);
        assert_eq!(found.differ, ["ECDSA", "ECDSA"]);
    }

    #[test]
    fn records_count_against_a_key_only_at_the_port_and_by_the_name_that_they_are_for() {
        let mut target = Target::new("db", 22, "u");
        assert_eq!(doubt(&target), None);
        target.port = 2222;
        assert!(doubt(&target).is_some());
        target.port = 22;
        target.host_key_alias = Some("cluster".to_owned());
        assert!(doubt(&target).is_some());
    }

    #[test]
    fn a_record_is_two_numbers_and_a_digest() {
        let record = Record::parse(&[4, 2, 0xab, 0xcd]).unwrap();
        assert_eq!((record.algorithm, record.hash), (4, 2));
        assert_eq!(record.digest, [0xab, 0xcd]);
        assert_eq!(Record::parse(&[4]), None);
        assert_eq!(Record::parse(&[]), None);
    }

    #[tokio::test]
    async fn nobody_is_asked_for_an_address_or_for_a_name_that_means_something_elsewhere() {
        for host in ["192.0.2.1", "::1", "fe80::1%eth0"] {
            let target = Target::new(host, 22, "u");
            let records = look_up(&target).await;
            assert_eq!(records, Sshfp::NotAsked("the host is an address"), "{host}");
        }
        let target = Target {
            via: Via::Jump(Target::new("bastion", 22, "u").into()),
            ..Target::new("inner", 22, "u")
        };
        assert!(matches!(look_up(&target).await, Sshfp::NotAsked(_)));
    }
}
