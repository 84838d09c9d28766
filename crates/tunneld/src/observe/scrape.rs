//! `/metrics`: the daemon at this moment, for Prometheus and whatever else reads OpenMetrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use procfs::process::LimitValue;
use tokio::time::Instant;
use tunneld_core::metrics::{Form, Process, Scrape};

use super::readiness;
use crate::clock;
use crate::http::answers::stopping;
use crate::http::shared::Shared;
use crate::supervisor::Snapshots;

/// The pages for the clients of one listener, one kind for each form.
#[derive(Clone, Default)]
pub(super) struct Pages {
    open: Arc<Shared>,
    text: Arc<Shared>,
}

pub(super) async fn metrics(
    State(snapshots): State<Snapshots>,
    Extension(pages): Extension<Pages>,
    headers: HeaderMap,
) -> Response {
    let ranges = headers.get_all(ACCEPT).iter();
    let accept: Vec<_> = ranges.filter_map(|range| range.to_str().ok()).collect();
    let form = Form::wanted(&accept.join(","));
    let pages = match form {
        Form::OpenMetrics => pages.open,
        Form::Text => pages.text,
    };
    // A thousand tunnels take some milliseconds, in which connections want to be carried.
    let make = move || scrape(&snapshots).page(form).into_bytes();
    match pages.get(Instant::now(), make).await {
        Some(page) => ([(CONTENT_TYPE, form.content_type())], page.bytes).into_response(),
        None => stopping(),
    }
}

fn scrape(snapshots: &Snapshots) -> Scrape {
    let (status, tunnels) = snapshots.daemon_and_more();
    let ready = readiness::is_ready(
        snapshots.at_start().ready_when,
        status.ready,
        &status.tunnels,
    );
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
