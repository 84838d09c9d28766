//! Whole pages, as people read them: the files in `corpus/`.

use std::path::Path;

use super::*;
use crate::config::{Origin, Surroundings, TunnelSpec, load};

const UTF8: Style = Style {
    utf8: true,
    colour: false,
};

fn tunnel(keys: &str) -> TunnelSpec {
    let text = format!("[tunnels.t]\n{keys}\n");
    let config = load(&text, &Origin::for_tests(), &Surroundings::for_tests());
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    config.tunnels.into_values().next().unwrap()
}

#[test]
fn a_page_says_who_listens_who_gets_in_where_it_is_encrypted_and_where_it_ends() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/corpus");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.strip_prefix("== toml\n").unwrap();
        let (keys, style, wanted) = match text.split_once("== page\n") {
            Some((keys, wanted)) => (keys, UTF8, wanted),
            None => {
                let (keys, wanted) = text.split_once("== ascii\n").unwrap();
                (
                    keys,
                    Style {
                        utf8: false,
                        ..UTF8
                    },
                    wanted,
                )
            }
        };
        let got = page(&tunnel(keys), style);
        assert_eq!(got, wanted, "{}", path.display());
        assert!(style.utf8 || got.is_ascii(), "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 7, "{cases}");
}

#[test]
fn what_is_said_and_drawn_fits_a_terminal_of_80_columns() {
    // A command line may be wider: a word of it stays whole.
    let long = "x".repeat(40);
    let spec = tunnel(&format!(
        "host = \"{long}.example.com\"\nuser = \"u\"\nproxy_jump = \"b.example.com\"\n\
         local_forward = [\"8080:wiki.example.com:80\", \"1:a:1\"]"
    ));
    let page = page(&spec, UTF8);
    let (drawn, _) = page.split_once("\n  the ssh command").unwrap();
    for line in drawn.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn colour_is_for_the_name_the_arrows_and_the_words_before_what_is_said() {
    let spec = tunnel("host = \"h\"\nuser = \"u\"\nlocal_forward = \"1:a:1\"");
    let coloured = Style {
        colour: true,
        ..UTF8
    };
    let shown = page(&spec, coloured);
    for part in [
        "\u{1b}[1mt\u{1b}[0m: a session",
        "clients \u{1b}[33m─▶\u{1b}[0m localhost:1 \u{1b}[32m═▶\u{1b}[0m h",
        "    \u{1b}[2mlistens\u{1b}[0m      tunneld",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let plain = shown.replace("\u{1b}[0m", "");
    let plain = ["[1m", "[2m", "[32m", "[33m"]
        .iter()
        .fold(plain, |text, code| {
            text.replace(&format!("\u{1b}{code}"), "")
        });
    assert_eq!(plain, page(&spec, UTF8));
}
