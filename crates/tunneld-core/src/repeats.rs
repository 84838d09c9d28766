//! When a repeated message is worth another line.
//!
//! A tunnel that is down for a night fails a thousand times for one reason. The first failure is
//! worth a line, a new cause is worth a line, and the rest is summarised at widening intervals.

use std::time::Duration;

/// The first summary of a repeated message.
const FIRST: Duration = Duration::from_secs(60);
/// Summaries are never further apart than this.
const WIDEST: Duration = Duration::from_secs(3600);

/// Whether a message is said, and how many like it were kept back since the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// New: the first of its kind, or after a change.
    First,
    /// The same again, after `suppressed` that were not said.
    Summary {
        /// How many were kept back since the last line.
        suppressed: u32,
    },
    /// The same again, too soon.
    Nothing,
}

/// How many different messages are remembered: two causes that take turns are no news either.
const REMEMBERED: usize = 8;

/// Remembers what was said, and when.
#[derive(Debug, Default)]
pub struct Repeats {
    /// The latest last.
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    text: String,
    at: Duration,
    gap: Duration,
    suppressed: u32,
}

impl Repeats {
    /// Decides about `text` at `now`, a time that only has to go forward.
    pub fn say(&mut self, text: &str, now: Duration) -> Say {
        let known = self.said.iter().position(|said| said.text == text);
        let Some(mut said) = known.map(|at| self.said.remove(at)) else {
            self.remember(Said {
                text: text.to_owned(),
                at: now,
                gap: FIRST,
                suppressed: 0,
            });
            return Say::First;
        };
        let say = if now < said.at.saturating_add(said.gap) {
            said.suppressed = said.suppressed.saturating_add(1);
            Say::Nothing
        } else {
            said.at = now;
            said.gap = (said.gap * 2).min(WIDEST);
            Say::Summary {
                suppressed: std::mem::take(&mut said.suppressed),
            }
        };
        self.remember(said);
        say
    }

    fn remember(&mut self, said: Said) {
        if self.said.len() >= REMEMBERED {
            self.said.remove(0);
        }
        self.said.push(said);
    }

    /// Forgets what was said: the next message is new.
    pub fn clear(&mut self) {
        self.said.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_message_is_summarised_at_widening_intervals() {
        let mut repeats = Repeats::default();
        let mut said = Vec::new();
        for second in 0..4 * 3600 {
            match repeats.say("connection refused", Duration::from_secs(second)) {
                Say::Nothing => {}
                say => said.push((second, say)),
            }
        }
        let seconds: Vec<u64> = said.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980]);
        assert_eq!(said[0].1, Say::First);
        assert_eq!(said[1].1, Say::Summary { suppressed: 59 });
    }

    #[test]
    fn a_new_message_is_said_at_once_and_so_is_one_after_a_recovery() {
        let mut repeats = Repeats::default();
        let at = Duration::from_secs(5);
        assert_eq!(repeats.say("a", at), Say::First);
        assert_eq!(repeats.say("a", at), Say::Nothing);
        assert_eq!(repeats.say("b", at), Say::First);
        assert_eq!(repeats.say("a", at), Say::Nothing);
        repeats.clear();
        assert_eq!(repeats.say("b", at), Say::First);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..1000 {
            assert_eq!(repeats.say(&n.to_string(), Duration::ZERO), Say::First);
        }
        assert_eq!(repeats.said.len(), REMEMBERED);
    }
}
