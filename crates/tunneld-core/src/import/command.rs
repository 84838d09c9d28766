//! A command line of ssh or autossh: what it says, option by option.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::first_way::FirstWay;
use super::flags::{self, Item};
use super::forwards::{Kind, Written};
use super::note::Note;
use super::{autossh, discreet, shell};
use crate::config::{check_host, parse_hop, quoted};

/// How many words a command line may have.
const MAX_WORDS: usize = 4_096;

/// How deep shells may be in shells.
const MAX_SHELLS: usize = 3;

/// A command line, read.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The options that ssh_config(5) has a keyword for, the first one first, as its lines.
    pub(super) lines: Vec<Line>,
    pub(super) host: String,
    pub(super) forwards: Vec<Written>,
    /// `-g`: a forward without an address listens on every one.
    pub(super) everywhere: bool,
    pub(super) config: ConfigFile,
    pub(super) notes: Vec<Note>,
    way: FirstWay,
    /// The environment variables that the command was given.
    pub(super) variables: BTreeMap<String, String>,
    /// Whether it is autossh that keeps ssh up.
    pub(super) autossh: bool,
}

/// An option as a line of ssh_config(5).
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The line.
    pub(super) text: String,
    /// The option.
    pub(super) shown: String,
}

/// The file of ssh that the options come before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConfigFile {
    /// The user's own and the machine's.
    #[default]
    Usual,
    /// None (`-F none`).
    None,
    /// `-F FILE`.
    Named(PathBuf),
}

/// Where a command line is run.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The environment variables that it is run with.
    pub variables: BTreeMap<String, String>,
    /// The folder that it is run in, where that is known.
    pub directory: Option<PathBuf>,
}

impl Command {
    /// Reads a command line: `autossh …`, `ssh …`, also with variables, `env` or `sh -c` in front.
    ///
    /// # Errors
    ///
    /// What is not one of these, and what ssh itself would refuse: one line, lowercase, no full stop.
    pub fn read(words: &[String], setting: &Setting) -> Result<Self, String> {
        if words.len() > MAX_WORDS {
            return Err(format!("has more than {MAX_WORDS} words"));
        }
        let mut command = Command::default();
        let words = command.unwrapped(words, setting, 0)?;
        let (program, words) = words.split_first().ok_or("has no program in it")?;
        command.autossh = base(program) == "autossh";
        for item in flags::items(words, command.autossh)? {
            command.item(item, setting)?;
        }
        if command.host.is_empty() {
            return Err("names no host".to_owned());
        }
        let mut variables = match command.autossh {
            true => setting.variables.clone(),
            false => BTreeMap::new(),
        };
        variables.extend(command.variables.clone());
        autossh::notes(&variables, &mut command.notes);
        Ok(command)
    }

    /// The host of an entry in a file of ssh, and nothing else.
    pub fn of_entry(host: &str, file: &Path) -> Self {
        Command {
            host: host.to_owned(),
            config: ConfigFile::Named(file.to_owned()),
            ..Command::default()
        }
    }

