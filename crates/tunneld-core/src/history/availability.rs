//! How much of the time a tunnel was up: in the last hour, day and week, and since its first record.
//!
//! Time is put into buckets, of a minute for the hour and of an hour for the others, so that it takes
//! a few kilobytes a tunnel however much happens. Positions are milliseconds on a clock that is Unix
//! time where a ledger begins, and does not jump from there on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Standing;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// The size of the buckets in milliseconds, and how many full ones there are.
struct Scale {
    size: u64,
    kept: u32,
}

const MINUTES: Scale = Scale {
    size: MINUTE,
    kept: 60,
};
const HOURS: Scale = Scale {
    size: HOUR,
    kept: 7 * 24,
};

/// How long a tunnel stood how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How long it was watched: it should have been up, and the daemon ran.
    pub watched_ms: u64,
    /// How long of that it was up.
    pub up_ms: u64,
    /// How long of that its session lived, but a forward was not in place.
    pub degraded_ms: u64,
    /// How long of that it was down.
    pub down_ms: u64,
    /// How many times it was down.
    pub outages: u64,
}

/// A stretch of time up to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which.
    pub window: Span,
    /// How long it is. It begins with a whole minute, or a whole hour, so that it may be a little
    /// longer than its name.
    pub length_ms: u64,
    /// How the tunnel stood in it.
    pub tally: Tally,
}

/// The windows that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// The last hour.
    Hour,
    /// The last 24 hours.
    Day,
    /// The last seven days.
    Week,
    /// Since the first record.
    All,
}

impl Span {
    /// How long it is by its name; `None` where that depends.
    pub fn nominal_ms(self) -> Option<u64> {
        match self {
            Span::Hour => Some(HOUR),
            Span::Day => Some(24 * HOUR),
            Span::Week => Some(7 * 24 * HOUR),
            Span::All => None,
        }
    }
}

/// What a tunnel did in one minute or one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
struct Bucket {
    /// Which minute or hour: its position divided by its size.
    at: u32,
    up: u32,
    degraded: u32,
    down: u32,
    /// Outages that began in it.
    begun: u32,
    /// Whether one that had begun before went on into it.
    carried: bool,
}

impl Bucket {
    /// How much of its time is counted, in milliseconds.
    fn length(&self) -> u64 {
        u64::from(self.up) + u64::from(self.degraded) + u64::from(self.down)
    }
}

/// A bucket as it is written down.
type Packed = (u32, u32, u32, u32, u32, bool);

impl From<Packed> for Bucket {
    fn from((at, up, degraded, down, begun, carried): Packed) -> Self {
        Bucket {
            at,
            up,
            degraded,
            down,
            begun,
            carried,
        }
    }
}

impl From<Bucket> for Packed {
    fn from(b: Bucket) -> Self {
        (b.at, b.up, b.degraded, b.down, b.begun, b.carried)
    }
}

/// The buckets of one size in which anything was, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Buckets(VecDeque<Bucket>);

impl Buckets {
    fn bucket(&mut self, at: u32) -> &mut Bucket {
        let place = self.0.partition_point(|b| b.at < at);
        if self.0.get(place).is_none_or(|b| b.at != at) {
            let new = Bucket {
                at,
                ..Bucket::default()
            };
            self.0.insert(place, new);
        }
        &mut self.0[place]
    }

    fn spend(&mut self, scale: &Scale, from: u64, to: u64, standing: Standing, begins: bool) {
        if begins {
            let bucket = self.bucket(scale.index(from));
            bucket.begun = bucket.begun.saturating_add(1);
        }
        // What is forgotten at once is not worth counting.
        let oldest = to.saturating_sub(scale.size * u64::from(scale.kept));
        let mut at = from.max(oldest - oldest % scale.size);
        while at < to {
            let start = at - at % scale.size;
            let end = start.saturating_add(scale.size).min(to);
            let bucket = self.bucket(scale.index(at));
            let length = u32::try_from(end - at).unwrap_or(u32::MAX);
            let sum = match standing {
                Standing::Up => &mut bucket.up,
                Standing::Degraded => &mut bucket.degraded,
                Standing::Down | Standing::Unwatched => &mut bucket.down,
            };
            *sum = sum.saturating_add(length);
            bucket.carried |= standing == Standing::Down && at == start && bucket.begun == 0;
            at = end;
        }
        self.forget(scale, to);
    }

