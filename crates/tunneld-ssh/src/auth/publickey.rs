//! The method `publickey` (RFC 4252 section 7): the server is asked whether it would take a key,
//! and only then is something signed.

use russh::client::AuthResult;
use russh::keys::{Algorithm, HashAlg};
use tunneld_core::failure::{Failure, Stage};

use super::offers::{Offer, Shown, SignedBy};
use super::signer::{Signer, Unsigned};
use super::tried::Request;
use super::{Attempt, Connection, Reply};
use crate::agent::Agent;
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
        let shown = self.connection.show(offer, self.agent.as_mut(), hash);
        let result = match shown.await {
            Ok(result) => Ok(result),
            Err(Unsigned::Over) => Err(russh::Error::Disconnect),
            Err(Unsigned::Problem(problem)) => {
                self.connection.skipped("publickey", &label, &problem.cause);
                self.tried.problem(problem);
                return Ok(Reply::Skipped);
            }
        };
        // Before the answer is looked at: it may be the end of the session.
        self.tried.refused_key(fingerprint.clone());
        let request = Request {
            method: "publickey",
            with: &label,
            is_password: false,
        };
        let reply = self.reply(result, &request).await?;
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

impl Connection<'_> {
    /// Offers a key, and signs with it once the server says that it would take it.
    async fn show(
        &mut self,
        offer: &Offer,
        agent: Option<&mut Agent>,
        hash: Option<HashAlg>,
    ) -> Result<AuthResult, Unsigned> {
        let fingerprint = offer.fingerprint();
        self.shared.waits_for(match offer.signer {
            SignedBy::File(_) => format!("no answer to the key {fingerprint}"),
            SignedBy::Agent(_) => format!(
                "no answer to the key {fingerprint}, or no signature by the agent: a security key \
                 waits to be touched"
            ),
        });
        let mut signer = Signer {
            by: &offer.signer,
            agent,
            shared: self.shared,
        };
        let (user, handle) = (&self.target.user, &mut self.handle);
        match &offer.shown {
            Shown::Key(key) => {
                let key = key.clone();
                handle
                    .authenticate_publickey_with(user, key, hash, &mut signer)
                    .await
            }
            Shown::Certificate(certificate) => {
                let certificate = certificate.as_ref().clone();
                handle
                    .authenticate_certificate_with(user, certificate, hash, &mut signer)
                    .await
            }
        }
    }
}
