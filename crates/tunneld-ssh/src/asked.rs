//! What the server was asked to listen on, and who takes the connections that come there.
//!
//! A server may open any channel at any time. One is taken only if its place is one that was asked
//! for: RFC 4254 section 7.2, "Implementations MUST reject these messages unless they have
//! previously requested a remote TCP/IP port forwarding with the given port number".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::Channel;
use russh::client::{ChannelOpenHandle, Msg};
use tokio::sync::mpsc;

use crate::forward::Peer;

/// A connection that the server wants to hand over.
pub(crate) struct Incoming {
    pub(crate) channel: Channel<Msg>,
    pub(crate) peer: Peer,
    /// Takes it, or turns it down.
    pub(crate) reply: ChannelOpenHandle,
}

/// Takes the connections of one place.
pub(crate) type Taker = mpsc::Sender<Incoming>;

/// What the server was asked to listen on.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Places>);

#[derive(Default)]
struct Places {
    next: u64,
    asked: Vec<(u64, Place, Taker)>,
}

/// A place at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp {
        bind: String,
        /// `None`: the server chooses one, and has not said which.
        port: Option<u16>,
    },
    Unix(String),
}

/// A place counts as asked for while this lives.
pub(crate) struct Registration {
    asked: Arc<Asked>,
    id: u64,
}

impl Asked {
    /// Says who takes the connections of a place: before the server is asked, for they may come
    /// before its answer was read.
    pub(crate) fn add(self: &Arc<Self>, place: Place, taker: Taker) -> Registration {
        let mut places = self.lock();
        let id = places.next;
        places.next += 1;
        places.asked.push((id, place, taker));
        Registration {
            asked: Arc::clone(self),
            id,
        }
    }

    /// Who takes the connections of a TCP port. The address is the one of the request; a server
    /// that names another one is believed where the port leaves no doubt.
    pub(crate) fn tcp(&self, address: &str, port: u32) -> Option<Taker> {
        let places = self.lock();
        let of_port = |wanted: Option<u16>| {
            places
                .asked
                .iter()
                .filter_map(move |(_, place, taker)| match place {
                    Place::Tcp { bind, port } if *port == wanted => Some((bind, taker)),
                    _ => None,
                })
        };
        let port = u16::try_from(port).ok()?;
        let known: Vec<_> = of_port(Some(port)).collect();
        let open: Vec<_> = of_port(None).collect();
        let exact = |places: &[(&String, &Taker)]| {
            let found = places.iter().find(|(bind, _)| *bind == address);
            found.map(|(_, taker)| (*taker).clone())
        };
        let only = |places: &[(&String, &Taker)]| match places {
            [(_, taker)] => Some((*taker).clone()),
            _ => None,
        };
        exact(&known)
            .or_else(|| only(&known))
            .or_else(|| exact(&open))
            .or_else(|| only(&open))
    }

    /// Who takes the connections of a unix socket.
    pub(crate) fn unix(&self, path: &str) -> Option<Taker> {
        let places = self.lock();
        let mut asked = places.asked.iter();
        let found = asked.find(|(_, place, _)| matches!(place, Place::Unix(p) if p == path));
        found.map(|(_, _, taker)| taker.clone())
    }

    /// The data is changed in one step, so a panic elsewhere cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The server has chosen a port.
    pub(crate) fn set_port(&self, chosen: u16) {
        let mut places = self.asked.lock();
        let ours = places.asked.iter_mut().find(|(id, ..)| *id == self.id);
        if let Some((_, Place::Tcp { port, .. }, _)) = ours {
            *port = Some(chosen);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.asked.lock().asked.retain(|(id, ..)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bind: &str, port: Option<u16>) -> Place {
        Place::Tcp {
            bind: bind.to_owned(),
            port,
        }
    }

    #[test]
    fn only_places_that_were_asked_for_have_a_taker_and_only_while_they_are() {
        let asked = Arc::new(Asked::default());
        let (taker, _incoming) = mpsc::channel(1);
        let web = asked.add(place("localhost", Some(8080)), taker.clone());
        let sock = asked.add(Place::Unix("/run/a".to_owned()), taker);
        assert!(asked.tcp("localhost", 8080).is_some());
        assert!(asked.tcp("localhost", 8081).is_none());
        assert!(asked.tcp("localhost", 70_000).is_none());
        assert!(asked.unix("/run/a").is_some() && asked.unix("/run/b").is_none());
        drop((web, sock));
        assert!(asked.tcp("localhost", 8080).is_none() && asked.unix("/run/a").is_none());
    }

    #[test]
    fn two_addresses_with_one_port_are_told_apart_and_a_port_alone_is_enough_without_doubt() {
        let asked = Arc::new(Asked::default());
        let (one, mut to_one) = mpsc::channel::<Incoming>(1);
        let (two, _to_two) = mpsc::channel(1);
        let first = asked.add(place("", Some(80)), one.clone());
        assert!(asked.tcp("0.0.0.0", 80).is_some());
        let second = asked.add(place("127.0.0.1", Some(80)), two);
        assert!(asked.tcp("", 80).unwrap().same_channel(&one));
        assert!(asked.tcp("0.0.0.0", 80).is_none());
        drop((first, second, one));
        assert!(to_one.try_recv().is_err());
    }

    #[test]
    fn a_port_that_the_server_chooses_is_taken_before_and_after_it_is_known() {
        let asked = Arc::new(Asked::default());
        let (taker, _incoming) = mpsc::channel(1);
        let any = asked.add(place("localhost", None), taker);
        assert!(asked.tcp("localhost", 40_000).is_some());
        any.set_port(40_001);
        assert!(asked.tcp("localhost", 40_001).is_some());
        assert!(asked.tcp("localhost", 40_000).is_none());
    }
}
