//! What `%` and a letter stand for: SPECIFIERS of systemd.unit(5).

use std::collections::BTreeMap;

use super::unknown;

/// What only the machine knows: by the letter of the specifier.
pub type Facts = BTreeMap<char, String>;

/// The name of a unit.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// `tunnel@db.service`.
    full: String,
    /// What is before the `@` of a template, or all without the type.
    prefix: String,
    /// What is behind it.
    instance: Option<String>,
}

impl Name {
    /// The name of a file; `instance` completes that of a template. An empty one is not known.
    pub(super) fn new(file: &str, instance: Option<&str>) -> Self {
        let (stem, kind) = file.rsplit_once('.').unwrap_or((file, "service"));
        let (prefix, own) = match stem.split_once('@') {
            Some((prefix, own)) => (prefix, Some(own)),
            None => (stem, None),
        };
        let instance = match own {
            Some("") => instance,
            None if file.is_empty() => instance,
            own => own,
        };
        let full = match instance.filter(|_| !file.is_empty()) {
            Some(instance) => format!("{prefix}@{instance}.{kind}"),
            None => file.to_owned(),
        };
        Name {
            full,
            prefix: prefix.to_owned(),
            instance: instance.map(str::to_owned),
        }
    }

    /// What its file may be called, those that count more first.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = vec![self.full.clone()];
        if let (Some(_), Some((_, kind))) = (&self.instance, self.full.rsplit_once('.')) {
            files.push(format!("{}@.{kind}", self.prefix));
        }
        files.retain(|file| !file.contains('/'));
        files
    }

    /// The folders of files that add to it, those that count more first: systemd.unit(5).
    pub(super) fn folders(&self) -> Vec<String> {
        let kind = self
            .full
            .rsplit_once('.')
            .map_or("service", |(_, kind)| kind);
        let mut folders = vec![format!("{}.d", self.full)];
        if self.stem().contains('@') {
            folders.push(format!("{}@.{kind}.d", self.prefix));
        }
        let mut prefix = self.prefix.as_str();
        while let Some((before, after)) = prefix.rsplit_once('-') {
            if !after.is_empty() {
                folders.push(format!("{before}-.{kind}.d"));
            }
            prefix = before;
        }
        folders.push(format!("{kind}.d"));
        folders.dedup();
        folders.retain(|folder| !folder.contains('/'));
        folders
    }

    /// Without its type.
    pub(super) fn stem(&self) -> &str {
        self.full
            .rsplit_once('.')
            .map_or(&self.full, |(stem, _)| stem)
    }

    /// Puts what they stand for in the place of specifiers.
    pub(super) fn expand(&self, text: &str, facts: &Facts) -> Result<String, String> {
        let mut found = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            found.push_str(before);
            let Some(letter) = after.chars().next() else {
                rest = "%";
                break;
            };
            found.push_str(&self.value(letter, facts)?);
            rest = &after[letter.len_utf8()..];
        }
        found.push_str(rest);
        Ok(found)
    }

    fn value(&self, letter: char, facts: &Facts) -> Result<String, String> {
        let last = |text: &str| {
            let last = text.rsplit_once('-').map_or(text, |(_, last)| last);
            last.to_owned()
        };
        let of_name = "nNpPjJ".contains(letter) || (letter == 'f' && self.instance.is_none());
        if of_name && self.full.is_empty() {
            let why = "and it is not known what the unit is called: import its file";
            return Err(unknown(&format!("%{letter}"), why));
        }
        Ok(match letter {
            '%' => "%".to_owned(),
            'n' => self.full.clone(),
            'N' => self.stem().to_owned(),
            'p' => self.prefix.clone(),
            'P' => unescaped(&self.prefix),
            'j' => last(&self.prefix),
            'J' => unescaped(&last(&self.prefix)),
            'i' => self.instance()?.to_owned(),
            'I' => unescaped(self.instance()?),
            'f' => match &self.instance {
                Some(instance) => format!("/{}", unescaped(instance).trim_start_matches('/')),
                None => format!("/{}", unescaped(&self.prefix).trim_start_matches('/')),
            },
            letter => {
                let known = facts.get(&letter).cloned();
                let why = "a specifier whose value is not known here: write it out";
                known.ok_or_else(|| unknown(&format!("%{letter}"), why))?
            }
        })
    }

    fn instance(&self) -> Result<&str, String> {
        let why = "and the unit is a template: say which instance with --instance NAME";
        self.instance.as_deref().ok_or_else(|| unknown("%i", why))
    }
}

/// As systemd-escape(1) --unescape: `-` is `/`, and `\x2d` a byte.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let byte = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        if let Some(byte) = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
            continue;
        }
        match c {
            '-' => bytes.push(b'/'),
            c => bytes.extend(c.to_string().bytes()),
        }
        rest = &rest[c.len_utf8()..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_these_folders_add_to_a_unit() {
        for (file, instance, wanted) in [
            ("a.service", None, "a.service.d service.d"),
            ("a@.service", None, "a@.service.d service.d"),
            (
                "a@.service",
                Some("b"),
                "a@b.service.d a@.service.d service.d",
            ),
            (
                "a-b-c@d-e.service",
                None,
                "a-b-c@d-e.service.d a-b-c@.service.d a-b-.service.d a-.service.d service.d",
            ),
            ("a@.service", Some("../x"), "a@.service.d service.d"),
        ] {
            assert_eq!(Name::new(file, instance).folders().join(" "), wanted);
        }
    }

    #[test]
    fn a_unit_has_its_own_file_or_that_of_its_template() {
        for (name, instance, wanted) in [
            ("a.service", None, "a.service"),
            ("a@b.service", None, "a@b.service a@.service"),
            ("a@.service", Some("b"), "a@b.service a@.service"),
            ("a@.service", None, "a@.service"),
            ("a@.service", Some("../b"), "a@.service"),
        ] {
            assert_eq!(Name::new(name, instance).files().join(" "), wanted);
        }
    }

    #[test]
    fn a_unit_whose_name_nobody_knows_has_no_specifier_of_it() {
        let name = Name::new("", Some("db"));
        assert_eq!(name.expand("%i", &Facts::new()).unwrap(), "db");
        assert_eq!(
            name.expand("%n", &Facts::new()).unwrap_err(),
            "has `%n`, and it is not known what the unit is called: import its file"
        );
    }

    #[test]
    fn a_specifier_stands_for_a_part_of_the_name_or_for_what_the_machine_knows() {
        let facts = Facts::from([('H', "web1".to_owned())]);
        let name = Name::new("ssh-tunnel@db-1\\x2da.service", None);
        let expanded = name.expand("%n %N %p %j %i %I %H 100%%", &facts);
        assert_eq!(
            expanded.unwrap(),
            "ssh-tunnel@db-1\\x2da.service ssh-tunnel@db-1\\x2da ssh-tunnel tunnel db-1\\x2da \
             db/1-a web1 100%"
        );
        let template = Name::new("tunnel@.service", None);
        assert_eq!(
            template.expand("%i", &facts).unwrap_err(),
            "has `%i`, and the unit is a template: say which instance with --instance NAME"
        );
        let template = Name::new("tunnel@.service", Some("db"));
        assert_eq!(template.expand("%i", &facts).unwrap(), "db");
        assert_eq!(
            template.expand("%m", &facts).unwrap_err(),
            "has `%m`, a specifier whose value is not known here: write it out"
        );
    }
}
