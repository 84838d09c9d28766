//! The places for those who follow: so many, and no client on the network has all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many clients may follow at once.
const MAX_FOLLOWERS: usize = 64;
/// How many of one address.
const MAX_OF_ADDRESS: usize = 16;

/// Who has a place at a listener; those of a unix socket have no address.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Option<IpAddr>, usize>>>);

/// One place, until it is dropped.
pub(super) struct Place {
    places: Places,
    peer: Option<IpAddr>,
}

impl Places {
    /// A place, or why there is none.
    pub(super) fn take(&self, peer: Option<IpAddr>) -> Result<Place, String> {
        let mut taken = self.taken();
        if taken.values().sum::<usize>() >= MAX_FOLLOWERS {
            return Err(format!(
                "{MAX_FOLLOWERS} clients follow already; try again later"
            ));
        }
        let of_peer = taken.entry(peer).or_default();
        if let Some(address) = peer.filter(|_| *of_peer >= MAX_OF_ADDRESS) {
            return Err(format!(
                "{MAX_OF_ADDRESS} clients follow already from {address}; try again later"
            ));
        }
        *of_peer += 1;
        Ok(Place {
            places: self.clone(),
            peer,
        })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(of_peer) = taken.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_every_place() {
        let places = Places::default();
        let peer = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let take = |peer| places.take(peer).map_err(|why| (why.contains("from"), why));
        let held: Vec<_> = (0..16).map(|_| take(peer(1)).ok().unwrap()).collect();
        assert!(take(peer(1)).is_err_and(|(from, _)| from));
        let others: Vec<_> = (0..48).map(|_| take(None).ok().unwrap()).collect();
        assert!(take(peer(2)).is_err_and(|(from, _)| !from));
        drop(held);
        assert!(take(peer(1)).is_ok());
        drop(others);
        assert!(places.taken().is_empty());
    }
}
