//! The values of a host as they are found: of each keyword the first one.

use super::answer::{Answer, Found, Place, Unused};
use super::lex::Word;
use super::setting::{Setting, is_none};
use crate::config::StrictHostKeyChecking;

/// How many files of keys, or of certificates, are taken: as many as ssh takes.
const MAX_IDENTITIES: usize = 100;

/// How many lines without an effect are kept.
const MAX_UNUSED: usize = 1_000;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What is as it is written.
    pub(super) answer: Answer,
    // What still has tokens, or has to be checked.
    pub(super) host_name: Option<Found<String>>,
    pub(super) user: Option<Found<String>>,
    pub(super) jump: Option<Found<Option<String>>>,
    pub(super) command: Option<Found<Option<String>>>,
    pub(super) identity_file: Vec<Found<String>>,
    pub(super) certificate_file: Vec<Found<String>>,
    pub(super) identity_agent: Option<Found<String>>,
    pub(super) user_known_hosts: Option<Found<Vec<Found<String>>>>,
    pub(super) global_known_hosts: Option<Found<Vec<Found<String>>>>,
    pub(super) strictness: Option<Found<Option<StrictHostKeyChecking>>>,
    pub(super) bind_address: Option<Found<String>>,
    /// Patterns of keywords that are passed over.
    pub(super) ignore_unknown: Option<Found<String>>,
}

/// The first value wins.
fn first<T>(slot: &mut Option<Found<T>>, value: T, place: &Place) {
    slot.get_or_insert_with(|| Found {
        value,
        place: place.clone(),
    });
}

/// The first line wins, with all of its words.
fn first_words(slot: &mut Option<Found<Vec<Found<String>>>>, words: &[Word], place: &Place) {
    let words = words.iter().map(|word| found_word(word, place));
    first(slot, words.collect(), place);
}

fn found_word(word: &Word, line: &Place) -> Found<String> {
    Found {
        value: word.text.clone(),
        place: Place {
            span: word.span.clone(),
            ..line.clone()
        },
    }
}

/// Every line counts, unless it says what an earlier one says.
fn collect(all: &mut Vec<Found<String>>, path: &str, place: &Place) -> Option<&'static str> {
    if all.iter().any(|known| known.value == path) {
        return None;
    }
    if all.len() >= MAX_IDENTITIES {
        return Some("is written more than 100 times, which is all that ssh takes");
    }
    all.push(Found {
        value: path.to_owned(),
        place: place.clone(),
    });
    None
}

impl Gathered {
    /// Takes a value of a line that holds for the host. The error says what is wrong with it.
    pub(super) fn take(&mut self, setting: &Setting, place: &Place) -> Result<(), &'static str> {
        let jumps = self.jumps();
        let answer = &mut self.answer;
        let mut wrong = None;
        match setting {
            Setting::HostName(v) => first(&mut self.host_name, v.clone(), place),
            Setting::Port(v) => first(&mut answer.port, *v, place),
            Setting::User(v) => first(&mut self.user, v.clone(), place),
            Setting::IdentityFile(v) => wrong = collect(&mut self.identity_file, v, place),
            Setting::CertificateFile(v) => wrong = collect(&mut self.certificate_file, v, place),
            Setting::IdentityAgent(v) => first(&mut self.identity_agent, v.clone(), place),
            Setting::IdentitiesOnly(v) => first(&mut answer.identities_only, *v, place),
            Setting::Jump(v) if self.command.is_none() => first(&mut self.jump, v.clone(), place),
            Setting::Command(v) if !jumps => first(&mut self.command, v.clone(), place),
            // Of the two the one that comes first is meant.
            Setting::Jump(_) | Setting::Command(_) => {}
            Setting::UserKnownHosts(v) => first_words(&mut self.user_known_hosts, v, place),
            Setting::GlobalKnownHosts(v) => first_words(&mut self.global_known_hosts, v, place),
            Setting::HostKeyAlias(v) => {
                first(&mut answer.host_key_alias, v.to_ascii_lowercase(), place);
            }
            Setting::Strictness(v) => first(&mut self.strictness, *v, place),
            Setting::UpdateHostKeys(v) => first(&mut answer.update_host_keys, *v, place),
            Setting::RequiredRsaSize(v) => first(&mut answer.required_rsa_size, *v, place),
            // `none` is as if the line were not there: a later one may still say something.
            Setting::AliveInterval(Some(v)) => first(&mut answer.server_alive_interval, *v, place),
            Setting::ConnectTimeout(Some(v)) => first(&mut answer.connect_timeout, *v, place),
            Setting::AliveInterval(None) | Setting::ConnectTimeout(None) => {}
            Setting::AliveCountMax(v) => first(&mut answer.server_alive_count_max, *v, place),
            Setting::Ciphers(v) => first(&mut answer.ciphers, v.clone(), place),
            Setting::Macs(v) => first(&mut answer.macs, v.clone(), place),
            Setting::Kex(v) => first(&mut answer.kex_algorithms, v.clone(), place),
            Setting::HostKeyAlgorithms(v) => {
                first(&mut answer.host_key_algorithms, v.clone(), place);
            }
            Setting::Compression(v) => first(&mut answer.compression, *v, place),
            Setting::RekeyLimit(words) => self.rekey_limit(words, place),
            Setting::BindAddress(v) => first(&mut self.bind_address, v.clone(), place),
            Setting::AddressFamily(v) => first(&mut answer.address_family, *v, place),
            Setting::IgnoreUnknown(v) => first(&mut self.ignore_unknown, v.clone(), place),
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Keeps a line that has no effect; the second pass over the files finds it again.
    pub(super) fn unused(&mut self, keyword: &'static str, words: &[String], place: Place) {
        let unused = &mut self.answer.unused;
        if unused.len() < MAX_UNUSED && unused.iter().all(|known| known.place != place) {
            let words = words.to_vec();
            let value = Unused { keyword, words };
            unused.push(Found { value, place });
        }
    }

    /// Whether there are jump hosts; `ProxyJump none` leaves the way to a command.
    pub(super) fn jumps(&self) -> bool {
        let jump = self.jump.as_ref();
        jump.is_some_and(|jump| jump.value.is_some())
    }

    /// The two words are won apart; a time of `none` wins nothing.
    fn rekey_limit(&mut self, words: &[Word], place: &Place) {
        let slots = [&mut self.answer.rekey_bytes, &mut self.answer.rekey_time];
        for (index, (slot, word)) in slots.into_iter().zip(words).enumerate() {
            if index == 0 || !is_none(&word.text) {
                let found = found_word(word, place);
                first(slot, found.value, &found.place);
            }
        }
    }
}
