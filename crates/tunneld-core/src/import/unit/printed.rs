//! What `systemctl cat` prints: the file of a unit and then those that add to it, each behind a comment
//! with its path.

/// The types of units, as the names of their files end: systemd.unit(5).
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// A unit that was printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// The path of its file; empty where nothing says which unit it is.
    pub path: String,
    /// Its file and those that add to it, in their order: the path of each, and what it says.
    pub texts: Vec<(String, String)>,
}

impl Printed {
    /// Reads the units of a text. One that does not begin with the path of a file is a unit, too; `from`
    /// says where that is from.
    pub fn read(from: &str, text: &str) -> Vec<Self> {
        let mut units: Vec<Printed> = Vec::new();
        let mut before = "";
        for line in text.lines() {
            match header(line).filter(|_| !before.starts_with('#')) {
                Some(path) => begin(&mut units, from, path),
                None if units.is_empty() && line.trim().is_empty() => {}
                None => add(&mut units, from, line),
            }
            before = line;
        }
        units
    }

    /// The name of its file; empty where nothing says which unit it is.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The path of a file, where the line is that and nothing else.
fn header(line: &str) -> Option<&str> {
    let path = line.strip_prefix("# ")?.trim_end();
    let (_, kind) = path.rsplit_once('.')?;
    let is_path = path.starts_with('/') && !path.contains(char::is_whitespace);
    (is_path && (TYPES.contains(&kind) || adds(path))).then_some(path)
}

/// Whether a file adds to a unit.
fn adds(path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.ends_with(".d") && path.ends_with(".conf")
}

/// Begins a file, and with it a unit if it is not one that adds to it.
fn begin(units: &mut Vec<Printed>, from: &str, path: &str) {
    let text = (path.to_owned(), String::new());
    match units.last_mut() {
        // Many a file has its own path in a comment.
        Some(unit) if unit.texts.last().is_some_and(|(last, _)| last == path) => {
            add(units, from, "#");
        }
        Some(unit) if adds(path) => unit.texts.push(text),
        _ => units.push(Printed {
            path: path.to_owned(),
            texts: vec![text],
        }),
    }
}

/// Adds a line to the file that was begun last.
fn add(units: &mut Vec<Printed>, from: &str, line: &str) {
    if units.is_empty() {
        units.push(Printed::default());
    }
    let Some(unit) = units.last_mut() else { return };
    if unit.texts.is_empty() {
        unit.texts.push((from.to_owned(), String::new()));
    }
    if let Some((_, text)) = unit.texts.last_mut() {
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let units = Printed::read("stdin", text);
        let shown = units.iter().map(|unit| {
            let texts = unit.texts.iter();
            let texts: String = texts
                .map(|(path, text)| format!("|{path}>{text}"))
                .collect();
            format!("{}{texts}", unit.name())
        });
        shown.collect()
    }

    #[test]
    fn files_are_told_apart_and_those_that_add_to_a_unit_belong_to_it() {
        let text = "# /etc/systemd/system/a.service\n[Service]\nUser=a\n\n\
                    # /etc/systemd/system/a.service.d/x.conf\n[Service]\nUser=b\n\n\
                    # /run/systemd/system/c@d.service\nUser=c";
        assert_eq!(
            shown(text),
            [
                "a.service|/etc/systemd/system/a.service>[Service]\nUser=a\n\n\
                 |/etc/systemd/system/a.service.d/x.conf>[Service]\nUser=b\n\n",
                "c@d.service|/run/systemd/system/c@d.service>User=c\n",
            ]
        );
    }

    #[test]
    fn a_comment_with_a_path_in_it_begins_no_file() {
        // Its own path, words around it, what is no unit, and what follows another comment.
        for comment in [
            "# /a.service",
            "# /usr/bin/ssh, see b.service",
            "# /etc/ssh/x.conf",
            "# b.service",
            "# as it was in\n# /old/b.service",
        ] {
            let text = format!("# /a.service\n[Unit]\n{comment}\n[Service]\n");
            let found = Printed::read("stdin", &text);
            assert_eq!(found.len(), 1, "{comment}");
            assert_eq!(found[0].texts.len(), 1, "{comment}");
            let lines = found[0].texts[0].1.lines();
            assert_eq!(lines.count(), text.lines().count() - 1, "{comment}");
        }
    }

    #[test]
    fn a_unit_without_a_path_is_one_whose_name_is_not_known() {
        assert_eq!(shown("\n[Service]\nA=b\n"), ["|stdin>[Service]\nA=b\n"]);
        assert_eq!(shown(""), [""; 0]);
        assert_eq!(shown("\n \n"), [""; 0]);
    }
}
