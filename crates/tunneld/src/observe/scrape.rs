//! `/metrics`: the daemon at this moment, for Prometheus and whatever else reads OpenMetrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use procfs::process::LimitValue;
use tokio::sync::Semaphore;
use tunneld_core::metrics::{Form, Process, Scrape};

use super::health::Readiness;
use crate::clock;
use crate::control::server::answer;
use crate::control::{ApiError, ErrorKind};
use crate::supervisor::Snapshots;

/// How many pages are written at once.
static TURNS: Semaphore = Semaphore::const_new(1);

pub(super) async fn metrics(State(snapshots): State<Snapshots>, headers: HeaderMap) -> Response {
    let ranges = headers.get_all(ACCEPT).iter();
    let accept: Vec<_> = ranges.filter_map(|range| range.to_str().ok()).collect();
    let form = Form::wanted(&accept.join(","));
    // However many ask at once, they are answered one after the other. The semaphore is never closed.
    let _turn = TURNS.acquire().await;
    // A thousand tunnels take some milliseconds, in which connections want to be carried.
    let page = tokio::task::spawn_blocking(move || scrape(&snapshots).page(form)).await;
    match page {
        Ok(page) => ([(CONTENT_TYPE, form.content_type())], page).into_response(),
        // Only a daemon that ends leaves such a task undone.
        Err(_) => answer::<()>(Err(ApiError::new(
            ErrorKind::Stopping,
            "tunneld is stopping",
        ))),
    }
}

fn scrape(snapshots: &Snapshots) -> Scrape {
    let ready = Readiness::of(snapshots).is_some_and(|readiness| readiness.is_ready());
    let (status, tunnels) = snapshots.daemon_and_more();
    Scrape {
        now: clock::now(),
        status,
        ready,
        tunnels,
        process: process(),
    }
}

/// What the system says about this process, where it says all of it.
fn process() -> Option<Process> {
    let this = procfs::process::Process::myself().ok()?;
    let stat = this.stat().ok()?;
    let ticks = stat.utime + stat.stime;
    let limit = this.limits().ok()?.max_open_files.soft_limit;
    Some(Process {
        cpu: Duration::from_millis(ticks * 1000 / procfs::ticks_per_second()),
        resident: stat.rss * procfs::page_size(),
        virt: stat.vsize,
        open_files: this.fd_count().ok()? as u64,
        max_files: match limit {
            LimitValue::Value(limit) => Some(limit),
            LimitValue::Unlimited => None,
        },
    })
}
