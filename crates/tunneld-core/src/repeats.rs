//! When a repeated message is worth another line.
//!
//! A tunnel that is down for a night fails a thousand times for one reason. The first failure is
//! worth a line, a new cause is worth a line, and the rest is summarised at widening intervals. What
//! is new each time, because somebody makes it up, is no news after a while either.

use std::time::Duration;

/// The first summary of a repeated message.
const FIRST: Duration = Duration::from_secs(60);
/// Summaries are never further apart than this.
const WIDEST: Duration = Duration::from_secs(3600);

/// Whether a message is said, and how many like it were kept back since the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// New: the first of its kind, or after a change.
    First {
        /// How many other new ones were kept back before it, for there were too many.
        suppressed: u32,
    },
    /// The same again, after `suppressed` that were not said.
    Summary {
        /// How many were kept back since the last line.
        suppressed: u32,
    },
    /// The same again, too soon.
    Nothing,
}

impl Say {
    /// How many were kept back before it; `None` where it is not said.
    pub fn said(self) -> Option<u32> {
        match self {
            Say::First { suppressed } | Say::Summary { suppressed } => Some(suppressed),
            Say::Nothing => None,
        }
    }
}

/// How many different messages are remembered: two causes that take turns are no news either.
const REMEMBERED: usize = 8;

/// Remembers what was said, and when. Of what was kept back, the latest of each kind can be had: a `T`.
#[derive(Debug)]
pub struct Repeats<T = ()> {
    /// The latest last.
    said: Vec<Said<T>>,
    /// For what was never said: a server can have another text each time.
    news: Allowance,
    /// The latest that `news` has kept back.
    latest: Option<T>,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Repeats {
            said: Vec::new(),
            news: Allowance::default(),
            latest: None,
        }
    }
}

#[derive(Debug)]
struct Said<T> {
    text: String,
    at: Duration,
    gap: Duration,
    suppressed: u32,
    latest: Option<T>,
}

impl<T> Said<T> {
    fn is_over(&self, now: Duration) -> bool {
        now >= self.at.saturating_add(self.gap)
    }

    /// The line that is said at `now`: how many it stands for.
    fn sum_up(&mut self, now: Duration) -> u32 {
        self.at = now;
        self.gap = (self.gap * 2).min(WIDEST);
        std::mem::take(&mut self.suppressed)
    }
}

impl Repeats {
    /// Decides about `text` at `now`, a time that only has to go forward.
    pub fn say(&mut self, text: &str, now: Duration) -> Say {
        self.decide(text, now)
    }
}

impl<T> Repeats<T> {
    /// Decides as [`Repeats::say`] about `one` of the kind `text`: `None` if it is kept back, else with
    /// how many were since the last one.
    pub fn say_one(&mut self, text: &str, one: T, now: Duration) -> Option<(T, u32)> {
        if let Some(suppressed) = self.decide(text, now).said() {
            return Some((one, suppressed));
        }
        match self.said.last_mut().filter(|said| said.text == text) {
            Some(said) => said.latest = Some(one),
            None => self.latest = Some(one),
        }
        None
    }

    fn decide(&mut self, text: &str, now: Duration) -> Say {
        let known = self.said.iter().position(|said| said.text == text);
        let Some(mut said) = known.map(|at| self.said.remove(at)) else {
            let Some(suppressed) = self.news.take(now) else {
                return Say::Nothing;
            };
            self.remember(Said {
                text: text.to_owned(),
                at: now,
                gap: FIRST,
                suppressed: 0,
                latest: None,
            });
            return Say::First { suppressed };
        };
        let say = match said.is_over(now) {
            false => {
                said.suppressed = said.suppressed.saturating_add(1);
                Say::Nothing
            }
            true => Say::Summary {
                suppressed: said.sum_up(now),
            },
        };
        self.remember(said);
        say
    }

    fn remember(&mut self, said: Said<T>) {
        if self.said.len() >= REMEMBERED {
            // What is forgotten is told with what is new.
            let oldest = self.said.remove(0);
            if oldest.suppressed > 0 {
                self.news.keep_back(oldest.suppressed);
                self.latest = oldest.latest;
            }
        }
        self.said.push(said);
    }

    /// Whether anything was kept back that nobody was told of.
    pub fn keep_back(&self) -> bool {
        self.news.suppressed > 0 || self.said.iter().any(|said| said.suppressed > 0)
    }

    /// What was kept back by [`Repeats::say_one`] and whose time has come at `now`, though nothing like
    /// it has come any more: the latest of each kind, and how many others there were. They are worth a
    /// line each, and count as told.
    pub fn overdue(&mut self, now: Duration) -> Vec<(T, u32)> {
        let due = |said: &&mut Said<T>| said.suppressed > 0 && said.is_over(now);
        let known = self.said.iter_mut().filter(due);
        let known = known.map(|said| (said.sum_up(now), said.latest.take()));
        let mut kinds: Vec<_> = known.collect();
        let new = self.news.overdue(now);
        if new > 0 {
            kinds.push((new, self.latest.take()));
        }
        let kinds = kinds.into_iter();
        kinds
            .filter_map(|(times, latest)| Some((latest?, times.saturating_sub(1))))
            .collect()
    }

    /// Forgets what was said: the next message is new.
    pub fn clear(&mut self) {
        *self = Repeats::default();
    }
}

/// The time that an [`Allowance`] is for.
const WINDOW: Duration = Duration::from_secs(60);
/// How many lines it has in that time.
const LINES: u32 = 20;

