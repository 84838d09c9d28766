//! `on_up` and `on_down`: programs are told what has become of a tunnel.
//!
//! A tunnel tells its runner, and never waits for it. The runner starts one program at a time: what
//! happens meanwhile is remembered as the latest only, and when the program has ended the other one
//! is started if that is not what the last one was told already. So programs see `up` and `down` by
//! turns and in their order, however fast a tunnel flaps. The runner ends after the tunnel, with the
//! last `down`.

mod run;
#[cfg(test)]
mod tests;
mod turns;

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tunneld_core::config::{Hook, Sourced, TunnelSpec, host_port};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::name::TunnelName;
use tunneld_core::status::Phase;

use crate::clock::unix_ms;
use run::Run;
pub(crate) use turns::Turns;

/// How long a program has to end once it was told to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a program is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Up,
    Down,
}

impl Kind {
    /// The key that names the program.
    fn key(self) -> &'static str {
        match self {
            Kind::Up => "on_up",
            Kind::Down => "on_down",
        }
    }
}

/// What has become of a tunnel, and the program for it.
#[derive(Debug, Clone)]
struct News {
    kind: Kind,
    hook: Option<Hook>,
    variables: Vec<(&'static str, String)>,
}

/// The hooks of one tunnel.
pub(super) struct Hooks {
    turns: Turns,
    tunnel: TunnelName,
    host: String,
    on_up: Option<Hook>,
    on_down: Option<Hook>,
    phase: Phase,
    /// Where the runner hears news; `None` while there never was a program to start.
    news: Option<watch::Sender<Option<News>>>,
    runner: Option<JoinHandle<()>>,
}

impl Hooks {
    pub(super) fn new(spec: &TunnelSpec, turns: Turns) -> Self {
        let mut hooks = Hooks {
            turns,
            tunnel: spec.name.clone(),
            host: String::new(),
            on_up: None,
            on_down: None,
            phase: Phase::Idle,
            news: None,
            runner: None,
        };
        hooks.spec(spec);
        hooks
    }

    /// What the file says now. It holds from the next change on.
    pub(super) fn spec(&mut self, spec: &TunnelSpec) {
        let hook = |hook: &Option<Sourced<Hook>>| hook.as_ref().map(|hook| hook.value.clone());
        (self.on_up, self.on_down) = (hook(&spec.on_up), hook(&spec.on_down));
        self.host = host_port(&spec.target.host, spec.target.port);
        let hooks = [&self.on_up, &self.on_down].into_iter().flatten();
        let longest: Duration = hooks.map(may_take).sum();
        self.turns.may_take(longest);
        if self.news.is_none() && !longest.is_zero() {
            let (sender, news) = watch::channel(None);
            let told = match self.phase {
                Phase::Up => Kind::Up,
                _ => Kind::Down,
            };
            let runner = attend(self.turns.clone(), self.tunnel.clone(), news, told);
            self.runner = Some(self.turns.spawn(runner));
            self.news = Some(sender);
        }
    }

    /// The tunnel has come to this phase, because of `failure`, and its session is with `peer`. Has
    /// started what is to be started, and waits for nothing.
    pub(super) fn phase(&mut self, after: Phase, failure: Option<&Failure>, peer: Option<String>) {
        let before = std::mem::replace(&mut self.phase, after);
        let (kind, hook) = match (before, after) {
            (Phase::Up, Phase::Up) => return,
            (_, Phase::Up) => (Kind::Up, self.on_up.clone()),
            (Phase::Up, _) => (Kind::Down, self.on_down.clone()),
            _ => return,
        };
        let variables = self.variables(before, failure, peer);
        if let Some(news) = &self.news {
            news.send_replace(Some(News {
                kind,
                hook,
                variables,
            }));
        }
    }

    /// What the program finds in its environment; a variable without a value is there, and empty.
    fn variables(
        &self,
        before: Phase,
        failure: Option<&Failure>,
        peer: Option<String>,
    ) -> Vec<(&'static str, String)> {
        let of = |pick: fn(&Failure) -> String| failure.map(pick).unwrap_or_default();
        let since = unix_ms(SystemTime::now()) / 1000;
        let variables = [
            ("TUNNELD_NAME", self.tunnel.to_string()),
            ("TUNNELD_STATE", self.phase.to_string()),
            ("TUNNELD_PREVIOUS_STATE", before.to_string()),
            ("TUNNELD_SINCE", since.to_string()),
            ("TUNNELD_CAUSE", of(|f| f.cause.clone())),
            ("TUNNELD_STAGE", of(|f| f.stage.to_string())),
            ("TUNNELD_CLASS", of(|f| f.class.to_string())),
            ("TUNNELD_HOST", self.host.clone()),
            ("TUNNELD_PEER", peer.unwrap_or_default()),
            ("TUNNELD_CONFIG", self.turns.config().to_owned()),
        ];
        // execve(2) takes no NUL, and a cause may have come from elsewhere.
        let clean = |(name, value): (_, String)| (name, value.replace('\0', " "));
        variables.into_iter().map(clean).collect()
    }

    /// The tunnel has ended. Returns when the last program has.
    pub(super) async fn end(&mut self) {
        self.news = None;
        if let Some(runner) = self.runner.take() {
            // One that failed has ended, too.
            let _ = runner.await;
        }
    }
}

impl Drop for Hooks {
    /// The task of a tunnel that dies takes the tunnel down without a word.
    fn drop(&mut self) {
        if self.phase == Phase::Up {
            self.phase(Phase::Waiting, Some(&died()), None);
        }
    }
}

fn died() -> Failure {
    Failure::transient(Stage::Session, "its task failed: a bug in tunneld")
}

/// The runner of a tunnel: ends once nobody can tell it anything any more, and it has nothing left
/// to do. `told` is what a program would know already.
async fn attend(
    turns: Turns,
    tunnel: TunnelName,
    mut news: watch::Receiver<Option<News>>,
    mut told: Kind,
) {
    // A tunnel of that name that was there before has the word until its end.
    let _word = turns.word(&tunnel).await;
    while news.changed().await.is_ok() {
        let Some(first) = latest(&mut news) else {
            continue;
        };
        let patience = first.hook.as_ref().map_or(GRACE, may_take);
        let work = async {
            let _turn = turns.turn().await;
            // It may have changed while others had their turn.
            let Some(News {
                kind,
                hook,
                variables,
            }) = latest(&mut news)
            else {
                return;
            };
            if kind == std::mem::replace(&mut told, kind) {
                return;
            }
            if let Some(hook) = hook {
                let run = Run::new(&tunnel, kind.key(), &hook);
                run.whole(&variables).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = turns.too_late(patience) => run::too_late(&tunnel),
        }
    }
}

/// The longest that a run of the program takes.
fn may_take(hook: &Hook) -> Duration {
    hook.timeout.saturating_add(run::OVERTIME)
}

fn latest(news: &mut watch::Receiver<Option<News>>) -> Option<News> {
    news.borrow_and_update().clone()
}
