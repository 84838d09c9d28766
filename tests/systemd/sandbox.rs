//! The sandbox of the shipped unit: each of its options is in force, and none of them is needed.

use std::collections::{BTreeMap, BTreeSet};

use tunneld_lab::process::printed;

use crate::lab::{LISTEN, Lab, db};

/// An option of the unit, and what shows that it is in force.
struct Row {
    option: &'static str,
    /// What takes it away, in a drop-in.
    off: &'static str,
    /// What is tried inside, as an expression of probe.py.
    tried: &'static str,
    /// What has to come back.
    comes_back: &'static str,
    /// Whether something else comes back without this option alone. Where others keep the same out,
    /// it does without all of them.
    alone: bool,
}

const fn row(
    option: &'static str,
    off: &'static str,
    tried: &'static str,
    comes_back: &'static str,
) -> Row {
    Row {
        option,
        off,
        tried,
        comes_back,
        alone: true,
    }
}

/// One that others keep out as well.
const fn one_of_many(
    option: &'static str,
    off: &'static str,
    tried: &'static str,
    comes_back: &'static str,
) -> Row {
    Row {
        alone: false,
        ..row(option, off, tried, comes_back)
    }
}

/// To read its key, root needs what root usually has.
const ROOT: &str = "User=\nGroup=\nCapabilityBoundingSet=~";

/// Every option of the unit that gives or takes rights.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("User", ROOT, "pwd.getpwuid(os.getuid()).pw_name", "tunneld"),
    row("Group", ROOT, "grp.getgrgid(os.getgid()).gr_name", "tunneld"),
    row("UMask", "UMask=0022", "oct(os.stat(new_file('mode')).st_mode)", "0o100600"),
    row("ReadWritePaths", "ReadWritePaths=", "opened('/etc/tunneld/known_hosts', os.O_WRONLY)", "ok"),
    row("ReadOnlyPaths", "ReadOnlyPaths=", "opened('/etc/tunneld/keys/id_ed25519', os.O_WRONLY)", "EROFS"),
    row("LimitCORE", "LimitCORE=infinity", "resource.getrlimit(resource.RLIMIT_CORE)", "(0, 0)"),
    row("CapabilityBoundingSet", "CapabilityBoundingSet=~", "status('CapBnd')", "0000000000000000"),
    row("AmbientCapabilities", "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE", "bound(443)", "EACCES"),
    one_of_many("NoNewPrivileges", "NoNewPrivileges=no", "status('NoNewPrivs')", "1"),
    row("ProtectSystem", "ProtectSystem=no", "opened('/etc/probe', os.O_CREAT | os.O_WRONLY)", "EROFS"),
    row("ProtectHome", "ProtectHome=no", "os.listdir('/home')", "EACCES"),
    row("PrivateTmp", "PrivateTmp=no", "os.path.exists('/tmp/of-the-lab')", "False"),
    row("NoExecPaths", "NoExecPaths=", "ran_in(['/tmp', '/var/tmp', '/dev/shm', '/run/' + NAME, '/var/lib/' + NAME])", "EACCES"),
    row("PrivateDevices", "PrivateDevices=no", "os.path.exists('/dev/of-the-lab')", "False"),
    one_of_many("DevicePolicy", "DevicePolicy=auto", "opened('/srv/device', os.O_RDONLY)", "EPERM"),
    row("PrivateIPC", "PrivateIPC=no", "open('/proc/sysvipc/shm').read().count('\\n')", "1"),
    one_of_many("PrivateMounts", "PrivateMounts=no", "is_host('mnt')", "False"),
    row("ProtectProc", "ProtectProc=default", "os.path.exists('/proc/1')", "False"),
    // With nothing to set: it would be the clock of this machine.
    one_of_many("ProtectClock", "ProtectClock=no", "called(libc.adjtimex(ctypes.create_string_buffer(512)))", "EPERM"),
    row("ProtectControlGroups", "ProtectControlGroups=no", "os.mkdir('/sys/fs/cgroup/probe')", "EROFS"),
    row("ProtectHostname", "ProtectHostname=no", "is_host('uts')", "False"),
    row("ProtectKernelLogs", "ProtectKernelLogs=no", "oct(os.stat('/proc/kmsg').st_mode & 0o777)", "0o0"),
    row("ProtectKernelModules", "ProtectKernelModules=no", "os.listdir('/usr/lib/modules')", "EACCES"),
    row("ProtectKernelTunables", "ProtectKernelTunables=no", "os.utime('/proc/sys/net/ipv4/ip_forward')", "EROFS"),
    row("RestrictAddressFamilies", "RestrictAddressFamilies=", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "EAFNOSUPPORT"),
    // To the user namespace that it is in; who else may make one is for the machine to say.
    row("RestrictNamespaces", "RestrictNamespaces=no", "called(libc.setns(os.open('/proc/self/ns/user', 0), 0x10000000))", "EPERM"),
    one_of_many("RestrictRealtime", "RestrictRealtime=no", "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))", "EPERM"),
    row("RestrictSUIDSGID", "RestrictSUIDSGID=no", "os.chmod(new_file('suid'), 0o4755)", "EPERM"),
    // What the service before this one has left.
    row("RemoveIPC", "RemoveIPC=no", "was_there('/dev/shm/of-' + NAME)", "False"),
    row("KeyringMode", "KeyringMode=inherit", "'invocation_id' in open('/proc/keys').read()", "True"),
    row("LockPersonality", "LockPersonality=no", "called(libc.personality(8))", "EPERM"),
    row("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no", "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)", "EPERM"),
    // getpid(2) of the x32 ABI.
    #[cfg(target_arch = "x86_64")]
    row("SystemCallArchitectures", "SystemCallArchitectures=", "called(libc.syscall(0x40000027))", "SIGSYS"),
    row("SystemCallFilter", "SystemCallFilter=", "filtered()", "EPERM"),
    row("SystemCallErrorNumber", "SystemCallErrorNumber=", "called(libc.ptrace(0, 0, 0, 0))", "EPERM"),
];