/// So many lines a minute, each of which is worth one: what people and programs ask for, and how that
/// went. More is somebody who asks over and over.
#[derive(Debug, Default)]
pub struct Allowance {
    /// When the minute began.
    since: Option<Duration>,
    said: u32,
    suppressed: u32,
}

impl Allowance {
    /// Decides about a line at `now`, a time that only has to go forward: `None` if it is kept back,
    /// else how many were since the last one.
    pub fn take(&mut self, now: Duration) -> Option<u32> {
        if self.is_over(now) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= LINES {
            self.keep_back(1);
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// There were so many more, which nobody was told of.
    fn keep_back(&mut self, more: u32) {
        self.suppressed = self.suppressed.saturating_add(more);
    }

    fn is_over(&self, now: Duration) -> bool {
        self.since
            .is_none_or(|since| now >= since.saturating_add(WINDOW))
    }

    /// How many were kept back whose minute is over at `now`: they are worth a line, and count as
    /// told.
    pub fn overdue(&mut self, now: Duration) -> u32 {
        match self.suppressed > 0 && self.is_over(now) {
            true => self.take(now).unwrap_or_default(),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Say = Say::First { suppressed: 0 };

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
        assert_eq!(said[0].1, NEW);
        assert_eq!(said[1].1, Say::Summary { suppressed: 59 });
    }

    #[test]
    fn a_new_message_is_said_at_once_and_so_is_one_after_a_recovery() {
        let mut repeats = Repeats::default();
        let at = Duration::from_secs(5);
        assert_eq!(repeats.say("a", at), NEW);
        assert_eq!(repeats.say("a", at), Say::Nothing);
        assert_eq!(repeats.say("b", at), NEW);
        assert_eq!(repeats.say("a", at), Say::Nothing);
        repeats.clear();
        assert_eq!(repeats.say("b", at), NEW);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..1000 {
            let minute = Duration::from_secs(60 * n);
            assert_eq!(repeats.say(&n.to_string(), minute), NEW);
        }
        assert_eq!(repeats.said.len(), REMEMBERED);
    }

    #[test]
    fn what_is_something_else_each_time_is_no_news_after_a_while() {
        // 10,000 texts in ten minutes: twenty lines a minute, which tell how many there were.
        let mut repeats = Repeats::default();
        let (mut lines, mut told) = (0, 0);
        for n in 0..10_000_u64 {
            let say = repeats.say(&n.to_string(), Duration::from_millis(n * 60));
            if let Some(suppressed) = say.said() {
                lines += 1;
                told += 1 + suppressed;
            }
        }
        assert_eq!(lines, 10 * LINES);
        // The last minute is not over.
        assert_eq!(told, 9000 + LINES);
        // A change is news again.
        repeats.clear();
        assert_eq!(repeats.say("x", Duration::from_secs(600)), NEW);
    }

    #[test]
    fn what_is_kept_back_is_overdue_after_its_time() {
        // A burst of each kind, and then nothing.
        let mut repeats = Repeats::default();
        let at = Duration::from_secs;
        for n in 0..100 {
            repeats.say_one("the same", "the same", at(1));
            repeats.say_one(&n.to_string(), "new", at(1));
        }
        assert!(repeats.keep_back());
        assert_eq!(repeats.overdue(at(60)), []);
        // All but the twenty that were said, and each of the two lines stands for itself, too.
        assert_eq!(repeats.overdue(at(61)), [("the same", 98), ("new", 80)]);
        assert!(!repeats.keep_back());
        assert_eq!(repeats.overdue(at(1000)), []);
    }

    #[test]
    fn each_kind_is_overdue_in_its_own_time_and_by_its_own_count() {
        // One after the other, and then what has been pushed out by others: it is among the new ones.
        let mut repeats = Repeats::default();
        let at = Duration::from_secs;
        for _ in 0..10 {
            repeats.say_one("early", "early", at(0));
        }
        for _ in 0..5 {
            repeats.say_one("late", "late", at(50));
        }
        assert_eq!(repeats.overdue(at(61)), [("early", 8)]);
        assert!(repeats.keep_back());
        assert_eq!(repeats.overdue(at(121)), [("late", 3)]);
        assert!(!repeats.keep_back());
        for _ in 0..3 {
            repeats.say_one("late", "late", at(122));
        }
        for n in 0..REMEMBERED {
            assert!(repeats.say_one(&n.to_string(), "new", at(122)).is_some());
        }
        assert_eq!(repeats.overdue(at(183)), [("late", 2)]);
    }

    #[test]
    fn what_is_forgotten_has_been_counted() {
        // The first of more messages than are remembered, which comes again and again before that.
        let mut repeats = Repeats::default();
        let at = Duration::from_secs;
        for _ in 0..100 {
            repeats.say("first", at(1));
        }
        for n in 0..REMEMBERED {
            // The one that pushes it out is told already, and what is left goes with the next.
            assert_eq!(repeats.say(&n.to_string(), at(2)), NEW);
        }
        assert!(repeats.keep_back());
        let next = repeats.say("next", at(3));
        assert_eq!(next, Say::First { suppressed: 99 });
        assert!(!repeats.keep_back());
    }

    #[test]
    fn an_allowance_has_its_lines_in_each_minute() {
        let mut allowance = Allowance::default();
        let mut said = Vec::new();
        for n in 0..10_000_u64 {
            said.extend(allowance.take(Duration::from_millis(n * 10)));
        }
        assert_eq!(said.len(), 2 * LINES as usize);
        assert_eq!(said.iter().filter(|n| **n > 0).collect::<Vec<_>>(), [&5980]);
    }
}
