//! Lines that fit into a terminal.

use tunneld_core::text::is_odd;
use unicode_width::UnicodeWidthChar;

/// No line goes in by more than a part of the width: a narrow terminal needs it for the words.
const MOST_INDENT: usize = 4;

/// How many columns a text takes; what sets a colour takes none.
pub(super) fn columns(text: &str) -> usize {
    let mut in_escape = false;
    text.chars()
        .map(|c| match c {
            '\x1b' => {
                in_escape = true;
                0
            }
            'm' if in_escape => {
                in_escape = false;
                0
            }
            _ if in_escape => 0,
            c => c.width().unwrap_or(0),
        })
        .sum()
}

/// A text from elsewhere without what would move the cursor, or turn the line around.
pub(in crate::cli) fn plain(text: &str) -> String {
    let safe = |c: char| match is_odd(c) {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(safe).collect()
}

/// Writes a line that begins `indent` columns in. What does not fit into `width` goes on in the next
/// lines, two columns further in; nothing is left out.
pub(in crate::cli) fn line(out: &mut String, indent: usize, text: &str, width: Option<usize>) {
    let Some(width) = width.map(|width| width.max(2)) else {
        out.push_str(&" ".repeat(indent));
        out.push_str(text.trim_end());
        out.push('\n');
        return;
    };
    let most = width / MOST_INDENT;
    let (first, next) = (indent.min(most), (indent + 2).min(most));
    let mut at = first;
    let mut is_empty = true;
    out.push_str(&" ".repeat(first));
    for piece in text.trim_end().split_inclusive(' ') {
        let word = piece.trim_end_matches(' ');
        if !is_empty && at + columns(word) > width {
            break_line(out, next);
            (at, is_empty) = (next, true);
        }
        if is_empty && word.is_empty() {
            // A line does not begin with the space between two words.
            continue;
        }
        if at + columns(word) > width {
            at = break_word(out, word, (at, next), width);
            out.push_str(&piece[word.len()..]);
        } else {
            out.push_str(piece);
            at += columns(word);
        }
        at += piece.len() - word.len();
        is_empty = false;
    }
    trim_line(out);
    out.push('\n');
}

/// A word that fits into no line is broken where the line ends. Returns the column after it.
fn break_word(out: &mut String, word: &str, (mut at, next): (usize, usize), width: usize) -> usize {
    for c in word.chars() {
        let wide = c.width().unwrap_or(0);
        if at + wide > width {
            break_line(out, next);
            at = next;
        }
        out.push(c);
        at += wide;
    }
    at
}

fn break_line(out: &mut String, indent: usize) {
    trim_line(out);
    out.push('\n');
    out.push_str(&" ".repeat(indent));
}

fn trim_line(out: &mut String) {
    let end = out.trim_end_matches(' ').len();
    out.truncate(end);
}
