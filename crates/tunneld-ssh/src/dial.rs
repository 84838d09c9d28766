//! From a host name to a TCP connection.
//!
//! The name is resolved at every attempt, and every address that it has is tried: they are started
//! a quarter of a second apart, the two families in turn, and the first that answers wins (RFC
//! 8305, "Happy Eyeballs"). `address_family` and `bind_address` leave out those that cannot be meant.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tunneld_core::config::{AddressFamily, Target};
use tunneld_core::failure::{Failure, Stage};

use crate::error::os_reason;
use crate::shared::Shared;
use crate::trace::Step;

/// The delay between two addresses (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// More addresses than this are not tried in one attempt.
const MAX_ADDRESSES: usize = 16;

/// What a connection is made to, and from where.
#[derive(Clone, Copy)]
pub(crate) struct Dial<'a> {
    host: &'a str,
    port: u16,
    family: AddressFamily,
    bind: Option<IpAddr>,
}

impl<'a> Dial<'a> {
    /// To `host`, as the first connection on the way to `target`.
    pub(crate) fn new(host: &'a str, port: u16, target: &Target) -> Self {
        Dial {
            host,
            port,
            family: target.address_family,
            bind: target.bind_address,
        }
    }
}

/// Opens a TCP connection: to a server, or to a proxy.
pub(crate) async fn dial(
    dial: Dial<'_>,
    shared: &Shared,
) -> Result<(TcpStream, SocketAddr), Failure> {
    shared.set_stage(Stage::Resolve);
    let addresses = usable(dial, resolve(dial).await?)?;
    shared.trace.note(|| Step::Resolved {
        addresses: addresses.clone(),
    });
    shared.set_stage(Stage::Connect);
    let (stream, peer) = race(addresses, dial.bind).await?;
    tune(&stream).map_err(|e| Failure::transient(Stage::Connect, os_reason(&e)))?;
    Ok((stream, peer))
}

async fn resolve(dial: Dial<'_>) -> Result<Vec<SocketAddr>, Failure> {
    let host = dial.host;
    let found = lookup_host((host, dial.port)).await.map_err(|e| {
        let reason = e.to_string();
        // getaddrinfo(3)'s words come behind a prefix of the standard library.
        let reason = reason.rsplit(": ").next().unwrap_or(&reason).to_lowercase();
        Failure::transient(Stage::Resolve, format!("cannot resolve {host}: {reason}"))
    })?;
    Ok(found.collect())
}

/// The addresses that the file allows, in the order in which they are tried.
fn usable(dial: Dial<'_>, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
    let host = dial.host;
    let none = |what: &str| {
        let cause = format!("cannot resolve {host}: no {what}");
        Failure::transient(Stage::Resolve, cause)
    };
    if found.is_empty() {
        return Err(none("addresses"));
    }
    let mut left: Vec<SocketAddr> = found;
    left.retain(|address| dial.family.has(address.ip()));
    if left.is_empty() {
        let family = dial.family.as_str();
        let v4 = dial.family == AddressFamily::Inet;
        return Err(none(&format!("{} address", version(v4)))
            .with_hint(format!("`address_family` is \"{family}\"")));
    }
    if let Some(bind) = dial.bind {
        left.retain(|address| address.is_ipv4() == bind.is_ipv4());
        if left.is_empty() {
            return Err(
                none(&format!("{} address", version(bind.is_ipv4()))).with_hint(format!(
                    "`bind_address` is {bind}: no other address can be reached from it"
                )),
            );
        }
    }
    left.truncate(MAX_ADDRESSES);
    Ok(interleave(left))
}

fn version(v4: bool) -> &'static str {
    match v4 {
        true => "IPv4",
        false => "IPv6",
    }
}

/// The families in turn, each in the resolver's order, beginning with the resolver's first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|a| a.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut out = Vec::new();
    for address in first {
        out.push(address);
        out.extend(second.next());
    }
    out.extend(second);
    out
}

/// The first address that answers, or why none did.
async fn race(
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut rest = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut errors: Vec<(SocketAddr, Failure)> = Vec::new();
    loop {
        if let Some(address) = rest.next() {
            tries.spawn(async move { (address, open(address, bind).await) });
        } else if tries.is_empty() {
            return Err(none_answered(errors));
        }
        // With addresses left the wait is short; without, it is as long as it takes, within the
        // deadline of the whole attempt. Dropping the set ends the tries.
        let wait = async {
            match rest.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(STAGGER).await,
            }
        };
        tokio::select! {
            done = tries.join_next(), if !tries.is_empty() => match done {
                Some(Ok((address, Ok(stream)))) => return Ok((stream, address)),
                Some(Ok((address, Err(e)))) => errors.push((address, e)),
                Some(Err(_)) | None => {}
            },
            () = wait => {}
        }
    }
}

