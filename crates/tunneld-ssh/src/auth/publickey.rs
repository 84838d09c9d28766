//! The method `publickey` (RFC 4252 section 7): the server is asked whether it would take a key,
//! and only then is something signed.

use russh::keys::{Algorithm, HashAlg};
use tunneld_core::failure::{Failure, Stage};

use super::offers::{Shown, SignedBy};
use super::signer::{Signer, Unsigned};
use super::{Attempt, Reply};
use crate::error::session_failure;

impl Attempt<'_> {
    /// Tries the key at this place of the list.
    pub(super) async fn key(&mut self, at: usize) -> Result<Reply, Failure> {
        let rsa = self
            .offers
            .get(at)
            .map(|offer| offer.shown.key_data().algorithm());
        let hash = match rsa {
            Some(Algorithm::Rsa { .. }) => Some(self.rsa_hash().await?),
            _ => None,
        };
        let Some(offer) = self.offers.get(at) else {
            return Ok(Reply::Skipped);
        };
        let (fingerprint, label) = (offer.fingerprint(), offer.label());
        let connection = &mut self.connection;
        let shared = connection.shared;
        shared.waits_for(match offer.signer {
            SignedBy::File(_) => format!("no answer to the key {fingerprint}"),
            SignedBy::Agent(_) => format!(
                "no answer to the key {fingerprint}, or no signature by the agent: a security key \
                 waits to be touched"
            ),
        });
        let mut signer = Signer {
            by: &offer.signer,
            agent: self.agent.as_mut(),
        };
        let user = &connection.target.user;
        let result = match &offer.shown {
            Shown::Key(key) => {
                let (key, handle) = (key.clone(), &mut connection.handle);
                handle
                    .authenticate_publickey_with(user, key, hash, &mut signer)
                    .await
            }
            Shown::Certificate(certificate) => {
                let (certificate, handle) = (certificate.as_ref().clone(), &mut connection.handle);
                handle
                    .authenticate_certificate_with(user, certificate, hash, &mut signer)
                    .await
            }
        };
        let result = match result {
            Ok(result) => Ok(result),
            Err(Unsigned::Over) => Err(russh::Error::Disconnect),
            Err(Unsigned::Problem(problem)) => {
                connection.skipped("publickey", &label, &problem.cause);
                self.tried.problem(problem);
                return Ok(Reply::Skipped);
            }
        };
        // Before the answer is looked at: it may be the end of the session.
        self.tried.refused_key(fingerprint.clone());
        let reply = self.reply(result, "publickey", &label).await?;
        if matches!(reply, Reply::Partial(_)) {
            self.tried.accepted(format!("the key {fingerprint}"));
        }
        Ok(reply)
    }

    /// With what RSA keys sign: never with SHA-1, which is what a server gets that says nothing of
    /// what it knows, if russh is not told otherwise.
    async fn rsa_hash(&mut self) -> Result<HashAlg, Failure> {
        if let Some(hash) = self.rsa_hash {
            return Ok(hash);
        }
        let supported = self.connection.handle.best_supported_rsa_hash().await;
        let supported = supported.map_err(|e| session_failure(Stage::Authenticate, &e.into()))?;
        let hash = supported.flatten().unwrap_or(HashAlg::Sha512);
        self.rsa_hash = Some(hash);
        Ok(hash)
    }
}
