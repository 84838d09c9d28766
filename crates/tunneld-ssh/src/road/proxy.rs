//! TCP to a proxy, which connects to the server and steps aside: the session runs over the bare
//! socket afterwards.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tunneld_core::config::{Proxy, ProxyKind, Target};
use tunneld_core::failure::{Failure, Stage};

use super::{failure_of, http, socks, system_failure};
use crate::connect::{Progress, Where};
use crate::dial::{self, Dial};
use crate::shared::Shared;

/// Connects to the server of `target` through `proxy`.
pub(super) async fn reach(
    proxy: &Proxy,
    target: &Target,
    progress: &Progress,
    shared: &Arc<Shared>,
) -> Result<TcpStream, Failure> {
    let what = format!("proxy {proxy}");
    progress.at(Where::Over {
        what: what.clone(),
        shared: Arc::clone(shared),
    });
    let reached = async {
        let to = Dial::new(&proxy.host, proxy.port, target);
        let (socket, _) = dial::dial(to, shared).await?;
        match proxy.kind {
            ProxyKind::Socks5 => socks::connect(socket, &target.host, target.port).await,
            ProxyKind::Http => http::connect(socket, &target.host, target.port).await,
        }
    };
    reached.await.map_err(|failure| failure_of(&what, failure))
}

/// The connection to the proxy broke.
pub(super) fn broken(e: &io::Error) -> Failure {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => Failure::transient(Stage::Connect, "closed the connection"),
        _ => system_failure(e),
    }
}

/// The proxy speaks something else.
pub(super) fn not_speaking(what: &str) -> Failure {
    Failure::transient(Stage::Connect, format!("does not speak {what}"))
        .with_hint("check `proxy`: something else listens there")
}

/// The proxy wants to know who we are.
pub(super) fn wants_login(cause: impl Into<String>) -> Failure {
    Failure::blocked(Stage::Connect, cause)
        .with_hint("tunneld logs in to no proxy: let this machine through without a password")
}

/// The proxy is not allowed to do what it was asked for.
pub(super) fn forbidden(cause: impl Into<String>) -> Failure {
    Failure::blocked(Stage::Connect, cause)
        .with_hint("the proxy must allow connections to the host and port of the SSH server")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::testing::target;
    use tunneld_core::config::Via;

    #[tokio::test]
    async fn a_proxy_that_refuses_the_connection_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let proxy = Proxy {
            kind: ProxyKind::Http,
            host: "127.0.0.1".to_owned(),
            port,
        };
        let trust = crate::host_key::TrustCommand::written("tunneld trust t".to_owned());
        let web = target("web", 22, Via::Proxy(proxy.clone()));
        let progress = Progress::new(
            trust,
            std::time::Duration::from_secs(60),
            Default::default(),
        );
        let failure = reach(&proxy, &web, &progress, &Shared::new(Default::default()))
            .await
            .unwrap_err();
        let cause = format!("proxy http://127.0.0.1:{port}: connection refused");
        assert_eq!(failure, Failure::transient(Stage::Connect, cause));
    }
}
