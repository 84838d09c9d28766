//! Certificates that do not count: the user's, and the host's.

use std::fs;
use std::path::Path;
use std::process::Command;

use tunneld_lab::agent::LabAgent;
use tunneld_lab::keys::{KeyFiles, certify, generate};
use tunneld_lab::process::run;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::free_addr;

use super::Corpus;
use crate::support::{Table, text};

const OVER: &str = "20220101000000Z:20230101000000Z";
const TO_COME: &str = "20900101000000Z:20910101000000Z";

#[test]
fn a_user_certificate_of_no_use_is_told_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let authority = generate(dir.path(), "authority");
    let trusted = format!("TrustedUserCAKeys {}", authority.public.display());
    let sshd = Sshd::builder().config(&trusted).start();
    sshd.authorize_nobody();
    let mut corpus = Corpus::about("user_certificates", &sshd);
    let user = sshd.user().to_owned();
    let (client, other) = (sshd.client_key_files(), generate(sshd.dir(), "other"));
    let stranger = generate(sshd.dir(), "stranger");
    let table = Table::to(&sshd).dynamic(free_addr());
    let mut case = |title: &str, by: &KeyFiles, key: &KeyFiles, options: &[&str]| {
        let path = certify(by, &key.public, "the id", options);
        let named = sshd.dir().join("certificate");
        fs::rename(path, &named).unwrap();
        let table = table.clone();
        let table = table.set("certificate_file", text(named.display()));
        corpus.case(title, &table);
    };
    let us = ["-n", &user];
    let until = |validity| [&us[..], &["-V", validity]].concat();
    let somebody = ["-n", "somebody-else"];
    case("One for another user.", &authority, client, &somebody);
    case("One for nobody.", &authority, client, &[]);
    case("One that has ended.", &authority, client, &until(OVER));
    let title = "One that does not count yet.";
    case(title, &authority, client, &until(TO_COME));
    let title = "One of an authority that the server does not know.";
    case(title, &stranger, client, &us);
    case("One for another key.", &authority, &other, &us);
    case("One of a host.", &authority, client, &["-h"]);
    let elsewhere = [&us[..], &["-O", "source-address=192.0.2.1"]].concat();
    let title = "One that counts from another address only.";
    case(title, &authority, client, &elsewhere);

    let named = |name: &str, contents: &[u8]| {
        let path = sshd.dir().join(name);
        fs::write(&path, contents).unwrap();
        let table = table.clone();
        table.set("certificate_file", text(path.display()))
    };
    corpus.case("An empty file.", &named("empty", b""));
    let public = fs::read(&client.public).unwrap();
    corpus.case("A public key.", &named("public", &public));
    let private = fs::read(&client.private).unwrap();
    corpus.case("A private key.", &named("private", &private));
    let whole = fs::read(certify(&authority, &client.public, "the id", &us)).unwrap();
    let cut = named("cut", &whole[..whole.len() / 2]);
    let beside = sshd.dir().join("client_key-cert.pub");
    fs::remove_file(&beside).unwrap();
    corpus.case("One that is cut short.", &cut);
    let missing = sshd.dir().join("missing");
    let missing = text(missing.display());
    let missing = table.clone().set("certificate_file", missing);
    corpus.case("No such file.", &missing);

    certify(&authority, &client.public, "the id", &until(OVER));
    corpus.case("One beside its key, that has ended.", &table);
    let agent = LabAgent::start(&sshd.dir().join("agent"));
    agent.add(client);
    agent.add_certificate(&beside);
    let socket = text(agent.socket().display());
    let in_agent = table.set("identity_agent", socket);
    let in_agent = in_agent.set("identity_file", text("none"));
    corpus.case("One in an agent, that has ended.", &in_agent);
    corpus.compare();
}

#[test]
fn a_host_certificate_of_no_use_is_told_as_written() {
    let mut sshd = Sshd::start();
    let authority = generate(sshd.dir(), "authority");
    let stranger = generate(sshd.dir(), "stranger");
    sign(&authority, &sshd, &[]);
    let certificate = sshd.dir().join("host_ed25519-cert.pub");
    sshd.restart_with(&format!("HostCertificate {}", certificate.display()));
    let mut corpus = Corpus::about("host_certificates", &sshd);
    let (host, port) = (sshd.host(), sshd.port());
    let trust = |sshd: &Sshd, marker: &str| {
        let key = authority.public_line();
        let line = format!("@cert-authority [*]:{port} {key}\n");
        let more = match marker {
            "" => String::new(),
            // Another authority, or the certificate would not even be asked for.
            marker => format!(
                "{marker} * {key}\n@cert-authority [*]:{port} {}\n",
                stranger.public_line()
            ),
        };
        fs::write(sshd.known_hosts(), line + &more).unwrap();
    };
    let table = Table::to(&sshd).dynamic(free_addr());
    let mut case = |title: &str, by: &KeyFiles, options: &[&str], marker: &str| {
        sign(by, &sshd, options);
        sshd.restart();
        trust(&sshd, marker);
        corpus.case(title, &table);
    };
    let us = ["-n", &host];
    let until = |validity| [&us[..], &["-V", validity]].concat();
    let others = ["-n", "db.example.com"];
    case("One for another host.", &authority, &others, "");
    case("One for no host.", &authority, &[], "");
    case("One that has ended.", &authority, &until(OVER), "");
    let title = "One that does not count yet.";
    case(title, &authority, &until(TO_COME), "");
    let title = "One of an authority that known_hosts does not name.";
    case(title, &generate(dir(&authority), "nobody"), &us, "");
    case("One of a revoked authority.", &authority, &us, "@revoked");

    let only = table.set("host_key_algorithms", text("*-cert-v01@openssh.com"));
    fs::write(sshd.known_hosts(), sshd.known_hosts_lines()).unwrap();
    let title = "None but certificates are allowed, and no authority is known.";
    corpus.case(title, &only);
    corpus.compare();
}

fn dir(key: &KeyFiles) -> &Path {
    key.private.parent().unwrap()
}

/// Has an authority sign the host's key.
fn sign(authority: &KeyFiles, sshd: &Sshd, options: &[&str]) {
    let key = sshd.dir().join("host_ed25519.pub");
    let mut command = Command::new("ssh-keygen");
    command.arg("-qs").arg(&authority.private);
    command.args(["-I", "the id", "-h"]).args(options);
    run(command.arg(key));
}
