//! Ordered tables and deadlines. Their accesses are counted in tests: no event may walk over all entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::stamp::Stamp;

/// A map that is searched and not walked, but for [`Table::keys`].
#[derive(Debug)]
pub(crate) struct Table<K, V>(BTreeMap<K, V>);

impl<K: Ord + Clone, V> Table<K, V> {
    pub(crate) fn new() -> Self {
        Table(BTreeMap::new())
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        touch(1);
        self.0.insert(key, value)
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        touch(1);
        self.0.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        touch(1);
        self.0.get_mut(&key)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        touch(1);
        self.0.remove(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys in their order: for a change of phase only.
    pub(crate) fn keys(&self) -> Vec<K> {
        touch(self.0.len());
        self.0.keys().cloned().collect()
    }
}

/// At most one deadline a key, the earliest at hand.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    queue: BTreeSet<(Stamp, K)>,
    of: Table<K, Stamp>,
}

impl<K: Ord + Clone> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Deadlines { queue: BTreeSet::new(), of: Table::new() }
    }

    /// Replaces the key's deadline; `None` removes it.
    pub(crate) fn set(&mut self, key: K, at: Option<Stamp>) {
        let before = match at {
            Some(at) => self.of.insert(key.clone(), at),
            None => self.of.remove(key.clone()),
        };
        if before == at {
            return;
        }
        touch(1);
        if let Some(before) = before {
            self.queue.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.queue.insert((at, key));
        }
    }

    /// The key's deadline.
    pub(crate) fn get(&self, key: K) -> Option<Stamp> {
        self.of.get(key).copied()
    }

    pub(crate) fn next(&self) -> Option<Stamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline, if it has come.
    pub(crate) fn pop(&mut self, now: Stamp) -> Option<(Stamp, K)> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        touch(1);
        let due = self.queue.pop_first()?;
        self.of.remove(due.1.clone());
        Some(due)
    }

    pub(crate) fn clear(&mut self) {
        touch(self.queue.len());
        *self = Self::new();
    }
}

#[cfg(not(test))]
fn touch(_entries: usize) {}

#[cfg(test)]
pub(crate) use counted::{touch, touched};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local!(static TOUCHED: Cell<u64> = const { Cell::new(0) });

    pub(crate) fn touch(entries: usize) {
        TOUCHED.set(TOUCHED.get() + entries as u64);
    }

    /// Entries touched by this thread since the last call.
    pub(crate) fn touched() -> u64 {
        TOUCHED.replace(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn deadlines_come_once_in_order_and_as_set_last(sets in proptest::collection::vec((0u8..20, proptest::option::of(0u64..50)), 0..80)) {
            let mut deadlines = Deadlines::new();
            let mut model = BTreeMap::new();
            for (key, at) in sets {
                let at = at.map(Stamp::from_ns);
                deadlines.set(key, at);
                match at {
                    Some(at) => model.insert(key, at),
                    None => model.remove(&key),
                };
            }
            let mut wanted: Vec<_> = model.into_iter().map(|(key, at)| (at, key)).collect();
            wanted.sort();
            for (at, key) in wanted {
                prop_assert_eq!(deadlines.next(), Some(at));
                if let Some(before) = at.as_ns().checked_sub(1) {
                    prop_assert_eq!(deadlines.pop(Stamp::from_ns(before)), None);
                }
                prop_assert_eq!(deadlines.pop(at), Some((at, key)));
            }
            prop_assert!(deadlines.next().is_none() && deadlines.of.is_empty());
        }
    }
}
