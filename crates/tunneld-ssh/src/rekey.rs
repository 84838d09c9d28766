//! New keys for a session that has moved much data, or is old (RFC 4253 section 9).
//!
//! OpenSSH's servers ask for new keys themselves, and russh follows at any load. When russh asks
//! first while much is coming in, it takes the data that is still on its way for an attack once
//! that is more than two windows, and ends the session. So we ask when it cannot be as much: after
//! a volume that is far below what the cipher allows, or as `rekey_limit` says,
//!
//! - at a second in which next to nothing came in, whatever is sent meanwhile, or
//! - while one connection at most is carried: what is on its way to it is one window.
//!
//! Busy hours of several connections are left to the server, until far beyond what any server lets
//! pass. The price is that `rekey_limit` is kept to the second only on a session that is not busy
//! with several downloads at once; on one that is it is kept at the first quiet second.

use std::time::Duration;

use tokio::time::Instant;
use tunneld_core::config::RekeyLimit;

use crate::link::Link;
use crate::opener::Opener;

/// How often the volume is looked at where the file sets no limit; an idle session costs a
/// comparison.
const LOOK: Duration = Duration::from_secs(10);
/// Over how long a moment is judged quiet; and how often a limit of the file is looked at.
const MOMENT: Duration = Duration::from_secs(1);
/// At most this much in one moment counts as quiet: far below twice the window, which is what
/// russh allows.
const QUIET: u64 = 256 << 10;
const GIB: u64 = 1 << 30;

/// Asks for new keys whenever it is time, for as long as the session lives.
pub(crate) async fn watch(session: Opener, limit: RekeyLimit) {
    let volume = Volume::of(session.cipher().unwrap_or_default(), limit.bytes);
    let look = match limit == RekeyLimit::default() {
        true => LOOK,
        false => MOMENT,
    };
    let mut keys = Keys::of(&session);
    loop {
        tokio::time::sleep(look).await;
        if session.key_exchanges() != keys.exchange {
            keys = Keys::of(&session);
        }
        let used = moved(&session) - keys.since;
        let is_due = used >= volume.due || limit.time.is_some_and(|t| keys.born.elapsed() >= t);
        if used >= volume.at_the_latest || is_due && is_harmless(&session).await {
            session.rekey().await;
            // Asked once, it is done as soon as the server has answered.
            while session.key_exchanges() == keys.exchange {
                tokio::time::sleep(look).await;
            }
        }
    }
}

/// Since when the present keys are used.
struct Keys {
    exchange: u32,
    since: u64,
    born: Instant,
}

impl Keys {
    fn of(session: &Opener) -> Self {
        Keys {
            exchange: session.key_exchanges(),
            since: moved(session),
            born: Instant::now(),
        }
    }
}

/// The bytes of the busier direction: each has a key of its own.
fn moved(session: &Opener) -> u64 {
    session.link().received().max(session.link().sent())
}

/// Whether less can be on its way to us than russh allows.
async fn is_harmless(session: &Opener) -> bool {
    let link = session.link();
    // Nothing is sent while keys are exchanged: a client that holds the session back must not
    // make that long.
    if link.is_paused() {
        return false;
    }
    // A connection that is being closed may still have its window coming: it is a load.
    let alone = link.connections() <= 1 && session.load() <= 1;
    alone || is_quiet(link).await
}

/// Whether next to nothing comes in for a moment.
async fn is_quiet(link: &Link) -> bool {
    let before = link.received();
    tokio::time::sleep(MOMENT).await;
    link.received() - before + link.unread() <= QUIET && !link.is_paused()
}

/// How much may be moved with the same keys.
#[derive(Debug, PartialEq, Eq)]
struct Volume {
    /// After this much new keys are asked for where that is harmless.
    due: u64,
    /// After this much in any case: far beyond what any server lets pass.
    at_the_latest: u64,
}

impl Volume {
    /// For AES OpenSSH asks after the 64 GiB of RFC 4344 section 3.2 (2^(L/4) blocks of 16 bytes),
    /// for ChaCha20, which has no such bound, after the one gibibyte of RFC 4253 section 9. As with
    /// OpenSSH a limit of the file makes it less, and never more.
    fn of(cipher: &str, limit: Option<u64>) -> Self {
        let due = if cipher.starts_with("aes") { 16 } else { 1 } * GIB;
        Volume {
            due: limit.map_or(due, |limit| due.min(limit)),
            at_the_latest: 256 * GIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_file_makes_it_less_and_never_more() {
        let due = |cipher: &str, limit| Volume::of(cipher, limit).due;
        assert_eq!(due("aes128-gcm@openssh.com", None), 16 * GIB);
        assert_eq!(due("chacha20-poly1305@openssh.com", None), GIB);
        assert_eq!(due("aes256-ctr", Some(5)), 5);
        assert_eq!(due("chacha20-poly1305@openssh.com", Some(4 * GIB)), GIB);
    }
}
