//! From a host name to a TCP connection.
//!
//! The name is resolved at every attempt, and every address that it has is tried: they are started
//! a quarter of a second apart, the two families in turn, and the first that answers wins (RFC
//! 8305, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tunneld_core::failure::{Failure, Stage};

use crate::error::os_reason;
use crate::shared::Shared;
use crate::trace::Step;

/// The delay between two addresses (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// More addresses than this are not tried in one attempt.
const MAX_ADDRESSES: usize = 16;

/// Opens the TCP connection to a server.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    shared: &Shared,
) -> Result<(TcpStream, SocketAddr), Failure> {
    shared.set_stage(Stage::Resolve);
    let addresses = resolve(host, port).await?;
    shared.trace.note(|| Step::Resolved {
        addresses: addresses.clone(),
    });
    shared.set_stage(Stage::Connect);
    let (stream, peer) = race(addresses).await?;
    tune(&stream).map_err(|e| Failure::transient(Stage::Connect, os_reason(&e)))?;
    Ok((stream, peer))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = lookup_host((host, port)).await.map_err(|e| {
        let reason = e.to_string();
        // getaddrinfo(3)'s words come behind a prefix of the standard library.
        let reason = reason.rsplit(": ").next().unwrap_or(&reason).to_lowercase();
        Failure::transient(Stage::Resolve, format!("cannot resolve {host}: {reason}"))
    })?;
    let addresses = interleave(found.take(MAX_ADDRESSES).collect());
    if addresses.is_empty() {
        let cause = format!("cannot resolve {host}: no addresses");
        return Err(Failure::transient(Stage::Resolve, cause));
    }
    Ok(addresses)
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
async fn race(addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut rest = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        if let Some(address) = rest.next() {
            tries.spawn(async move { (address, TcpStream::connect(address).await) });
        } else if tries.is_empty() {
            return Err(none_answered(&errors));
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

fn none_answered(errors: &[(SocketAddr, io::Error)]) -> Failure {
    let mut reasons: Vec<String> = errors.iter().map(|(_, e)| os_reason(e)).collect();
    reasons.dedup();
    let cause = match reasons.as_slice() {
        [] => "no address answered".to_owned(),
        [reason] => reason.clone(),
        _ => {
            let each: Vec<String> = errors
                .iter()
                .map(|(address, e)| format!("{}: {}", address.ip(), os_reason(e)))
                .collect();
            each.join("; ")
        }
    };
    Failure::transient(Stage::Connect, cause)
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
        let (_, peer) = race(vec![refused, answers]).await.unwrap();
        assert_eq!(peer, answers);
        let failure = race(vec![refused, refused]).await.unwrap_err();
        assert_eq!(failure.cause, "connection refused");
    }
}
