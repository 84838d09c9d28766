//! `tunneld status --watch`: the page again whenever something has changed, also through a restart
//! of the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tunneld_core::status::DaemonStatus;

use super::keyboard::Keyboard;
use super::page::Pen;
use super::{Asked, Places, client_failed};
use crate::cli::print;
use crate::control::client::{ClientError, runtime};
use crate::control::follow::follow;
use crate::exit::Exit;
use crate::terminal::{capable, size};

/// How long after a daemon was not there it is looked for again; and how often times are counted on.
const SECOND: Duration = Duration::from_secs(1);
/// How often the numbers move on a terminal.
const NUMBERS: Duration = Duration::from_secs(2);

/// What the daemon has said, or why it says nothing.
type News = Result<DaemonStatus, ClientError>;

/// What there is to show.
enum Shown {
    /// Nothing was heard yet.
    Nothing,
    /// What the daemon has said.
    Status(DaemonStatus),
    /// The tunnel is in the file no more, in the words for that; it may come back.
    Lost(String),
    /// The daemon says nothing, in the words for that.
    Absent(String),
}

pub(in crate::cli) fn watch(places: &Places, asked: &Asked) -> Exit {
    let socket = match places.daemon() {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let runtime = match runtime(&socket) {
        Ok(runtime) => runtime,
        Err(e) => return client_failed(places, &e),
    };
    runtime.block_on(async {
        let signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH]);
        let mut signals = match signals {
            Ok(signals) => signals,
            Err(e) => {
                eprintln!("error: cannot handle signals: {e}");
                return Exit::Failed;
            }
        };
        let on_terminal = capable(&io::stdout()) && !asked.json;
        let (_source, mut news) = source(socket, on_terminal.then_some(NUMBERS));
        let mut watch = Watch {
            asked,
            screen: on_terminal.then(Screen::enter),
            last: Shown::Nothing,
            known: false,
            shown: false,
        };
        let ended = watch.run(&mut signals, &mut news).await;
        // The screen first: what there is to say would go with it.
        drop(watch);
        ended.unwrap_or_else(|said| said.say(places))
    })
}

/// Follows the daemon for as long as somebody listens, and looks for it again when it is gone.
fn source(
    socket: PathBuf,
    every: Option<Duration>,
) -> (AbortOnDropHandle<()>, mpsc::Receiver<News>) {
    let (sender, receiver) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(gone) = tell(&socket, every, &sender).await {
            if sender.send(Err(gone)).await.is_err() {
                return;
            }
            tokio::time::sleep(SECOND).await;
        }
    });
    (AbortOnDropHandle::new(task), receiver)
}

/// Tells what the daemon says, and returns why it says nothing more; `None` when nobody listens.
async fn tell(
    socket: &Path,
    every: Option<Duration>,
    listener: &mpsc::Sender<News>,
) -> Option<ClientError> {
    let mut following = match follow(socket, every).await {
        Ok(following) => following,
        Err(e) => return Some(e),
    };
    loop {
        match following.next().await {
            Ok(status) => listener.send(Ok(status)).await.ok()?,
            Err(e) => return Some(e),
        }
    }
}

struct Watch<'a> {
    asked: &'a Asked,
    /// The terminal, where there is one.
    screen: Option<Screen>,
    last: Shown,
    /// Whether what is asked for has been there.
    known: bool,
    /// Whether a page was printed: the next one comes after an empty line.
    shown: bool,
}

/// Why it cannot go on.
enum Said {
    Client(ClientError),
    Unknown(String),
}

impl Said {
    fn say(self, places: &Places) -> Exit {
        match self {
            Said::Client(e) => client_failed(places, &e),
            Said::Unknown(unknown) => {
                eprintln!("error: {unknown}");
                Exit::Failed
            }
        }
    }
}

