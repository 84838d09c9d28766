//! `tunneld run`

use tunneld_ssh::forward::Taken;

use super::Places;
use crate::daemon;
use crate::exit::Exit;
use crate::logging::{self, Filter, Format};

pub(super) fn run(places: &Places, format: Format, filter: Filter) -> Exit {
    // First of all, and before the journal has a descriptor.
    let taken = Taken::from_env();
    let last_words = logging::init(format, filter.clone());
    logging::log_panics();
    // Hooks run in another folder: what is relative to the file is not to be relative to that.
    let config = std::path::absolute(&places.config).unwrap_or_else(|_| places.config.clone());
    let socket = places.socket.as_deref();
    daemon::run(&config, socket, taken, &filter, last_words)
}
