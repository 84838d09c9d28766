//! `tunneld run`

use super::Places;
use crate::daemon;
use crate::exit::Exit;
use crate::logging::{self, Format, Verbosity};

pub(super) fn run(places: &Places, format: Format, verbosity: Verbosity) -> Exit {
    let last_words = logging::init(format, verbosity);
    logging::log_panics();
    daemon::run(&places.config, places.socket.as_deref(), last_words)
}