    /// Forgets what is too old to be asked for.
    fn forget(&mut self, scale: &Scale, now: u64) {
        let oldest = scale.index(now).saturating_sub(scale.kept);
        let old = self.0.partition_point(|b| b.at < oldest);
        self.0.drain(..old);
    }

    /// The sum of the last `length`, and where it begins.
    fn last(&self, scale: &Scale, now: u64, length: u64) -> (u64, Tally) {
        let first = scale.index(now.saturating_sub(length));
        let mut tally = Tally::default();
        for bucket in self.0.iter().filter(|b| b.at >= first) {
            let carried = bucket.carried && bucket.at == first;
            tally.up_ms += u64::from(bucket.up);
            tally.degraded_ms += u64::from(bucket.degraded);
            tally.down_ms += u64::from(bucket.down);
            tally.outages += u64::from(bucket.begun) + u64::from(carried);
        }
        tally.watched_ms = tally.up_ms + tally.degraded_ms + tally.down_ms;
        (u64::from(first) * scale.size, tally)
    }

    /// Puts the buckets of an earlier record, moved by so many milliseconds, to these. None of them is
    /// later than `now`.
    fn add(&mut self, scale: &Scale, earlier: &Buckets, by: i128, now: u64) {
        let size = i128::from(scale.size);
        let by = (by + size / 2).div_euclid(size);
        let latest = scale.index(now);
        for old in &earlier.0 {
            let Ok(at) = u32::try_from(i128::from(old.at) + by) else {
                continue;
            };
            let bucket = self.bucket(at.min(latest));
            // Moved by whole buckets, the end of one record and the beginning of the next may overlap.
            let mut room = scale.size.saturating_sub(bucket.length());
            for (sum, more) in [
                (&mut bucket.down, old.down),
                (&mut bucket.degraded, old.degraded),
                (&mut bucket.up, old.up),
            ] {
                let more = more.min(u32::try_from(room).unwrap_or(u32::MAX));
                *sum = sum.saturating_add(more);
                room = room.saturating_sub(more.into());
            }
            bucket.begun = bucket.begun.saturating_add(old.begun);
            bucket.carried |= old.carried;
        }
    }

    /// Whether it is what was written down once, at the position `now`.
    fn is_sound(&self, scale: &Scale, now: u64) -> bool {
        let fits = |b: &Bucket| b.at <= scale.index(now) && b.length() <= scale.size;
        let in_order = |(a, b): (&Bucket, &Bucket)| a.at < b.at;
        u64::try_from(self.0.len()).is_ok_and(|n| n <= 2 * u64::from(scale.kept))
            && self.0.iter().all(fits)
            && self.0.iter().zip(self.0.iter().skip(1)).all(in_order)
    }
}

impl Scale {
    fn index(&self, position: u64) -> u32 {
        u32::try_from(position / self.size).unwrap_or(u32::MAX)
    }
}

/// How much of the time a tunnel was up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// When the first record began, as Unix time in milliseconds.
    since_unix_ms: u64,
    all: Tally,
    minutes: Buckets,
    hours: Buckets,
}

impl Availability {
    /// Of a tunnel that begins at `since_unix_ms`.
    pub(crate) fn new(since_unix_ms: u64) -> Self {
        Availability {
            since_unix_ms,
            all: Tally::default(),
            minutes: Buckets::default(),
            hours: Buckets::default(),
        }
    }

