//! The certificates that a tunnel uses: looked at when it connects, and now and then while it is up,
//! because a session lives on when its certificate ends and only the next one is refused.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tunneld_core::certificate::expiry;
use tunneld_core::config::Target;
use tunneld_core::status::CertificateStatus;
use tunneld_ssh::identity::certificate::UserCertificate;

use crate::clock::unix_ms;
use crate::wait;

/// How long what was seen is relied on while nothing else asks for another look. A look that finds
/// the files unchanged reads none.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a warning in the journal is enough.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is known of a tunnel's certificates.
#[derive(Default)]
pub(super) struct Certificates {
    files: Vec<Looked>,
    seen: Vec<CertificateStatus>,
    /// The files are read apart from the runtime: a disk may be slow.
    looking: Option<JoinHandle<Vec<Looked>>>,
    next: Option<Instant>,
}

/// A file, and what was in it.
#[derive(Clone)]
struct Looked {
    file: PathBuf,
    /// By what a file is told from the one that takes its place.
    stamp: Option<Stamp>,
    status: Option<CertificateStatus>,
}

/// The file's number, its length, and when it was written.
type Stamp = (u64, u64, Option<SystemTime>);

/// What has happened with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// They have been looked at.
    Seen,
    /// They should be.
    Due,
}

impl Certificates {
    /// Those that were there when they were last looked at.
    pub(super) fn seen(&self) -> &[CertificateStatus] {
        &self.seen
    }

    /// Looks at those of this target and of its jump hosts; one look at a time, and then the next.
    pub(super) fn look(&mut self, target: &Target) {
        if self.looking.is_some() {
            self.next = Some(Instant::now());
            return;
        }
        self.next = None;
        let (files, before) = (files(target), self.files.clone());
        let look = move || {
            let look = |file| Looked::at(file, &before);
            files.into_iter().map(look).collect()
        };
        self.looking = Some(tokio::task::spawn_blocking(look));
    }

    /// Forgets them, and looks at none any more.
    pub(super) fn clear(&mut self) {
        *self = Certificates::default();
    }

    /// Waits until there is something to do.
    pub(super) async fn news(&mut self) -> News {
        let Some(looking) = &mut self.looking else {
            wait::until(self.next).await;
            return News::Due;
        };
        self.files = looking.await.unwrap_or_default();
        let seen = self.files.iter().filter_map(|looked| looked.status.clone());
        self.seen = seen.collect();
        self.looking = None;
        self.next.get_or_insert(Instant::now() + PATIENCE);
        News::Seen
    }
}

