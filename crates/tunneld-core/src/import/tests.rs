//! Commands, units and entries as people have them, and what becomes of each: the files in `corpus/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Config, Origin, Surroundings, load};
use crate::ssh_config::{Environment, Sources};

/// A file of the corpus: what there is, by its name, and what becomes of it.
struct Case {
    parts: Vec<(String, String)>,
    becomes: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("== ") {
                Some(name) => parts.push((name.to_owned(), String::new())),
                None => {
                    let (_, part) = parts.last_mut().unwrap();
                    part.push_str(line);
                    part.push('\n');
                }
            }
        }
        let (name, becomes) = parts.pop().unwrap();
        assert_eq!(name, "becomes", "{}", path.display());
        Case { parts, becomes }
    }

    fn file(&self, path: &Path) -> Option<&str> {
        let mut parts = self.parts.iter();
        let found = parts.find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.as_str())
    }

    fn sources(&self, mut sources: Sources) -> Sources {
        loop {
            let missing = sources.missing();
            if missing.is_empty() {
                return sources;
            }
            for path in missing {
                let found = self.file(&path).map(str::to_owned);
                let found = found.map(|text| (path.clone(), text));
                sources.add(path, Ok(found.into_iter().collect()));
            }
        }
    }

    /// As on a machine `web1.example.com` with the users root and me.
    fn tunnels(&self) -> Result<String, String> {
        let (name, text) = &self.parts[0];
        let mut tunnels = Vec::new();
        for job in jobs(self, name, text)? {
            let sources = self.sources(job.sources(false));
            tunnels.push(job.tunnel(&sources, &self.sources(job.sources(true)))?);
        }
        let settled = settle(&mut tunnels, &Surroundings::for_tests(), None);
        let mut settled = settled.map_err(|e| e.to_string())?;
        for refused in settled.refused {
            let error = format!("error: {}: {}\n", refused.from, refused.message);
            settled.file.push_str(&error);
        }
        Ok(settled.file)
    }
}

fn jobs(case: &Case, name: &str, text: &str) -> Result<Vec<Job>, String> {
    let mut setting = Setting {
        variables: BTreeMap::new(),
        directory: Some("/srv".into()),
    };
    if name == "command" {
        let words = shell::words(text, &BTreeMap::new()).unwrap();
        let command = Command::read(&words, &setting)?;
        let name = name_of_host(command.host());
        return Ok(vec![job(command, name, "a command line", "me", &setting)]);
    }
    if let Some(host) = name.strip_prefix("Host ") {
        let command = Command::of_entry(host, Path::new("/home/me/.ssh/config"));
        return Ok(vec![job(command, name_of(host), name, "me", &setting)]);
    }
    let facts = [
        ('u', "root"),
        ('h', "/root"),
        ('H', "web1.example.com"),
        ('l', "web1"),
    ];
    let facts: Facts = facts.map(|(c, v)| (c, v.to_owned())).into();
    let unit = Unit::read(name, None, &[(name.to_owned(), text.to_owned())])?;
    let mut files = Vec::new();
    for (path, optional) in unit.environment_files(&facts)? {
        match case.file(&path) {
            Some(text) => files.push(text.to_owned()),
            None => assert!(optional, "{} is missing", path.display()),
        }
    }
    setting.variables = unit.variables(&facts, &files)?;
    setting.directory = unit.directory(&facts)?.map(PathBuf::from);
    let user = unit.user(&facts)?.unwrap_or_else(|| "root".to_owned());
    let commands = unit.commands(&facts, &setting.variables)?;
    let jobs = commands.iter().map(|line| {
        let command = Command::read(&line.words, &setting)?;
        let name = unit.tunnel_name().unwrap_or_default();
        let mut job = job(command, name, &line.place, &user, &setting);
        job.restart = unit.restart();
        job.dropped = unit.dropped().to_vec();
        Ok(job)
    });
    jobs.collect()
}

fn job(command: Command, name: String, from: &str, user: &str, setting: &Setting) -> Job {
    let home = match user {
        "root" => PathBuf::from("/root"),
        user => Path::new("/home").join(user),
    };
    Job {
        command,
        name,
        from: from.to_owned(),
        default_keys: match user {
            "me" => vec![home.join(".ssh/id_ed25519")],
            _ => Vec::new(),
        },
        environment: Environment {
            user: Some(user.to_owned()),
            home: Some(home),
            variables: setting.variables.clone(),
        },
        restart: None,
        dropped: Vec::new(),
    }
}

