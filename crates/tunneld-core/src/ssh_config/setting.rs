//! The values of keywords that are taken over, read as ssh reads them.

use std::ops::Range;
use std::time::Duration;

use super::lex::Word;
use crate::config::values::{ValueError, parse_port};
use crate::config::{AddressFamily, StrictHostKeyChecking, parse_hop, quoted};

/// What one line says. Tokens and `~` are still as written: they depend on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    HostName(String),
    Port(u16),
    User(String),
    IdentityFile(String),
    CertificateFile(String),
    IdentityAgent(String),
    IdentitiesOnly(bool),
    /// Jump hosts; `None`: none.
    Jump(Option<String>),
    /// A command; `None`: none.
    Command(Option<String>),
    UserKnownHosts(Vec<Word>),
    GlobalKnownHosts(Vec<Word>),
    HostKeyAlias(String),
    /// `None`: off, which is not taken over.
    Strictness(Option<StrictHostKeyChecking>),
    UpdateHostKeys(bool),
    RequiredRsaSize(u32),
    AliveInterval(Option<Duration>),
    AliveCountMax(u32),
    ConnectTimeout(Option<Duration>),
    Ciphers(String),
    Macs(String),
    Kex(String),
    HostKeyAlgorithms(String),
    Compression(bool),
    /// Bytes, and after them a time; the second may be absent.
    RekeyLimit(Vec<Word>),
    BindAddress(String),
    AddressFamily(AddressFamily),
    IgnoreUnknown(String),
}

/// What stands after a keyword.
pub(super) struct Args {
    /// Its words, without a comment.
    pub(super) words: Vec<Word>,
    /// The whole of it, as commands take it.
    pub(super) whole: Word,
}

/// A word or a line that is wrong: where, and why.
pub(super) struct Wrong {
    /// `None`: the line as a whole.
    pub(super) span: Option<Range<usize>>,
    pub(super) error: ValueError,
}

impl From<ValueError> for Wrong {
    fn from(error: ValueError) -> Self {
        Wrong { span: None, error }
    }
}

type Read<T> = Result<T, Wrong>;

impl Args {
    /// The only word there is.
    pub(super) fn one(&self) -> Read<&str> {
        match self.words.as_slice() {
            [] => Err(ValueError::new("has no value").into()),
            [word] if word.text.is_empty() => Err(wrong(word, "is empty")),
            [word] => Ok(&word.text),
            [_, more, ..] => {
                let said = format!("has one word too many: {}", quoted(&more.text));
                Err(wrong(more, said))
            }
        }
    }

    /// The only word, read by `parse`.
    pub(super) fn parsed<T>(&self, parse: fn(&str) -> Result<T, ValueError>) -> Read<T> {
        let text = self.one()?;
        parse(text).map_err(|error| Wrong {
            span: self.words.first().map(|w| w.span.clone()),
            error,
        })
    }

    /// At least one word.
    pub(super) fn words(&self) -> Read<&[Word]> {
        match self.words.iter().find(|w| w.text.is_empty()) {
            Some(empty) => Err(wrong(empty, "has an empty word")),
            None if self.words.is_empty() => Err(ValueError::new("has no value").into()),
            None => Ok(&self.words),
        }
    }

    /// Several words, or `none`.
    pub(super) fn several(&self) -> Read<Vec<Word>> {
        let words = self.words()?;
        let mut all = words.iter();
        match all.find(|word| is_none(&word.text)) {
            Some(_) if words.len() == 1 => Ok(Vec::new()),
            Some(none) => Err(wrong(none, "has `none` beside something else")),
            None => Ok(words.to_vec()),
        }
    }

    /// `Port`: its number; ssh takes names of services too.
    pub(super) fn port(&self) -> Read<Setting> {
        Ok(Setting::Port(self.parsed(parse_port)?))
    }

    /// `Compression`: ssh takes no `true` here.
    pub(super) fn compression(&self) -> Read<Setting> {
        let is = |text: &str, word| text.eq_ignore_ascii_case(word);
        let text = self.one()?;
        match is(text, "true") || is(text, "false") {
            true => Err(not_one_of(text, "`yes` or `no`").into()),
            false => Ok(Setting::Compression(self.parsed(flag)?)),
        }
    }

    /// `UpdateHostKeys`: `ask` is `no`, since nobody is there to answer, and without an answer ssh
    /// writes nothing either.
    pub(super) fn update_host_keys(&self) -> Read<Setting> {
        let ask = self.one()?.eq_ignore_ascii_case("ask");
        let written = !ask && self.parsed(flag)?;
        Ok(Setting::UpdateHostKeys(written))
    }

    /// `RekeyLimit`: bytes, and after them a time.
    pub(super) fn rekey_limit(&self) -> Read<Setting> {
        match self.words()? {
            [_, _, more, ..] => Err(wrong(more, "takes two words at most")),
            words => Ok(Setting::RekeyLimit(words.to_vec())),
        }
    }

