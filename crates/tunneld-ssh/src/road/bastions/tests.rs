use super::*;
use crate::road::testing::target;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tunneld_core::config::Via;

const LONG: Duration = Duration::from_secs(600);

fn trust() -> TrustCommand {
    TrustCommand::written("tunneld trust t".to_owned())
}

const KEEPALIVE: Keepalive = Keepalive {
    interval: Duration::from_secs(15),
    count_max: 3,
};

/// A server that has accepted nothing yet.
async fn server() -> (TcpListener, Arc<Target>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Arc::new(target("127.0.0.1", port, Via::Direct)))
}

/// The next connection, once our identification string has come.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.read_exact(&mut [0; 4]).await.unwrap();
    socket
}

async fn is_closed(mut socket: TcpStream) {
    // A reset is an end too.
    let _ = socket.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn those_who_want_the_same_share_one_attempt_and_its_failure() {
    let (listener, jump) = server().await;
    let bastions = Bastions::default();
    let first = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    let same = Arc::new(Target::clone(&jump));
    let second = bastions.take(&same, KEEPALIVE, LONG, &trust());
    assert!(Arc::ptr_eq(&first, &second));
    drop(accept(&listener).await);
    let (first, second) = tokio::join!(first.ready(), second.ready());
    let failure = first.err().unwrap();
    assert_eq!(failure.stage, Stage::KeyExchange);
    assert_eq!(second.err().unwrap(), failure);
}

#[tokio::test]
async fn another_user_of_a_host_has_another_session() {
    let (_listener, jump) = server().await;
    let other = Arc::new(Target {
        user: "other".to_owned(),
        ..Target::clone(&jump)
    });
    let bastions = Bastions::default();
    let first = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    let second = bastions.take(&other, KEEPALIVE, LONG, &trust());
    assert!(!Arc::ptr_eq(&first, &second));
    let again = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    assert!(Arc::ptr_eq(&first, &again));
}

#[tokio::test]
async fn an_attempt_ends_when_the_last_of_those_who_wait_gives_up() {
    let (listener, jump) = server().await;
    let bastions = Bastions::default();
    let first = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    let second = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    let socket = accept(&listener).await;
    drop(first);
    tokio::task::yield_now().await;
    assert!(second.is_fit());
    drop(second);
    is_closed(socket).await;
    bastions.closed().await;
    assert!(bastions.list().is_empty());
}

#[tokio::test]
async fn a_failed_attempt_is_not_remembered() {
    let (listener, jump) = server().await;
    let bastions = Bastions::default();
    let first = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    drop(accept(&listener).await);
    assert!(first.ready().await.is_err());
    let second = bastions.take(&jump, KEEPALIVE, LONG, &trust());
    assert!(!Arc::ptr_eq(&first, &second));
    accept(&listener).await;
    drop((first, second));
    bastions.closed().await;
    assert!(bastions.list().is_empty());
}

#[tokio::test]
async fn an_attempt_has_the_longest_patience_of_those_who_wait() {
    let (listener, jump) = server().await;
    let bastions = Bastions::default();
    let long = bastions.take(&jump, KEEPALIVE, Duration::from_millis(500), &trust());
    let longer = bastions.take(&jump, KEEPALIVE, Duration::from_secs(1), &trust());
    let socket = accept(&listener).await;
    let failure = long.ready().await.err().unwrap();
    assert_eq!(
        failure.cause,
        "server accepted but did not speak SSH within 1s"
    );
    assert_eq!(longer.ready().await.err().unwrap(), failure);
    is_closed(socket).await;
}

#[tokio::test]
async fn a_chain_is_one_shared_session_a_hop_and_its_failure_names_the_hop() {
    let (listener, first) = server().await;
    let second = Arc::new(target("second", 22, Via::Jump(Arc::clone(&first))));
    let name = format!("127.0.0.1:{}", first.port);
    let bastions = Bastions::default();
    let over = bastions.take(&second, KEEPALIVE, LONG, &trust());
    let socket = accept(&listener).await;
    let direct = bastions.take(&first, KEEPALIVE, LONG, &trust());
    assert_eq!(bastions.list().len(), 2);
    drop(socket);
    let direct_failure = direct.ready().await.err().unwrap();
    let failure = over.ready().await.err().unwrap();
    assert_eq!(failure, direct_failure.at_hop(&name));
    drop((over, direct));
    bastions.closed().await;
}

#[tokio::test]
async fn the_sooner_keepalive_of_those_who_share_a_session_counts() {
    let keepalive = |seconds, count_max| Keepalive {
        interval: Duration::from_secs(seconds),
        count_max,
    };
    let (_listener, jump) = server().await;
    let bastions = Bastions::default();
    let lease = bastions.take(&jump, keepalive(0, 3), LONG, &trust());
    for (wanted, counts) in [
        (keepalive(15, 3), keepalive(15, 3)),
        (keepalive(1, 3), keepalive(1, 3)),
        (keepalive(1, 4), keepalive(1, 3)),
        (keepalive(0, 0), keepalive(1, 3)),
    ] {
        bastions.take(&jump, wanted, LONG, &trust());
        assert_eq!(lease.wishes.borrow().keepalive, counts);
    }
}
