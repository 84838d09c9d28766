//! `rekey_limit`: after how many bytes, or how much time, new session keys are asked for.

use std::fmt;
use std::time::Duration;

use super::RekeyLimit;
use super::render::quoted;
use super::values::{ValueError, check_duration, parse_duration};

/// The fewest bytes. ssh takes 16; but each exchange of keys costs both sides some milliseconds of
/// work and a round trip, and below this a session would do little else.
const MIN_BYTES: u64 = 1 << 20;

/// The shortest time; ssh takes a second.
const MIN_TIME: Duration = Duration::from_secs(10);

const UNITS: [(char, u32); 3] = [('K', 10), ('M', 20), ('G', 30)];

/// A limit as in ssh_config(5): the bytes, and perhaps the time.
///
/// # Errors
///
/// What is not of this form, and what would ask for new keys all the time.
pub fn parse_rekey_limit(text: &str) -> Result<RekeyLimit, ValueError> {
    let text = text.trim();
    let (bytes, time) = match text.split_once(char::is_whitespace) {
        Some((bytes, time)) => (bytes, time.trim_start()),
        None => (text, "none"),
    };
    Ok(RekeyLimit {
        bytes: parse_bytes(bytes)?,
        time: parse_time(time)?,
    })
}

const HELP: &str = r#"write "1G 1h", "512M", "default 1h" or "default none""#;

fn parse_bytes(text: &str) -> Result<Option<u64>, ValueError> {
    if text == "default" {
        return Ok(None);
    }
    let wrong = || {
        let said = format!("has no number of bytes in {}", quoted(text));
        ValueError::new(said).with_help(HELP)
    };
    let (digits, shift) = match text.chars().last() {
        Some(last) if last.is_ascii_alphabetic() => {
            let unit = UNITS
                .iter()
                .find(|(unit, _)| last.eq_ignore_ascii_case(unit));
            let (_, shift) = unit.ok_or_else(wrong)?;
            (text.get(..text.len() - 1).unwrap_or_default(), *shift)
        }
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    // A number that is too large for this is as good as none: it only ever lowers a limit.
    let number = digits.parse::<u64>().unwrap_or(u64::MAX);
    match number.saturating_mul(1 << shift) {
        0 => Ok(None),
        bytes if bytes < MIN_BYTES => {
            Err(ValueError::new("has to be at least 1M bytes").with_help(HELP))
        }
        bytes => Ok(Some(bytes)),
    }
}

/// A duration, or one of the TIME FORMATS of sshd_config(5): a bare number is seconds, and letters
/// may be large.
fn parse_time(text: &str) -> Result<Option<Duration>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    let found = match text.parse::<u64>() {
        Ok(seconds) => check_duration(Duration::from_secs(seconds)),
        Err(_) => parse_duration(&text.to_ascii_lowercase()),
    };
    let time = found.map_err(|e| ValueError {
        message: format!("has a time that {}", e.message),
        help: Some(HELP.to_owned()),
    })?;
    if time.is_zero() {
        return Ok(None);
    }
    if time < MIN_TIME {
        let least = humantime::format_duration(MIN_TIME);
        let said = format!("has a time that has to be at least {least}");
        return Err(ValueError::new(said).with_help(HELP));
    }
    Ok(Some(time))
}

impl fmt::Display for RekeyLimit {
    /// As it is written in the file: `1G 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            None => f.write_str("default")?,
            Some(bytes) => {
                let whole = |(_, shift): &&(char, u32)| bytes.trailing_zeros() >= *shift;
                match UNITS.iter().rev().find(whole) {
                    Some((unit, shift)) => write!(f, "{}{unit}", bytes >> shift)?,
                    None => write!(f, "{bytes}")?,
                }
            }
        }
        match self.time {
            None => f.write_str(" none"),
            Some(time) => write!(f, " {}", humantime::format_duration(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_as_for_ssh_and_shown_so_that_it_reads_the_same() {
        for (text, bytes, seconds, shown) in [
            ("default none", None, None, "default none"),
            ("default", None, None, "default none"),
            ("0", None, None, "default none"),
            ("512M", Some(512 << 20), None, "512M none"),
            ("512m none", Some(512 << 20), None, "512M none"),
            ("1G 1h", Some(1 << 30), Some(3_600), "1G 1h"),
            ("1536M 1h30m", Some(3 << 29), Some(5_400), "1536M 1h 30m"),
            (" 1G  1h 30m ", Some(1 << 30), Some(5_400), "1G 1h 30m"),
            (
                "1048577 90",
                Some((1 << 20) + 1),
                Some(90),
                "1048577 1m 30s",
            ),
            ("default 1W", None, Some(604_800), "default 7days"),
            (
                "99999999999999999999G",
                Some(u64::MAX),
                None,
                "18446744073709551615 none",
            ),
        ] {
            let limit = parse_rekey_limit(text).unwrap();
            let time = seconds.map(Duration::from_secs);
            assert_eq!(limit, RekeyLimit { bytes, time }, "{text}");
            assert_eq!(limit.to_string(), shown);
            assert_eq!(parse_rekey_limit(shown), Ok(limit));
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_with_its_reason() {
        for (text, said) in [
            ("", "has no number of bytes in ``"),
            ("none", "has no number of bytes in `none`"),
            ("1h", "has no number of bytes in `1h`"),
            ("1.5G", "has no number of bytes in `1.5G`"),
            ("-1G", "has no number of bytes in `-1G`"),
            ("G", "has no number of bytes in `G`"),
            ("1é", "has no number of bytes in `1é`"),
            ("1023K", "has to be at least 1M bytes"),
            ("16", "has to be at least 1M bytes"),
            ("1G 9", "has a time that has to be at least 10s"),
            ("1G soon", "has a time that is not a duration: `soon`"),
            ("1G 1h none", "has a time that is not a duration: `1h none`"),
            ("1G 366d", "has a time that cannot be longer than 365 days"),
        ] {
            let error = parse_rekey_limit(text).unwrap_err();
            assert_eq!(error.message, said, "{text}");
            assert!(error.help.is_some());
        }
    }
}