    /// Which file of ssh it reads.
    pub fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// The host, as it is written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The words from the name of ssh or autossh on.
    fn unwrapped(
        &mut self,
        words: &[String],
        setting: &Setting,
        depth: usize,
    ) -> Result<Vec<String>, String> {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            if let Some((name, value)) = assignment(word) {
                self.variables.insert(name.to_owned(), value.to_owned());
                continue;
            }
            match base(word) {
                "ssh" | "autossh" | "slogin" => {
                    return Ok(words.get(at - 1..).unwrap_or_default().to_vec());
                }
                "exec" | "nohup" | "command" | "setsid" => {}
                "env" => at += env_options(words.get(at..).unwrap_or_default()),
                "sshpass" => at += self.sshpass(words.get(at..).unwrap_or_default()),
                "sh" | "bash" | "dash" | "ksh" | "zsh" => {
                    let (flags, script) = (words.get(at), words.get(at + 1));
                    let is_c = |f: &&String| f.starts_with('-') && f.contains('c');
                    let script = flags.filter(is_c).and(script);
                    let script = script.ok_or("runs a script, which is not read")?;
                    if depth == MAX_SHELLS {
                        return Err(format!("has shells in shells more than {MAX_SHELLS} deep"));
                    }
                    let mut variables = setting.variables.clone();
                    variables.extend(self.variables.clone());
                    let words = shell::words(script, &variables)
                        .map_err(|e| format!("has a command for a shell that {e}"))?;
                    return self.unwrapped(&words, setting, depth + 1);
                }
                other @ ("sudo" | "su" | "runuser" | "doas") => {
                    let said = "runs it as another user: give the words behind it, and correct \
                                `user` and the paths";
                    return Err(format!("begins with {}, which {said}", quoted(other)));
                }
                other => {
                    let shown = quoted(other);
                    return Err(format!(
                        "begins with {shown}, which is neither ssh nor autossh"
                    ));
                }
            }
        }
        Err("has no program in it".to_owned())
    }

    /// sshpass(1): how many words its options have. What it is given is a secret.
    fn sshpass(&mut self, words: &[String]) -> usize {
        let mut at = 0;
        while let Some(option) = words.get(at).filter(|word| word.starts_with('-')) {
            at += match option.as_str() {
                "-p" | "-f" | "-d" | "-P" => 2,
                _ => 1,
            };
        }
        let why = "a password is a credential: `password_credential = \"NAME\"`, see the reference";
        self.notes.push(Note::dropped("sshpass", why));
        at
    }

    fn item(&mut self, item: Item, setting: &Setting) -> Result<(), String> {
        match item {
            Item::Host(host) => self.destination(&host),
            Item::Rest(words) => {
                let why = "nothing is run at the server";
                let shown = discreet::program(&words.join(" "));
                self.notes.push(Note::dropped(&shown, why));
                Ok(())
            }
            Item::Flag(c) => {
                self.flag(c);
                Ok(())
            }
            Item::Value(c, value) => {
                if let Some(bad) = value.chars().find(|c| c.is_control()) {
                    return Err(format!("has a control character in -{c}: {bad:?}"));
                }
                self.value(c, value, setting)
            }
        }
    }

    /// `host`, `user@host` or `ssh://user@host:port`, as ssh takes them.
    fn destination(&mut self, text: &str) -> Result<(), String> {
        let wrong = |why: &str| format!("has a host that {why}");
        if text
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("ssh://"))
        {
            let hop = parse_hop(text).map_err(|e| format!("{}: {}", quoted(text), e.message))?;
            let user = hop.user.map(|user| format!("User {}", word(&user)));
            let port = hop.port.map(|port| format!("Port {port}"));
            for line in user.into_iter().chain(port) {
                self.line(line, text.to_owned());
            }
            self.host = hop.host;
            return Ok(());
        }
        let host = match text.rsplit_once('@') {
            Some(("", _)) => return Err(wrong("begins with `@`")),
            Some((user, host)) => {
                self.line(format!("User {}", word(user)), text.to_owned());
                host
            }
            None => text,
        };
        check_host(host).map_err(|e| wrong(&e.message))?;
        host.clone_into(&mut self.host);
        Ok(())
    }

    fn line(&mut self, text: String, shown: String) {
        self.lines.push(Line { text, shown });
    }

    /// A line that is before all the others: ssh lets the last of these options win.
    fn first_line(&mut self, text: String, shown: String) {
        self.lines.insert(0, Line { text, shown });
    }

    fn flag(&mut self, c: char) {
        let shown = format!("-{c}");
        let why = match c {
            '4' => return self.first_line("AddressFamily inet".to_owned(), shown),
            '6' => return self.first_line("AddressFamily inet6".to_owned(), shown),
            'C' => return self.first_line("Compression yes".to_owned(), shown),
            'g' => return self.everywhere = true,
            'N' | 'T' | 'n' | 'f' | 'q' | 'x' | 'a' | 'k' | '2' => {
                return self.notes.push(Note::Always(shown));
            }
            '1' => "there is no SSH 1 any more",
            'A' => "no agent is forwarded: nothing runs at the server that could use it",
            'K' => "there is no GSSAPI",
            'M' => "a session is not shared with ssh",
            'X' | 'Y' => "no windows are carried",
            's' => "there is no subsystem",
            't' => "there is no terminal",
            'v' => "`tunneld run --log-level debug`",
            'y' => "the journal: `journalctl -u tunneld`",
            _ => "has no effect on a tunnel",
        };
        self.notes.push(Note::dropped(&shown, why));
    }

    fn value(&mut self, c: char, value: String, setting: &Setting) -> Result<(), String> {
        let shown = format!("-{c} {value}");
        let kind = match c {
            'L' => Some(Kind::Local),
            'R' => Some(Kind::Remote),
            'D' => Some(Kind::Dynamic),
            _ => None,
        };
        if let Some(kind) = kind {
            let text = value;
            self.forwards.push(Written { kind, text, shown });
            return Ok(());
        }
        let keyword = match c {
            'B' => "BindInterface",
            'I' => "PKCS11Provider",
            'l' => "User",
            'p' => "Port",
            'i' => {
                let path = absolute(&value, setting.directory.as_deref());
                self.line(format!("IdentityFile {}", word(&path)), shown);
                return Ok(());
            }
            'J' => {
                self.way.jump(&value, &shown)?;
                self.line(format!("ProxyJump {value}"), shown);
                return Ok(());
            }
            'o' => {
                if let Some(block) = block(&value) {
                    return Err(format!(
                        "has -o {block}: {block} directive not supported as a command-line option"
                    ));
                }
                let shown = format!("-o {}", discreet::line(&value));
                self.notes.extend(self.way.line(&value, &shown));
                self.line(option(&value, setting.directory.as_deref()), shown);
                return Ok(());
            }
            'b' | 'c' | 'm' => {
                let keyword = match c {
                    'b' => "BindAddress",
                    'c' => "Ciphers",
                    _ => "MACs",
                };
                self.first_line(format!("{keyword} {}", word(&value)), shown);
                return Ok(());
            }
            'F' if value.eq_ignore_ascii_case("none") => {
                self.config = ConfigFile::None;
                return Ok(());
            }
            'F' => {
                let path = absolute(&value, setting.directory.as_deref());
                self.config = ConfigFile::Named(PathBuf::from(path));
                return Ok(());
            }
            _ => {
                self.notes.push(dropped_value(c, &shown));
                return Ok(());
            }
        };
        self.line(format!("{keyword} {}", word(&value)), shown);
        Ok(())
    }
}

