//! tunneld in action on one machine, with nothing installed: `cargo run --release --example demo`.
//!
//! An SSH server and a web server run inside this program, on loopback. The daemon is real: this
//! program starts itself once more, and the copy is tunneld. The story: a page comes through the
//! tunnel; the SSH server is killed and comes back, and a client that came meanwhile is served;
//! the configuration gets one more forward while a download runs, and not a byte of it is lost.
//!
//! It goes on until Ctrl-C, so that you can look around; `--once` ends it after the story.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys;
use tunneld_lab::process::{descendants, kill_tree, poll, printed};
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::{Digest, Pattern, TcpServer, free_port, try_connect};

/// Set for the copy of this program that is tunneld.
const CHILD: &str = "TUNNELD_DEMO_CHILD";
/// How long anything in the story may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The size of the download.
const BIG: u64 = 32 << 20;
const SEED: u64 = 2024;

type Step<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        // However this program ends, its daemon must not stay behind. Where that cannot be asked
        // of the kernel, the ways out below still end it.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        return tunneld::main();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--once"] => true,
        _ => {
            eprintln!("usage: cargo run --release --example demo [-- --once]");
            return ExitCode::from(2);
        }
    };
    match run(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nthe demo failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The story from beginning to end.
fn run(once: bool) -> Step {
    let story = Story::begin();
    let web = web_server();
    let mut stage = start_daemon(&story, &web)?;
    fetch_a_page(&story, &stage)?;
    survive_an_outage(&story, &mut stage)?;
    reload_during_a_download(&story, &stage, &web)?;
    show_status(&story, &stage)?;
    if !once {
        look_around(&stage)?;
    }
    story.step("stopping tunneld");
    let status = stage.daemon.terminate(PATIENCE);
    story.saw(&format!("it ended with {status}"));
    match status.success() {
        true => Ok(()),
        false => Err(format!("tunneld ended with {status}").into()),
    }
}

/// Everything that takes part.
struct Stage {
    daemon: Daemon,
    server: LabServer,
    config: Config,
    page: SocketAddr,
    interrupt: Interrupt,
}

fn start_daemon(story: &Story, web: &TcpServer) -> Step<Stage> {
    story.step("starting an SSH server, a web server and tunneld");
    let builder = Daemon::builder(&std::env::current_exe()?).env(CHILD, "1");
    let interrupt = Interrupt::watch(builder.dir().to_owned())?;
    let key = keys::generate(builder.dir(), "id_ed25519");
    let server = LabServer::start(LabOptions::for_key(&key));
    std::fs::write(builder.dir().join("known_hosts"), server.host_key_line())?;
    let page = free_loopback();
    let config = Config {
        server: server.addr(),
        forwards: vec![("page", page, web.addr())],
    };
    story.saw(&format!("the SSH server listens on {}", server.addr()));
    story.saw(&format!("the web server listens on {}", web.addr()));
    story.show("tunneld.toml", &config.text());
    let daemon = builder.config(&config.text()).start();
    let tunnel = daemon.wait_phase("demo", Phase::Up, PATIENCE);
    let session = tunnel.session.ok_or("the tunnel is up without a session")?;
    story.saw(&format!(
        "the tunnel is up: process {}, {} with {}",
        daemon.pid(),
        tunnel.destination,
        session.cipher
    ));
    Ok(Stage {
        daemon,
        server,
        config,
        page,
        interrupt,
    })
}

fn fetch_a_page(story: &Story, stage: &Stage) -> Step {
    story.step(&format!(
        "fetching http://{}/ through the tunnel",
        stage.page
    ));
    let start = Instant::now();
    let body = fetch(stage.page)?;
    story.saw(&format!("in {}: {:?}", ms(start), body.trim_end()));
    Ok(())
}

fn survive_an_outage(story: &Story, stage: &mut Stage) -> Step {
    story.step("killing the SSH server");
    let killed = Instant::now();
    stage.server.kill();
    let down = stage.daemon.wait_for("demo", PATIENCE, |t| {
        t.session.is_none() && t.failure.is_some()
    });
    let cause = down.failure.map(|f| f.to_string()).unwrap_or_default();
    story.saw(&format!("after {}: {}, {cause}", ms(killed), down.phase));

    story.step("a client comes while the tunnel is down");
    let (page, asked) = (stage.page, Instant::now());
    let client = std::thread::spawn(move || fetch(page).map_err(|e| e.to_string()));
    // Long enough to see that the client is neither refused nor forgotten.
    std::thread::sleep(Duration::from_secs(1));
    if client.is_finished() {
        return Err("the client was not held until the tunnel is back".into());
    }
    story.saw("it is connected, and waits");

    story.step("starting the SSH server again");
    let restarted = Instant::now();
    stage.server.restart();
    let body = client.join().map_err(|_| "the client panicked")??;
    let (waited, back) = (ms(asked), ms(restarted));
    story.saw(&format!(
        "after {back} the client has its page: {:?}",
        body.trim_end()
    ));
    story.saw(&format!("it had asked {waited} before, and saw no error"));
    Ok(())
}

fn reload_during_a_download(story: &Story, stage: &Stage, web: &TcpServer) -> Step {
    story.step(&format!("downloading {} MiB through the tunnel", BIG >> 20));
    let download = Download::start(stage.page);
    let some = poll(PATIENCE, || (download.bytes() > BIG / 8).then_some(()));
    some.ok_or("the download does not get anywhere")?;
    let before = download.bytes();
    story.saw(&format!("{} MiB are here; it goes on", before >> 20));

    story.step("adding a forward to the file, and `tunneld reload`");
    let second = free_loopback();
    let mut config = stage.config.clone();
    config.forwards.push(("second", second, web.addr()));
    stage.daemon.write_config(&config.text());
    let reloaded = succeeded(&stage.daemon.reload())?;
    let after = download.bytes();
    story.show("its answer", &reloaded);
    if download.thread.is_finished() {
        return Err("the download ended before the reload did".into());
    }
    story.saw(&format!("the download is at {} MiB meanwhile", after >> 20));
    let body = fetch(second)?;
    story.saw(&format!("http://{second}/ answers: {:?}", body.trim_end()));

    let got = download.finish()?;
    let sent = Digest::of(Pattern::new(BIG, SEED));
    if got != sent {
        return Err(format!("the download is damaged: {got:?} came, {sent:?} was sent").into());
    }
    let sessions = stage.daemon.tunnel("demo").sessions;
    story.saw(&format!(
        "the download is complete, {} bytes, each as it was sent; sessions so far: {sessions} \
         (one before the outage, one since)",
        got.0
    ));
    match sessions {
        2 => Ok(()),
        _ => Err("the reload or the outage made more sessions than it should".into()),
    }
}

fn show_status(story: &Story, stage: &Stage) -> Step {
    story.step("asking it: `tunneld status`");
    story.show("its answer", &succeeded(&stage.daemon.cli(&["status"]))?);
    Ok(())
}

/// Goes on until a signal comes.
fn look_around(stage: &Stage) -> Step {
    let program = std::env::current_exe()?;
    let tunneld = format!("{CHILD}=1 {}", program.display());
    let config = stage.daemon.config_path().display();
    println!("\nThe tunnel stays up until you press Ctrl-C. Look around:");
    println!("  open      http://{}/", stage.page);
    println!("  edit      {config}");
    println!("  reload    {tunneld} reload --config {config}");
    println!("  status    {tunneld} status demo --config {config}");
    stage.interrupt.wait();
    println!();
    Ok(())
}

/// The daemon's configuration.
#[derive(Clone)]
struct Config {
    server: SocketAddr,
    /// Name, where it listens, and where it leads.
    forwards: Vec<(&'static str, SocketAddr, SocketAddr)>,
}

impl Config {
    fn text(&self) -> String {
        let forwards: String = self
            .forwards
            .iter()
            .map(|(name, listen, connect)| {
                format!(
                    "\n[[tunnels.demo.local_forward]]\nname = {name:?}\nlisten = \"{listen}\"\n\
                     connect = \"{connect}\"\nwhile_down = \"wait\"\n"
                )
            })
            .collect();
        format!(
            "[daemon]\ncontrol_socket = \"control.sock\"\n\n\
             [tunnels.demo]\nhost = \"{}\"\nport = {}\nuser = \"demo\"\n\
             identity_file = \"id_ed25519\"\nknown_hosts = \"known_hosts\"\n\
             reconnect = {{ initial = \"200ms\", max = \"1s\" }}\n{forwards}",
            self.server.ip(),
            self.server.port(),
        )
    }
}

/// A web server of two pages: `/`, and `/big`, which takes its time.
fn web_server() -> TcpServer {
    TcpServer::start_anywhere(|mut stream| {
        let Ok(request) = read_head(&mut stream) else {
            return;
        };
        // A client that has gone away needs no answer.
        let _ = if request.starts_with("GET /big ") {
            send_big(&mut stream)
        } else {
            let body = "Hello from the far end of the tunnel\n";
            stream.write_all(format!("{}{body}", head(body.len() as u64)).as_bytes())
        };
    })
}

fn head(len: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n"
    )
}

fn send_big(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(head(BIG).as_bytes())?;
    let mut pattern = Pattern::new(BIG, SEED);
    let mut part = vec![0; 64 << 10];
    while let n @ 1.. = pattern.read(&mut part)? {
        stream.write_all(&part[..n])?;
        // Slow enough that there is time to do something meanwhile.
        std::thread::sleep(Duration::from_millis(4));
    }
    Ok(())
}

/// Reads up to the empty line that ends the head of a request or an answer.
fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn request(addr: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = try_connect(addr)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes())?;
    let head = read_head(&mut stream)?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(stream),
        false => Err(std::io::Error::other(format!("not a page: {head:?}"))),
    }
}

