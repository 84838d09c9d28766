//! A terminal for a program that asks a person.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::{poll, wait_exit};

/// A program with a terminal in place of its three streams. Dropped, it is killed.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program at a new terminal.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the program cannot be run.
    pub fn run(mut command: Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("cannot make a terminal");
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = || -> OwnedFd { rustix::fs::open(&name, flags, Mode::empty()).unwrap() };
        command.stdin(theirs()).stdout(theirs()).stderr(theirs());
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        // It holds the program's ends: with them the terminal would never end.
        drop(command);
        let keyboard = File::from(ours);
        let screen = Arc::default();
        watch(keyboard.try_clone().unwrap(), Arc::clone(&screen));
        Terminal {
            child,
            keyboard,
            screen,
        }
    }

    /// What is on the screen, typed words too.
    pub fn screen(&self) -> String {
        let bytes = self.screen.lock().unwrap().clone();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Waits until this is on the screen.
    ///
    /// # Panics
    /// When it is not in time; the message has the screen.
    pub fn wait_for(&self, part: &str, timeout: Duration) {
        let seen = poll(timeout, || self.screen().contains(part).then_some(()));
        assert!(seen.is_some(), "no {part:?} on:\n{}", self.screen());
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(line.as_bytes()).unwrap();
        self.keyboard.write_all(b"\n").unwrap();
    }

    /// Presses keys: `\x03` is Ctrl-C, which reaches a program that the terminal is the controlling one
    /// of (`setsid --ctty`).
    pub fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// The process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Waits for the program to end, and returns how it did and what is on the screen.
    ///
    /// # Panics
    /// When it does not in time; the message has the screen.
    pub fn wait_exit(mut self, timeout: Duration) -> (ExitStatus, String) {
        let status = wait_exit(&mut self.child, timeout);
        let status = status.unwrap_or_else(|| panic!("still runs:\n{}", self.screen()));
        // The last words may still be on their way through the terminal: the watcher ends after them.
        poll(timeout, || {
            (Arc::strong_count(&self.screen) == 1).then_some(())
        });
        (status, self.screen())
    }
}

/// Takes down what the program prints, until it has closed its end.
fn watch(mut from: File, screen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            screen.lock().unwrap().extend_from_slice(&bytes[..n]);
        }
    });
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_asks_and_hears_the_answer() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "test -t 0 || exit 9; printf 'who? '; read x; echo \"hi $x\"; exit 7",
        ]);
        let long = Duration::from_secs(20);
        let mut terminal = Terminal::run(command);
        terminal.wait_for("who? ", long);
        terminal.type_line("you");
        let (status, screen) = terminal.wait_exit(long);
        assert_eq!(status.code(), Some(7));
        assert_eq!(screen, "who? you\nhi you\n");
    }
}