/// Every file that may hold one that is used: those that are named, or else those beside a key.
fn files(target: &Target) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for target in target.hops().into_iter().chain([target]) {
        let named = target.certificate_file.iter().map(|f| f.value.clone());
        let keys = target.identity_file.iter();
        let beside = keys.map(|f| UserCertificate::beside(&f.value));
        let used: Vec<_> = match target.certificate_file.is_empty() {
            true => beside.collect(),
            false => named.collect(),
        };
        for file in used {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

impl Looked {
    fn at(file: PathBuf, before: &[Looked]) -> Self {
        let stamp = stamp(&file);
        match before.iter().find(|looked| looked.file == file) {
            Some(same) if same.stamp == stamp => same.clone(),
            _ => Looked {
                status: read(&file),
                stamp,
                file,
            },
        }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
}

/// What is wrong with a certificate is told by the attempt that needs it.
fn read(file: &Path) -> Option<CertificateStatus> {
    let certificate = UserCertificate::read(file).ok()?;
    Some(CertificateStatus {
        file: file.display().to_string(),
        key_id: certificate.key_id().to_owned(),
        fingerprint: certificate.fingerprint(),
        valid_after_unix_s: certificate.valid_after().map(|at| unix_ms(at) / 1000),
        valid_before_unix_s: certificate.valid_before().map(|at| unix_ms(at) / 1000),
    })
}

/// What there is to say now of a certificate that ends; `before` is `certificate_expiry_warning`.
pub(super) fn warning(certificate: &CertificateStatus, before: Duration) -> Option<String> {
    let from = certificate.valid_after_unix_s.and_then(moment);
    let period = (from, end(certificate)?);
    expiry(&certificate.file, period, SystemTime::now(), before)
}

/// When it ends, if it does.
pub(super) fn end(certificate: &CertificateStatus) -> Option<SystemTime> {
    moment(certificate.valid_before_unix_s?)
}

fn moment(unix_s: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(unix_s))
}

/// Which certificates the journal was told of, and when: each once a day, however many tunnels use
/// it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    at: Arc<Mutex<Times>>,
}

/// By file and end.
type Times = HashMap<(String, Option<u64>), Instant>;

impl Said {
    /// Whether to say it now, in which case it counts as said.
    pub(super) fn is_due(&self, certificate: &CertificateStatus) -> bool {
        let now = Instant::now();
        let mut said = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.duration_since(*at) < DAY);
        // A renewed certificate is another one.
        let key = (certificate.file.clone(), certificate.valid_before_unix_s);
        let is_due = !said.contains_key(&key);
        if is_due {
            said.insert(key, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunneld_core::config::{Sourced, Via};

    fn certificate(file: &str, end: u64) -> CertificateStatus {
        CertificateStatus {
            file: file.to_owned(),
            key_id: String::new(),
            fingerprint: String::new(),
            valid_after_unix_s: None,
            valid_before_unix_s: Some(end),
        }
    }

    #[tokio::test]
    async fn the_journal_hears_of_a_certificate_once_a_day() {
        // Whichever tunnel sees it first; a renewed one is news.
        let said = Said::default();
        let other_tunnel = said.clone();
        assert!(said.is_due(&certificate("a", 1)));
        assert!(!other_tunnel.is_due(&certificate("a", 1)));
        assert!(other_tunnel.is_due(&certificate("b", 1)));
        assert!(said.is_due(&certificate("a", 2)));
        if let Some(at) = said.at.lock().unwrap().values_mut().next() {
            *at = Instant::now().checked_sub(DAY).unwrap();
        }
        let all = [("a", 1), ("a", 2), ("b", 1)];
        let due = all.map(|(file, end)| said.is_due(&certificate(file, end)));
        assert_eq!(due.iter().filter(|due| **due).count(), 1);
        assert_eq!(said.at.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_seen_within_a_minute() {
        // Nobody has to ask; a file that is unchanged is not read again.
        use tunneld_lab::keys::{certify, generate};
        let dir = tempfile::tempdir().unwrap();
        let files = generate(dir.path(), "id");
        let renew = |validity| certify(&files, &files.public, "id", &["-V", validity]);
        let path = renew("-1m:+1h");
        let mut target = Target::new("db", 22, "u");
        target.identity_file = vec![Sourced {
            value: files.private.clone(),
            span: None,
        }];
        let mut certificates = Certificates::default();
        certificates.look(&target);
        assert_eq!(certificates.news().await, News::Seen);
        let end = certificates.seen()[0].valid_before_unix_s;
        renew("-1m:+2h");
        assert!(certificates.next.unwrap() <= Instant::now() + Duration::from_secs(60));
        certificates.next = Some(Instant::now());
        assert_eq!(certificates.news().await, News::Due);
        certificates.look(&target);
        assert_eq!(certificates.news().await, News::Seen);
        assert!(certificates.seen()[0].valid_before_unix_s > end);

        let seen = vec![Looked {
            file: path.clone(),
            stamp: stamp(&path),
            status: None,
        }];
        assert!(Looked::at(path.clone(), &seen).status.is_none());
        renew("-1m:+3h");
        assert!(Looked::at(path, &seen).status.is_some());
    }

    #[test]
    fn those_of_the_jump_hosts_are_looked_at_too_and_each_once() {
        // Beside a key; where one is named, those beside the keys do not count.
        let path = |path: &str| Sourced {
            value: PathBuf::from(path),
            span: None,
        };
        let mut bastion = Target::new("bastion", 22, "u");
        bastion.identity_file = vec![path("/k/shared"), path("/k/bastion")];
        let mut target = Target::new("db", 22, "u");
        target.identity_file = vec![path("/k/shared"), path("/k/own")];
        target.via = Via::Jump(Arc::new(bastion));
        let beside = ["/k/shared-cert.pub", "/k/bastion-cert.pub"].map(PathBuf::from);
        let own = PathBuf::from("/k/own-cert.pub");
        assert_eq!(files(&target), [&beside[..], &[own]].concat());
        target.certificate_file = vec![path("/c/named")];
        let named = PathBuf::from("/c/named");
        assert_eq!(files(&target), [&beside[..], &[named]].concat());
    }
}
