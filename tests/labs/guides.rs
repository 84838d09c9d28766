//! The guides of docs/: what they show as a file passes `tunneld check` and comes up, and what they
//! show as a command works, one after the other, against a real sshd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;
use tunneld_lab::web::WebServer;

use crate::example::Example;
use crate::support::{LONG, Machine, PAGE, addr, login_server};

/// Every name that a guide has for a server.
const NAMES: [&str; 4] = [
    "db.example.com",
    "bastion.example.com",
    "wiki.internal",
    "vps.example.com",
];

/// Commands of a machine that is no lab: they are shown and not run.
const NOT_HERE: [&str; 3] = ["systemctl", "install", "journalctl"];

/// A block of a guide: ```` ```toml ````.
struct Block {
    kind: String,
    text: String,
}

fn blocks(guide: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(path.join(guide).with_extension("md")).unwrap();
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(kind), None) => {
                let (kind, text) = (kind.to_owned(), String::new());
                open = Some(Block { kind, text });
            }
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{guide}: a block without an end");
    blocks
}

/// One machine with tunneld, and another one that is every server.
struct Lab {
    lab: Topology,
    _web: Vec<WebServer>,
    sshd: Sshd,
}

impl Lab {
    fn new() -> Self {
        let mut lab = Topology::new(&["here", "there"]);
        lab.link(("here", &["10.1.0.2/24"]), ("there", &["10.1.0.1/24"]));
        for name in NAMES {
            lab.knows("here", name, "10.1.0.1");
            lab.knows("there", name, "10.1.0.1");
        }
        for account in ["tunnel", "jump"] {
            lab.account("there", account, "/usr/sbin/nologin");
        }
        // What the forwards of the guides lead to.
        let places = [("there", "127.0.0.1:80"), ("there", "127.0.0.1:5432")];
        let here = [("here", "127.0.0.1:80"), ("here", "127.0.0.1:22")];
        let served = places.iter().chain(&here);
        let web = served.map(|(node, place)| WebServer::start(&lab, node, addr(place), PAGE));
        let web = web.collect();
        let sshd = login_server(&lab, "there", "10.1.0.1:22", "");
        Lab {
            lab,
            _web: web,
            sshd,
        }
    }

    /// The machine of the guides, which may log in everywhere, with every key that they name.
    fn machine(&self) -> Machine {
        let machine = Machine::new(&self.lab, "here");
        for name in NAMES {
            for key in ["id_ed25519", "tunnel", "bastion"] {
                let files = (key, "known_hosts");
                machine.may_use_with(&self.sshd, name, "restrict,port-forwarding", files);
            }
        }
        machine
    }
}

/// Where the files of /etc are in the lab.
fn moved(text: &str, dir: &Path) -> String {
    let text = text.replace("/etc/tunneld/", &format!("{}/", dir.display()));
    text.replace("/etc/systemd/system/", &format!("{}/", dir.display()))
}

/// A file with known_hosts of its own: the guides rely on the default.
fn with_known_hosts(text: &str) -> String {
    format!("[defaults]\nknown_hosts = \"/etc/tunneld/known_hosts\"\n\n{text}")
}

struct Guide {
    lab: Lab,
    daemon: Daemon,
}

impl Guide {
    /// Checks each file of the guide, and brings up the tunnel of the first one.
    fn up(name: &str, tunnel: &str) -> Self {
        let lab = Lab::new();
        let blocks = blocks(name);
        let files = blocks.iter().filter(|block| block.kind == "toml");
        let files: Vec<_> = files.map(|block| with_known_hosts(&block.text)).collect();
        let machine = lab.machine();
        let dir = machine.dir().to_owned();
        let daemon = machine.up(&Example::of(files[0].clone()), tunnel);
        for file in &files {
            let path = dir.join("shown.toml");
            fs::write(&path, moved(file, &dir)).unwrap();
            run(Command::new(binary()).arg("check").arg(&path));
        }
        for block in blocks.iter().filter(|block| block.kind == "ini") {
            let first = block.text.lines().next().unwrap_or_default();
            let path = first.strip_prefix("# ").expect("the first line is a path");
            fs::write(moved(path, &dir), moved(&block.text, &dir)).unwrap();
        }
        let guide = Guide { lab, daemon };
        let commands = blocks.iter().filter(|block| block.kind == "sh");
        let lines = commands.flat_map(|block| block.text.lines());
        let lines: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() >= 3, "{name}: {lines:?}");
        lines.iter().for_each(|line| guide.works(line));
        guide.daemon.wait_phase(tunnel, Phase::Up, LONG);
        guide
    }

    /// Runs a line of the guide, which has to succeed.
    fn works(&self, line: &str) {
        let line = line.strip_prefix("sudo ").unwrap_or(line);
        let line = line.strip_prefix("-u tunneld ").unwrap_or(line);
        let word = line.split(' ').next().unwrap_or_default();
        if NOT_HERE.contains(&word) || line.is_empty() {
            return;
        }
        assert_eq!(word, "tunneld", "nobody knows how to run `{line}`");
        let line = moved(line, self.daemon.dir());
        let line = line.replacen("tunneld", "\"$TUNNELD\"", 1);
        let mut command = self.lab.lab.command("here", "sh");
        command.args(["-ec", &line]).env("TUNNELD", binary());
        command.env("TUNNELD_CONFIG", self.daemon.config_path());
        command.env("TUNNELD_SOCKET", self.daemon.socket());
        let imports = line.contains("\" import ");
        if imports {
            // The file is yet to be made of it; units are where [`moved`] has put them.
            command.env("TUNNELD_CONFIG", self.daemon.dir().join("none.toml"));
            command.env("SYSTEMD_UNIT_PATH", self.daemon.dir());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", printed(&output));
        if imports {
            self.has_shown(&String::from_utf8(output.stdout).unwrap());
        }
    }

    /// What is imported is what the guide shows as the file.
    fn has_shown(&self, imported: &str) {
        let shown = fs::read_to_string(self.daemon.config_path()).unwrap();
        let lines = imported.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }
}

fn binary() -> PathBuf {
    Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"))
}

#[test]
fn from_autossh() {
    Guide::up("from-autossh", "db");
}

#[test]
fn from_systemd_and_ssh() {
    Guide::up("from-systemd-ssh", "db");
}

#[test]
fn databases() {
    Guide::up("databases", "db");
}

#[test]
fn bastions() {
    Guide::up("bastions", "wiki");
}

#[test]
fn a_server_at_home() {
    Guide::up("home-server", "home");
}

#[test]
fn every_link_of_the_guides_leads_somewhere() {
    // To files of the repository; the headings that are named are there.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut links = 0;
    for entry in fs::read_dir(&docs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => path.clone(),
                file => docs.join(file),
            };
            assert!(to.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(&to).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line) == heading);
                assert!(found, "{}: no heading {link}", path.display());
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// The name of a heading in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
