//! A file of examples/, and what its comments show.

use std::fs;
use std::path::Path;

/// Where a comment quotes something.
const QUOTED: &str = "#     ";

/// An example as it is shipped.
pub(crate) struct Example {
    text: String,
}

impl Example {
    /// examples/NAME.toml.
    pub(crate) fn read(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let path = dir.join(format!("{name}.toml"));
        let text = fs::read_to_string(&path);
        Example {
            text: text.unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        }
    }

    /// A file that is shown elsewhere.
    pub(crate) fn of(text: String) -> Self {
        Example { text }
    }

    /// With something else in place of `from`, which has to be there.
    pub(crate) fn with(self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "no {from} in\n{}", self.text);
        Example {
            text: self.text.replace(from, to),
        }
    }

    /// What a daemon can be given: `{dir}` is the folder of that daemon, which has what the example
    /// looks for in /etc/tunneld.
    pub(crate) fn config(&self) -> String {
        self.text.replace("\"/etc/tunneld/", "\"{dir}/")
    }

    fn quoted(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        lines.filter_map(|line| line.strip_prefix(QUOTED))
    }

    /// The options in front of each key in its lines of authorized_keys.
    pub(crate) fn rights(&self) -> Vec<&str> {
        let keys = |line: &'_ &str| line.starts_with("restrict,");
        let lines = self.quoted().filter(keys);
        let rights = lines.filter_map(|line| Some(line.split_once(" ssh-ed25519 ")?.0));
        let rights: Vec<_> = rights.collect();
        assert!(!rights.is_empty(), "no authorized_keys in\n{}", self.text);
        rights
    }

    /// The lines that begin with `word`, as they are.
    pub(crate) fn lines(&self, word: &str) -> Vec<&str> {
        let found = self.quoted().filter(|line| line.starts_with(word));
        let found: Vec<_> = found.collect();
        assert!(!found.is_empty(), "no {word} in\n{}", self.text);
        found
    }

    /// The lines below the heading, without it and without their indent.
    pub(crate) fn below(&self, heading: &str) -> String {
        let mut lines = self.quoted().skip_while(|line| *line != heading).skip(1);
        let mut block = String::new();
        while let Some(line) = lines.next().and_then(|line| line.strip_prefix("    ")) {
            block.push_str(line);
            block.push('\n');
        }
        assert!(!block.is_empty(), "no {heading} in\n{}", self.text);
        block
    }
}