impl Watch<'_> {
    async fn run(
        &mut self,
        signals: &mut Signals,
        news: &mut mpsc::Receiver<News>,
    ) -> Result<Exit, Said> {
        let mut tick = tokio::time::interval(SECOND);
        loop {
            let printed = tokio::select! {
                signal = signals.next() => match signal {
                    Some(SIGWINCH) => self.draw(),
                    Some(SIGTSTP) => self.suspend(),
                    _ => return Ok(Exit::Done),
                },
                Some(news) = news.recv() => self.hear(news)?,
                _ = tick.tick() => self.draw(),
                () = quit(&self.screen) => return Ok(Exit::Done),
            };
            if printed != Exit::Done {
                return Ok(printed);
            }
            if reader_is_gone() {
                return Ok(Exit::Done);
            }
        }
    }

    fn hear(&mut self, news: News) -> Result<Exit, Said> {
        let news = match news {
            Ok(status) => match self.asked.select(status) {
                Ok(status) => Shown::Status(status),
                // One that is taken out of the file may come back; one that never was does not.
                Err(unknown) if !self.known => return Err(Said::Unknown(unknown)),
                Err(_) => Shown::Lost(loss(self.asked)),
            },
            Err(e) if is_passing(&e) => Shown::Absent(absence(&e)),
            Err(e) => return Err(Said::Client(e)),
        };
        self.known |= matches!(news, Shown::Status(_));
        let before = std::mem::replace(&mut self.last, news);
        if self.screen.is_some() {
            return Ok(self.draw());
        }
        match &self.last {
            Shown::Lost(words) | Shown::Absent(words) => {
                // Said once, and not with the data. Why it cannot be reached now is no news.
                if std::mem::discriminant(&before) != std::mem::discriminant(&self.last) {
                    eprintln!("{words}");
                }
                Ok(Exit::Done)
            }
            Shown::Nothing | Shown::Status(_) => Ok(self.page()),
        }
    }

    /// What changed, for whoever reads a file or a pipe.
    fn page(&mut self) -> Exit {
        let Shown::Status(status) = &self.last else {
            return Exit::Done;
        };
        if self.asked.json {
            // Plain data always has a JSON form.
            return print(&(serde_json::to_string(status).unwrap_or_default() + "\n"));
        }
        let page = self.asked.page(status, Pen::of_stdout());
        let gap = match std::mem::replace(&mut self.shown, true) {
            true => "\n",
            false => "",
        };
        print(&format!("{gap}{page}"))
    }

    /// The terminal again: times go on, and its size may be another one.
    fn draw(&mut self) -> Exit {
        let Some(screen) = &mut self.screen else {
            return Exit::Done;
        };
        match &self.last {
            Shown::Nothing => Exit::Done,
            Shown::Status(status) => {
                let (_, rows) = size(&io::stdout());
                screen.draw(&self.asked.screen(status, Pen::of_stdout(), rows))
            }
            Shown::Lost(words) | Shown::Absent(words) => screen.draw(&format!("{words}\n")),
        }
    }

    /// Ctrl-Z: the shell gets its terminal back for that time.
    fn suspend(&mut self) -> Exit {
        let was = self.screen.take();
        let on_terminal = was.is_some();
        drop(was);
        // Returns once somebody has said SIGCONT.
        let _ = kill_process(getpid(), Signal::STOP);
        self.screen = on_terminal.then(Screen::enter);
        self.draw()
    }
}

/// Whether the daemon may be there the next time.
fn is_passing(e: &ClientError) -> bool {
    match e {
        ClientError::Unreachable { e, .. } => e.kind() != io::ErrorKind::PermissionDenied,
        ClientError::Refused(error) => error.kind.is_passing(),
        ClientError::Unfinished(_) | ClientError::Garbled(_) => false,
    }
}

/// One line for a daemon that says nothing.
fn absence(e: &ClientError) -> String {
    let said = e.to_string();
    let first = said.lines().next().unwrap_or_default();
    format!("{first}; waiting for it")
}

/// One line for a tunnel that is taken out of the file.
fn loss(asked: &Asked) -> String {
    let name = asked.name.as_deref().unwrap_or_default();
    format!("tunnel `{name}` is not in the configuration any more; waiting for it")
}

/// Whether whoever read what is printed has gone: a write would say so, and there may be none for
/// hours.
fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let none = Timespec::default();
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut asked, Some(&none)).is_ok() && asked[0].revents().intersects(gone)
}

/// Returns once the key is pressed that ends it, where there is a keyboard.
async fn quit(screen: &Option<Screen>) {
    match screen.as_ref().and_then(|screen| screen.keyboard.as_ref()) {
        Some(keyboard) => keyboard.quit().await,
        None => std::future::pending().await,
    }
}

/// The other screen of the terminal, without a cursor (xterm's private modes 1049 and 25), and its
/// keyboard. Dropped, it is as it was.
struct Screen {
    keyboard: Option<Keyboard>,
}

impl Screen {
    fn enter() -> Self {
        // First: where we are in the background, this is where we wait to be called up.
        let keyboard = Keyboard::listen();
        print("\x1b[?1049h\x1b[?25l");
        Screen { keyboard }
    }

    /// Writes over what is there. What has no room is counted.
    fn draw(&mut self, page: &str) -> Exit {
        let (_, rows) = size(&io::stdout());
        let lines: Vec<&str> = page.lines().collect();
        let mut out = String::from("\x1b[H");
        let room = match lines.len() > rows {
            true => rows.saturating_sub(1),
            false => lines.len(),
        };
        let shown: Vec<String> = lines
            .iter()
            .take(room)
            .map(|l| format!("{l}\x1b[K"))
            .collect();
        out.push_str(&shown.join("\n"));
        if room < lines.len() {
            out.push_str(&format!("\n… {} more lines\x1b[K", lines.len() - room));
        }
        out.push_str("\x1b[J");
        print(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
    }
}