fn dropped_value(c: char, shown: &str) -> Note {
    let why = match c {
        'E' => "the journal: `journalctl -u tunneld`",
        'M' => {
            "no monitoring port is needed: the session itself is asked, see `server_alive_interval`"
        }
        'O' | 'S' => "a session is not shared with ssh",
        'P' => "there are no tags: say what they stand for in the tunnel",
        'W' => {
            "nothing is connected to standard input and output; a host on the way is `proxy_jump`"
        }
        'w' => "there are no tunnel devices",
        'e' => "there is no terminal",
        _ => "has no effect on a tunnel",
    };
    Note::dropped(shown, why)
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// `NAME=value`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && name.chars().all(fits)).then_some((name, value))
}

/// How many words the options of env(1) have.
fn env_options(words: &[String]) -> usize {
    let mut at = 0;
    while let Some(option) = words.get(at).filter(|word| word.starts_with('-')) {
        at += match option.as_str() {
            "-u" | "-C" => 2,
            _ => 1,
        };
    }
    at
}

/// A value as one word of a line.
fn word(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A path that ssh would look for in the folder that it is run in.
fn absolute(path: &str, directory: Option<&Path>) -> String {
    let whole = path.is_empty() || path.starts_with(['/', '~', '%', '$', '"']);
    match directory.filter(|_| !whole && !path.eq_ignore_ascii_case("none")) {
        Some(directory) => directory.join(path).display().to_string(),
        None => path.to_owned(),
    }
}

/// Which keyword that begins other lines there is behind `-o`: ssh takes none of them there.
fn block(text: &str) -> Option<&'static str> {
    let (keyword, _) = discreet::keyword(text);
    let mut all = ["Host", "Match", "Include"].into_iter();
    all.find(|block| keyword.eq_ignore_ascii_case(block))
}

/// `-o`: a line, in which a relative path is completed.
fn option(text: &str, directory: Option<&Path>) -> String {
    const PATHS: [&str; 3] = ["IdentityFile", "CertificateFile", "UserKnownHostsFile"];
    let text = text.trim_start();
    let (keyword, value) = discreet::keyword(text);
    let is_path = PATHS.iter().any(|path| keyword.eq_ignore_ascii_case(path));
    match is_path && !value.trim_end().contains(char::is_whitespace) {
        true => format!("{keyword} {}", absolute(value.trim_end(), directory)),
        false => text.to_owned(),
    }
}
