//! The algorithms that tunneld speaks, and the lists of them in the file.
//!
//! What there is, and what is offered where the file says nothing, follows the defaults of OpenSSH
//! 9: no `none`, no CBC and no 3DES, no signature and no key exchange with SHA-1, since whoever can
//! make SHA-1 collide can forge them (`ssh-rsa`, `diffie-hellman-group14-sha1`). HMAC is not hurt by
//! such collisions: OpenSSH still offers `hmac-sha1`, last of all, and so does tunneld.
//!
//! A list is written as in ssh_config(5): the names themselves, or with `+`, `-` or `^` in front
//! what is appended to the default list, removed from it, or put at its front. It is resolved when
//! the file is loaded: what comes out is a plain list of names that tunneld has.

use super::items::MAX_LIST;
use super::keys::nearest;
use super::render::quoted;
use super::values::ValueError;
use crate::text::glob_matches;

/// What a list of algorithms is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ciphers`.
    Cipher,
    /// `macs`.
    Mac,
    /// `kex_algorithms`.
    Kex,
    /// `host_key_algorithms`.
    HostKey,
}

/// The longest name of an algorithm (RFC 4251 section 6).
const MAX_NAME_LEN: usize = 64;

/// AES in the mode that authenticates as well: first where the processor does AES.
const GCM: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];
/// Fast everywhere: first where the processor does not.
const CHACHA: [&str; 1] = ["chacha20-poly1305@openssh.com"];
const CTR: [&str; 3] = ["aes128-ctr", "aes192-ctr", "aes256-ctr"];

const MACS: [&str; 6] = [
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512",
    "hmac-sha2-256",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1",
];

const KEX: [&str; 12] = [
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group17-sha512",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group15-sha512",
    "diffie-hellman-group14-sha256",
];

const HOST_KEYS: [&str; 12] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

impl Kind {
    /// Every kind there is.
    pub const ALL: [Kind; 4] = [Kind::Cipher, Kind::Mac, Kind::Kex, Kind::HostKey];

    /// The key of the file.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Cipher => "ciphers",
            Kind::Mac => "macs",
            Kind::Kex => "kex_algorithms",
            Kind::HostKey => "host_key_algorithms",
        }
    }

    /// One of them, with its article.
    fn one(self) -> &'static str {
        match self {
            Kind::Cipher => "a cipher",
            Kind::Mac => "a MAC",
            Kind::Kex => "a key exchange method",
            Kind::HostKey => "a type of host key",
        }
    }

    /// All that tunneld has, in the order in which it offers them where the file says nothing.
    /// `aes_hardware`: the processor does AES.
    pub fn defaults(self, aes_hardware: bool) -> Vec<&'static str> {
        match self {
            Kind::Cipher if aes_hardware => [&GCM[..], &CHACHA, &CTR].concat(),
            Kind::Cipher => [&CHACHA[..], &GCM, &CTR].concat(),
            Kind::Mac => MACS.to_vec(),
            Kind::Kex => KEX.to_vec(),
            Kind::HostKey => HOST_KEYS.to_vec(),
        }
    }

    /// What OpenSSH has of this kind and tunneld does not. To remove one of these is no mistake: it
    /// is not there.
    fn elsewhere(self) -> &'static [&'static str] {
        match self {
            Kind::Cipher => &[
                "3des-cbc",
                "aes128-cbc",
                "aes192-cbc",
                "aes256-cbc",
                "rijndael-cbc@lysator.liu.se",
            ],
            Kind::Mac => &[
                "hmac-md5",
                "hmac-md5-96",
                "hmac-md5-96-etm@openssh.com",
                "hmac-md5-etm@openssh.com",
                "hmac-sha1-96",
                "hmac-sha1-96-etm@openssh.com",
                "umac-64@openssh.com",
                "umac-64-etm@openssh.com",
                "umac-128@openssh.com",
                "umac-128-etm@openssh.com",
            ],
            Kind::Kex => &[
                "diffie-hellman-group1-sha1",
                "diffie-hellman-group14-sha1",
                "diffie-hellman-group-exchange-sha1",
                "sntrup761x25519-sha512",
                "sntrup761x25519-sha512@openssh.com",
            ],
            Kind::HostKey => &[
                "sk-ecdsa-sha2-nistp256@openssh.com",
                "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
                "sk-ssh-ed25519@openssh.com",
                "sk-ssh-ed25519-cert-v01@openssh.com",
                "ssh-dss",
                "ssh-dss-cert-v01@openssh.com",
                "ssh-rsa",
                "ssh-rsa-cert-v01@openssh.com",
                "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
            ],
        }
    }
}

/// What a list does with the default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It stands in its place.
    Replace,
    /// `+`: appended to it.
    Append,
    /// `-`: removed from it.
    Remove,
    /// `^`: put at its front.
    Front,
}

/// A list that is being read, name by name.
pub(super) struct List {
    kind: Kind,
    defaults: Vec<&'static str>,
    change: Change,
    /// Those that are named, each one once.
    named: Vec<&'static str>,
    /// How many names and patterns there are.
    written: usize,
    /// Whether names are passed over that OpenSSH has and tunneld does not.
    lenient: bool,
}

