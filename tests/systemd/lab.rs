//! A real systemd with the shipped unit, an SSH server and a target inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{poll, printed};

/// How long anything that has to happen may take on a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Where the forward of [`Lab::file`] listens.
pub(crate) const LISTEN: u16 = 5432;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Installs tunneld as a package would, and what it connects to. `lab-login` may log in with the key
/// of the user `tunneld`; the target at 127.0.0.1:9000 sends back what it receives.
const INSTALL: &str = r"
set -e
install -D -m 644 /opt/tunneld/tunneld.service /usr/lib/systemd/system/tunneld.service
install -D -m 644 /opt/tunneld/sysusers.d/tunneld.conf /usr/lib/sysusers.d/tunneld.conf
install -D -m 644 /opt/tunneld/tmpfiles.d/tunneld.conf /usr/lib/tmpfiles.d/tunneld.conf
systemd-sysusers
systemd-tmpfiles --create /usr/lib/tmpfiles.d/tunneld.conf
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

/// The booted system. Dropped, it is gone.
pub(crate) struct Lab {
    dir: PathBuf,
    /// Has the script for as long as it runs.
    _scratch: TempDir,
    script: PathBuf,
}

impl Lab {
    /// Boots it, and installs tunneld; it is not started.
    pub(crate) fn boot() -> Self {
        static BOOTED: AtomicU32 = AtomicU32::new(0);
        let nth = BOOTED.fetch_add(1, Ordering::Relaxed);
        let scratch = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let script = scratch.path().join("systemd-lab.sh");
        fs::write(&script, include_str!("../lib/systemd-lab.sh")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).unwrap();
        let lab = Lab {
            dir: PathBuf::from(format!("/run/tl-systemd-{}-{nth}", std::process::id())),
            _scratch: scratch,
            script,
        };
        let binary = Daemon::binary_or(env!("CARGO_BIN_EXE_tunneld"));
        let units = fs::canonicalize(Path::new(ROOT).join("systemd")).unwrap();
        let mut boot = lab.command("boot");
        boot.arg(format!("--bind-ro={}:/usr/bin/tunneld", binary.display()));
        boot.arg(format!("--bind-ro={}:/opt/tunneld", units.display()));
        // Not a pipe: what runs inside would hold it open.
        let said = lab._scratch.path().join("boot.log");
        boot.stderr(fs::File::create(&said).unwrap());
        let booted = boot.status().unwrap();
        assert!(
            booted.success(),
            "this test needs root and systemd-container (apt-get install systemd-container):\n{}",
            fs::read_to_string(said).unwrap()
        );
        lab.run(INSTALL);
        lab
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

    /// How things are, for messages.
    pub(crate) fn state(&self) -> String {
        printed(&self.sh("systemctl status tunneld --no-pager -l -n 60; systemctl status lab-sshd"))
    }

    /// Writes the configuration: the tunnel `db` with a forward on each of these ports.
    pub(crate) fn file(&self, ports: &[u16]) {
        let forward = |port: &u16| format!("\"127.0.0.1:{port}:127.0.0.1:9000\", ");
        let forwards: String = ports.iter().map(forward).collect();
        self.write(&format!(
            "[tunnels.db]\nhost = \"127.0.0.1\"\nport = 2222\nuser = \"lab-login\"\n\
             identity_file = \"/etc/tunneld/keys/id_ed25519\"\n\
             known_hosts = \"/etc/tunneld/known_hosts\"\nlocal_forward = [{forwards}]\n"
        ));
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
