//! What a container engine does with the image, without one: its file tree, read-only, the process the
//! first one of its PID namespace, with a numeric user, no capabilities and the volumes of
//! packaging/kubernetes as a kubelet lays them out. It needs root, util-linux and coreutils.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;
use tunneld_lab::http::over_tcp;
use tunneld_lab::process::{LineLog, Signal, children, poll, printed, run, signal, wait_exit};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, echoes, free_addr};

use crate::kubernetes::Manifest;
use crate::manual_page::repository;
use crate::support::{LONG, assert_exit, assert_has, binary, stdout, within};

/// The user of the image: it has no account on this machine.
const USER: u32 = 65532;

/// What an engine does before it starts the program: `$1` is the tree, `$2` the volume for
/// /etc/tunneld, `$3` the secret, `$4` what the tmpfs of /run/tunneld is mounted with.
const ENGINE: &str = r#"set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for device in null urandom; do : >"$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
mount -t tmpfs -o "$4" tmpfs "$1/run/tunneld"
mount --bind -o ro "$2" "$1/etc/tunneld"
mount --bind -o ro "$3" "$1/run/secrets/tunneld"
mount -o remount,bind,ro "$1"
exec env -i PATH=/usr/bin:/usr/sbin CREDENTIALS_DIRECTORY=/run/secrets/tunneld \
    setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    chroot --userspec=65532:65532 --groups= "$1" /usr/bin/tunneld run
"#;

/// Whose tmpfs is at /run/tunneld.
#[derive(Clone, Copy)]
enum Engine {
    /// An `emptyDir` with `fsGroup`.
    Kubernetes,
    /// `docker run --tmpfs`: root's, with the mode of the folder that it is mounted on.
    Docker,
}

