//! `-J`, `ProxyJump` and `ProxyCommand` on one command line: ssh takes the first one, and refuses some.

use super::discreet;
use super::note::Note;

/// What was said so far of how the host is reached, as somebody has written it.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstWay {
    /// The first `-J` or `ProxyJump`.
    jump: Option<String>,
    /// Whether it is `none`, which leaves the way to a command.
    no_jump: bool,
    /// The first `ProxyCommand`.
    command: Option<String>,
}

impl FirstWay {
    /// `-J`: ssh takes it once, and not behind `ProxyCommand`, whatever they say.
    pub(super) fn jump(&mut self, value: &str, shown: &str) -> Result<(), String> {
        let (first, why) = match (&self.jump, &self.command) {
            (Some(first), _) => (first, "ssh takes one -J, with commas between its hosts"),
            (None, Some(first)) => (first, "ssh takes no -J behind a ProxyCommand"),
            (None, None) => {
                self.set_jump(value, shown);
                return Ok(());
            }
        };
        Err(format!("has {shown} behind {first}: {why}"))
    }

    /// A line behind `-o`; what is to be said of one that does not count.
    pub(super) fn line(&mut self, line: &str, shown: &str) -> Option<Note> {
        let (keyword, value) = discreet::keyword(line);
        let is_jump = keyword.eq_ignore_ascii_case("ProxyJump");
        if !is_jump && !keyword.eq_ignore_ascii_case("ProxyCommand") {
            return None;
        }
        let jump = self.jump.as_ref().filter(|_| is_jump || !self.no_jump);
        let first = jump.or(self.command.as_ref()).cloned();
        match is_jump {
            true if self.jump.is_none() => self.set_jump(value, shown),
            true => {}
            false => {
                self.command.get_or_insert_with(|| shown.to_owned());
            }
        }
        let why = format!("{} is before it, and the first one counts", first?);
        Some(Note::dropped(shown, &why))
    }

    fn set_jump(&mut self, value: &str, shown: &str) {
        self.jump = Some(shown.to_owned());
        self.no_jump = value.trim_matches([' ', '"']).eq_ignore_ascii_case("none");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Setting};

    /// What ssh itself says of a command line: its way, or why it takes none.
    fn ssh(words: &[String]) -> String {
        let mut ssh = std::process::Command::new("ssh");
        let output = ssh.args(["-G", "-F", "none"]).args(words).output().unwrap();
        let text = match output.status.success() {
            true => String::from_utf8(output.stdout).unwrap(),
            false => return "refused".to_owned(),
        };
        let is_way = |line: &&str| {
            let keyword = line.split(' ').next();
            matches!(keyword, Some("proxyjump" | "proxycommand"))
        };
        text.lines().find(is_way).unwrap_or("direct").to_owned()
    }

    #[test]
    fn of_two_ways_the_one_counts_that_ssh_takes_and_the_other_is_told() {
        let first = "is before it, and the first one counts";
        for (line, way, said) in [
            (
                "-o ProxyCommand=nc -J a",
                "refused",
                "behind a ProxyCommand",
            ),
            (
                "-o ProxyCommand=none -J a",
                "refused",
                "behind a ProxyCommand",
            ),
            ("-J a -J b", "refused", "ssh takes one -J"),
            ("-o ProxyJump=none -J b", "refused", "ssh takes one -J"),
            (
                "-J a -o ProxyCommand=nc",
                "proxyjump a",
                "-o ProxyCommand=nc",
            ),
            ("-J a -o ProxyJump=b", "proxyjump a", "-o ProxyJump=b"),
            ("-o ProxyJump=a -o proxycommand=nc", "proxyjump a", first),
            (
                "-o ProxyCommand=nc -o ProxyJump=a",
                "proxycommand nc",
                first,
            ),
            (
                "-o ProxyCommand=nc -o ProxyCommand=x",
                "proxycommand nc",
                first,
            ),
            ("-o ProxyCommand=none -o ProxyJump=a", "direct", first),
            ("-o ProxyJump=none -o ProxyJump=a", "direct", first),
            ("-J none -o ProxyCommand=nc", "proxycommand nc", ""),
            ("-J a", "proxyjump a", ""),
        ] {
            let words: Vec<_> = line.split(' ').chain(["h"]).map(str::to_owned).collect();
            assert_eq!(ssh(&words), way, "{line}");
            let all: Vec<_> = ["ssh".to_owned()].into_iter().chain(words).collect();
            match Command::read(&all, &Setting::default()) {
                Err(error) => assert!(way == "refused" && error.contains(said), "{line}: {error}"),
                Ok(command) => {
                    assert_ne!(way, "refused", "{line}");
                    let notes = super::super::note::comments(&command.notes);
                    let notes = notes.join("\n");
                    assert_eq!(notes.is_empty(), said.is_empty(), "{line}: {notes}");
                    assert!(notes.contains(said), "{line}: {notes}");
                }
            }
        }
    }
}
