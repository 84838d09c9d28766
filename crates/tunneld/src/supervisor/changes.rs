//! Waiting for whatever there is to see to change.

use std::future::pending;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::{Directory, LastReload, Life};
use crate::tunnel::View;

/// Tells when a snapshot would differ from the one before, the moving numbers aside.
pub(crate) struct Changes {
    directory: watch::Receiver<Directory>,
    reloads: watch::Receiver<LastReload>,
    life: watch::Receiver<Life>,
    views: Vec<watch::Receiver<View>>,
}

impl Changes {
    /// What changes from now on.
    pub(super) fn new(
        mut directory: watch::Receiver<Directory>,
        mut reloads: watch::Receiver<LastReload>,
        mut life: watch::Receiver<Life>,
    ) -> Self {
        let views = directory.borrow_and_update().views();
        reloads.mark_unchanged();
        life.mark_unchanged();
        let mut changes = Changes {
            directory,
            reloads,
            life,
            views,
        };
        changes.seen();
        changes
    }

    /// Returns when something has changed since the last call; a snapshot that is taken then has it.
    pub(crate) async fn next(&mut self) {
        let mut views: FuturesUnordered<_> = self.views.iter_mut().map(changed).collect();
        let others = tokio::select! {
            () = changed(&mut self.directory) => true,
            () = changed(&mut self.reloads) => false,
            () = changed(&mut self.life) => false,
            Some(()) = views.next() => false,
        };
        drop(views);
        if others {
            self.views = self.directory.borrow_and_update().views();
        }
        self.seen();
    }

    fn seen(&mut self) {
        for view in &mut self.views {
            view.mark_unchanged();
        }
        self.reloads.mark_unchanged();
        self.life.mark_unchanged();
    }
}

/// What nobody writes any more does not change.
async fn changed<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        pending().await
    }
}
