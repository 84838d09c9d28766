//! New keys for a session that has moved much data (RFC 4253 section 9).
//!
//! OpenSSH's servers ask for new keys themselves, and russh follows at any load. When russh asks
//! first while much is coming in, it takes the data that is still on its way for an attack and
//! ends the session. So we ask in a quiet moment: after a volume that is far below what the cipher
//! allows, at the first second in which next to nothing came in; and leave the busy hours to the
//! server.

use std::time::Duration;

use crate::link::Link;
use crate::opener::Opener;

/// How often the volume is looked at; an idle session costs a comparison. Once new keys are due, how
/// often a quiet moment is looked for.
const LOOK: Duration = Duration::from_secs(10);
/// Over how long a moment is judged quiet.
const MOMENT: Duration = Duration::from_secs(1);
/// At most this much in one moment counts as quiet: far below twice the window, which is what
/// russh allows.
const QUIET: u64 = 256 << 10;
const GIB: u64 = 1 << 30;

/// Asks for new keys whenever it is time, for as long as the session lives.
pub(crate) async fn watch(session: Opener) {
    let volume = Volume::of(session.cipher().unwrap_or_default());
    let mut keys = Keys::of(&session);
    loop {
        tokio::time::sleep(LOOK).await;
        if session.key_exchanges() != keys.exchange {
            keys = Keys::of(&session);
        }
        let used = moved(&session) - keys.since;
        if used >= volume.at_the_latest || used >= volume.due && is_quiet(session.link()).await {
            session.rekey().await;
        }
    }
}

/// Since when the present keys are used.
struct Keys {
    exchange: u32,
    since: u64,
}

impl Keys {
    fn of(session: &Opener) -> Self {
        Keys {
            exchange: session.key_exchanges(),
            since: moved(session),
        }
    }
}

/// The bytes of the busier direction: each has a key of its own.
fn moved(session: &Opener) -> u64 {
    session.link().received().max(session.link().sent())
}

/// Whether next to nothing comes in for a moment.
async fn is_quiet(link: &Link) -> bool {
    let before = link.received();
    tokio::time::sleep(MOMENT).await;
    link.received() - before + link.unread() <= QUIET && !link.is_paused()
}

/// How much may be moved with the same keys.
struct Volume {
    /// After this much new keys are asked for in a quiet moment.
    due: u64,
    /// After this much even in a busy one: far beyond what any server lets pass.
    at_the_latest: u64,
}

impl Volume {
    /// For AES OpenSSH asks after the 64 GiB of RFC 4344 section 3.2 (2^(L/4) blocks of 16 bytes),
    /// for ChaCha20, which has no such bound, after the one gibibyte of RFC 4253 section 9.
    fn of(cipher: &str) -> Self {
        let due = if cipher.starts_with("aes") { 16 } else { 1 };
        Volume {
            due: due * GIB,
            at_the_latest: 256 * GIB,
        }
    }
}
