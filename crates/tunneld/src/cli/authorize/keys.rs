//! The public keys that a session logs in with, as far as files tell.

use std::path::{Path, PathBuf};

use tunneld_core::authorize::Key;
use tunneld_core::config::{IdentityAgent, Target};
use tunneld_ssh::identity::{IdentityProblemKind, KeyFile};
use tunneld_ssh::public_key::{Certified, Public, PublicLine};

/// The keys of one target.
pub(super) struct Keys {
    pub(super) found: Vec<Key>,
    /// What somebody who pastes them should know.
    pub(super) hints: Vec<String>,
}

impl Keys {
    /// The keys that the file leads to, or the one that was named instead.
    pub(super) fn of(target: &Target, named: Option<&Path>) -> Result<Keys, String> {
        let mut search = Search {
            target,
            found: Vec::new(),
            hints: Vec::new(),
            problems: Vec::new(),
        };
        match named {
            Some(path) => search.named(path)?,
            None => search.configured(),
        }
        search.end()
    }
}

struct Search<'a> {
    target: &'a Target,
    /// Each with the fingerprint of the key that logs in.
    found: Vec<(String, Key)>,
    hints: Vec<String>,
    /// Why files gave no key.
    problems: Vec<String>,
}

impl Search<'_> {
    fn named(&mut self, path: &Path) -> Result<(), String> {
        match Public::read(path).map_err(|e| e.to_string())? {
            Public::Key(line) => self.plain(line),
            Public::Certificate(certified) => self.certificate(path, *certified),
        }
        Ok(())
    }

    fn configured(&mut self) {
        let target = self.target;
        for file in &target.certificate_file {
            self.certificate_in(&file.value, false);
        }
        for file in &target.identity_file {
            self.certificate_in(&beside(&file.value, "-cert.pub"), true);
        }
        for file in &target.identity_file {
            self.public_half(&file.value);
        }
        let agent = match &target.identity_agent {
            None => return,
            Some(IdentityAgent::Socket(path)) => path.display().to_string(),
            Some(IdentityAgent::Variable(name)) => format!("${name}"),
        };
        self.hints.push(format!(
            "the agent {agent} is not asked for its keys: --key FILE.pub names one"
        ));
    }

    fn certificate_in(&mut self, path: &Path, may_miss: bool) {
        match Public::read(path) {
            Ok(Public::Certificate(certified)) => self.certificate(path, *certified),
            Ok(Public::Key(_)) => {
                let said = format!("{}: a public key, not a certificate", path.display());
                self.problems.push(said);
            }
            Err(problem) if may_miss && problem.is_missing() => {}
            Err(problem) => self.problems.push(problem.to_string()),
        }
    }

    fn certificate(&mut self, path: &Path, certified: Certified) {
        let path = path.display();
        if !certified.forwards {
            self.hints.push(format!(
                "{path} does not permit port forwarding: it has to be signed with \
                 -O permit-port-forwarding"
            ));
        }
        let key = Key::authority(
            certified.authority.line,
            &self.target.user,
            &certified.principals,
            certified.force_command.as_deref(),
        );
        if let Key::Authority {
            principal: None, ..
        } = &key
        {
            self.hints.push(format!(
                "{path} has no principal that a line can name: every certificate of that CA that \
                 is good for {} fits it",
                self.target.user
            ));
        }
        self.found.push((certified.fingerprint, key));
    }

    /// A key with a certificate needs no line of its own, which would outlive the certificate.
    fn plain(&mut self, line: PublicLine) {
        if !self.found.iter().any(|(key, _)| *key == line.fingerprint) {
            let key = Key::Plain { line: line.line };
            self.found.push((line.fingerprint, key));
        }
    }

    /// The public half of a key file, of the key itself where the file shows it: the file beside it
    /// may be that of another key.
    fn public_half(&mut self, path: &Path) {
        let file = match KeyFile::read(path) {
            Ok(file) => file,
            Err(problem) => {
                let missing = problem.kind == IdentityProblemKind::Missing;
                if !missing || !self.target.identity_file_is_default {
                    self.problems.push(problem.to_string());
                }
                return;
            }
        };
        let own = match PublicLine::of_key_file(&file) {
            Ok(own) => own,
            Err(problem) => return self.problems.push(problem),
        };
        let public = beside(path, ".pub");
        let in_file = |path: &Path| match Public::read(path) {
            Ok(Public::Key(line)) => Some(line),
            Ok(Public::Certificate(_)) | Err(_) => None,
        };
        let lies_beside = in_file(&public);
        let is_own = |line: &PublicLine| line.fingerprint == own.fingerprint;
        if lies_beside.as_ref().is_some_and(|line| !is_own(line)) {
            self.hints.push(format!(
                "{} is not the public half of {}, which is in the line",
                public.display(),
                path.display()
            ));
        }
        // With the comment that people gave it; a file of a public key names one of the agent.
        let written = lies_beside.filter(is_own);
        let written = written.or_else(|| in_file(path).filter(is_own));
        self.plain(written.unwrap_or(own));
    }

    fn end(self) -> Result<Keys, String> {
        let mut hints = self.hints;
        if self.found.is_empty() {
            let mut said = format!("no public key is known for {}", self.target);
            for more in self.problems.into_iter().chain(hints) {
                said.push_str(&format!("\n  {more}"));
            }
            said.push_str("\nhint: --key FILE.pub names it");
            return Err(said);
        }
        hints.extend(self.problems);
        if self.found.len() > 1 {
            let keys = self.found.len();
            hints.push(format!(
                "{} has {keys} keys; one line is enough",
                self.target
            ));
        }
        let found = self.found.into_iter().map(|(_, key)| key).collect();
        Ok(Keys { found, hints })
    }
}

/// `KEY.pub` and `KEY-cert.pub` of `KEY`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