    /// `ProxyJump`: hosts with commas between them, or `none`. Its comment ends it.
    pub(super) fn jump(&self) -> Read<Setting> {
        let text = self.whole.text.split('#').next().unwrap_or_default();
        let text = text.trim_end();
        if is_none(text) {
            return Ok(Setting::Jump(None));
        }
        for hop in text.split(',') {
            parse_hop(hop)?;
        }
        Ok(Setting::Jump(Some(text.to_owned())))
    }

    /// `ProxyCommand`: a command, or `none`.
    pub(super) fn command(&self) -> Read<Setting> {
        let text = self.whole.text.as_str();
        if text.is_empty() {
            return Err(ValueError::new("has no value").into());
        }
        if text == "-" {
            let said = "cannot be `-`: a tunnel has no standard input to connect over";
            return Err(ValueError::new(said).into());
        }
        if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(ValueError::new(format!("has a control character: {c:?}")).into());
        }
        Ok(Setting::Command((!is_none(text)).then(|| text.to_owned())))
    }
}

/// Whether a text is the `none` that many keywords have.
pub(super) fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case("none")
}

pub(super) fn wrong(word: &Word, said: impl Into<String>) -> Wrong {
    Wrong {
        span: Some(word.span.clone()),
        error: ValueError::new(said),
    }
}

/// `yes` or `no`, `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, ValueError> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if is("yes") || is("true") => Ok(true),
        () if is("no") || is("false") => Ok(false),
        () => Err(not_one_of(text, "`yes` or `no`")),
    }
}

/// `ask` is `yes`: nobody is there to answer, and without an answer ssh refuses too. `None`: off.
pub(super) fn strictness(text: &str) -> Result<Option<StrictHostKeyChecking>, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "accept-new" => Ok(Some(StrictHostKeyChecking::AcceptNew)),
        "yes" | "true" | "ask" => Ok(Some(StrictHostKeyChecking::Yes)),
        "no" | "false" | "off" => Ok(None),
        _ => Err(not_one_of(text, "`yes`, `ask` or `accept-new`")),
    }
}

pub(super) fn address_family(text: &str) -> Result<AddressFamily, ValueError> {
    let all = [
        AddressFamily::Any,
        AddressFamily::Inet,
        AddressFamily::Inet6,
    ];
    let found = all
        .into_iter()
        .find(|f| text.eq_ignore_ascii_case(f.as_str()));
    found.ok_or_else(|| not_one_of(text, "`any`, `inet` or `inet6`"))
}

fn not_one_of(text: &str, words: &str) -> ValueError {
    ValueError::new(format!("wants {words}, not {}", quoted(text)))
}

/// A number of something.
pub(super) fn count(text: &str) -> Result<u32, ValueError> {
    let number = text.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok());
    number.ok_or_else(|| ValueError::new(format!("wants a number, not {}", quoted(text))))
}

/// A time as in TIME FORMATS of sshd_config(5): `90`, `1m30s`, `2h`; `None` for `none`.
pub(super) fn time(text: &str) -> Result<Option<Duration>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    let wrong = || {
        ValueError::new(format!("has {} where a time is wanted", quoted(text)))
            .with_help("write seconds, or `1m30s`, `2h`, `1d`")
    };
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let mut unit = unit.chars();
        let seconds = match unit.next() {
            None | Some('s' | 'S') => 1,
            Some('m' | 'M') => 60,
            Some('h' | 'H') => 60 * 60,
            Some('d' | 'D') => 24 * 60 * 60,
            Some('w' | 'W') => 7 * 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        rest = unit.as_str();
        let sum = number
            .checked_mul(seconds)
            .and_then(|s| total.checked_add(s));
        // As far as the int of ssh goes.
        total = sum.filter(|t| *t < 1 << 31).ok_or_else(wrong)?;
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(Some(Duration::from_secs(total))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_of_the_time_formats() {
        for (text, seconds) in [
            ("0", 0),
            ("600", 600),
            ("10m", 600),
            ("1h30m", 5_400),
            ("1H30", 3_630),
            ("2w1D", 1_296_000),
        ] {
            assert_eq!(time(text).unwrap(), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(time("none").unwrap(), None);
        for text in ["", "-1", "m", "1y", "1 m", "1.5h", "2147483648", "99999w"] {
            let said = time(text).unwrap_err().message;
            assert_eq!(said, format!("has `{text}` where a time is wanted"));
        }
    }

    #[test]
    fn flags_are_words_of_any_case() {
        assert_eq!(flag("YES"), Ok(true));
        assert_eq!(flag("False"), Ok(false));
        assert_eq!(
            flag("on").unwrap_err().message,
            "wants `yes` or `no`, not `on`"
        );
        assert_eq!(strictness("ask"), Ok(Some(StrictHostKeyChecking::Yes)));
        assert_eq!(strictness("off"), Ok(None));
        assert_eq!(address_family("INET6"), Ok(AddressFamily::Inet6));
    }
}
