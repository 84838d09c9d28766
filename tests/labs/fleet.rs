//! The playbook of examples/ansible does what docs/fleet-with-ansible.md says: twice is as good as
//! once, and a file that is wrong is not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{printed, require, run};

/// The playbook, and a folder in place of /etc/tunneld.
struct Fleet {
    dir: TempDir,
    binary: PathBuf,
}

impl Fleet {
    fn new() -> Self {
        require("ansible-playbook", "ansible-core");
        let fleet = Fleet {
            dir: tempfile::tempdir().unwrap(),
            binary: Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld")),
        };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ansible");
        for name in ["tunneld.yml", "tunneld.toml.j2", "hosts.yml"] {
            fs::copy(shipped.join(name), fleet.at(name)).unwrap();
        }
        fleet
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Plays it on this machine, in the name of one of the inventory's, without the service.
    fn play(&self, more: &[&str]) -> Output {
        let mut command = Command::new("ansible-playbook");
        command.current_dir(self.dir.path());
        command.env("ANSIBLE_LOCAL_TEMP", self.at("tmp"));
        command.env("LC_ALL", "C.UTF-8");
        command.args(["-i", "hosts.yml", "tunneld.yml", "--skip-tags", "service"]);
        command.args(["-l", "web1.example.com"]);
        let etc = format!("tunneld_etc={}", self.at("etc").display());
        let program = format!("tunneld_program={}", self.binary.display());
        let own = ["ansible_connection=local", "tunneld_become=false"];
        let own = own.into_iter().chain(["tunneld_user=root", &etc, &program]);
        for variable in own {
            command.args(["-e", variable]);
        }
        command.args(more).output().unwrap()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.at("etc/tunneld.toml")).unwrap()
    }
}

#[test]
fn a_machine_gets_its_tunnels_and_the_second_play_changes_nothing() {
    let fleet = Fleet::new();
    let first = fleet.play(&[]);
    assert!(first.status.success(), "{}", printed(&first));
    run(Command::new(&fleet.binary)
        .arg("check")
        .arg(fleet.at("etc/tunneld.toml")));
    let text = fleet.file();
    assert!(
        text.contains("[tunnels.db]") && text.contains("[tunnels.metrics]"),
        "{text}"
    );
    let rights = fs::read_to_string(fleet.at("authorized_keys/web1.example.com")).unwrap();
    for line in [
        "permitopen=\"127.0.0.1:5432\"",
        "permitlisten=\"localhost:9100\"",
    ] {
        assert!(rights.contains(line), "{rights}");
    }
    let again = fleet.play(&[]);
    assert!(again.status.success(), "{}", printed(&again));
    assert!(printed(&again).contains("changed=0"), "{}", printed(&again));
}

#[test]
fn a_file_that_is_wrong_is_not_installed() {
    let fleet = Fleet::new();
    assert!(fleet.play(&[]).status.success());
    let before = fleet.file();
    let wrong = r#"{"tunneld_tunnels": {"db": {"host": "db1.example.com", "prot": 22}}}"#;
    let refused = fleet.play(&["-e", wrong]);
    assert!(!refused.status.success(), "{}", printed(&refused));
    assert!(
        printed(&refused).contains("unknown key"),
        "{}",
        printed(&refused)
    );
    assert_eq!(fleet.file(), before);
}
