//! The calls of a receiver thread: for what comes by their places, for all else by their numbers.

use std::collections::HashMap;

use slab::Slab;

use super::received::ReceivedCall;
use crate::net::prefetch::prefetch;

/// Calls whose memory is on its way while the kernel reads the one before them.
pub(super) const FETCHED: usize = 2;

/// Calls of one thread. The places lie close together: a packet finds its call without a look through a map, whose entries
/// would have to come from memory first.
#[derive(Default)]
pub(super) struct ReceivedCalls {
    places: Slab<Box<ReceivedCall>>,
    by_number: HashMap<u32, usize>,
}

impl ReceivedCalls {
    /// Takes a call in; returns its place, which is its own as long as it is here. It takes that of a call of its number.
    pub(super) fn insert(&mut self, call: ReceivedCall) -> usize {
        let number = call.stream.call_id();
        let place = self.places.insert(Box::new(call));
        if let Some(former) = self.by_number.insert(number, place) {
            self.places.remove(former);
        }
        place
    }

    /// The call at a place, if one is there still.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut ReceivedCall> {
        self.places.get_mut(place).map(Box::as_mut)
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut ReceivedCall> {
        self.by_number.get(&number).and_then(|place| self.places.get_mut(*place)).map(Box::as_mut)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<ReceivedCall> {
        self.by_number.remove(&number).map(|place| *self.places.remove(place))
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut ReceivedCall> {
        self.places.iter_mut().map(|(_, call)| call.as_mut())
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = ReceivedCall> {
        self.places.into_iter().map(|(_, call)| *call)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Fetches the call at number `n` of the `ready` places, and what the one before it points to.
    pub(super) fn fetch_ahead(&self, ready: &[usize], n: usize) {
        let at = |n: usize| ready.get(n).and_then(|place| self.places.get(*place));
        if let Some(call) = at(n) {
            prefetch(&**call);
        }
        if let Some(call) = n.checked_sub(1).and_then(at) {
            prefetch(&*call.socket);
        }
    }
}
