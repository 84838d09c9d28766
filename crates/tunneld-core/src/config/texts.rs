//! The texts that a configuration is made of: its own file, and those that it takes values from.
//!
//! They are laid out one after the other, and a place is a range of bytes of them all: so a place is
//! two numbers, whichever file it is in.

use super::diagnostic::Origin;

/// The texts of a configuration. The first one is its own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    texts: Vec<Text>,
}

/// One of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// Its file's name as it is shown.
    pub(super) name: String,
    pub(super) text: String,
    /// Where it begins among all of them.
    pub(super) start: usize,
}

impl Texts {
    /// The text of a file.
    pub fn new(origin: &Origin, text: impl Into<String>) -> Self {
        let mut texts = Texts { texts: Vec::new() };
        texts.add(origin.name.clone(), text);
        texts
    }

    /// Adds the text of another file. Returns where it begins: a place in it is so much further on.
    pub fn add(&mut self, name: String, text: impl Into<String>) -> usize {
        // Its end is a place too, and not the beginning of the next one.
        let start = self.texts.last().map_or(0, |t| t.start + t.text.len() + 1);
        self.texts.push(Text {
            name,
            text: text.into(),
            start,
        });
        start
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Text> {
        self.texts.iter()
    }

    /// The text that a place is in, and its index.
    pub(super) fn find(&self, place: usize) -> (usize, &Text) {
        let after = self.texts.partition_point(|text| text.start <= place);
        let index = after.saturating_sub(1);
        (index, &self.texts[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_one_of_the_texts() {
        let mut texts = Texts::new(&Origin::for_tests(), "abc");
        assert_eq!(texts.add("b".to_owned(), ""), 4);
        assert_eq!(texts.add("c".to_owned(), "xy"), 5);
        let places: Vec<usize> = (0..9).map(|place| texts.find(place).0).collect();
        assert_eq!(places, [0, 0, 0, 0, 1, 2, 2, 2, 2]);
    }
}