/// Connects to one address, from `bind` if there is one.
async fn open(address: SocketAddr, bind: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let failed = |e: io::Error| Failure::transient(Stage::Connect, os_reason(&e));
    let Some(bind) = bind else {
        return TcpStream::connect(address).await.map_err(failed);
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    let bound = socket.bind(SocketAddr::new(bind, 0));
    bound.map_err(|e| cannot_bind(bind, &e))?;
    socket.connect(address).await.map_err(failed)
}

/// An interface may still get the address: waiting can help.
fn cannot_bind(bind: IpAddr, e: &io::Error) -> Failure {
    let reason = match e.kind() {
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => os_reason(e),
    };
    Failure::transient(
        Stage::Connect,
        format!("cannot connect from {bind}: {reason}"),
    )
    .with_hint("correct `bind_address`: `ip address` prints those of this machine")
}

/// The one reason of all addresses, or each with its own.
fn none_answered(mut errors: Vec<(SocketAddr, Failure)>) -> Failure {
    let Some((_, first)) = errors.first() else {
        return Failure::transient(Stage::Connect, "no address answered");
    };
    if errors.iter().all(|(_, e)| e.cause == first.cause) {
        return errors.swap_remove(0).1;
    }
    let each: Vec<String> = errors
        .iter()
        .map(|(address, e)| format!("{}: {}", address.ip(), e.cause))
        .collect();
    Failure::transient(Stage::Connect, each.join("; "))
}

/// Latency over throughput, and the kernel's own keepalive as a second line behind ours.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15))
            .with_retries(4),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_beginning_with_the_resolvers_first() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(mixed), expected);
        let v4 = addresses(&["1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(interleave(v4.clone()), v4);
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_one_that_answers() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = dead.local_addr().unwrap();
        drop(dead);
        let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let answers = alive.local_addr().unwrap();
        let (_, peer) = race(vec![refused, answers], None).await.unwrap();
        assert_eq!(peer, answers);
        let failure = race(vec![refused, refused], None).await.unwrap_err();
        assert_eq!(failure.cause, "connection refused");
    }

    /// What is left of these addresses.
    fn left(found: &[&str], family: AddressFamily, bind: Option<&str>) -> Result<String, Failure> {
        let dial = Dial {
            host: "db",
            port: 22,
            family,
            bind: bind.map(|address| address.parse().unwrap()),
        };
        let left = usable(dial, addresses(found))?;
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        Ok(left.join(" "))
    }

    #[test]
    fn only_addresses_of_the_family_that_is_wanted_are_tried() {
        let both = ["[::1]:22", "[::2]:22", "1.1.1.1:22"];
        let (any, v4, v6) = (
            AddressFamily::Any,
            AddressFamily::Inet,
            AddressFamily::Inet6,
        );
        assert_eq!(
            left(&both, any, None).unwrap(),
            "[::1]:22 1.1.1.1:22 [::2]:22"
        );
        assert_eq!(left(&both, v4, None).unwrap(), "1.1.1.1:22");
        assert_eq!(left(&both, v6, None).unwrap(), "[::1]:22 [::2]:22");
        assert_eq!(left(&both, any, Some("10.0.0.1")).unwrap(), "1.1.1.1:22");
        let many: Vec<String> = (1..40).map(|n| format!("10.0.0.{n}:22")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(both).collect();
        assert!(left(&many, v6, None).unwrap().starts_with("[::1]:22"));
    }

    #[test]
    fn a_host_without_an_address_that_can_be_meant_is_told_with_the_key_that_wants_it() {
        let failure = left(&["1.1.1.1:22"], AddressFamily::Inet6, None).unwrap_err();
        assert_eq!(failure.cause, "cannot resolve db: no IPv6 address");
        assert_eq!(failure.hint.unwrap(), "`address_family` is \"inet6\"");
        let failure = left(&["[::1]:22"], AddressFamily::Any, Some("10.0.0.1")).unwrap_err();
        assert_eq!(failure.cause, "cannot resolve db: no IPv4 address");
        let hint = "`bind_address` is 10.0.0.1: no other address can be reached from it";
        assert_eq!(failure.hint.unwrap(), hint);
        let failure = left(&[], AddressFamily::Any, None).unwrap_err();
        assert_eq!(failure.cause, "cannot resolve db: no addresses");
    }

    #[tokio::test]
    async fn a_connection_comes_from_the_address_that_is_wanted_or_not_at_all() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let from: IpAddr = "127.0.0.9".parse().unwrap();
        let (stream, _) = race(vec![to], Some(from)).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip(), from);
        drop(stream);
        // TEST-NET-1 (RFC 5737): no machine has it.
        let foreign = "192.0.2.1".parse().unwrap();
        let failure = race(vec![to, to], Some(foreign)).await.unwrap_err();
        assert_eq!(
            failure.cause,
            "cannot connect from 192.0.2.1: this machine does not have the address"
        );
        assert!(failure.hint.unwrap().starts_with("correct `bind_address`"));
    }
}
