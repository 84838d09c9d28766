//! Where a key may come from, and until when it is good.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

/// How far a clock can be behind UTC.
const FURTHEST_BEHIND: Duration = Duration::from_secs(12 * 3600);

/// `from=` and `expiry-time=`, where they are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Where the key may come from.
    pub from: Option<FromList>,
    /// Until when it is good.
    pub expiry: Option<ExpiryTime>,
}

impl Limits {
    /// The first OpenSSH that takes a line with them: `restrict` came with 7.2, `expiry-time` with
    /// 7.7, `permitlisten` with 7.8, and UTC in `expiry-time` with 9.1.
    pub(super) fn version(&self) -> &'static str {
        match &self.expiry {
            Some(time) if time.as_str().ends_with('Z') => "9.1",
            _ => "7.8",
        }
    }
}

/// The pattern list of `from=`: addresses, CIDR blocks, names and patterns of them, with commas
/// between (PATTERNS of ssh_config(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromList(String);

impl FromList {
    /// Takes a list that sshd understands. One that it does not understand would let nobody in.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut admits = false;
        for item in text.split(',') {
            let pattern = item.strip_prefix('!');
            admits |= pattern.is_none();
            check_pattern(pattern.unwrap_or(item))?;
        }
        match admits {
            true => Ok(FromList(text.to_owned())),
            false => {
                Err("lets nobody in: `!` only takes away from what other patterns let in".into())
            }
        }
    }

    /// The list.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("has an empty pattern".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:-_*?/%".contains(c);
    if let Some(c) = pattern.chars().find(|c| !fits(*c)) {
        return Err(format!(
            "has a character that no address or name has: {c:?}"
        ));
    }
    if !pattern.contains('/') {
        return Ok(());
    }
    let block: IpNet = pattern
        .parse()
        .map_err(|_| format!("has `{pattern}`, which is no address block"))?;
    match block.trunc() == block {
        true => Ok(()),
        false => Err(format!("has `{pattern}`, write {}", block.trunc())),
    }
}

/// The time of `expiry-time=`: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in the server's time
/// zone, or in UTC with a `Z` behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryTime(String);

impl ExpiryTime {
    /// Takes a time that there is: sshd makes the 3rd of March of the 31st of February.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('Z').unwrap_or(text);
        let known = matches!(digits.len(), 8 | 12 | 14);
        if !known || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err("is written YYYYMMDD[HHMM[SS]], with a Z behind it for UTC".to_owned());
        }
        let number = |from: usize, to: usize| -> u32 {
            let part = digits.get(from..to).and_then(|part| part.parse().ok());
            part.unwrap_or_default()
        };
        let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
        if year < 1970 || !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
            return Err(format!("has a day that there is not: {}", &digits[..8]));
        }
        if number(8, 10) > 23 || number(10, 12) > 59 || number(12, 14) > 59 {
            return Err(format!("has a time that there is not: {}", &digits[8..]));
        }
        Ok(ExpiryTime(text.to_owned()))
    }

    /// Whether the time is over for certain. Where it is told in the server's time zone, the clock
    /// there can be up to twelve hours behind UTC.
    pub fn is_over(&self, now: SystemTime) -> bool {
        let (digits, behind) = match self.0.strip_suffix('Z') {
            Some(digits) => (digits, Duration::ZERO),
            None => (self.0.as_str(), FURTHEST_BEHIND),
        };
        let Some(now) = now.checked_sub(behind) else {
            return false;
        };
        let mut text = String::new();
        // The library knows years of four digits, as this form does.
        if write!(text, "{}", humantime::format_rfc3339_seconds(now)).is_err() {
            return true;
        }
        text.retain(|c| c.is_ascii_digit());
        format!("{digits:0<14}") <= text
    }

    /// The time as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