impl Engine {
    fn tmpfs(self, folder: &Path) -> String {
        match self {
            Engine::Kubernetes => format!("mode=2777,gid={USER}"),
            Engine::Docker => format!("mode={:o}", mode(folder)),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A volume as a kubelet makes it of a ConfigMap or a Secret: the files are links through one that is
/// changed in one step (`..data`), and with `fsGroup` the group may do what the owner may.
struct Volume(PathBuf);

impl Volume {
    fn new(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        chown(at, None, Some(USER)).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o3777)).unwrap();
        Volume(at.to_owned())
    }

    fn write(&self, version: &str, mode: u32, files: &[(&str, &[u8])]) {
        let folder = self.0.join(format!("..{version}"));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, contents) in files {
            let path = folder.join(name);
            fs::write(&path, contents).unwrap();
            chown(&path, Some(0), Some(USER)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let link = self.0.join(name);
            if !link.is_symlink() {
                symlink(format!("..data/{name}"), link).unwrap();
            }
        }
        let next = self.0.join("..data_tmp");
        symlink(format!("..{version}"), &next).unwrap();
        fs::rename(next, self.0.join("..data")).unwrap();
    }
}

/// A running container. Dropped, it is killed.
struct Container {
    dir: TempDir,
    /// It makes the namespaces, and waits for the first process in them.
    outside: Child,
    log: LineLog,
}

impl Container {
    /// With this file and key, and `known_hosts`.
    fn start(engine: Engine, config: &str, key: &[u8], known_hosts: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let recipe = repository().join("packaging/oci/rootfs.sh");
        run(Command::new(recipe).arg(binary()).arg(at("root")));
        fs::create_dir_all(at("root/run/secrets/tunneld")).unwrap();
        let volume = Volume::new(&at("config"));
        let known_hosts = known_hosts.as_bytes();
        let files = [
            ("tunneld.toml", config.as_bytes()),
            ("known_hosts", known_hosts),
        ];
        volume.write("1", 0o644, &files);
        Volume::new(&at("key")).write("1", 0o440, &[("id_ed25519", key)]);
        let mut outside = Command::new("unshare");
        outside
            .args(["--mount", "--pid", "--ipc", "--uts", "--fork"])
            .args(["sh", "-c", ENGINE, "engine"])
            .args([at("root"), at("config"), at("key")])
            .arg(engine.tmpfs(&at("root/run/tunneld")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut outside = outside.spawn().unwrap();
        let log = LineLog::default();
        log.follow(outside.stderr.take().unwrap());
        let container = Container { dir, outside, log };
        container.logged("tunneld starts");
        container
    }

    /// The first process, as this machine counts.
    fn first(&self) -> u32 {
        children(self.outside.id())[0]
    }

    /// What a health check does: the program with these words, in the container.
    fn exec(&self, words: &[&str]) -> Output {
        let (first, user) = (self.first().to_string(), USER.to_string());
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--root", "--wd=/"]);
        command.args(["--target", &first, "--setuid", &user, "--setgid", &user]);
        within(command.arg("/usr/bin/tunneld").args(words), LONG)
    }

    /// Waits for `tunneld status` to end with this code.
    #[track_caller]
    fn healthy(&self, code: i32) -> Output {
        let mut last = self.exec(&["status"]);
        let found = poll(LONG, || {
            last = self.exec(&["status"]);
            (last.status.code() == Some(code)).then_some(())
        });
        assert!(found.is_some(), "{}{}", printed(&last), self.log.text());
        last
    }

    #[track_caller]
    fn logged(&self, part: &str) -> String {
        let line = self.log.wait_for_line(0, part, LONG);
        line.unwrap_or_else(|| panic!("no {part:?} in:\n{}", self.log.text()))
    }

    fn ended(&mut self) -> ExitStatus {
        let status = wait_exit(&mut self.outside, LONG);
        status.unwrap_or_else(|| panic!("it still runs:\n{}", self.log.text()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The end of the first process is the end of all of them, and of what waits for it outside.
        for pid in children(self.outside.id()) {
            signal(pid, Signal::KILL);
        }
        let _ = self.outside.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log.text());
        }
    }
}

/// The file of packaging/kubernetes for a bastion, with what a test has in place of its names.
struct Bastion {
    sshd: Sshd,
    echo: EchoServer,
    listen: SocketAddr,
    metrics: SocketAddr,
}

impl Bastion {
    fn new() -> Self {
        Bastion {
            sshd: Sshd::start(),
            echo: EchoServer::start(),
            listen: free_addr(),
            metrics: free_addr(),
        }
    }

    fn config(&self) -> String {
        let mut config = Manifest::read("bastion.yaml").file("tunneld.toml");
        let host = format!("{:?}\nport = {}", self.sshd.host(), self.sshd.port());
        for (from, to) in [
            ("\"bastion.example.com\"", host),
            ("\"tunnel\"", format!("{:?}", self.sshd.user())),
            ("0.0.0.0:9478", self.metrics.to_string()),
            ("0.0.0.0:5432", self.listen.to_string()),
            ("db.internal:5432", self.echo.addr().to_string()),
        ] {
            assert!(config.contains(from), "no {from} in\n{config}");
            config = config.replace(from, &to);
        }
        config
    }

    fn container(&self) -> Container {
        self.container_of(Engine::Kubernetes, &self.config())
    }

    fn container_of(&self, engine: Engine, config: &str) -> Container {
        let key = fs::read(self.sshd.client_key()).unwrap();
        Container::start(engine, config, &key, &self.sshd.known_hosts_lines())
    }
}

#[test]
fn the_image_carries_bytes_with_a_read_only_root_and_without_any_right() {
    // As a number that no account has, with the key as a secret that its group may read.
    let bastion = Bastion::new();
    let container = bastion.container();
    container.healthy(0);
    echoes(bastion.listen).unwrap();
    let first = container.first();
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    for (field, value) in [
        ("Uid", "65532\t65532\t65532\t65532"),
        ("Gid", "65532\t65532\t65532\t65532"),
        ("CapEff", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        assert_has(&status, &[&format!("{field}:\t{value}\n")]);
    }
    let inside = status.lines().find(|line| line.starts_with("NSpid:"));
    assert!(inside.unwrap().ends_with("\t1"), "{inside:?}");
    // It can write to its own folder, and nothing in it minded.
    let tree = fs::read_to_string(format!("/proc/{first}/mountinfo")).unwrap();
    let at = |place: &str| {
        tree.lines()
            .rev()
            .find(|line| line.contains(place))
            .unwrap()
    };
    assert_has(at("/root / "), &[" ro,"]);
    for level in [" warn ", " error "] {
        assert_eq!(container.log.count(level), 0, "{}", container.log.text());
    }
}

#[test]
fn with_the_tmpfs_of_docker_the_commands_are_answered() {
    // Which belongs to root, whoever the folder in the image belongs to.
    let bastion = Bastion::new();
    let container = bastion.container_of(Engine::Docker, &bastion.config());
    container.healthy(0);
    assert_exit(&container.exec(&["reload"]), 0);
}

#[test]
fn the_health_check_says_what_status_says() {
    // 0 while every tunnel is up, 3 while one is not, 4 where no daemon answers; the probes of
    // Kubernetes know the difference between a tunnel that is down and a daemon that is.
    let bastion = Bastion::new();
    // A server that is frozen is noticed soon.
    let alive = "server_alive_interval = \"1s\"\nserver_alive_count_max = 1\n";
    let container = bastion.container_of(Engine::Kubernetes, &(bastion.config() + alive));
    assert_has(&stdout(&container.healthy(0)), &["db  up "]);
    let probe = |path: &str| over_tcp(bastion.metrics, &format!("GET {path}"), &[]).status;
    // What is ready is told a moment after the tunnel is up.
    let probed = |ready: u16| {
        let found = poll(LONG, || (probe("/readyz") == ready).then_some(()));
        assert!(found.is_some(), "{}", container.log.text());
        assert_eq!(probe("/healthz"), 200);
    };
    probed(200);
    bastion.sshd.freeze();
    container.healthy(3);
    probed(503);
    bastion.sshd.thaw();
    container.healthy(0);
    assert_exit(
        &container.exec(&["status", "--socket", "/run/tunneld/none"]),
        4,
    );
}

#[test]
fn the_first_process_takes_sigterm_and_ends_in_good_order() {
    // The kernel throws away what the first process of a namespace does not handle.
    let bastion = Bastion::new();
    let mut container = bastion.container();
    container.healthy(0);
    assert!(signal(container.first(), Signal::TERM));
    assert_eq!(container.ended().code(), Some(0));
    container.logged("tunneld stopped");
}

#[test]
fn a_config_map_that_changes_is_applied() {
    // A kubelet changes a link, and no file.
    let bastion = Bastion::new();
    let container = bastion.container();
    container.healthy(0);
    let (config, other) = (bastion.config(), free_addr());
    let config = config.replace(&bastion.listen.to_string(), &other.to_string());
    let known_hosts = bastion.sshd.known_hosts_lines();
    let volume = Volume(container.dir.path().join("config"));
    let files = [
        ("tunneld.toml", config.as_bytes()),
        ("known_hosts", known_hosts.as_bytes()),
    ];
    volume.write("2", 0o644, &files);
    container.logged("configuration reloaded");
    container.healthy(0);
    echoes(other).unwrap();
}
