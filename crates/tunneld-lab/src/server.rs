//! An SSH server in this process: it forwards (`direct-tcpip`) for the keys that it is given, and
//! breaks on request.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg};
use russh::server::{PublicKeyOffer, Response, Session};
use russh::server::{VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelOpenFailure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::asking::{Answers, Asking, Interview};
use crate::fault::{self, Fault, Refusal};
use crate::keys::KeyFiles;
use crate::pump::pump;
use crate::sshd::known_hosts_line;
use crate::target::{TIMEOUT, free_addr};

/// What a [`LabServer`] shall be like.
#[derive(Debug, Clone, Default)]
pub struct LabOptions {
    /// The keys that may log in, as `TYPE BASE64`; every key may when there is none.
    pub authorized: Vec<String>,
    /// Where to listen; a loopback address of its own unless told.
    pub listen: Option<SocketAddr>,
    /// What is wrong with it from the start.
    pub fault: Option<Fault>,
    /// How long a target may take to answer; 10 s unless told.
    pub connect_timeout: Option<Duration>,
    /// What it asks for besides a key.
    pub asking: Asking,
}

impl LabOptions {
    /// A server without faults that only `key` may log in to.
    pub fn for_key(key: &KeyFiles) -> Self {
        LabOptions {
            authorized: vec![key.public_line()],
            ..LabOptions::default()
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

/// An SSH server on a thread of its own. Dropped, it is killed.
pub struct LabServer {
    addr: SocketAddr,
    state: Arc<State>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What every connection of a server shares.
struct State {
    authorized: Vec<KeyData>,
    connect_timeout: Duration,
    asking: Arc<Asking>,
    answers: Answers,
    host_key: Mutex<PrivateKey>,
    fault: Mutex<Option<Fault>>,
    open: Mutex<HashMap<u64, StdStream>>,
    client: Mutex<Option<LoggedIn>>,
    accepted: AtomicU64,
    authenticated: AtomicU64,
    auth_requests: AtomicU64,
    channels: AtomicU64,
}

/// A client that has logged in, to be spoken to from outside.
struct LoggedIn {
    session: Handle,
    runtime: tokio::runtime::Handle,
}

impl State {
    fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap().clone()
    }
}

fn new_host_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("cannot make a host key")
}

impl LabServer {
    /// Starts a server with a fresh Ed25519 host key, and returns once it listens.
    ///
    /// # Panics
    /// When the address cannot be listened on, or a key is not one.
    pub fn start(options: LabOptions) -> Self {
        let key = |line: &String| {
            let key = PublicKey::from_openssh(line);
            key.expect("not a public key").key_data().clone()
        };
        let state = State {
            authorized: options.authorized.iter().map(key).collect(),
            connect_timeout: options.connect_timeout.unwrap_or(Duration::from_secs(10)),
            asking: Arc::new(options.asking),
            answers: Answers::default(),
            host_key: Mutex::new(new_host_key()),
            fault: Mutex::new(options.fault),
            open: Mutex::default(),
            client: Mutex::default(),
            accepted: AtomicU64::new(0),
            authenticated: AtomicU64::new(0),
            auth_requests: AtomicU64::new(0),
            channels: AtomicU64::new(0),
        };
        let mut server = LabServer {
            addr: options.listen.unwrap_or_else(free_addr),
            state: Arc::new(state),
            running: None,
        };
        server.restart();
        server
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address without the port.
    pub fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    /// The line of known_hosts for its host key, with the line's end.
    pub fn host_key_line(&self) -> String {
        let key = self.state.host_key.lock().unwrap();
        let public = key.public_key().to_openssh().expect("no public key");
        let words: Vec<_> = public.split_whitespace().take(2).collect();
        known_hosts_line(self.addr, &words.join(" "))
    }

    /// Takes another host key, for connections that come from now on.
    pub fn change_host_key(&self) {
        *self.state.host_key.lock().unwrap() = new_host_key();
    }

    /// Breaks the server, or mends it with `None`.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Stops listening and resets every connection.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        // Before the runtime drops the sockets: what makes their close a reset.
        for stream in self.state.open.lock().unwrap().values() {
            fault::reset_on_close(stream);
        }
        let _ = running.stop.send(());
        let _ = running.thread.join();
        // A connection that came meanwhile.
        self.state.open.lock().unwrap().clear();
    }

    /// Ends every connection, without a word of SSH; the server still listens.
    pub fn drop_connections(&self) {
        for (_, stream) in self.state.open.lock().unwrap().drain() {
            fault::reset_on_close(&stream);
            // Ends the session, which then closes the last handle.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again on the same address with the same host key; kills first what still runs.
    pub fn restart(&mut self) {
        self.kill();
        let listener = StdListener::bind(self.addr)
            .unwrap_or_else(|e| panic!("cannot listen on {}: {e}", self.addr));
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let state = self.state.clone();
        let thread = std::thread::Builder::new()
            .name("lab-server".to_owned())
            .spawn(move || serve(listener, state, stopped))
            .expect("cannot start a thread");
        self.running = Some(Running { stop, thread });
    }

    /// Hands a connection to the client that logged in last, as if it had asked for this place
    /// (`forwarded-tcpip`); why it does not take it.
    ///
    /// # Panics
    /// When no client has logged in, or it does not answer.
    pub fn hand_over(&self, address: &str, port: u16) -> Result<(), String> {
        let (answer, answered) = std::sync::mpsc::channel();
        let address = address.to_owned();
        {
            let client = self.state.client.lock().unwrap();
            let client = client.as_ref().expect("no client has logged in");
            let session = client.session.clone();
            client.runtime.spawn(async move {
                let open = session.channel_open_forwarded_tcpip(address, port.into(), "::1", 9);
                let _ = answer.send(open.await.map(drop).map_err(|e| e.to_string()));
            });
        }
        answered.recv_timeout(TIMEOUT).expect("no answer")
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Logins since the start.
    pub fn authenticated(&self) -> u64 {
        self.state.authenticated.load(Ordering::SeqCst)
    }

    /// Authentication requests since the start, a client's opening `none` among them.
    pub fn authentication_requests(&self) -> u64 {
        self.state.auth_requests.load(Ordering::SeqCst)
    }

    /// Every password, and every answer to a question, that it was given since the start.
    pub fn answers(&self) -> Vec<String> {
        self.state.answers.all()
    }

    /// Channels that clients asked for since the start.
    pub fn channels(&self) -> u64 {
        self.state.channels.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.open.lock().unwrap().len()
    }
}

impl Drop for LabServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(listener: StdListener, state: Arc<State>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("cannot start a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("cannot listen");
        let accepting = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(converse(Connection::new(stream, &state), state.clone()));
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    });
    // Dropping the runtime drops every session and with it every socket.
}

async fn converse(stream: Connection, state: Arc<State>) {
    if let Some(raw) = state.fault().filter(Fault::is_raw) {
        return fault::play(raw, stream).await;
    }
    let config = Config {
        keys: vec![state.host_key.lock().unwrap().clone()],
        methods: state.asking.methods(),
        // The constant time that this is for protects passwords; here it would only cost time.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        max_auth_attempts: 100,
        nodelay: true,
        ..Config::default()
    };
    let client = Client {
        interview: Interview::new(&state.asking, &state.answers),
        state,
        unanswered: Vec::new(),
    };
    if let Ok(session) = run_stream(Arc::new(config), stream, client).await {
        let _ = session.await;
    }
}

/// A TCP connection that the server knows of, so that it can be reset from outside.
pub(crate) struct Connection {
    stream: TcpStream,
    id: u64,
    state: Arc<State>,
}

impl Connection {
    fn new(stream: TcpStream, state: &Arc<State>) -> Self {
        let _ = stream.set_nodelay(true);
        let id = state.accepted.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = socket2::SockRef::from(&stream).try_clone() {
            state.open.lock().unwrap().insert(id, copy.into());
        }
        let state = state.clone();
        Connection { stream, id, state }
    }

    pub(crate) fn reset_on_close(&self) {
        let _ = self.stream.set_zero_linger();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.open.lock().unwrap().remove(&self.id);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One client, as russh asks about it.
struct Client {
    state: Arc<State>,
    /// Openings that are never answered: dropping one would answer it.
    unanswered: Vec<ChannelOpenHandle>,
    interview: Interview,
}

impl Client {
    /// What an authentication request leads to before its key is looked at.
    async fn request(&self) -> Result<(), russh::Error> {
        self.state.auth_requests.fetch_add(1, Ordering::SeqCst);
        match self.state.fault() {
            Some(Fault::DropEachAuthentication) => Err(russh::Error::Disconnect),
            Some(Fault::NeverAnswerAuthentication) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn judge(&self, key: &PublicKey) -> Auth {
        let authorized = &self.state.authorized;
        let known = authorized.is_empty() || authorized.contains(key.key_data());
        if known && self.state.fault() != Some(Fault::RejectEveryKey) {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        self.request().await?;
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.request().await?;
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(match self.judge(key.public_key) {
            Auth::Accept => self.state.asking.key_was_right(),
            refused => refused,
        })
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.request().await?;
        self.interview.password(password)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        answers: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        self.request().await?;
        Ok(self.interview.answer(answers))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        *self.state.client.lock().unwrap() = Some(LoggedIn {
            session: session.handle(),
            runtime: tokio::runtime::Handle::current(),
        });
        self.state.authenticated.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.state.channels.fetch_add(1, Ordering::SeqCst);
        let refusal = match self.state.fault() {
            Some(Fault::NeverAnswerChannels) => {
                self.unanswered.push(reply);
                return Ok(());
            }
            Some(Fault::RefuseChannels(refusal)) => Some(refusal),
            _ => None,
        };
        let target = (host.to_owned(), u16::try_from(port).unwrap_or(0));
        let timeout = self.state.connect_timeout;
        // Not here: a slow target must not hold up the session.
        tokio::spawn(async move {
            let connected = match refusal {
                Some(refusal) => Err(refusal),
                None => match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
                    Ok(Ok(tcp)) => Ok(tcp),
                    _ => Err(Refusal::ConnectFailed),
                },
            };
            match connected {
                Ok(tcp) => {
                    reply.accept().await;
                    pump(tcp, channel).await;
                }
                Err(refusal) => reply.reject(failure(refusal)).await,
            }
        });
        Ok(())
    }
}

fn failure(refusal: Refusal) -> ChannelOpenFailure {
    match refusal {
        Refusal::AdministrativelyProhibited => ChannelOpenFailure::AdministrativelyProhibited,
        Refusal::ConnectFailed => ChannelOpenFailure::ConnectFailed,
        Refusal::UnknownChannelType => ChannelOpenFailure::UnknownChannelType,
        Refusal::ResourceShortage => ChannelOpenFailure::ResourceShortage,
    }
}