impl List {
    pub(super) fn new(kind: Kind, aes_hardware: bool) -> Self {
        List {
            kind,
            defaults: kind.defaults(aes_hardware),
            change: Change::Replace,
            named: Vec::new(),
            written: 0,
            lenient: false,
        }
    }

    /// Takes names with commas between them.
    pub(super) fn add(&mut self, text: &str) -> Result<(), ValueError> {
        let text = text.trim();
        let rest = match text.chars().next().filter(|_| self.written == 0) {
            Some('+') => self.begin(Change::Append, text),
            Some('-') => self.begin(Change::Remove, text),
            Some('^') => self.begin(Change::Front, text),
            _ => text,
        };
        self.written += rest.split(',').count();
        if self.written > MAX_LIST {
            let said = format!("has {} names, at most {MAX_LIST} are taken", self.written);
            return Err(ValueError::new(said));
        }
        for name in rest.split(',') {
            for found in self.expand(name.trim())? {
                if !self.named.contains(&found) {
                    self.named.push(found);
                }
            }
        }
        Ok(())
    }

    fn begin<'a>(&mut self, change: Change, text: &'a str) -> &'a str {
        self.change = change;
        text.get(1..).unwrap_or_default()
    }

    /// The names that one name, or one pattern, stands for.
    fn expand(&self, name: &str) -> Result<Vec<&'static str>, ValueError> {
        let passes_over = self.change == Change::Remove || self.lenient;
        if name.is_empty() {
            return Err(ValueError::new("has an empty name").with_help(self.all()));
        }
        if name.len() > MAX_NAME_LEN {
            let said = format!("has a name of more than {MAX_NAME_LEN} characters");
            return Err(ValueError::new(said).with_help(self.all()));
        }
        if name.starts_with(['+', '-', '^']) {
            let said = format!("has a {} that is not in front of the list", &name[..1]);
            return Err(ValueError::new(said)
                .with_help("it stands once, in front of the first name, and is for all of them"));
        }
        if name.contains(['*', '?']) {
            let fits = |known: &&str| glob_matches(name.as_bytes(), known.as_bytes());
            let found: Vec<_> = self.defaults.iter().copied().filter(fits).collect();
            if found.is_empty() && !passes_over {
                let said = format!("has a pattern that nothing fits: {}", quoted(name));
                return Err(ValueError::new(said).with_help(self.all()));
            }
            return Ok(found);
        }
        match self.defaults.iter().find(|known| **known == name) {
            Some(known) => Ok(vec![*known]),
            None if passes_over && self.kind.elsewhere().contains(&name) => Ok(Vec::new()),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> ValueError {
        let one = self.kind.one();
        let said = format!("names {one} that tunneld does not have: {}", quoted(name));
        let help = match nearest(&self.defaults, name) {
            _ if self.kind == Kind::HostKey && name.starts_with("ssh-rsa") => format!(
                "it signs with SHA-1, which can be forged; the same keys sign with {} and {}",
                name.replacen("ssh-rsa", "rsa-sha2-512", 1),
                name.replacen("ssh-rsa", "rsa-sha2-256", 1),
            ),
            Some(near) if !self.kind.elsewhere().contains(&name) => {
                format!("did you mean {near}? {}", self.all())
            }
            _ => self.all(),
        };
        ValueError::new(said).with_help(help)
    }

    fn all(&self) -> String {
        format!("there are {}", self.defaults.join(", "))
    }

    /// The whole list.
    pub(super) fn finish(self) -> Result<Vec<String>, ValueError> {
        let List {
            defaults, named, ..
        } = &self;
        let all: Vec<&str> = match self.change {
            Change::Replace => named.clone(),
            Change::Append => [&defaults[..], named].concat(),
            Change::Front => [&named[..], defaults].concat(),
            Change::Remove => {
                let stays = |known: &&&str| !named.contains(known);
                defaults.iter().filter(stays).copied().collect()
            }
        };
        if all.is_empty() {
            let what = self.kind.one().trim_start_matches("a ");
            return Err(ValueError::new(format!("leaves no {what}")).with_help(self.all()));
        }
        let mut list: Vec<String> = Vec::with_capacity(defaults.len());
        for name in all {
            if !list.iter().any(|listed| listed == name) {
                list.push(name.to_owned());
            }
        }
        Ok(list)
    }
}

/// The list that `text` makes of the default one, as ssh_config(5) has it: never empty, each name
/// once, and each one that tunneld has.
///
/// # Errors
///
/// A name that tunneld does not have, with the one that is most like it; a pattern that nothing
/// fits; and that nothing is left.
pub fn resolve(kind: Kind, text: &str, aes_hardware: bool) -> Result<Vec<String>, ValueError> {
    let mut list = List::new(kind, aes_hardware);
    list.add(text)?;
    list.finish()
}

