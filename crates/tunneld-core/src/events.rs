//! The events that the journal can be searched for.
//!
//! Each kind of event has a fixed `MESSAGE_ID` (sd_journal_print(3)), so that a message can be
//! reworded without breaking what looks for it, and so that `journalctl -x` can explain it.

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Its `MESSAGE_ID`: 128 bits in hexadecimal.
    pub id: &'static str,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $id;)*

        /// Every kind of event.
        pub const ALL: &[Event] = &[$(Event { name: stringify!($name), id: $id }),*];
    };
}

events! {
    /// The daemon has read its file and begins.
    STARTED = "6513270e269e0d37f2a74de452e6b438";
    /// What the daemon has taken away from itself, or why not.
    SANDBOX = "57b507597bf1df2e4316464c611210c3";
    /// `ready_when` holds.
    READY = "d23f0824128b2f330c5c7fd0a6a3a450";
    /// The daemon could not start.
    START_FAILED = "a3495b79ce8568c53585d9a99df3e167";
    /// The daemon was told to stop.
    STOPPING = "9531985d5d9dc9f81818e811892f902b";
    /// The daemon was told to stop a second time, and cuts what was still open.
    STOPPING_AT_ONCE = "0053b803da7f076c0821e9c6512c8fd3";
    /// The daemon has stopped.
    STOPPED = "36f675cc81e74ef5e8e25d940ed90475";
    /// A new configuration is in force.
    RELOADED = "6b0d549b6f03675a1600a35a099950d8";
    /// A new configuration was refused; the running one is unchanged.
    RELOAD_REFUSED = "8d116ece1738f7d93d9c172411e20b8f";
    /// What has changed in `[daemon]` is in force only after a restart.
    RESTART_NEEDED = "42826334277b127424b30c99b3ecdbe2";
    /// The file has changed, or one that it includes, and is read again (`watch = true`).
    FILE_CHANGED = "f79d8239b426380931fb259ee0e21eb6";
    /// The file cannot be watched for changes.
    WATCH_FAILED = "8913d4e9e9ff5faa8426967278034e9d";
    /// A tunnel is up.
    TUNNEL_UP = "90c192cfd3ac94af0f21ddb66cad4a26";
    /// A tunnel is down, and tunneld is on it.
    TUNNEL_DOWN = "a170b33839263059f28c105d1fb17c23";
    /// A tunnel is still down.
    TUNNEL_STILL_DOWN = "0fd630f1f29d0da9953f48f1a09f76b5";
    /// A tunnel is down until a person acts.
    TUNNEL_BLOCKED = "0cb1e29c658cda1495e60af593bd04cf";
    /// A tunnel's session lives, but a forward is not in place.
    TUNNEL_DEGRADED = "8e81973e0becd7b03898d190f9ebdacc";
    /// A tunnel was stopped on purpose.
    TUNNEL_STOPPED = "6b4cb2424a23d5962217beaddbc496cb";
    /// A tunnel's task failed: a bug in tunneld.
    TUNNEL_PANICKED = "922766581e27a1c08a6a63ec24ede6a4";
    /// A part of the daemon that is no tunnel's failed: a bug in tunneld.
    BUG = "19888481dc2de7649bc38b6dcf73e2bc";
    /// A tunnel's session was replaced by a new one.
    SESSION_REPLACED = "ae97ba94d0eda82f8f6d05584ef8aa38";
    /// A tunnel's session should be replaced, and the new one cannot be made.
    SESSION_NOT_REPLACED = "9974d75b333824fe61790134676b1b69";
    /// One of several sessions of a tunnel has ended; the others carry on.
    SESSION_LOST = "6932fbaf871245588b8bc619b8cd570b";
    /// A session is held back by a client that does not read, and another one was opened.
    SESSION_RELIEVED = "e7eca25aa38346aebbbde4207c97b919";
    /// A forward listens.
    LISTENING = "923a736994e3bf911a61dbe22e44158b";
    /// A forward cannot listen.
    LISTEN_FAILED = "18f135d25f557203301850c5a38fd547";
    /// A listener pauses: the process or the system is out of something.
    LISTENER_PAUSED = "907a70c31012f037b64ce4228c38fb29";
    /// The sockets that the service manager has passed cannot be used.
    SOCKETS_UNUSABLE = "94b1b60afd07ac1a394dc3f0ca284497";
    /// The service manager does not keep all sockets over a restart.
    SOCKETS_NOT_KEPT = "a06e8bd955eff4c9611f65171bb39721";
    /// A connection was refused.
    CONNECTION_REFUSED = "7f15052434b9b5df9e7769b10f4205b4";
    /// A connection was reset because its client took nothing.
    CONNECTION_STALLED = "c6f877186d76b07e881ed162ae2eb154";
    /// `accept-new` wrote down the key of a host.
    HOST_LEARNT = "ec66a78795e761d17731af10506bf2ef";
    /// A host has proved to have another key, which was written down.
    FURTHER_HOST_KEY_LEARNT = "c804af700b7e2285a9ada2d5bbfb277f";
    /// A host has announced other keys, and they were not written down.
    FURTHER_HOST_KEYS_NOT_LEARNT = "ca77771b4ae1725b3d74afe1ce5b7950";
    /// A host does not announce a key any more that is known for it.
    HOST_KEY_GONE = "5045c4551b471976cb93d3cff74cd7a6";
    /// A host's certificate is no good, and its key was known.
    HOST_CERTIFICATE_NOT_ACCEPTED = "c070e58cf01adb36abdba876f7d9c80e";
    /// The server opened a channel that nobody asked for.
    UNASKED_CHANNEL = "3f98e2774cbd87ad5c90a9587403e430";
    /// A file that the configuration names cannot be used.
    KEY_PROBLEM = "c7a2ea20b2f14c942e05319acb5c7427";
    /// The history of the tunnels cannot be kept in the state directory.
    HISTORY_NOT_KEPT = "7add3e7f45fc301a72c0a9f05f3b699c";
    /// It can be again.
    HISTORY_KEPT = "b69a7a597f108eadc01415ead9905e35";
    /// The file with a tunnel's history cannot be used, and was set aside.
    HISTORY_SET_ASIDE = "d2bdb020d587ce651b9e7b984d99a9bc";
    /// A certificate that a tunnel uses ends soon, or has ended.
    CERTIFICATE_EXPIRES = "313c0f9207883090f8036236c8c0290c";
    /// A program of `on_up` or `on_down` has written a line.
    HOOK_OUTPUT = "9c4d13eaa6389b9633eb36fdeb51dd78";
    /// A program of `on_up` or `on_down` could not be started, or failed.
    HOOK_FAILED = "d06af6b4dbc63326b0c6bf8c98bd9e2d";
    /// A program of `on_up` or `on_down` took too long.
    HOOK_TIMED_OUT = "2d328b068ff26b430172f0b5a2fca84e";
    /// Metrics and health are served over HTTP.
    METRICS_LISTENING = "c4bbbf0e84e3408fb8703f2625d180c6";
    /// They cannot be: their port is not to be had.
    METRICS_LISTEN_FAILED = "1c021cd17f2edb8cb0f42b8ee8e5a01c";
    /// The control socket, or metrics over HTTP, pause: the process or the system is out of something.
    SERVING_PAUSED = "16793270bb9cbb89bf38c9e6d9d6bbd2";
    /// The control socket has lost its file.
    CONTROL_SOCKET_LOST = "47fa924efc5225a2df44b9ca2afaf905";
    /// The journal, or what reads stderr, did not take lines.
    LOG_LINES_LOST = "8301277b8942249c33af4287782bcac4";
    /// A level is set for the lines of a tunnel that does not exist.
    LOG_LEVEL_UNUSED = "2fe7636548dc6438d33f2adf60765f54";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_an_id_of_its_own() {
        for (i, event) in ALL.iter().enumerate() {
            assert_eq!(event.id.len(), 32, "{}", event.name);
            assert!(
                event.id.chars().all(|c| c.is_ascii_hexdigit()),
                "{}",
                event.name
            );
            assert!(
                ALL[..i].iter().all(|other| other.id != event.id),
                "{}",
                event.name
            );
        }
    }
}
