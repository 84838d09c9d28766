//! Further keys of a host that is known: OpenSSH's UpdateHostKeys (`hostkeys-00@openssh.com` and
//! `hostkeys-prove-00@openssh.com`, its PROTOCOL section 2.5).
//!
//! A server announces its keys after authentication. Those that are new are written down once it
//! has proved that it has them, so that its keys can be changed without a person at every client.
//! That is done where the host itself was found by a plain line that is for it alone: not by a
//! pin, a certificate or a pattern, and, as with ssh, not where an authority is known for it.
//!
//! Unlike ssh, nothing is taken out: a key that the server announces no more is only told of. The
//! file is added to and never rewritten (see `known_hosts::edit`), it often is one of the
//! administrator's, and `ssh-keygen -R` is there.
//!
//! Nothing of this makes a session fail.

use std::path::PathBuf;
use std::time::Duration;

use russh::keys::PublicKey;
use tokio::sync::oneshot;
use tunneld_core::config::Target;
use tunneld_core::events;

use crate::algorithms;
use crate::host_key::{TrustCommand, named};
use crate::known_hosts::{self, KnownAs, KnownHosts, LearnError, Marker};
use crate::once;
use crate::opener::Opener;

mod asked;
#[cfg(test)]
mod tests;

use asked::Ask;

/// The most keys that are looked at; servers have four.
const MOST_KEYS: usize = 100;

/// How long a server may take to prove that it has them, behind all else that it sends.
const PROOF_PATIENCE: Duration = Duration::from_secs(30);

/// What a server has announced.
pub(crate) struct Announcement {
    pub(crate) keys: Vec<PublicKey>,
    /// The file that new ones belong in: that of the line that trusts the present one.
    pub(crate) file: PathBuf,
}

/// Waits for the announcement of one session's server.
pub(crate) struct Learner {
    server: Server,
    announced: oneshot::Receiver<Announcement>,
}

/// The server, and what log lines about it begin with.
struct Server {
    target: Target,
    trust: TrustCommand,
}

/// A learner for the server of `target`, and whom to tell of the announcement; nobody where
/// `update_host_keys` is off.
pub(crate) fn learner(
    target: &Target,
    trust: &TrustCommand,
) -> Option<(oneshot::Sender<Announcement>, Learner)> {
    let (sender, announced) = oneshot::channel();
    let server = target.update_host_keys.then(|| Server {
        target: target.clone(),
        trust: trust.clone(),
    })?;
    Some((sender, Learner { server, announced }))
}

impl Learner {
    /// Learns what the server announces. To be given up when the session ends.
    pub(crate) async fn learn(self, session: Opener) {
        // Whoever is not to be trusted with it drops the other end.
        let Ok(Announcement { keys, file }) = self.announced.await else {
            return;
        };
        let server = self.server;
        let Some(news) = read(&server.target, keys).await else {
            return;
        };
        for gone in &news.gone {
            server.tell_gone(gone);
        }
        if news.new.is_empty() {
            return;
        }
        match prove(&session, &server.target, &news.new).await {
            Ok(()) => server.write(file, news.new).await,
            Err(Some(cause)) => server.tell_not_learnt(cause, None),
            Err(None) => {}
        }
    }
}

/// What is new about the keys of a host.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// Not known yet.
    new: Vec<PublicKey>,
    /// Known, and announced no more.
    gone: Vec<Gone>,
}

#[derive(Debug, PartialEq, Eq)]
struct Gone {
    /// `ED25519 SHA256:…`.
    key: String,
    /// `FILE:LINE`.
    place: String,
}

/// What is new by the files, which may have changed since the session was made. `None` where they
/// cannot be read: that is told when the next session is made.
async fn read(target: &Target, announced: Vec<PublicKey>) -> Option<News> {
    let target = target.clone();
    let sifting = move || {
        let files = target.known_hosts.iter().map(|file| file.value.clone());
        let known = KnownHosts::read(&files.collect::<Vec<_>>()).ok()?;
        Some(sift(&target, &known, &announced))
    };
    tokio::task::spawn_blocking(sifting).await.ok().flatten()
}

