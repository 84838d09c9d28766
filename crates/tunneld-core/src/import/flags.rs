//! Options as getopt(3) finds them, with the options that ssh(1) and autossh(1) have.

/// The options of ssh, as OpenSSH has them up to 10.2; `:` stands behind those that take a value.
const SSH: &str = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy";

/// What autossh takes for itself before it hands the rest to ssh.
const AUTOSSH: &str = "M:V";

/// One word of a command line, or one option of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// An option without a value.
    Flag(char),
    /// An option, and its value.
    Value(char, String),
    /// A word that is no option: the host.
    Host(String),
    /// All that comes after the options: a command for the server.
    Rest(Vec<String>),
}

/// The options and words after the name of the program. Options may stand before the host and behind
/// it, as ssh has it; what follows then is a command for the server.
///
/// # Errors
///
/// An option that there is not, and one without its value.
pub(super) fn items(words: &[String], autossh: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut words = words.iter();
    let mut has_host = false;
    let mut ended = false;
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("-") if !ended => ended = true,
            Some(bundle) if !bundle.is_empty() && !ended => {
                bundled(bundle, &mut words, autossh, &mut items)?;
            }
            _ if !has_host => {
                has_host = true;
                items.push(Item::Host(word.clone()));
            }
            _ => {
                let rest = std::iter::once(word).chain(words);
                items.push(Item::Rest(rest.cloned().collect()));
                break;
            }
        }
    }
    Ok(items)
}

/// The options of one word, without its dash: `fNTL` may be followed by the value of `L`.
fn bundled<'a>(
    bundle: &str,
    words: &mut impl Iterator<Item = &'a String>,
    autossh: bool,
    items: &mut Vec<Item>,
) -> Result<(), String> {
    let mut chars = bundle.chars();
    while let Some(c) = chars.next() {
        match takes_value(c, autossh).ok_or_else(|| format!("there is no option -{c}"))? {
            false => items.push(Item::Flag(c)),
            true => {
                let value = match chars.as_str() {
                    "" => words.next().cloned(),
                    rest => Some(rest.to_owned()),
                };
                let value = value.ok_or_else(|| format!("the option -{c} has no value"))?;
                items.push(Item::Value(c, value));
                break;
            }
        }
    }
    Ok(())
}

/// Whether an option takes a value; `None`: there is no such option.
fn takes_value(c: char, autossh: bool) -> Option<bool> {
    let find = |all: &str| {
        let (_, after) = all.split_once(c)?;
        Some(after.starts_with(':'))
    };
    if c == ':' {
        return None;
    }
    autossh
        .then(|| find(AUTOSSH))
        .flatten()
        .or_else(|| find(SSH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `-x` for a flag, `-x=v` for a value, the host in brackets, and the rest in braces.
    fn shown(line: &str, autossh: bool) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let items = match items(&words, autossh) {
            Ok(items) => items,
            Err(e) => return e,
        };
        let items = items.iter().map(|item| match item {
            Item::Flag(c) => format!("-{c}"),
            Item::Value(c, v) => format!("-{c}={v}"),
            Item::Host(host) => format!("[{host}]"),
            Item::Rest(words) => format!("{{{}}}", words.join(" ")),
        });
        items.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_are_found_as_getopt_finds_them() {
        for (line, items) in [
            ("-N -L 1:a:1 h", "-N -L=1:a:1 [h]"),
            ("-fNTL 1:a:1 h", "-f -N -T -L=1:a:1 [h]"),
            ("-NL1:a:1 h", "-N -L=1:a:1 [h]"),
            ("h -p 22 -N", "[h] -p=22 -N"),
            ("h sleep -p 22", "[h] {sleep -p 22}"),
            ("-N -- h -p 22", "-N [h] {-p 22}"),
            ("-o A=b -oC=d h", "-o=A=b -o=C=d [h]"),
            ("-M h", "-M [h]"),
            ("-46 - x", "-4 -6 [-] {x}"),
            ("-N -z h", "there is no option -z"),
            ("-: h", "there is no option -:"),
            ("h -L", "the option -L has no value"),
        ] {
            assert_eq!(shown(line, false), items, "{line}");
        }
    }

    #[test]
    fn autossh_takes_a_port_with_m() {
        assert_eq!(shown("-M 0 -NL 1:a:1 h", true), "-M=0 -N -L=1:a:1 [h]");
        assert_eq!(shown("-fM 20000:7 h", true), "-f -M=20000:7 [h]");
    }
}
