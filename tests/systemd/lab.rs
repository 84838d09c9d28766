//! A real systemd with the shipped unit, an SSH server and a target inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::journal::parse_json_lines;
use tunneld_lab::process::{poll, printed};

use crate::made;

/// How long anything that has to happen may take on a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where the forward of [`Lab::file`] listens.
pub(crate) const LISTEN: u16 = 5432;

/// Installs tunneld as a package would.
const INSTALL: &str = r"
set -e
install -D -m 644 /opt/tunneld/tunneld.service /usr/lib/systemd/system/tunneld.service
install -D -m 644 /opt/tunneld/tunneld@.service /usr/lib/systemd/system/tunneld@.service
install -D -m 644 /opt/tunneld/sysusers.d/tunneld.conf /usr/lib/sysusers.d/tunneld.conf
install -D -m 644 /opt/tunneld/tmpfiles.d/tunneld.conf /usr/lib/tmpfiles.d/tunneld.conf
install -D -m 644 /opt/tunneld/tunneld.catalog /usr/lib/systemd/catalog/tunneld.catalog
systemd-sysusers
systemd-tmpfiles --create /usr/lib/tmpfiles.d/tunneld.conf
journalctl --update-catalog
";

/// What it connects to. `lab-login` may log in with the key of the user `tunneld`; the target at
/// 127.0.0.1:9000 sends back what it receives.
const AROUND: &str = r"
set -e
useradd -r -m -d /home/lab-login -s /usr/sbin/nologin lab-login
usermod -p '*' lab-login
useradd -r -G tunneld lab-member
useradd -r lab-stranger
cd /etc/tunneld
ssh-keygen -q -t ed25519 -N '' -f keys/id_ed25519
install -D -m 644 keys/id_ed25519.pub /home/lab-login/.ssh/authorized_keys
chown tunneld: keys/id_ed25519
ssh-keygen -q -t ed25519 -N '' -f /srv/host_key
echo [127.0.0.1]:2222 $(cut -d ' ' -f 1,2 /srv/host_key.pub) >known_hosts
cat >/srv/sshd_config <<END
ListenAddress 127.0.0.1
Port 2222
HostKey /srv/host_key
UsePAM no
StrictModes no
PidFile none
END
cat >/etc/systemd/system/lab-sshd.service <<END
[Service]
Type=notify
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -e -f /srv/sshd_config
END
cat >/etc/systemd/system/lab-echo.socket <<END
[Socket]
ListenStream=127.0.0.1:9000
Accept=yes
END
cat >/etc/systemd/system/lab-echo@.service <<END
[Service]
ExecStart=/bin/cat
StandardInput=socket
END
systemctl daemon-reload
systemctl start lab-sshd.service lab-echo.socket
";

/// Where drop-ins of the shipped unit are that end with the boot.
const DROP_INS: &str = "/run/systemd/system/tunneld.service.d";

/// Labs stand side by side.
static LABS: AtomicUsize = AtomicUsize::new(0);

/// The booted system. Dropped, it is gone.
pub(crate) struct Lab {
    dir: PathBuf,
    /// Has the script for as long as it runs.
    _scratch: TempDir,
    script: PathBuf,
}

impl Lab {
    /// Boots the systemd of this machine, and installs tunneld; it is not started.
    pub(crate) fn boot() -> Self {
        Lab::boot_with(&[])
    }

    /// The same, with further arguments for systemd-nspawn.
    pub(crate) fn boot_with(arguments: &[&str]) -> Self {
        Lab::installed(Path::new("/"), arguments)
    }

    /// The same with the system in a folder.
    pub(crate) fn boot_in(root: &Path) -> Self {
        Lab::installed(root, &[])
    }

    fn installed(root: &Path, arguments: &[&str]) -> Self {
        let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
        let here = |folder: &str| made::root().join(folder);
        let binds = [
            (binary, "/usr/bin/tunneld"),
            (here("systemd"), "/opt/tunneld"),
            (here("examples/systemd"), "/opt/examples"),
        ];
        let binds = binds.map(|(from, to)| format!("--bind-ro={}:{to}", from.display()));
        let further = arguments.iter().map(|argument| (*argument).to_owned());
        let arguments: Vec<String> = binds.into_iter().chain(further).collect();
        let lab = Lab::boot_bare(root, &arguments);
        lab.run(INSTALL);
        lab.surround();
        lab
    }

    /// Boots it with these further arguments of systemd-nspawn; nothing is installed.
    pub(crate) fn boot_bare(root: &Path, arguments: &[String]) -> Self {
        let scratch = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let script = scratch.path().join("systemd-lab.sh");
        fs::write(&script, include_str!("../lib/systemd-lab.sh")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).unwrap();
        let lab = Lab {
            dir: PathBuf::from(format!(
                "/run/tl-systemd-{}-{}",
                std::process::id(),
                LABS.fetch_add(1, Ordering::Relaxed)
            )),
            _scratch: scratch,
            script,
        };
        let mut boot = lab.command("boot");
        boot.env("ROOT", root);
        boot.args(arguments);
        // Not a pipe: what runs inside would hold it open.
        let said = lab._scratch.path().join("boot.log");
        boot.stderr(fs::File::create(&said).unwrap());
        let booted = boot.status().unwrap();
        assert!(
            booted.success(),
            "this test needs root and systemd-container (apt-get install systemd-container):\n{}",
            fs::read_to_string(said).unwrap()
        );
        lab
    }