/// As [`resolve`] for a list that was written for ssh: it says what is allowed, so what only ssh has
/// is passed over.
///
/// # Errors
///
/// A name that nobody has, and that nothing is left.
pub(crate) fn resolve_of_ssh(
    kind: Kind,
    text: &str,
    aes_hardware: bool,
) -> Result<Vec<String>, ValueError> {
    let mut list = List {
        lenient: true,
        ..List::new(kind, aes_hardware)
    };
    list.add(text)?;
    list.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: Kind, text: &str) -> Vec<String> {
        resolve(kind, text, true).unwrap()
    }

    #[test]
    fn names_stand_in_place_of_the_defaults_in_the_order_in_which_they_are_written() {
        let written = "aes256-ctr, chacha20-poly1305@openssh.com,aes256-ctr";
        assert_eq!(
            list(Kind::Cipher, written),
            ["aes256-ctr", "chacha20-poly1305@openssh.com"]
        );
        assert_eq!(list(Kind::Mac, "hmac-sha2-*6"), ["hmac-sha2-256"]);
        assert_eq!(
            list(Kind::HostKey, "ssh-ed25519*"),
            ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"]
        );
    }

    #[test]
    fn a_sign_in_front_changes_the_default_list() {
        let defaults = Kind::Cipher.defaults(true);
        let with = |text: &str| list(Kind::Cipher, text);
        // All are offered anyhow: to append one changes nothing.
        assert_eq!(with("+aes128-ctr,aes256-ctr"), defaults);
        assert_eq!(with("^aes256-ctr")[..2], ["aes256-ctr", defaults[0]]);
        assert_eq!(with("^aes256-ctr").len(), defaults.len());
        assert_eq!(with("-aes*"), ["chacha20-poly1305@openssh.com"]);
        assert_eq!(with("-*gcm*,aes???-ctr").len(), 1);
        let kex = list(Kind::Kex, "-diffie-*,ecdh-*");
        let curves = ["curve25519-sha256", "curve25519-sha256@libssh.org"];
        assert_eq!(kex[1..], curves);
    }

    #[test]
    fn what_is_not_there_may_be_removed_and_nonsense_may_not() {
        let macs = Kind::Mac.defaults(true);
        assert_eq!(list(Kind::Mac, "-umac-64@openssh.com,*md5*"), macs);
        assert_eq!(list(Kind::HostKey, "-ssh-rsa").len(), 12);
        // What another kind has is nonsense here.
        let said = resolve(Kind::Cipher, "-ssh-dss", true).unwrap_err();
        assert_eq!(
            said.message,
            "names a cipher that tunneld does not have: `ssh-dss`"
        );
        let said = resolve(Kind::Mac, "-hmac-sha2-265", true).unwrap_err();
        assert!(
            said.help
                .unwrap()
                .starts_with("did you mean hmac-sha2-256? there are ")
        );
    }

    #[test]
    fn the_order_of_the_ciphers_goes_by_what_the_processor_does_fast() {
        assert_eq!(Kind::Cipher.defaults(true)[0], "aes128-gcm@openssh.com");
        let without = resolve(Kind::Cipher, "-*ctr", false).unwrap();
        assert_eq!(without[0], "chacha20-poly1305@openssh.com");
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_reason() {
        let long = "x".repeat(100_000);
        for (kind, text, said) in [
            (Kind::Cipher, "", "has an empty name"),
            (Kind::Cipher, "+", "has an empty name"),
            (Kind::Cipher, "aes128-ctr,,aes256-ctr", "has an empty name"),
            (Kind::Cipher, "-*", "leaves no cipher"),
            (
                Kind::Cipher,
                "aes128-ctr,+aes256-ctr",
                "has a + that is not in front of the list",
            ),
            (
                Kind::Cipher,
                "none",
                "names a cipher that tunneld does not have: `none`",
            ),
            (
                Kind::Cipher,
                "aes128-cbc",
                "names a cipher that tunneld does not have: `aes128-cbc`",
            ),
            (
                Kind::Cipher,
                "AES128-CTR",
                "names a cipher that tunneld does not have: `AES128-CTR`",
            ),
            (
                Kind::Mac,
                "none*",
                "has a pattern that nothing fits: `none*`",
            ),
            (
                Kind::Kex,
                "ext-info-c",
                "names a key exchange method that tunneld does not have: `ext-info-c`",
            ),
            (
                Kind::HostKey,
                "+ssh-rsa",
                "names a type of host key that tunneld does not have: `ssh-rsa`",
            ),
            (
                Kind::HostKey,
                "-é",
                "names a type of host key that tunneld does not have: `é`",
            ),
        ] {
            let error = resolve(kind, text, true).unwrap_err();
            assert_eq!(error.message, said, "{text}");
            assert!(error.help.is_some(), "{text}");
        }
        assert!(resolve(Kind::Kex, &long, true).is_err());
    }

    #[test]
    fn nothing_that_can_be_forged_or_read_is_offered() {
        for kind in Kind::ALL {
            for name in kind.defaults(true) {
                let weak = ["none", "cbc", "3des", "md5", "ssh-rsa", "ssh-dss"];
                assert!(!weak.iter().any(|w| name.contains(w)), "{name}");
                assert!(!name.contains("sha1") || name.starts_with("hmac-sha1"));
                assert!(!kind.elsewhere().contains(&name));
            }
        }
    }
}
