//! The ssh(1) command that does the same as a tunnel, as long as it lasts.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{
    AddressFamily, Destination, ForwardKind, Goal, IdentityAgent, Listen, ListenHost, ProxyCommand,
    ProxyKind, RekeyLimit, RemoteListen, Target, TcpListen, TunnelSpec, Via, host_port,
};
use crate::text::shell_word;

/// The port of SSH, which nobody mentions.
const SSH_PORT: u16 = 22;

/// The fewest bits of an RSA key that ssh asks for anyhow.
const RSA_SIZE: u32 = 1024;

/// What somebody would type: the way and the forwards, each word quoted for a shell. `None` where there
/// is nothing short to be typed: -J takes no proxy on the way to its first host.
pub fn in_short(spec: &TunnelSpec) -> Option<Vec<String>> {
    let mut words = Words::new("ssh");
    words.add("-N");
    let hops = spec.target.hops();
    let hops: Vec<_> = hops.iter().map(|hop| short_place(hop)).collect();
    match (hops.is_empty(), spec.target.first_via()) {
        (true, _) => words.proxy(&spec.target),
        (false, Via::Direct) => words.value("-J", &hops.join(",")),
        (false, _) => return None,
    }
    words.forwards(spec);
    words.end(&spec.target);
    Some(words.quoted())
}

/// The whole of it: it reads no file of ssh, and takes the keys and host keys that the tunnel takes.
/// Each word is quoted for a shell.
pub fn in_full(spec: &TunnelSpec) -> Vec<String> {
    let mut words = Words::new("ssh");
    words.add("-N");
    words.target(&spec.target, spec);
    if let Some(mode) = socket_modes(spec).first() {
        words.option("StreamLocalBindMask", &format!("{:04o}", 0o777 & !mode));
        words.option("StreamLocalBindUnlink", "yes");
    }
    if spec.target.algorithms.compression {
        words.add("-C");
    }
    words.forwards(spec);
    words.end(&spec.target);
    words.quoted()
}

/// What tunneld does for the tunnel and ssh does not, one line each.
pub(super) fn without(spec: &TunnelSpec) -> Vec<String> {
    let mut lines = Vec::new();
    let way = spec.target.hops().into_iter().chain([&spec.target]);
    for target in way {
        let host = &target.host;
        if !target.host_key_fingerprint.is_empty() {
            lines.push(format!(
                "ssh has no pins (host_key_fingerprint): it looks for {host} in known_hosts"
            ));
        }
        if target.passphrase_credential.is_some() || target.password_credential.is_some() {
            lines.push(format!(
                "ssh asks for the passphrase or the password for {host}"
            ));
        }
    }
    for forward in &spec.forwards {
        if let ForwardKind::Local(local) = &forward.kind
            && matches!(local.listen.value, Listen::Fd(_))
        {
            lines.push(format!(
                "ssh takes no socket of systemd: {} is left out",
                forward.name
            ));
        }
    }
    for path in paths(spec).iter().filter(|path| path.contains("${")) {
        lines.push(format!(
            "ssh takes `${{` in a path for a variable, and it can be written in no other way: {path}"
        ));
    }
    if socket_modes(spec).len() > 1 {
        lines.push("ssh has one mode for all socket files: that of the first".to_owned());
    }
    lines.push(
        "ssh ends with its connection, and its ports with it; it holds no client meanwhile, and \
         knows neither `allow` nor probes nor limits"
            .to_owned(),
    );
    lines
}

/// The paths that the command has in it, each once.
fn paths(spec: &TunnelSpec) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut add = |path: &Path| paths.insert(path.to_string_lossy().into_owned());
    for this in spec.target.hops().into_iter().chain([&spec.target]) {
        let files = this.identity_file.iter().chain(&this.certificate_file);
        for file in files.chain(&this.known_hosts) {
            add(&file.value);
        }
        if let Some(IdentityAgent::Socket(path)) = &this.identity_agent {
            add(path);
        }
    }
    for forward in &spec.forwards {
        match &forward.kind {
            ForwardKind::Local(local) => {
                if let Listen::Unix(unix) = &local.listen.value {
                    add(&unix.path);
                }
            }
            ForwardKind::Remote(remote) => {
                if let RemoteListen::Unix(path) = &remote.listen.value {
                    add(Path::new(path));
                }
            }
        }
        if let Goal::To(Destination::Unix(path)) = forward.goal() {
            add(Path::new(path));
        }
    }
    paths
}

