//! Faults that the tests ask for: what cannot be made to happen from outside.
//!
//! `TUNNELD_INJECT=panic-on-retry:NAME` makes the task of tunnel NAME panic when it is told to try
//! now. Read once, at the start of the daemon; without the variable nothing here does anything.

use tunneld_core::name::TunnelName;

/// The faults that were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inject {
    panic_on_retry: Option<TunnelName>,
}

impl Inject {
    /// What the environment asks for.
    pub(crate) fn from_env() -> Self {
        let text = std::env::var("TUNNELD_INJECT").unwrap_or_default();
        let panic_on_retry = text
            .strip_prefix("panic-on-retry:")
            .and_then(|name| name.parse().ok());
        Inject { panic_on_retry }
    }

    /// Panics if that was asked for.
    #[allow(clippy::panic)] // The one place whose purpose it is.
    pub(crate) fn at_retry(&self, tunnel: &TunnelName) {
        if self.panic_on_retry.as_ref() == Some(tunnel) {
            panic!("injected by TUNNELD_INJECT");
        }
    }
}
