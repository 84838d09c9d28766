//! SECURITY.md: what it accepts is what the check of dependencies lets pass, and its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;

use crate::manual_page::repository;

/// The advisories that a text names.
fn advisories(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c| !word(c));
    words.filter(|word| word.starts_with("RUSTSEC-")).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap()
}

#[test]
fn the_advisories_that_are_accepted_are_explained() {
    // In deny.toml with a reason each, in SECURITY.md in a chapter; and no other.
    let (deny, text) = (read("deny.toml"), read("SECURITY.md"));
    let accepted = advisories(&deny);
    assert!(!accepted.is_empty());
    let known = text.split_once("## Known and accepted").unwrap().1;
    assert_eq!(accepted, advisories(known));
    for line in deny.lines().filter(|line| line.contains("RUSTSEC-")) {
        let reason = line.split_once("reason = \"");
        assert!(reason.is_some_and(|(_, why)| why.len() > 40), "{line}");
    }
}

#[test]
fn every_link_of_the_first_pages_leads_somewhere() {
    // Of what lies at the top of the repository; the guides have a test of their own.
    let mut links = 0;
    for page in [
        "README",
        "SECURITY",
        "CONTRIBUTING",
        "ARCHITECTURE",
        "CHANGELOG",
    ] {
        let text = read(&format!("{page}.md"));
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            let file = link.split('#').next().unwrap_or_default();
            if !link.starts_with("https://") && !file.is_empty() {
                assert!(repository().join(file).exists(), "{page}.md: {link}");
                links += 1;
            }
        }
    }
    assert!(links > 20, "{links}");
}
