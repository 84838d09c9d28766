//! The question, on the terminal.

use std::io::{self, BufRead, IsTerminal, Read};

use tunneld_ssh::scan::HostKey;

use super::Refusal;
use super::page::Page;

/// No answer is longer than this.
const MAX_ANSWER: u64 = 4096;

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer<'a> {
    Yes,
    /// A fingerprint: yes to this key.
    Fingerprint(&'a str),
    No,
}

/// Asks whether these keys are to be added, and returns those that are.
pub(super) fn ask<'a>(page: &Page, keys: Vec<&'a HostKey>) -> Result<Vec<&'a HostKey>, Refusal> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let refusal = Refusal::new("there is no terminal to ask on; nothing was added");
        return Err(refusal.hint(format!(
            "`{} --yes --fingerprint SHA256:…` adds the keys that you know to be right",
            page.command
        )));
    }
    eprintln!(
        "\nOn the host itself `ssh-keygen -lvf /etc/ssh/ssh_host_ed25519_key.pub` shows its key: is \
         it the same?"
    );
    let these = match keys.len() {
        1 => "this key".to_owned(),
        n => format!("these {n} keys"),
    };
    eprint!("Add {these} to {}? [y/N/fingerprint] ", page.file());
    let mut line = String::new();
    // What cannot be read is no agreement.
    let _ = io::stdin().lock().take(MAX_ANSWER).read_line(&mut line);
    match Answer::parse(&line) {
        Answer::Yes => Ok(keys),
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

impl<'a> Answer<'a> {
    fn parse(line: &'a str) -> Self {
        let said = line.trim();
        match said.to_ascii_lowercase().as_str() {
            "y" | "yes" => Answer::Yes,
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
        for no in ["", "\n", "n\n", "no", "yess", "y e s", "sha256:abc", "1"] {
            assert_eq!(Answer::parse(no), Answer::No, "{no:?}");
        }
        let said = Answer::Fingerprint("SHA256:abc");
        assert_eq!(Answer::parse("SHA256:abc\n"), said);
    }
}
