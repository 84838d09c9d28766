//! A corpus of bad inputs: what a person reads about each of them, word for word.
//!
//! Each case makes its situation for real and runs `tunneld test` on it, one process a case. What
//! that says is compared with the files in `bad_inputs/`, one a theme, which are made to be read:
//! how far it came, whether waiting can help, the cause, and what to do about it. Where a message
//! was changed on purpose, `BLESS=1 cargo test -p tunneld --test ssh bad_inputs` writes them anew:
//! read what is different before it is kept.
//!
//! No case may show a secret, with everything logged that can be.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;

use crate::secrets::Secrets;
use crate::support::Broken;
use crate::table::Table;
use crate::tested::File;

mod agents;
mod certificates;
mod credentials;
mod keys;
mod known_hosts;
mod servers;

const PASSWORD: &str = "hunter2-of-the-server";
const PHRASE: &str = "open-sesame-of-the-key";

/// The cases of one theme, and what was said about them so far.
struct Corpus {
    theme: &'static str,
    /// What is another each time, and how it is written down.
    names: Vec<(String, &'static str)>,
    folders: Vec<PathBuf>,
    secrets: Secrets,
    text: String,
}

impl Corpus {
    fn new(theme: &'static str) -> Self {
        let mut secrets = Secrets::default();
        secrets.word(PASSWORD);
        secrets.word(PHRASE);
        Corpus {
            theme,
            names: Vec::new(),
            folders: Vec::new(),
            secrets,
            text: String::new(),
        }
    }

    /// Cases about this server.
    fn about(theme: &'static str, sshd: &Sshd) -> Self {
        let mut corpus = Self::new(theme);
        corpus.sshd(sshd);
        corpus
    }

    fn sshd(&mut self, sshd: &Sshd) {
        self.folder(sshd.dir());
        self.server(sshd.addr());
    }

    fn broken(&mut self, broken: &Broken) {
        self.folder(broken.known_hosts.parent().unwrap());
        self.server(broken.server.addr());
    }

    fn server(&mut self, addr: SocketAddr) {
        self.names.push((addr.ip().to_string(), "HOST"));
        self.names.push((addr.port().to_string(), "PORT"));
    }

    /// A folder with files of a case. Its private keys are secrets.
    fn folder(&mut self, folder: &Path) {
        self.names.push((folder.display().to_string(), "DIR"));
        self.folders.push(folder.to_owned());
    }

    /// One more case.
    #[track_caller]
    fn case(&mut self, title: &str, table: &Table) {
        self.case_in(title, table, &[], &[]);
    }

    /// One that is run by somebody who is not root, and who owns nothing.
    #[track_caller]
    fn case_as_nobody(&mut self, title: &str, table: &Table) {
        for folder in &self.folders {
            set_mode(folder, 0o755);
        }
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        self.case_in(title, table, &nobody.map(str::to_owned), &[]);
    }

    /// One with these variables.
    #[track_caller]
    fn case_in(&mut self, title: &str, table: &Table, prefix: &[String], env: &[(&str, &str)]) {
        let file = File::new(table);
        set_mode(file.dir.path(), 0o755);
        let mut command = file.command(prefix, &["--json", "--log-level", "debug"]);
        for name in ["SSH_AUTH_SOCK", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(name);
        }
        let env = env.iter().copied();
        let output = command.envs(env).env("RUST_LOG", "trace").output().unwrap();
        let said = printed(&output);
        for folder in &self.folders {
            self.secrets.keys_in(folder);
        }
        self.secrets.assert_not_in(&said);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{title}: {e}: {said}"));
        let told = match report.get("failure") {
            Some(failure) => told(title, failure),
            None => "it works\n".to_owned(),
        };
        let told = told.replace(&file.dir.path().display().to_string(), "CONF");
        let told = numbered(&self.named(&told));
        let blank = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{blank}# {title}\n{told}"));
    }

    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, name) in &self.names {
            text = replace_words(&text, found, name);
        }
        text
    }

    /// Compares everything with what the file of the theme says, or writes it there.
    #[track_caller]
    fn compare(self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/ssh/bad_inputs");
        let path = Path::new(folder).join(self.theme).with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(path, self.text).unwrap();
            return;
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        let (written, found) = (cases(&written), cases(&self.text));
        let gone = written.iter().filter(|case| !found.contains(case));
        let new = found.iter().filter(|case| !written.contains(case));
        let gone: String = gone.map(|case| format!("\n- {case}\n")).collect();
        let new: String = new.map(|case| format!("\n+ {case}\n")).collect();
        assert!(
            written == found,
            "{}: written (-) and found (+):\n{gone}{new}\nRun it with BLESS=1 if what was found \
             is right.",
            path.display()
        );
    }
}

fn cases(text: &str) -> Vec<&str> {
    text.split("\n\n").map(str::trim_end).collect()
}

/// What a person is told.
#[track_caller]
fn told(title: &str, failure: &Value) -> String {
    let text = |name: &str| failure[name].as_str();
    let cause = text("cause").unwrap();
    let hint = text("hint").unwrap_or_else(|| panic!("{title}: no word of what to do: {cause}"));
    for part in [cause, hint] {
        let is_line = !part.contains(char::is_control) && !part.ends_with('.');
        assert!(is_line, "{title}: not one line without a full stop: {part}");
    }
    let (stage, class) = (text("stage").unwrap(), text("class").unwrap());
    format!("{stage}, {class}: {cause}\nfix: {hint}\n")
}

/// Replaces what is no part of a longer word or number.
fn replace_words(text: &str, word: &str, by: &str) -> String {
    let mut parts = text.split(word).peekable();
    let mut out = String::new();
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    while let Some(part) = parts.next() {
        out.push_str(part);
        if let Some(next) = parts.peek() {
            let longer = inside(out.chars().last()) || inside(next.chars().next());
            out.push_str(if longer { word } else { by });
        }
    }
    out
}

/// Fingerprints by their order: `SHA256:(1)`.
fn numbered(text: &str) -> String {
    const START: &str = "SHA256:";
    let mut seen: Vec<&str> = Vec::new();
    let mut parts = text.split(START);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/".contains(c);
        let end = part.find(|c| !is_base64(c)).unwrap_or(part.len());
        let (print, rest) = part.split_at(end);
        let at = seen.iter().position(|p| *p == print);
        let at = at.unwrap_or_else(|| {
            seen.push(print);
            seen.len() - 1
        });
        out.push_str(&format!("{START}({}){rest}", at + 1));
    }
    out
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
