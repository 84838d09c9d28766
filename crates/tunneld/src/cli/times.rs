//! Moments as the clock on the wall here shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tunneld_core::certificate::date;

/// A time zone: that of the machine, or of `TZ`.
#[derive(Debug, Clone)]
pub(super) struct Wall {
    pub(super) zone: TimeZone,
}

impl Wall {
    /// That of whoever asks.
    pub(super) fn here() -> Self {
        Wall {
            zone: TimeZone::system(),
        }
    }

    /// `2026-11-20 11:00:00 CET`: a moment that stands alone.
    pub(super) fn moment(&self, unix_ms: u64) -> String {
        match self.zoned(unix_ms) {
            Some(local) => local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            None => beyond(unix_ms),
        }
    }

    /// `2026-11-20 11:00:00`: one of many, below a line that names the zone.
    pub(super) fn time(&self, unix_ms: u64) -> String {
        match self.zoned(unix_ms) {
            Some(local) => local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            None => beyond(unix_ms),
        }
    }

    /// `Europe/Berlin`: what the clock goes by, in summer and in winter; where that has no name, what
    /// it goes by at a moment.
    pub(super) fn zone_at(&self, unix_ms: u64) -> Option<String> {
        let local = self.zoned(unix_ms)?;
        let name = self.zone.iana_name().map(str::to_owned);
        Some(name.unwrap_or_else(|| local.strftime("%Z").to_string()))
    }

    fn zoned(&self, unix_ms: u64) -> Option<Zoned> {
        let at = i64::try_from(unix_ms).ok()?;
        let at = Timestamp::from_millisecond(at).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

/// A moment that no calendar here has.
fn beyond(unix_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    date(at.unwrap_or(SystemTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_the_zone_of_whoever_asks_and_names_it() {
        // Summer and winter of one place, in the notation of TZ; and a certificate without an end.
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        let wall = Wall {
            zone: TimeZone::posix(berlin).unwrap(),
        };
        let winter = 1_795_168_800_000;
        assert_eq!(wall.moment(winter), "2026-11-20 11:00:00 CET");
        assert_eq!(wall.time(winter), "2026-11-20 11:00:00");
        assert_eq!(wall.zone_at(winter).unwrap(), "CET");
        let summer = winter - 150 * 86_400_000;
        assert_eq!(wall.moment(summer), "2026-06-23 12:00:00 CEST");
        assert_eq!(wall.moment(u64::MAX), "the year 10000 or later");
    }
}