    /// Makes a key for tunneld, and an SSH server and a target for its tunnels. tunneld is installed.
    pub(crate) fn surround(&self) {
        self.run(AROUND);
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg(&self.script).arg(what).env("LAB", &self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs a shell script inside.
    pub(crate) fn sh(&self, script: &str) -> Output {
        let mut command = self.command("exec");
        command.args(["bash", "-c", script]).stdout(Stdio::piped());
        command.output().unwrap()
    }

    /// Runs a shell script inside that has to succeed; what it printed, without the last newline.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(
            output.status.success(),
            "{script}\n{}\n{}",
            printed(&output),
            self.state()
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// A property of the service.
    #[track_caller]
    pub(crate) fn property(&self, name: &str) -> String {
        self.run(&format!("systemctl show tunneld -P {name}"))
    }

    /// Waits until a property of the service is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, wanted: impl Fn(&str) -> bool) {
        let found = poll(LONG, || wanted(&self.property(name)).then_some(()));
        assert!(
            found.is_some(),
            "{name}={}\n{}",
            self.property(name),
            self.state()
        );
    }

    /// Takes a drop-in of the unit into force at the next start.
    pub(crate) fn drop_in(&self, name: &str, service: &str) {
        self.run(&format!(
            "mkdir -p {DROP_INS}
             printf '%s\\n' '[Service]' '{service}' >{DROP_INS}/{name}.conf
             systemctl daemon-reload"
        ));
    }

    /// The unit is without this one at the next start.
    pub(crate) fn no_drop_in(&self, name: &str) {
        self.run(&format!(
            "rm {DROP_INS}/{name}.conf && systemctl daemon-reload"
        ));
    }

    /// The unit is as it is shipped.
    pub(crate) fn no_drop_ins(&self) {
        self.run(&format!("rm -rf {DROP_INS} && systemctl daemon-reload"));
    }

    /// systemd knows every key of a unit and of its drop-ins.
    #[track_caller]
    pub(crate) fn verified(&self, unit: &str) {
        // Its manual comes with a package, and is not here.
        let verified = self.sh(&format!("systemd-analyze verify --man=no {unit}"));
        assert!(
            verified.status.success() && verified.stderr.is_empty(),
            "{unit}\n{}",
            printed(&verified)
        );
    }

    /// The messages of a unit in the journal, with further arguments of journalctl.
    #[track_caller]
    pub(crate) fn said(&self, unit: &str, arguments: &str) -> String {
        self.run(&format!(
            "journalctl --sync; journalctl -u {unit} -o cat --no-pager {arguments}"
        ))
    }

    /// What the journal has of the service that matches.
    pub(crate) fn entries(&self, matches: &str) -> Vec<Value> {
        let command = "journalctl --sync; journalctl -u tunneld -o json --no-pager";
        parse_json_lines(&self.run(&format!("{command} {matches}")))
    }

    /// How things are, for messages.
    pub(crate) fn state(&self) -> String {
        printed(&self.sh("systemctl status tunneld --no-pager -l -n 60; systemctl status lab-sshd"))
    }

    /// Writes the configuration: the tunnel `db` with a forward on each of these ports.
    pub(crate) fn file(&self, ports: &[u16]) {
        self.write(&db("127.0.0.1", ports));
    }

    /// Writes any configuration.
    pub(crate) fn write(&self, text: &str) {
        self.run(&format!(
            "cat >/etc/tunneld/tunneld.toml <<'END'\n{text}\nEND"
        ));
    }

    /// Whether a line comes back through a port.
    pub(crate) fn echoes(&self, port: u16) -> bool {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && echo hello >&3 && read -t 20 -r line <&3 && test \"$line\" = hello"
        );
        self.sh(&script).status.success()
    }
}

/// The tunnel `db` to a host, with a forward on each of these ports to the target.
pub(crate) fn db(host: &str, ports: &[u16]) -> String {
    let forward = |port: &u16| format!("\"127.0.0.1:{port}:127.0.0.1:9000\", ");
    let forwards: String = ports.iter().map(forward).collect();
    format!(
        "[tunnels.db]\nhost = \"{host}\"\nport = 2222\nuser = \"lab-login\"\n\
         identity_file = \"/etc/tunneld/keys/id_ed25519\"\n\
         known_hosts = \"/etc/tunneld/known_hosts\"\nlocal_forward = [{forwards}]\n"
    )
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the service\n{}---", self.state());
        }
        let stopped = self.command("stop").status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the lab at {} is not gone", self.dir.display());
        }
    }
}
