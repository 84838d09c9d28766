//! What is printed of a tunnel.

use super::command::{in_full, in_short, without};
use super::drawing::{Arrow, draw, len};
use super::flow::{facts, nodes};
use crate::config::{ForwardSpec, TunnelSpec};

/// How wide a page is, in characters.
const WIDTH: usize = 80;

/// Where what is said of a forward begins.
const INDENT: usize = 17;

/// What a page may have in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// More than ASCII.
    pub utf8: bool,
    /// Colour.
    pub colour: bool,
}

impl Style {
    pub(super) fn coloured(self, text: &str, colour: u8) -> String {
        match self.colour {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// What the arrows mean.
pub fn legend(style: Style) -> String {
    let (sealed, clear) = (Arrow::Sealed.shown(style), Arrow::Clear.shown(style));
    format!("{sealed} encrypted by SSH   {clear} in the clear, as the programs send it\n")
}

/// A tunnel: each forward as a drawing with what is to be said of it, and the ssh command.
pub fn page(spec: &TunnelSpec, style: Style) -> String {
    let mut text = style.coloured(spec.name.as_str(), 1);
    let off = if spec.enabled { "" } else { ", not enabled" };
    text.push_str(&format!(": a session to {}{off}\n", spec.target));
    for forward in &spec.forwards {
        text.push_str(&format!("\n  {}, {}\n", forward.name, like(forward)));
        for line in draw(&nodes(spec, forward), style) {
            text.push_str(&format!("    {line}\n"));
        }
        for (word, said) in facts(spec, forward) {
            text.push_str(&fact(word, &said, style));
        }
    }
    text.push('\n');
    if let Some(short) = in_short(spec) {
        text.push_str("  the ssh command that does the same, in short:\n");
        text.push_str(&folded(&short));
    }
    text.push_str("  the ssh command, with the keys, host keys and times of the file:\n");
    text.push_str(&folded(&in_full(spec)));
    for line in without(spec) {
        text.push_str(&wrapped("    # ", &line, "    # "));
    }
    text
}

fn like(forward: &ForwardSpec) -> &'static str {
    match forward.kind_name() {
        "dynamic" => "a proxy here for places over there (ssh -D)",
        "remote" => "a place over there that leads to here (ssh -R)",
        _ => "a place here that leads to over there (ssh -L)",
    }
}

fn fact(word: &str, said: &str, style: Style) -> String {
    let pad = " ".repeat(INDENT.saturating_sub(4 + len(word)));
    let text = wrapped(&" ".repeat(INDENT), said, &" ".repeat(INDENT));
    let text = text.get(INDENT..).unwrap_or_default();
    format!("    {}{pad}{text}", style.coloured(word, 2))
}

/// A text in lines that fit; a word that does not stays whole.
fn wrapped(first: &str, text: &str, next: &str) -> String {
    let mut out = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && len(&line) + 1 + len(word) > WIDTH {
            out.push_str(&line);
            out.push('\n');
            next.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out + &line + "\n"
}

/// A command in lines that fit, which a shell takes as one: an option stays with its value.
fn folded(words: &[String]) -> String {
    let mut out = String::new();
    let mut line = String::from("   ");
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let mut part = word.clone();
        let takes_value = word.len() == 2 && word.starts_with('-') && !"NC46".contains(&word[1..]);
        if takes_value && let Some(value) = words.next() {
            part = format!("{part} {value}");
        }
        if line.trim() != "" && len(&line) + len(&part) + 3 > WIDTH {
            out.push_str(&format!("{line} \\\n"));
            line = "      ".to_owned();
        }
        line.push_str(&format!(" {part}"));
    }
    out + &line + "\n"
}
