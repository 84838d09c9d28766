//! From a tunnel's specification to a live session.
//!
//! One deadline runs over everything: resolver, TCP, key exchange, host key, authentication.
//! Whatever is given up is ended: russh's tasks survive the futures that started them, so the
//! socket under them is killed.

use std::sync::Arc;
use std::time::Duration;

use russh::client;
use tunneld_core::config::{Target, TunnelSpec};
use tunneld_core::failure::{Failure, Stage};

use crate::algorithms;
use crate::auth;
use crate::dial;
use crate::error::{os_reason, session_failure, timeout_failure};
use crate::handler::{Handler, Shared};
use crate::known_hosts::KnownHosts;
use crate::link::{KillOnDrop, Link};
use crate::session::Session;

/// The channel window: how much a server may send before it waits for us (RFC 4254 section 5.2).
const WINDOW: u32 = 2 << 20;
/// The largest packet we take, as OpenSSH's.
const PACKET: u32 = 32 << 10;

/// Makes a session as `spec` says, within its `connect_timeout`.
///
/// # Errors
///
/// A [`Failure`] that says at which stage the attempt failed and whether waiting can fix it.
/// Dropping the future gives the attempt up.
pub async fn connect(spec: &TunnelSpec) -> Result<Session, Failure> {
    let shared = Shared::new();
    let attempt = establish(spec, Arc::clone(&shared));
    match tokio::time::timeout(spec.connect_timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(timeout_failure(shared.stage(), spec.connect_timeout)),
    }
}

async fn establish(spec: &TunnelSpec, shared: Arc<Shared>) -> Result<Session, Failure> {
    let target = &spec.target;
    shared.set_stage(Stage::HostKey);
    let known = read_known_hosts(target).await?;
    let (socket, peer) = dial::dial(target, &shared).await?;
    shared.set_stage(Stage::KeyExchange);
    let (stream, link) = Link::new(socket);
    link.set_user_timeout(spec.keepalive)
        .map_err(|e| Failure::transient(Stage::Connect, os_reason(&e)))?;
    let guard = KillOnDrop::new(&link);
    let config = config(&known.known_algorithms(&target.host, target.port));
    let handler = Handler::new(target.clone(), known, Arc::clone(&shared));
    let mut handle = client::connect_stream(Arc::new(config), stream, handler)
        .await
        .map_err(|e| session_failure(shared.stage(), &e))?;
    shared.set_stage(Stage::Authenticate);
    auth::authenticate(&mut handle, target, &shared).await?;
    shared.set_stage(Stage::Session);
    guard.disarm();
    Ok(Session::start(handle, peer, spec.keepalive, link, shared))
}

async fn read_known_hosts(target: &Target) -> Result<KnownHosts, Failure> {
    let files: Vec<_> = target.known_hosts.iter().map(|f| f.value.clone()).collect();
    let read = tokio::task::spawn_blocking(move || KnownHosts::read(&files)).await;
    match read {
        Ok(Ok(known)) => Ok(known),
        Ok(Err(e)) => Err(e.into_failure()),
        Err(_) => Err(Failure::transient(
            Stage::HostKey,
            "reading known_hosts was interrupted",
        )),
    }
}

fn config(known: &[russh::keys::Algorithm]) -> client::Config {
    client::Config {
        client_id: russh::SshId::Standard(
            concat!("SSH-2.0-tunneld_", env!("CARGO_PKG_VERSION")).into(),
        ),
        // russh ends a busy session when it asks for new keys itself while much data is coming in;
        // `rekey.rs` asks in a quiet moment, and the server's own requests are always safe.
        limits: russh::Limits {
            rekey_write_limit: usize::MAX,
            rekey_read_limit: usize::MAX,
            rekey_time_limit: Duration::from_secs(365 * 24 * 3600),
        },
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: algorithms::preferred(known),
        // Both are done beside the session: see `keepalive.rs`.
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..client::Config::default()
    }
}
