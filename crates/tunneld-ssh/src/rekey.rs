//! New keys for a session that has moved much data (RFC 4253 section 9).
//!
//! OpenSSH's servers ask for new keys themselves, and russh follows at any load. When russh asks
//! first while much is coming in, it takes the data that is still on its way for an attack and
//! ends the session. So we ask in a quiet moment: after a volume that is far below what the cipher
//! allows, at the first second in which next to nothing came in; and leave the busy hours to the
//! server.

use std::time::Duration;

use crate::link::Link;
use crate::session::Opener;

/// How often the volume is looked at; an idle session costs a comparison.
const LOOK: Duration = Duration::from_secs(10);
/// Over how long a moment is judged quiet, once new keys are due.
const MOMENT: Duration = Duration::from_secs(1);
/// At most this much in one moment counts as quiet: far below twice the window, which is what
/// russh allows.
const QUIET: u64 = 256 << 10;
const GIB: u64 = 1 << 30;

/// After this many times the volume new keys are asked for even if the session is never quiet.
const AT_THE_LATEST: u64 = 4;

/// Asks for new keys whenever it is time, for as long as the session lives.
pub(crate) async fn watch(session: Opener) {
    let due_after = volume(session.cipher().unwrap_or_default());
    let link = session.link();
    // Each direction has a key of its own.
    let moved = || link.received().max(link.sent());
    let mut asked_at = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        if moved() - asked_at < due_after {
            continue;
        }
        while moved() - asked_at < due_after * AT_THE_LATEST && !is_quiet(link).await {}
        asked_at = moved();
        session.rekey().await;
    }
}

/// Whether next to nothing comes in for a moment.
async fn is_quiet(link: &Link) -> bool {
    let before = link.received();
    tokio::time::sleep(MOMENT).await;
    link.received() - before + link.unread() <= QUIET && !link.is_paused()
}

/// The volume after which new keys are wanted. For AES OpenSSH takes the 64 GiB of RFC 4344 section
/// 3.2 (2^(L/4) blocks of 16 bytes), which is what four times our volume comes to; for ChaCha20 it
/// takes the one gibibyte of RFC 4253 section 9.
fn volume(cipher: &str) -> u64 {
    if cipher.starts_with("aes") {
        16 * GIB
    } else {
        GIB
    }
}
