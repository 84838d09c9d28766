//! A drawing of a way: places, and what is between them.

use super::page::Style;

/// The widest drawing, in characters.
const MAX_WIDTH: usize = 78;

/// A place on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// How the bytes come to it.
    pub(super) by: Arrow,
    /// The place.
    pub(super) place: String,
    /// What it is.
    pub(super) what: &'static str,
}

/// How bytes go from one place to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrow {
    /// Encrypted by SSH.
    Sealed,
    /// As the programs at both ends have made them.
    Clear,
}

impl Arrow {
    /// The arrow on a page.
    pub(super) fn shown(self, style: Style) -> String {
        let (plain, colour) = match (self, style.utf8) {
            (Arrow::Sealed, true) => ("═▶", 32),
            (Arrow::Clear, true) => ("─▶", 33),
            (Arrow::Sealed, false) => ("==>", 32),
            (Arrow::Clear, false) => ("-->", 33),
        };
        style.coloured(plain, colour)
    }

    fn width(style: Style) -> usize {
        if style.utf8 { 2 } else { 3 }
    }
}

/// The way from left to right with what each place is under it, or from top to bottom where that is
/// too wide. The first arrow is not drawn.
pub(super) fn draw(nodes: &[Node], style: Style) -> Vec<String> {
    let gap = Arrow::width(style) + 2;
    let width = |node: &Node| len(&node.place).max(len(node.what));
    let total: usize = nodes.iter().map(|node| width(node) + gap).sum();
    if total.saturating_sub(gap) <= MAX_WIDTH {
        return across(nodes, style, gap);
    }
    let widest = nodes.iter().map(|node| len(&node.place)).max().unwrap_or(0);
    let column = widest.min(MAX_WIDTH / 2);
    let line = |(index, node): (usize, &Node)| {
        let arrow = match index {
            0 => " ".repeat(gap - 2),
            _ => node.by.shown(style),
        };
        let pad = " ".repeat(column.saturating_sub(len(&node.place)));
        format!("{arrow} {}{pad}  {}", node.place, node.what)
            .trim_end()
            .to_owned()
    };
    nodes.iter().enumerate().map(line).collect()
}

fn across(nodes: &[Node], style: Style, gap: usize) -> Vec<String> {
    let (mut places, mut kinds) = (String::new(), String::new());
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            places.push_str(&format!(" {} ", node.by.shown(style)));
            kinds.push_str(&" ".repeat(gap));
        }
        let width = len(&node.place).max(len(node.what));
        // The last one needs no room behind it, and an arrow follows its place at once.
        let pad = |text: &str| " ".repeat(width.saturating_sub(len(text)));
        places.push_str(&format!("{}{}", node.place, pad(&node.place)));
        kinds.push_str(&format!("{}{}", node.what, pad(node.what)));
    }
    vec![places.trim_end().to_owned(), kinds.trim_end().to_owned()]
}

pub(super) fn len(text: &str) -> usize {
    text.chars().count()
}