#[test]
fn what_people_have_becomes_what_the_corpus_says() {
    // Each file that is made is one that the configuration takes.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/corpus");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case = Case::read(&path);
        let got = case.tunnels().unwrap_or_else(|e| format!("error: {e}\n"));
        assert_eq!(got, case.becomes, "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 40, "{cases}");
}

#[test]
fn nothing_that_comes_from_elsewhere_ends_a_comment_or_a_string() {
    let setting = Setting::default();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let end = "x\n[tunnels.evil]\nhost = \"h\"\u{2028}\u{1b}[2J";
    let command = Command::read(&words(&["ssh", "-L1:a:1", "host", end]), &setting).unwrap();
    let job = job(command, "t".to_owned(), end, "me", &setting);
    let sources = Sources::new(Path::new("/x"), String::new(), Environment::default());
    let text = job.tunnel(&sources, &sources).unwrap().text();
    assert_eq!(text.matches("\n[").count(), 1, "{text}");
    assert!(!text.contains(['\u{1b}', '\u{2028}']), "{text}");
    for (option, said) in [("-o", "-o"), ("-i", "-i"), ("-L", "-L"), ("-J", "-J")] {
        let read = Command::read(&words(&["ssh", option, "a\nb", "host"]), &setting);
        let expected = format!("has a control character in {said}: '\\n'");
        assert_eq!(read.unwrap_err(), expected);
    }
}

#[test]
fn a_name_is_one_that_the_file_takes() {
    for (text, name) in [
        ("db", "db"),
        ("pg main", "pg-main"),
        ("2001:db8::7", "2001-db8--7"),
        ("-._x_.-", "x"),
        ("ÄÖ", "tunnel"),
        (&"x".repeat(80), &"x".repeat(64)),
    ] {
        assert_eq!(name_of(text), name);
    }
    assert_eq!(name_of_host("db.example.com"), "db");
    assert_eq!(name_of_host("10.0.0.7"), "10.0.0.7");
}

#[test]
fn what_is_too_much_is_refused() {
    let many = vec!["-v".to_owned(); 5_000];
    let said = Command::read(&many, &Setting::default()).unwrap_err();
    assert_eq!(said, "has more than 4096 words");
    let text = format!("[Service]\n{}", "ExecStart=ssh -N a\n".repeat(101));
    let said = Unit::read("a.service", None, &[("a".to_owned(), text)]).unwrap_err();
    assert_eq!(said, "has more than 100 ExecStart=");
    let shells = ["sh", "-c", "sh -c 'sh -c \"sh -c true\"'"].map(str::to_owned);
    let said = Command::read(&shells, &Setting::default()).unwrap_err();
    assert_eq!(said, "has shells in shells more than 3 deep");
}

/// Tunnels of these command lines, each from its own number on.
fn made(lines: &[String]) -> Vec<Tunnel> {
    let setting = Setting::default();
    let tunnels = lines.iter().enumerate().map(|(index, line)| {
        let words = shell::words(line, &BTreeMap::new()).unwrap();
        let command = Command::read(&words, &setting).unwrap();
        let job = job(command, "t".to_owned(), &index.to_string(), "me", &setting);
        job.tunnel(&job.sources(false), &job.sources(true)).unwrap()
    });
    tunnels.collect()
}

#[test]
fn a_tunnel_that_is_not_right_is_left_out_and_the_others_are_kept() {
    // Nor is one switched off because of it.
    let lines = [
        "ssh -N -L 1001:a:1 one",
        "ssh -N -L 1001:a:1 two",
        "ssh -N -L 1002:a:1 three",
    ];
    let mut tunnels = made(&lines.map(str::to_owned));
    tunnels[0].keys.push(("port", "0".to_owned()));
    let settled = settle(&mut tunnels, &Surroundings::for_tests(), None).unwrap();
    assert_eq!(settled.file.matches("[tunnels.").count(), 2);
    assert!(
        !settled.file.contains("enabled = false"),
        "{}",
        settled.file
    );
    let [refused] = settled.refused.as_slice() else {
        panic!("{:?}", settled.refused);
    };
    assert_eq!(refused.from, "0");
    assert!(refused.message.contains("port"), "{}", refused.message);
}

#[test]
fn of_tunnels_in_a_row_only_those_are_switched_off_that_would_not_listen() {
    // The second one is off, and so the third is in nobody's way.
    let lines = [
        "ssh -N -L 1001:a:1 one",
        "ssh -N -L 1001:a:1 -L 1002:a:1 two",
        "ssh -N -L 1002:a:1 three",
    ];
    let mut tunnels = made(&lines.map(str::to_owned));
    settle(&mut tunnels, &Surroundings::for_tests(), None).unwrap();
    let enabled: Vec<_> = tunnels.iter().map(|tunnel| tunnel.enabled).collect();
    assert_eq!(enabled, [true, false, true]);
}

/// A file that tunnels are imported for: tunnels `a`, `b` and so on, with these lines.
fn file(tunnels: &[&str]) -> Config {
    let tables = ('a'..).zip(tunnels);
    let tables = tables
        .map(|(name, lines)| format!("[tunnels.{name}]\nhost = \"one\"\nuser = \"me\"\n{lines}\n"));
    let origin = Origin::of_file(Path::new("/t.toml"));
    load(
        &tables.collect::<String>(),
        &origin,
        &Surroundings::for_tests(),
    )
    .unwrap()
}

/// What the file is with these command lines, beside that one.
fn beside(config: &Config, lines: &[&str], name: &str) -> String {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let mut tunnels = made(&lines);
    tunnels
        .iter_mut()
        .for_each(|tunnel| name.clone_into(&mut tunnel.name));
    let there = There {
        name: "/t.toml",
        config,
    };
    let settled = settle(&mut tunnels, &Surroundings::for_tests(), Some(there));
    settled.unwrap().file
}

#[test]
fn a_name_that_the_file_has_is_not_taken_again() {
    let config = file(&["local_forward = \"1:a:1\"", "local_forward = \"2:a:1\""]);
    let lines = ["ssh -N -L 1001:a:1 one", "ssh -N -L 1002:a:1 one"];
    let text = beside(&config, &lines, "a");
    assert!(text.contains("[tunnels.a-2]\n"), "{text}");
    assert!(text.contains("[tunnels.a-3]\n"), "{text}");
    let said = "# not called `a`: /t.toml has a tunnel of that name\n";
    assert_eq!(text.matches(said).count(), 2, "{text}");
    let text = beside(&config, &lines, "c");
    let said = "# not called `c`: another one here has that name\n";
    assert_eq!(text.matches(said).count(), 1, "{text}");
}

#[test]
fn a_place_where_a_tunnel_of_the_file_listens_is_told_with_that_tunnel() {
    // Ports, sockets, and ports of the same server; not those of one that does not run.
    let config = file(&[
        "local_forward = \"1001:a:1\"",
        "local_forward = \"/run/b.sock:a:1\"",
        "remote_forward = \"1001:a:1\"",
        "local_forward = \"1004:a:1\"\nenabled = false",
    ]);
    for (line, said) in [
        (
            "-L 1001:b:2 x",
            "`a` of /t.toml listens on localhost:1001\n",
        ),
        ("-D 1001 x", "`a` of /t.toml listens on localhost:1001\n"),
        (
            "-L *:1001:b:2 x",
            "`a` of /t.toml listens on localhost:1001, which overlaps with *:1001\n",
        ),
        (
            "-L /run/b.sock:b:2 x",
            "`b` of /t.toml listens on /run/b.sock\n",
        ),
        (
            "-R 1001:b:2 one",
            "`c` of /t.toml listens on localhost:1001 at one\n",
        ),
        ("-R 1001:b:2 two", ""),
        ("-L 1004:a:1 x", ""),
        ("-L 127.0.0.2:1001:a:1 x", ""),
    ] {
        let text = beside(&config, &[&format!("ssh -N {line}")], "t");
        let off = text.contains("enabled = false\n");
        assert_eq!(off, !said.is_empty(), "{line}: {text}");
        let said = format!("# not enabled: {said}");
        assert!(!off || text.contains(&said), "{line}: {text}");
    }
}

#[test]
fn one_that_gives_way_to_the_file_is_in_nobodys_way() {
    let config = file(&["local_forward = \"1001:a:1\""]);
    let lines = ["ssh -N -L 1001:a:1 -L 1002:a:1 x", "ssh -N -L 1002:a:1 x"];
    let text = beside(&config, &lines, "t");
    assert_eq!(text.matches("enabled = false").count(), 1, "{text}");
    assert!(!text.contains("both listen"), "{text}");
}

#[test]
fn many_tunnels_that_want_one_place_are_settled_in_a_few_turns() {
    // One turn for each of them would take minutes.
    let lines = vec!["ssh -N -L 1001:a:1 one".to_owned(); 400];
    let mut tunnels = made(&lines);
    let begin = std::time::Instant::now();
    let settled = settle(&mut tunnels, &Surroundings::for_tests(), None).unwrap();
    assert_eq!(settled.file.matches("enabled = false").count(), 399);
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn what_is_lost_is_told_and_the_rest_is_a_comment() {
    // A forward, a restriction, and a password that others can read.
    for (options, warning, lacks) in [
        ("-L 1001:a:1 -L nonsense", "-L nonsense is dropped: ", true),
        ("-L 1001:a:1 -B eth0", "-B eth0 is dropped: ", false),
        (
            "-L 1001:a:1 -o RevokedHostKeys=/etc/revoked",
            "-o RevokedHostKeys=/etc/revoked is dropped: ",
            false,
        ),
        (
            "-L 1001:a:1 -o Ciphers=3des-cbc",
            "Ciphers 3des-cbc is dropped: ",
            false,
        ),
        (
            "-D 1001 -o 'PermitRemoteOpen a:1'",
            "-o PermitRemoteOpen a:1 is dropped: ",
            false,
        ),
        (
            "-L 1001:a:1 -o 'ProxyCommand ncat --proxy-auth a:b x 22'",
            "the `proxy_command` has a password in it",
            false,
        ),
    ] {
        let [tunnel] = made(&[format!("ssh -N {options} db")]).try_into().unwrap();
        let [said] = tunnel.warnings().try_into().unwrap();
        assert!(said.starts_with(warning), "{said}");
        assert_eq!(tunnel.lacks_a_forward(), lacks, "{options}");
        let (what, _) = said.split_once(" is dropped").unwrap_or((&said, ""));
        assert!(tunnel.text().contains(what), "{}", tunnel.text());
    }
    let lines = ["ssh -N -C -A -o ExitOnForwardFailure=yes -L 1:a:1 db".to_owned()];
    assert_eq!(made(&lines)[0].warnings(), [""; 0]);
}

/// What ssh itself makes of a command line: the values of each keyword.
fn asked(words: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut command = std::process::Command::new("ssh");
    let output = command
        .arg("-G")
        .args(words)
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (keyword, value) = line.split_once(' ').unwrap();
        found
            .entry(keyword.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    found
}

#[test]
fn a_command_line_means_here_what_it_means_to_ssh() {
    // Bundles, options behind the host, and which of two values counts; `ssh -G` decides.
    for line in [
        "-N -L 1000:h:80 me@db",
        "-fNTL 1000:h:80 -p22 -p 33 -l joe me@db -p 44",
        "me@db -N -p 2222 -o Port=33 -R 2000:h:80 -D 3000",
        "-o Port=33 -p 2222 -NR2000:[::1]:80 -oUser=ann -l joe -C db",
        "-o User=ann -o \"Hostname %h.lan\" -L 127.0.0.1:1000:h:80 DB",
        "-4 -6 -o AddressFamily=any -L [::1]:1000:h:80 a@b@db",
        "-o AddressFamily=inet6 -L 1000:h:80 -L 1001:h:80 -L 1000:h:80 ssh://u@db:77",
        "-L 1000:h:80 -oServerAliveInterval=5 -o \"serveralivecountmax = 7\" ssh://db -l x",
        "-c aes128-ctr -c aes256-ctr -o Ciphers=aes192-ctr -m hmac-sha2-256 -L 1000:h:80 db",
        "-o Compression=no -C -o HostKeyAlias=zz -o IdentitiesOnly=yes -L 1000:h:80 -- db",
        "-J j@x:9,y -L 1000:h:80 db -o ConnectTimeout=1m",
        "-L 1000:h:80 -b 127.0.0.3 -vvqxae none db",
    ] {
        let words = shell::words(&format!("-F none {line}"), &BTreeMap::new()).unwrap();
        let ssh = asked(&words);
        let all: Vec<_> = ["ssh".to_owned()].into_iter().chain(words).collect();
        let setting = Setting::default();
        let command = Command::read(&all, &setting).unwrap();
        let name = ssh["user"][0].clone();
        let job = job(command, "t".to_owned(), "x", &name, &setting);
        let mut tunnel = job.tunnel(&job.sources(false), &job.sources(true)).unwrap();
        let keys: BTreeMap<_, _> = tunnel.keys.drain(..).collect();
        for (key, keyword) in [
            ("host", "hostname"),
            ("port", "port"),
            ("user", "user"),
            ("address_family", "addressfamily"),
            ("bind_address", "bindaddress"),
            ("host_key_alias", "hostkeyalias"),
            ("server_alive_count_max", "serveralivecountmax"),
            ("ciphers", "ciphers"),
            ("macs", "macs"),
        ] {
            if let Some(value) = keys.get(key) {
                assert_eq!(value.trim_matches('"'), ssh[keyword][0], "{key}: {line}");
            }
        }
        for (key, keyword) in [
            ("local_forward", "localforward"),
            ("remote_forward", "remoteforward"),
            ("dynamic_forward", "dynamicforward"),
        ] {
            let ours = keys.get(key).map_or("", String::as_str);
            let ours = ours
                .trim_matches(['[', ']'])
                .split(", ")
                .filter(|f| !f.is_empty());
            let theirs = ssh.get(keyword).map_or(0, Vec::len);
            assert_eq!(ours.count(), theirs, "{key}: {line}");
        }
        let yes = |keyword: &str| (ssh[keyword][0] == "yes").to_string();
        for (key, keyword) in [
            ("compression", "compression"),
            ("identities_only", "identitiesonly"),
        ] {
            let ours = keys.get(key).map_or("false", String::as_str);
            assert_eq!(ours, yes(keyword), "{key}: {line}");
        }
    }
}