/// The keys of the unit that are no sandbox.
const OTHERS: [&str; 20] = [
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "WatchdogSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "KillMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "ConfigurationDirectory",
    "ConfigurationDirectoryMode",
    "StateDirectory",
    "StateDirectoryMode",
    "FileDescriptorStoreMax",
    "LimitNOFILE",
];

/// What the probes look for.
const PREPARE: &str = r"
set -e
touch /tmp/of-the-lab /dev/of-the-lab
mkdir -p /usr/lib/modules/of-the-lab
ipcmk -M 64 >/dev/null
mknod -m 666 /srv/device c 10 237
readlink /proc/1/ns/mnt /proc/1/ns/uts >/srv/namespaces
# They come all at once.
echo MaxStartups 100 >>/srv/sshd_config
systemctl restart lab-sshd
";

type Answers = BTreeMap<String, String>;

/// The service, or an instance of it: the template is the unit with folders of its own.
struct Service {
    /// The name of its folders.
    name: String,
    /// What systemd knows it by.
    unit: String,
    file: String,
    port: u16,
}

impl Service {
    fn itself() -> Self {
        Service {
            name: "tunneld".into(),
            unit: "tunneld".into(),
            file: "tunneld.toml".into(),
            port: LISTEN,
        }
    }

    fn instance(name: &str, port: u16) -> Self {
        Service {
            name: format!("tunneld-{name}"),
            unit: format!("tunneld@{name}"),
            file: format!("{name}.toml"),
            port,
        }
    }