/// The modes of the socket files that are listened on here, each once.
fn socket_modes(spec: &TunnelSpec) -> Vec<u32> {
    let mut modes = Vec::new();
    for forward in &spec.forwards {
        if let ForwardKind::Local(local) = &forward.kind
            && let Listen::Unix(unix) = &local.listen.value
            && !modes.contains(&unix.mode)
        {
            modes.push(unix.mode);
        }
    }
    modes
}

/// The words of a command, not yet quoted.
struct Words(Vec<String>);

impl Words {
    fn new(program: &str) -> Self {
        Words(vec![program.to_owned()])
    }

    fn add(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }

    fn value(&mut self, option: &str, value: &str) {
        self.add(option);
        self.add(value);
    }

    /// `-o Keyword=value`.
    fn option(&mut self, keyword: &str, value: &str) {
        self.value("-o", &format!("{keyword}={value}"));
    }

    fn quoted(&self) -> Vec<String> {
        self.0.iter().map(|word| shell_word(word)).collect()
    }

    /// Everything about one session but its forwards.
    fn target(&mut self, target: &Target, spec: &TunnelSpec) {
        self.value("-F", "none");
        if target.passphrase_credential.is_none() && target.password_credential.is_none() {
            self.option("BatchMode", "yes");
        }
        self.option("ConnectTimeout", &seconds(spec.connect_timeout));
        let keepalive = &spec.keepalive;
        if !keepalive.interval.is_zero() {
            self.option("ServerAliveInterval", &seconds(keepalive.interval));
            self.option("ServerAliveCountMax", &keepalive.count_max.to_string());
        }
        self.login(target);
        self.trust(target);
        self.algorithms(target);
        if !matches!(target.via, Via::Jump(_)) {
            match spec.target.address_family {
                AddressFamily::Any => {}
                AddressFamily::Inet => self.add("-4"),
                AddressFamily::Inet6 => self.add("-6"),
            }
            if let Some(address) = &spec.target.bind_address {
                self.value("-b", &address.to_string());
            }
        }
        match &target.via {
            Via::Direct => {}
            Via::Proxy(_) | Via::Command(_) => self.proxy(target),
            // -J would take neither keys nor known_hosts of the jump host.
            Via::Jump(hop) => {
                let mut words = Words::new("ssh");
                words.target(hop, spec);
                words.value("-W", &host_port(&target.host, target.port));
                words.end(hop);
                // What has a meaning to the inner one has none to the outer one.
                let line = words.quoted().join(" ").replace('%', "%%");
                self.option("ProxyCommand", &line);
            }
        }
    }

    fn login(&mut self, target: &Target) {
        if !target.identity_file_is_default {
            for file in &target.identity_file {
                // -i looks for the file before it reads its tokens.
                match file.value.to_string_lossy() {
                    path if path.contains('%') => {
                        self.option("IdentityFile", &config_word(&file.value));
                    }
                    path => self.value("-i", &path),
                }
            }
            if target.identity_file.is_empty() {
                self.option("IdentityFile", "none");
            }
        }
        for file in &target.certificate_file {
            self.option("CertificateFile", &config_word(&file.value));
        }
        if target.identities_only {
            self.option("IdentitiesOnly", "yes");
        }
        let agent = match &target.identity_agent {
            None => "none".to_owned(),
            Some(IdentityAgent::Socket(path)) => config_word(path),
            Some(agent @ IdentityAgent::Variable(_)) => agent.to_string(),
        };
        self.option("IdentityAgent", &agent);
    }

    fn trust(&mut self, target: &Target) {
        self.option(
            "StrictHostKeyChecking",
            target.strict_host_key_checking.as_str(),
        );
        let files = target
            .known_hosts
            .iter()
            .map(|file| config_word(&file.value));
        let files = files.collect::<Vec<_>>().join(" ");
        let files = if files.is_empty() {
            "none".to_owned()
        } else {
            files
        };
        self.option("UserKnownHostsFile", &files);
        self.option("GlobalKnownHostsFile", "none");
        let update = if target.update_host_keys { "yes" } else { "no" };
        self.option("UpdateHostKeys", update);
        if let Some(alias) = &target.host_key_alias {
            self.option("HostKeyAlias", alias);
        }
        if target.required_rsa_size != RSA_SIZE {
            self.option("RequiredRSASize", &target.required_rsa_size.to_string());
        }
    }

