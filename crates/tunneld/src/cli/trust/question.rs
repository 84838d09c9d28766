//! The question, on the terminal.
//!
//! It is about one key, because one key is what people compare: whoever sits between could show the
//! true one first, and others of their own after it. Further keys come with a proof, in a session
//! that this one has authenticated (`update_host_keys`).

use std::io::{self, BufRead, IsTerminal, Read};

use tunneld_ssh::scan::HostKey;

use super::Refusal;
use super::page::Page;

/// No answer is longer than this.
const MAX_ANSWER: u64 = 4096;

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer<'a> {
    /// Yes to the key that was asked about.
    Yes,
    /// Yes to every key.
    All,
    /// A fingerprint: yes to this key.
    Fingerprint(&'a str),
    No,
}

/// Asks whether the first of these keys is to be added, or others, and returns those that are.
pub(super) fn ask<'a>(page: &Page, keys: Vec<&'a HostKey>) -> Result<Vec<&'a HostKey>, Refusal> {
    let Some(first) = keys.first().copied() else {
        return Ok(keys);
    };
    // Whoever does not see the page has nothing to agree to.
    let seen = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !seen || !io::stderr().is_terminal() {
        let refusal = Refusal::new("there is no terminal to ask on; nothing was added");
        return Err(refusal.hint(format!(
            "`{} --yes --fingerprint SHA256:…` adds the keys that you know to be right",
            page.command
        )));
    }
    eprint!("{}", question(page, first, keys.len() > 1));
    let mut line = String::new();
    // What cannot be read is no agreement.
    let _ = io::stdin().lock().take(MAX_ANSWER).read_line(&mut line);
    match Answer::parse(&line) {
        Answer::Yes => Ok(vec![first]),
        Answer::All => Ok(keys),
        Answer::No => Err(Refusal::new("nothing was added")),
        Answer::Fingerprint(said) => {
            let agreed: Vec<_> = keys
                .into_iter()
                .filter(|k| k.fingerprint() == said)
                .collect();
            if agreed.is_empty() {
                let cause = format!("none of the new keys is {said}; nothing was added");
                return Err(Refusal::new(cause));
            }
            Ok(agreed)
        }
    }
}

fn question(page: &Page, key: &HostKey, has_more: bool) -> String {
    let (kind, fingerprint) = (key.kind(), key.fingerprint());
    let mut out = format!(
        "\nOn the host itself, what does this print, is it {fingerprint}?\n  \
         ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub\n",
        kind.to_lowercase()
    );
    if has_more {
        out.push_str(
            "Only if each of the keys above is one that the host itself prints, answer `all`:\n  \
             for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\n",
        );
        if page.target.update_host_keys {
            out.push_str(
                "Without that, tunneld adds the others once the host has proved to have them \
                 (`update_host_keys`).\n",
            );
        }
    }
    let all = if has_more { "/all" } else { "" };
    let file = page.file();
    out.push_str(&format!(
        "Add the {kind} key to {file}? [y/N/fingerprint{all}] "
    ));
    out
}

impl<'a> Answer<'a> {
    fn parse(line: &'a str) -> Self {
        let said = line.trim();
        match said.to_ascii_lowercase().as_str() {
            "y" | "yes" => Answer::Yes,
            "all" => Answer::All,
            _ if said.starts_with("SHA256:") => Answer::Fingerprint(said),
            _ => Answer::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_or_a_fingerprint_is_an_agreement() {
        for yes in ["y\n", "Yes\r\n", " YES "] {
            assert_eq!(Answer::parse(yes), Answer::Yes, "{yes:?}");
        }
        assert_eq!(Answer::parse("All\n"), Answer::All);
        for no in [
            "",
            "\n",
            "n\n",
            "no",
            "yess",
            "y e s",
            "a",
            "sha256:abc",
            "1",
        ] {
            assert_eq!(Answer::parse(no), Answer::No, "{no:?}");
        }
        let said = Answer::Fingerprint("SHA256:abc");
        assert_eq!(Answer::parse("SHA256:abc\n"), said);
    }
}