fn fetch(addr: SocketAddr) -> Step<String> {
    let mut body = String::new();
    request(addr, "/")?.read_to_string(&mut body)?;
    Ok(body)
}

/// A download of `/big` on a thread of its own.
struct Download {
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<std::io::Result<(u64, u64)>>,
}

impl Download {
    fn start(addr: SocketAddr) -> Self {
        let bytes = Arc::<AtomicU64>::default();
        let count = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut stream = request(addr, "/big")?;
            let mut digest = Digest::default();
            let mut part = vec![0; 64 << 10];
            while let n @ 1.. = stream.read(&mut part)? {
                digest.update(&part[..n]);
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
            Ok(digest.finish())
        });
        Download { bytes, thread }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The length and the hash of what came.
    fn finish(self) -> Step<(u64, u64)> {
        let came = self.thread.join().map_err(|_| "the download panicked")?;
        Ok(came.map_err(|e| format!("the download broke: {e}"))?)
    }
}

/// Signals that end the demo: at once while the story is told, and in good order after it.
struct Interrupt {
    at_rest: Arc<AtomicBool>,
    came: mpsc::Receiver<()>,
}

impl Interrupt {
    /// `dir` is what has to be removed when the story is cut short.
    fn watch(dir: PathBuf) -> Step<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let at_rest = Arc::<AtomicBool>::default();
        let (send, came) = mpsc::channel();
        let resting = Arc::clone(&at_rest);
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if !resting.swap(false, Ordering::SeqCst) || send.send(()).is_err() {
                    leave_at_once(&dir, signal);
                }
            }
        });
        Ok(Interrupt { at_rest, came })
    }

    /// Waits for a signal. A second one no longer waits for good order.
    fn wait(&self) {
        self.at_rest.store(true, Ordering::SeqCst);
        // The sender ends only with the program.
        let _ = self.came.recv();
    }
}

