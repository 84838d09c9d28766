//! Entries of a file of ssh.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tunneld_core::import::{Command, Job, Setting, name_of};
use tunneld_core::ssh_config::Sources;
use tunneld_ssh::error::os_reason;

use super::whose::{Whose, variables};
use super::{MAX_INPUTS, Made, Request, complete, named};
use crate::config_file;

/// Makes a tunnel of each entry that forwards something, or of those that were named.
pub(super) fn import(file: &Path, request: &Request, made: &mut Made) {
    let input = super::super::shown(file);
    // Whether it can be read is told here, and not as of something that is included.
    let opened = config_file::open(file).and_then(|_| std::path::absolute(file));
    let (path, owner) = match opened.and_then(|path| Ok((fs::metadata(&path)?.uid(), path))) {
        Ok((owner, path)) => (path, owner),
        Err(e) => return made.errors.push(format!("{input}: {}", os_reason(&e))),
    };
    // A file of root's is for everybody.
    let whose = match owner {
        0 => Whose::ours(),
        owner => Whose::numbered(owner),
    };
    let setting = Setting {
        variables: variables(),
        directory: None,
    };
    let job = |host: &str| {
        let from = format!("{input}, Host {host}");
        let command = Command::of_entry(host, &path);
        whose.job(command, &setting, named(request, name_of(host)), &from)
    };
    let sources = complete(&job(""), &whose, false);
    let names = sources.hosts().len();
    if request.inputs.is_empty() && names > MAX_INPUTS {
        let said = format!(
            "names {names} hosts, and at most {MAX_INPUTS} are looked at in one run: name those \
             that you mean"
        );
        return made.errors.push(format!("{input}: {said}"));
    }
    let patterns = sources.patterns_with_forwards();
    if request.inputs.is_empty() && patterns > 0 {
        made.warn(format!(
            "{input}: {patterns} of its blocks with forwards are for patterns or `Match`: name the \
             hosts that you mean, `tunneld import --ssh-config FILE HOST`"
        ));
    }
    let hosts = match request.inputs.is_empty() {
        true => with_forwards(&sources, job),
        false => request
            .inputs
            .iter()
            .map(|host| host.display().to_string())
            .collect(),
    };
    if hosts.is_empty() {
        let said = "no entry has a LocalForward, RemoteForward or DynamicForward";
        made.errors.push(format!("{input}: {said}"));
    }
    for host in hosts {
        let tunnel = job(&host).tunnel(&sources, &sources);
        made.add(&format!("{input}, Host {host}"), tunnel);
    }
}

fn with_forwards(sources: &Sources, job: impl Fn(&str) -> Job) -> Vec<String> {
    let hosts = sources.hosts().into_iter();
    let hosts = hosts.filter(|host| job(host).has_forwards(sources));
    hosts.map(str::to_owned).collect()
}