fn sift(target: &Target, known: &KnownHosts, announced: &[PublicKey]) -> News {
    let lines = known.lookup(&KnownAs::of(target));
    let about_others = lines.iter().find(|line| match line.marker() {
        None => line.is_shared(),
        Some(marker) => marker == Marker::CertAuthority,
    });
    if let Some(line) = about_others {
        let place = line.place();
        tracing::debug!(host = %target.host, place, "no further host keys: the line is for others too");
        return News::default();
    }
    let mut news = News::default();
    let taken_out = lines.iter().all(|line| line.marker().is_some());
    if taken_out || announced.is_empty() {
        return news;
    }
    for key in announced.iter().take(MOST_KEYS) {
        // A revoked key is known, too.
        let known = lines.iter().any(|line| line.key() == Some(key.key_data()));
        if !known && algorithms::accepts(target, key.key_data()) && !news.new.contains(key) {
            news.new.push(key.clone());
        }
    }
    for line in lines.iter().filter(|line| line.marker().is_none()) {
        if let Some(key) = line.key()
            && announced.iter().all(|a| a.key_data() != key)
        {
            let (key, place) = (named(key), line.place());
            news.gone.push(Gone { key, place });
        }
    }
    news
}

/// Has the server prove that it has all the keys, or says what came of it, where there is something
/// to say.
async fn prove(
    session: &Opener,
    target: &Target,
    keys: &[PublicKey],
) -> Result<(), Option<&'static str>> {
    let names: Vec<_> = keys.iter().map(|key| named(key.key_data())).collect();
    let question = format!("{target}: {}", names.join(", "));
    match asked::may_ask(&question, session.ending()) {
        Ask::Yes => {}
        Ask::NotNow => return Err(None),
        Ask::Never => {
            return Err(Some(
                "a session ended during the proof of them, so that it is not asked for again",
            ));
        }
    }
    let proof = session.prove_host_keys(keys.to_vec());
    let proved = match tokio::time::timeout(PROOF_PATIENCE, proof).await {
        Ok(Err(None)) => return Err(None),
        Ok(proved) => proved,
        Err(_) => Err(Some("the server does not prove that it has them")),
    };
    asked::answered(&question);
    proved
}

impl Server {
    async fn write(&self, file: PathBuf, keys: Vec<PublicKey>) {
        let (path, host) = (file.clone(), KnownAs::of(&self.target));
        let learning = move || known_hosts::learn_further(&path, &host, &keys);
        match tokio::task::spawn_blocking(learning).await {
            Ok(Ok(learnt)) => {
                for key in learnt {
                    tracing::info!(
                        message_id = events::FURTHER_HOST_KEY_LEARNT,
                        tunnel = self.trust.tunnel(),
                        host = %self.target.host,
                        key = named(key.key_data()),
                        file = %file.display(),
                        "learnt a further host key"
                    );
                }
            }
            Ok(Err(e)) => self.tell_not_learnt(&e.to_string(), Some(&hint(&e))),
            Err(_) => {}
        }
    }

    /// The next session, and the next, would say it again.
    fn tell_not_learnt(&self, cause: &str, hint: Option<&str>) {
        if once::is_news(&format!("{}: {cause}", self.target)) {
            tracing::warn!(
                message_id = events::FURTHER_HOST_KEYS_NOT_LEARNT,
                tunnel = self.trust.tunnel(),
                host = %self.target.host,
                cause,
                hint,
                "further host keys not learnt"
            );
        }
    }

    fn tell_gone(&self, gone: &Gone) {
        let Gone { key, place } = gone;
        if once::is_news(&format!("{}: {place} has {key}", self.target)) {
            tracing::info!(
                message_id = events::HOST_KEY_GONE,
                tunnel = self.trust.tunnel(),
                host = %self.target.host,
                key,
                place,
                "host key no longer announced by the host"
            );
        }
    }
}

fn hint(error: &LearnError) -> String {
    const OFF: &str = "set `update_host_keys = false`";
    match error.remedy() {
        Some(remedy) => format!("{remedy}; or {OFF}"),
        None => OFF.to_owned(),
    }
}