#[allow(clippy::disallowed_methods)] // The story is waiting elsewhere; all it made is undone here.
fn leave_at_once(dir: &Path, signal: i32) {
    for child in descendants(std::process::id()) {
        kill_tree(child);
    }
    // Nothing is left to tell it to.
    let _ = std::fs::remove_dir_all(dir);
    std::process::exit(128 + signal);
}

/// Prints what is done and what was seen, with the time since the beginning.
struct Story {
    began: Instant,
}

impl Story {
    fn begin() -> Self {
        Story {
            began: Instant::now(),
        }
    }

    fn step(&self, what: &str) {
        println!("\n[{:5.2}s] {what}", self.began.elapsed().as_secs_f64());
    }

    fn saw(&self, what: &str) {
        println!("[{:5.2}s]   → {what}", self.began.elapsed().as_secs_f64());
    }

    fn show(&self, what: &str, text: &str) {
        self.saw(&format!("{what}:"));
        for line in text.trim_end().lines() {
            println!("             {line}");
        }
    }
}

fn ms(since: Instant) -> String {
    format!("{} ms", since.elapsed().as_millis())
}

fn free_loopback() -> SocketAddr {
    let ip = Ipv4Addr::LOCALHOST.into();
    SocketAddr::new(ip, free_port(ip))
}

/// What a command printed, if it succeeded.
fn succeeded(output: &Output) -> Step<String> {
    match output.status.success() {
        true => Ok(printed(output)),
        false => Err(format!(
            "the command ended with {}\n{}",
            output.status,
            printed(output)
        )
        .into()),
    }
}