    /// The tunnel stood so from one position to another; `begins` if that is where an outage began.
    pub(crate) fn spend(&mut self, from: u64, to: u64, standing: Standing, begins: bool) {
        let length = to.saturating_sub(from);
        match standing {
            Standing::Unwatched => return,
            Standing::Up => self.all.up_ms = self.all.up_ms.saturating_add(length),
            Standing::Degraded => {
                self.all.degraded_ms = self.all.degraded_ms.saturating_add(length);
            }
            Standing::Down => self.all.down_ms = self.all.down_ms.saturating_add(length),
        }
        self.all.watched_ms = self.all.watched_ms.saturating_add(length);
        self.all.outages = self.all.outages.saturating_add(u64::from(begins));
        self.minutes.spend(&MINUTES, from, to, standing, begins);
        self.hours.spend(&HOURS, from, to, standing, begins);
    }

    /// The same with what an earlier record has, which is moved by so many milliseconds, to where the
    /// clock of this one has it. `now` is a position.
    pub(super) fn after(mut self, earlier: &Availability, by: i128, now: u64) -> Self {
        self.since_unix_ms = earlier.since_unix_ms;
        let (all, before) = (&mut self.all, earlier.all);
        for (sum, more) in [
            (&mut all.watched_ms, before.watched_ms),
            (&mut all.up_ms, before.up_ms),
            (&mut all.degraded_ms, before.degraded_ms),
            (&mut all.down_ms, before.down_ms),
            (&mut all.outages, before.outages),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (scale, new, old) in [
            (&MINUTES, &mut self.minutes, &earlier.minutes),
            (&HOURS, &mut self.hours, &earlier.hours),
        ] {
            new.add(scale, old, by, now);
            new.forget(scale, now);
        }
        self
    }

    /// Seen at `unix_ms`: where the clock of the wall was set back, the first record began earlier than
    /// that clock has said, or else more would have been watched than there was time.
    pub(super) fn seen_at(&mut self, unix_ms: u64) {
        let latest = unix_ms.saturating_sub(self.all.watched_ms);
        self.since_unix_ms = self.since_unix_ms.min(latest);
    }

    /// When the first record began, as Unix time in milliseconds.
    pub fn since_unix_ms(&self) -> u64 {
        self.since_unix_ms
    }

    /// Each window, as seen from a position that is `unix_ms` by the clock of the wall.
    pub(super) fn windows(&self, now: u64, unix_ms: u64) -> Vec<Window> {
        let of = |window: Span| {
            let (scale, buckets) = match window {
                Span::Hour => (&MINUTES, &self.minutes),
                _ => (&HOURS, &self.hours),
            };
            let (length_ms, tally) = match window.nominal_ms() {
                Some(length) => {
                    let (start, tally) = buckets.last(scale, now, length);
                    (now.saturating_sub(start), tally)
                }
                None => (unix_ms.saturating_sub(self.since_unix_ms), self.all),
            };
            Window {
                window,
                length_ms: length_ms.max(tally.watched_ms),
                tally,
            }
        };
        [Span::Hour, Span::Day, Span::Week, Span::All]
            .map(of)
            .to_vec()
    }

    /// Whether it is what was written down once, at the position `now` and `unix_ms`.
    pub(super) fn is_sound(&self, now: u64, unix_ms: u64) -> bool {
        let all = &self.all;
        let parts = all
            .up_ms
            .checked_add(all.degraded_ms)
            .and_then(|sum| sum.checked_add(all.down_ms));
        // A clock that begins with 1970 at each start of the machine may not have come so far yet.
        let room = match self.since_unix_ms {
            0 => u64::MAX,
            since => unix_ms.saturating_sub(since),
        };
        parts == Some(all.watched_ms)
            && all.watched_ms <= room
            && self.minutes.is_sound(&MINUTES, now)
            && self.hours.is_sound(&HOURS, now)
    }
}
