//! Faults that the tests ask for: what cannot be made to happen from outside.
//!
//! `TUNNELD_INJECT=panic-on-retry:NAME` makes the task of tunnel NAME panic when it is told to try
//! now; `TUNNELD_INJECT=wedge-supervisor:SECONDS` makes the supervisor hang once the daemon is that
//! old. Read once, at the start of the daemon; without the variable nothing here does anything.

use std::time::Duration;

use tunneld_core::name::TunnelName;

use crate::clock;

/// The faults that were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inject {
    panic_on_retry: Option<TunnelName>,
    wedge_supervisor: Option<Duration>,
}

impl Inject {
    /// What the environment asks for.
    pub(crate) fn from_env() -> Self {
        Inject::from_text(&std::env::var("TUNNELD_INJECT").unwrap_or_default())
    }

    fn from_text(text: &str) -> Self {
        let (fault, of) = text.split_once(':').unwrap_or_default();
        let mut inject = Inject::default();
        match fault {
            "panic-on-retry" => inject.panic_on_retry = of.parse().ok(),
            "wedge-supervisor" => {
                inject.wedge_supervisor = of.parse().ok().map(Duration::from_secs);
            }
            _ => {}
        }
        inject
    }

    /// Panics if that was asked for.
    #[allow(clippy::panic)] // The one place whose purpose it is.
    pub(crate) fn at_retry(&self, tunnel: &TunnelName) {
        if self.panic_on_retry.as_ref() == Some(tunnel) {
            panic!("injected by TUNNELD_INJECT");
        }
    }

    /// Never returns if that was asked for, and it is time.
    pub(crate) async fn at_beat(&self) {
        let age = clock::now().since_start;
        if self.wedge_supervisor.is_some_and(|after| age >= after) {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_injected_that_was_not_asked_for() {
        let inject = |text| {
            let Inject {
                panic_on_retry,
                wedge_supervisor,
            } = Inject::from_text(text);
            (panic_on_retry.is_some(), wedge_supervisor)
        };
        assert_eq!(inject(""), (false, None));
        assert_eq!(inject("wedge-supervisor"), (false, None));
        assert_eq!(inject("panic-on-retry:db"), (true, None));
        let after = Some(Duration::from_secs(3));
        assert_eq!(inject("wedge-supervisor:3"), (false, after));
    }
}