    /// Writes its file, which has the probes run, and a drop-in with these lines.
    fn put(&self, lines: &str) -> String {
        let Service { name, unit, .. } = self;
        let drop_ins = format!("/run/systemd/system/{unit}.service.d");
        format!(
            "mkdir -p {drop_ins} && printf '[Service]\\n%s\\n' '{lines}' >{drop_ins}/off.conf
             cat >/etc/tunneld/{} <<'END'
{}on_up = [\"/usr/bin/python3\", \"/srv/probe.py\", \"{name}\"]
END
",
            self.file,
            db("127.0.0.1", &[self.port])
        )
    }

    /// Looks whether it carries bytes, and what the probes say.
    fn answers(&self, lab: &Lab) -> Answers {
        let Service { name, unit, .. } = self;
        let state = || lab.run(&format!("systemctl status {unit} --no-pager -l || true"));
        assert!(lab.echoes(self.port), "{}", state());
        let output = lab.sh(&format!(
            "answers=/var/lib/{name}/probe-answers
             for _ in $(seq 600); do test ! -e $answers || break; sleep 0.1; done
             cat $answers && rm $answers"
        ));
        let answers = serde_json::from_slice(&output.stdout);
        answers.unwrap_or_else(|_| panic!("{}\n{}", printed(&output), state()))
    }
}

/// A booted system in which each start of a service runs the probes.
fn prepared() -> Lab {
    // In a container systemd makes no keyrings unless it may.
    let lab = Lab::boot_with(&["--system-call-filter=@keyring"]);
    lab.run(PREPARE);
    let tries: BTreeMap<_, _> = TABLE.iter().map(|row| (row.option, row.tried)).collect();
    let tries = serde_json::to_string(&tries).unwrap();
    lab.run(&format!("cat >/srv/tries.json <<'END'\n{tries}\nEND"));
    let probe = include_str!("probe.py");
    lab.run(&format!("cat >/srv/probe.py <<'END'\n{probe}END"));
    lab
}

/// Starts an instance without each option, and one without all of them, side by side.
fn without(lab: &Lab) -> Vec<Service> {
    // Root last, for it is about the capabilities that others add to.
    let all: Vec<_> = TABLE.iter().rev().map(|row| row.off).collect();
    let all = all.join("\n");
    let off = TABLE.iter().map(|row| (row.option, row.off));
    let off: Vec<_> = off.chain([("all", all.as_str())]).collect();
    let of_port = |((name, _), port): (&(&str, _), _)| Service::instance(name, port);
    let services: Vec<_> = off.iter().zip(LISTEN + 1..).map(of_port).collect();
    let put = services.iter().zip(&off);
    let put: String = put
        .map(|(service, (_, lines))| service.put(lines))
        .collect();
    let units: Vec<_> = services.iter().map(|it| it.unit.as_str()).collect();
    lab.run(&format!(
        "set -e\n{put}systemctl daemon-reload\nsystemctl start {}",
        units.join(" ")
    ));
    services
}

#[test]
fn each_option_of_the_sandbox_is_in_force_and_none_is_needed() {
    // Probes inside the running service are kept out; without an option the service carries bytes
    // all the same, and what it was that kept the probe out shows.
    let lab = prepared();
    let service = Service::itself();
    lab.run(&service.put(""));
    lab.run("systemctl daemon-reload && systemctl start tunneld");
    service.answers(&lab);
    lab.run("systemctl restart tunneld");
    let inside = service.answers(&lab);
    let wanted: Answers = TABLE
        .iter()
        .map(|row| (row.option.to_owned(), row.comes_back.to_owned()))
        .collect();
    assert_eq!(inside, wanted);

    let differs = |row: &Row, answers: &Answers| answers[row.option] != row.comes_back;
    let mut services = without(&lab);
    let all = services.pop().unwrap().answers(&lab);
    let mut seen = Vec::new();
    for (row, service) in TABLE.iter().zip(services) {
        let mut answers = service.answers(&lab);
        if row.option == "RemoveIPC" {
            lab.run(&format!("systemctl restart {}", service.unit));
            answers = service.answers(&lab);
        }
        seen.push((row, differs(row, &answers) == row.alone, answers));
    }
    let of_many = TABLE.iter().filter(|row| !row.alone);
    seen.extend(of_many.map(|row| (row, differs(row, &all), all.clone())));
    let wrong = seen.iter().filter(|(_, as_told, _)| !as_told);
    let wrong: Vec<_> = wrong
        .map(|(row, _, answers)| (row.option, &answers[row.option]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_has_each_option_of_the_unit() {
    // An option that is added to the unit without a row fails.
    let unit = include_str!("../../systemd/tunneld.service");
    let service = unit.split("\n[Service]\n").nth(1).unwrap();
    let service = service.split("\n[Install]\n").next().unwrap();
    let keys = service.lines().filter(|line| !line.starts_with('#'));
    let keys: BTreeSet<_> = keys
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    let known = TABLE.iter().map(|row| row.option).chain(OTHERS);
    assert_eq!(keys, known.collect());
}
