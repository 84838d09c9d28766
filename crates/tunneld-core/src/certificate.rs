//! When a certificate ends, and when that is worth a word.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// What there is to say of a certificate that is valid `from` a moment, if it has a first one, `to`
/// another: nothing as long as its end is more than `before` away, and nothing at all if `before` is
/// zero. One that lives for hours is warned of in the last quarter of its life, and not all along.
pub fn expiry(
    file: &str,
    (from, end): (Option<SystemTime>, SystemTime),
    now: SystemTime,
    before: Duration,
) -> Option<String> {
    if before.is_zero() {
        return None;
    }
    let life = from.and_then(|from| end.duration_since(from).ok());
    let before = life.map_or(before, |life| before.min(life / 4));
    let date = date(end);
    match end.duration_since(now) {
        Ok(left) if left > before => None,
        Ok(Duration::ZERO) | Err(_) => Some(format!("certificate {file} expired on {date}")),
        Ok(left) => {
            let left = in_words(left);
            Some(format!("certificate {file} expires on {date} (in {left})"))
        }
    }
}

/// A moment as messages show it: `2026-11-20 10:00:00 UTC`.
pub fn date(at: SystemTime) -> String {
    let mut text = String::new();
    // The library knows years of four digits.
    match write!(text, "{}", humantime::format_rfc3339_seconds(at)) {
        Ok(()) => text.replace('T', " ").replace('Z', " UTC"),
        Err(_) => "the year 10000 or later".to_owned(),
    }
}

/// `6 days`, in the largest unit of which there is a whole one.
fn in_words(left: Duration) -> String {
    let seconds = left.as_secs();
    let (count, unit) = match seconds {
        0..60 => return "less than a minute".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    match count {
        1 => format!("1 {unit}"),
        _ => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_end_is_told_in_time_and_in_words() {
        // 2026-11-20 10:00:00 UTC, and a week.
        const END: u64 = 1_795_168_800;
        let week = Duration::from_secs(7 * 86_400);
        let said = |left: u64| expiry("F", (None, at(END)), at(END - left), week);
        assert_eq!(said(7 * 86_400 + 1), None);
        for (left, words) in [
            (7 * 86_400, "7 days"),
            (7 * 86_400 - 1, "6 days"),
            (86_400, "1 day"),
            (86_399, "23 hours"),
            (3_600, "1 hour"),
            (120, "2 minutes"),
            (59, "less than a minute"),
        ] {
            let text = format!("certificate F expires on 2026-11-20 10:00:00 UTC (in {words})");
            assert_eq!(said(left), Some(text));
        }
        let over = "certificate F expired on 2026-11-20 10:00:00 UTC";
        assert_eq!(said(0).unwrap(), over);
        assert_eq!(
            expiry("F", (None, at(END)), at(END + 99), week).unwrap(),
            over
        );
    }

    #[test]
    fn a_short_life_is_warned_of_in_its_last_quarter() {
        const HOUR: u64 = 3_600;
        let said = |life: u64, before: u64, left: u64| {
            let period = (Some(at(99)), at(99 + life));
            let now = at(99 + life - left);
            expiry("F", period, now, Duration::from_secs(before)).is_some()
        };
        let week = 7 * 24 * HOUR;
        assert!(!said(8 * HOUR, week, 2 * HOUR + 1));
        assert!(said(8 * HOUR, week, 2 * HOUR));
        // The setting where that is less.
        assert!(!said(8 * HOUR, HOUR, HOUR + 1));
        assert!(said(8 * HOUR, HOUR, HOUR));
        assert!(said(52 * week, week, week));
    }

    #[test]
    fn nothing_is_said_where_nothing_is_asked_for() {
        // certificate_expiry_warning = 0, also of one that is over.
        assert_eq!(expiry("F", (None, at(9)), at(0), Duration::ZERO), None);
        assert_eq!(expiry("F", (None, at(9)), at(99), Duration::ZERO), None);
    }

    #[test]
    fn dates_beyond_every_calendar_are_no_trouble() {
        let far = at(i64::MAX.unsigned_abs());
        assert_eq!(date(far), "the year 10000 or later");
        assert_eq!(date(at(0)), "1970-01-01 00:00:00 UTC");
    }
}