    fn algorithms(&mut self, target: &Target) {
        let algorithms = &target.algorithms;
        for (keyword, names) in [
            ("Ciphers", &algorithms.ciphers),
            ("MACs", &algorithms.macs),
            ("KexAlgorithms", &algorithms.kex),
            ("HostKeyAlgorithms", &algorithms.host_keys),
        ] {
            if let Some(names) = names {
                self.option(keyword, &names.join(","));
            }
        }
        let RekeyLimit { bytes, time } = target.rekey_limit;
        if bytes.is_some() || time.is_some() {
            let bytes = bytes.map_or_else(|| "default".to_owned(), |bytes| bytes.to_string());
            let time = time.map_or_else(|| "none".to_owned(), seconds);
            self.option("RekeyLimit", &format!("{bytes} {time}"));
        }
    }

    /// The proxy or the program that makes the first connection.
    fn proxy(&mut self, target: &Target) {
        let line = match target.first_via() {
            Via::Command(ProxyCommand::Shell(line)) => line.clone(),
            Via::Command(ProxyCommand::Argv(words)) => {
                let words: Vec<_> = words.iter().map(|word| shell_word(word)).collect();
                words.join(" ")
            }
            Via::Proxy(proxy) => {
                let kind = match proxy.kind {
                    ProxyKind::Socks5 => "5",
                    ProxyKind::Http => "connect",
                };
                let place = shell_word(&host_port(&proxy.host, proxy.port)).replace('%', "%%");
                format!("nc -X {kind} -x {place} %h %p")
            }
            Via::Direct | Via::Jump(_) => return,
        };
        self.option("ProxyCommand", &line);
    }

    fn forwards(&mut self, spec: &TunnelSpec) {
        for forward in &spec.forwards {
            match &forward.kind {
                ForwardKind::Local(local) => {
                    let Some(listen) = here(&local.listen.value) else {
                        continue;
                    };
                    match &local.connect {
                        Goal::To(to) => self.value("-L", &format!("{listen}:{}", place(to))),
                        Goal::Asked => self.value("-D", &listen),
                    }
                }
                ForwardKind::Remote(remote) => {
                    let listen = there(&remote.listen.value);
                    match &remote.connect {
                        Goal::To(to) => self.value("-R", &format!("{listen}:{}", place(to))),
                        Goal::Asked => self.value("-R", &listen),
                    }
                }
            }
        }
    }

    /// The host, behind its port.
    fn end(&mut self, target: &Target) {
        if target.port != SSH_PORT {
            self.value("-p", &target.port.to_string());
        }
        self.add(&format!("{}@{}", target.user, target.host));
    }
}

/// A jump host as `-J` takes it.
fn short_place(hop: &Target) -> String {
    match hop.port {
        SSH_PORT if hop.host.contains(':') => format!("{}@[{}]", hop.user, hop.host),
        SSH_PORT => format!("{}@{}", hop.user, hop.host),
        _ => hop.to_string(),
    }
}

/// A listening place of this machine; `None`: ssh has no such one.
fn here(listen: &Listen) -> Option<String> {
    match listen {
        Listen::Tcp(TcpListen {
            host: ListenHost::Localhost,
            port,
        }) => Some(port.to_string()),
        Listen::Tcp(tcp) => Some(tcp.to_string()),
        Listen::Unix(unix) => Some(socket(&unix.path.to_string_lossy())),
        Listen::Fd(_) => None,
    }
}

fn there(listen: &RemoteListen) -> String {
    match listen {
        RemoteListen::Tcp { bind, port } if bind == "localhost" => port.to_string(),
        RemoteListen::Tcp { .. } => listen.to_string(),
        RemoteListen::Unix(path) => socket(path),
    }
}

fn place(to: &Destination) -> String {
    match to {
        Destination::Tcp { host, port } => host_port(host, *port),
        Destination::Unix(path) => socket(path),
    }
}

/// A path within a forward: a colon would end it, and a percent sign begin a token.
fn socket(path: &str) -> String {
    path.replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace('%', "%%")
}

/// A path as a word of a line of ssh_config(5), where a percent sign begins a token.
fn config_word(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%%");
    match path.contains([' ', '\t', '"', '\'', '\\', '#']) {
        true => format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")),
        false => path,
    }
}

/// In whole seconds, and at least one.
fn seconds(time: std::time::Duration) -> String {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more).max(1).to_string()
}
