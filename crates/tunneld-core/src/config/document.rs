//! A text as tables whose places are among all the texts.

use std::mem::{replace, take};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::syntax::Syntax;

/// One text, parsed.
pub(super) struct Document<'t> {
    pub(super) table: DeTable<'t>,
    pub(super) syntax: Syntax,
}

impl<'t> Document<'t> {
    /// Parses a text that begins at `start` among all of them.
    pub(super) fn parse(text: &'t str, start: usize) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut table = table.into_inner();
        let mut syntax = Syntax::new(text, &table, errors);
        if start > 0 {
            shift_table(&mut table, start);
            syntax.shift(start);
        }
        Document { table, syntax }
    }
}

/// A place that is so much further on.
pub(super) fn shifted(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn shift_table(table: &mut DeTable<'_>, by: usize) {
    for (key, mut value) in take(table) {
        shift_value(&mut value, by);
        let span = shifted(&key.span(), by);
        table.insert(Spanned::new(span, key.into_inner()), value);
    }
}

fn shift_value(value: &mut Spanned<DeValue<'_>>, by: usize) {
    match value.get_mut() {
        DeValue::Array(items) => items.iter_mut().for_each(|item| shift_value(item, by)),
        DeValue::Table(table) => shift_table(table, by),
        _ => {}
    }
    let span = shifted(&value.span(), by);
    let inner = replace(value.get_mut(), DeValue::Boolean(false));
    *value = Spanned::new(span, inner);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_text_is_so_much_further_on() {
        let text = "a = [1, { b = 'x' }]\n[c]\nd = 2\nd = 3\n";
        let document = Document::parse(text, 1_000);
        let at = |range: Range<usize>| &text[range.start - 1_000..range.end - 1_000];
        let (key, list) = document.table.get_key_value("a").unwrap();
        assert_eq!(at(key.span()), "a");
        assert_eq!(at(list.span()), "[1, { b = 'x' }]");
        let inner = list.get_ref().as_array().unwrap()[1].get_ref();
        let (key, value) = inner.as_table().unwrap().get_key_value("b").unwrap();
        assert_eq!((at(key.span()), at(value.span())), ("b", "'x'"));
        let again = document.syntax.problems[0].clone();
        let first = again.related[0].span.clone();
        assert_eq!(again.span, Some(1_031..1_032));
        assert_eq!(first.start, 1_025);
    }
}
