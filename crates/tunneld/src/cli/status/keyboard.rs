//! The keyboard of `tunneld status --watch`: keys are heard as they are pressed, and not shown.

use std::io::{self, IsTerminal, Stdin};

use rustix::io::read;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A terminal that hands on each key, without an echo (termios(3)); Ctrl-C and Ctrl-Z stay what they
/// are. Dropped, it is as it was.
pub(super) struct Keyboard {
    stdin: AsyncFd<Stdin>,
    before: Termios,
}

impl Keyboard {
    /// `None` where nobody types, or the terminal is not ours.
    #[expect(
        deprecated,
        reason = "what follows it is unsafe; the descriptor of stdin stays the same and open"
    )]
    pub(super) fn listen() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let stdin = AsyncFd::with_interest(stdin, Interest::READABLE).ok()?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        // A read returns what there is, also nothing: the terminal is not made non-blocking, which
        // everybody who has it would notice.
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &keys).ok()?;
        Some(Keyboard { stdin, before })
    }

    /// Returns once `q` is pressed.
    pub(super) async fn quit(&self) {
        while let Ok(mut ready) = self.stdin.readable().await {
            if has_quit(&mut ready) {
                return;
            }
        }
        // There is nothing to hear any more; the terminal's end is told by a signal.
        std::future::pending().await
    }
}

/// Whether what was typed asks for the end.
fn has_quit(ready: &mut AsyncFdReadyGuard<'_, Stdin>) -> bool {
    let mut keys = [0; 64];
    let n = read(ready.get_inner(), &mut keys[..]).unwrap_or(0);
    if n < keys.len() {
        ready.clear_ready();
    }
    keys.iter().take(n).any(|key| matches!(key, b'q' | b'Q'))
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}
