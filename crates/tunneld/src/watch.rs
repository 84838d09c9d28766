//! `watch = true`: the file is watched with those that it includes, and a change of them is a reload.
//!
//! Folders are watched, and not files: an editor writes another file and renames it. What happened
//! there is not asked; the files are read again, and only what is written in them counts. Where they
//! were refused only for keys or programs that they name, these may be there by now: it is tried again
//! whenever something happens, and every minute.

mod folders;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunneld_core::events;
use tunneld_core::repeats::Allowance;

use crate::config_file;
use crate::supervisor::{By, Control, Seen};
use folders::{Folders, Problem};

/// How long nothing may happen for a change to count as done.
const QUIET: Duration = Duration::from_millis(500);
/// The longest that is waited for that.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until a file that was refused for others that it names is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How often the folders are looked for anew until they stay the same.
const LOOKS: usize = 10;

/// Watches the files of `path` while `watch` is in force, until `stop`. `reloading` is called before
/// each reload.
pub(crate) async fn run<R: Future<Output = ()>>(
    path: PathBuf,
    control: Control,
    mut seen: watch::Receiver<Seen>,
    reloading: fn() -> R,
    stop: CancellationToken,
) {
    let (mut told, began) = (Allowance::default(), Instant::now());
    let watching = async {
        // Without a supervisor there is nothing to tell.
        while seen.wait_for(|seen| seen.watch).await.is_ok() {
            if let Err(problem) = follow(&path, &control, &mut seen, reloading).await {
                if told.take(began.elapsed()).is_some() {
                    warn(&path, &problem);
                }
                if seen.changed().await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

fn warn(path: &Path, problem: &Problem) {
    tracing::warn!(
        message_id = events::WATCH_FAILED,
        config = %path.display(),
        hint = problem.hint(),
        "cannot watch the configuration for changes: {problem}"
    );
}

/// Reloads after each change, for as long as `watch` is in force.
async fn follow<R: Future<Output = ()>>(
    path: &Path,
    control: &Control,
    seen: &mut watch::Receiver<Seen>,
    reloading: fn() -> R,
) -> Result<(), Problem> {
    let mut folders = Folders::new()?;
    let (mut settled, mut again) = (false, false);
    let (mut told, began) = (Allowance::default(), Instant::now());
    loop {
        let fingerprint = look(path, &mut folders).await?;
        let known = *seen.borrow_and_update();
        if fingerprint != known.fingerprint {
            if !settled {
                quiet(&mut folders).await?;
                settled = true;
                continue;
            }
            if let Some(suppressed) = told.take(began.elapsed()) {
                changed(path, suppressed);
            }
            // As SIGHUP does. How it went is logged; the watch goes on whatever is in the file.
            reloading().await;
            let _ = control.reload_by(By::Watch).await;
            seen.mark_unchanged();
            // What it includes now may be in other folders.
            look(path, &mut folders).await?;
        } else if again && known.by_files {
            tracing::debug!("the files that the configuration names are looked at again");
            // As it went before, it is not told again; what is new is logged.
            let _ = control.reload_by(By::Again).await;
            seen.mark_unchanged();
        } else {
            tracing::debug!("the configuration has not changed");
        }
        let Seen {
            watch, by_files, ..
        } = *seen.borrow();
        if !watch {
            return Ok(());
        }
        tokio::select! {
            happened = folders.happened() => {
                happened?;
                quiet(&mut folders).await?;
                (settled, again) = (true, true);
            }
            // Somebody else has reloaded: it may be turned off, or include other files.
            changed = seen.changed() => match changed {
                Ok(()) => (settled, again) = (false, false),
                Err(_) => return Ok(()),
            },
            () = tokio::time::sleep(AGAIN), if by_files => (settled, again) = (false, true),
        }
    }
}

fn changed(path: &Path, suppressed: u32) {
    tracing::info!(
        message_id = events::FILE_CHANGED,
        config = %path.display(),
        suppressed,
        "the configuration has changed, reloading"
    );
}

/// What is in the files now. Every folder of theirs is watched from before they were read.
async fn look(path: &Path, folders: &mut Folders) -> Result<u64, Problem> {
    let mut fingerprint = 0;
    for _ in 0..LOOKS {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || -> (u64, HashSet<PathBuf>) {
            let source = config_file::source(&file);
            (source.fingerprint(), source.folders())
        });
        let (found, wanted) = read.await.map_err(io::Error::other)?;
        fingerprint = found;
        if !folders.set(wanted, |problem| warn(path, problem))? {
            break;
        }
    }
    Ok(fingerprint)
}

/// Returns when nothing has happened for a moment.
async fn quiet(folders: &mut Folders) -> io::Result<()> {
    let latest = Instant::now() + PATIENCE;
    loop {
        let until = latest.min(Instant::now() + QUIET);
        match tokio::time::timeout_at(until, folders.happened()).await {
            Ok(happened) => happened?,
            Err(_) => return Ok(()),
        }
        if Instant::now() >= latest {
            return Ok(());
        }
    }
}
