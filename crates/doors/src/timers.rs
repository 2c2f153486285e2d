//! Wishes to be woken, of many links, behind the one that a door may have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Moment, Output};

/// Moments by key; each key has at most one.
#[derive(Debug)]
pub struct Timers<K> {
    of: BTreeMap<K, Moment>,
    order: BTreeSet<(Moment, K)>,
    /// For when the listener was last asked to wake the door.
    asked: Option<Moment>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), order: BTreeSet::new(), asked: None }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Wakes this key then, and not at the time that was set before.
    pub fn set(&mut self, key: K, at: Moment) {
        self.clear(key);
        self.of.insert(key, at);
        self.order.insert((at, key));
    }

    /// Wakes this key no more.
    pub fn clear(&mut self, key: K) {
        if let Some(at) = self.of.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    /// When a key is to be woken.
    pub fn get(&self, key: K) -> Option<Moment> {
        self.of.get(&key).copied()
    }

    /// The next key whose time has come.
    pub fn due(&mut self, now: Moment) -> Option<K> {
        let (_, key) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.clear(key);
        Some(key)
    }

    /// To be called when the listener has woken the door: its wish is spent.
    pub fn woken(&mut self) {
        self.asked = None;
    }

    /// The wish that the door has to state now, if the one stated before is not early enough.
    ///
    /// An earlier wish that no longer holds is left alone: waking for nothing costs less than saying so each time.
    pub fn wish(&mut self) -> Option<Output> {
        let (first, _) = self.order.first()?;
        if self.asked.is_some_and(|asked| asked <= *first) {
            return None;
        }
        self.asked = Some(*first);
        Some(Output::WakeAt(*first))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn the_earliest_is_wished_for_and_stated_once() {
        let mut timers = Timers::default();
        assert_eq!(timers.wish(), None);
        timers.set('a', at(50));
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(50))));
        timers.set('b', at(70));
        assert_eq!(timers.wish(), None);
        timers.set('b', at(30));
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(30))));
        timers.woken();
        assert_eq!(timers.due(at(30)), Some('b'));
        assert_eq!(timers.due(at(30)), None);
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(50))));
        timers.clear('a');
        timers.woken();
        assert_eq!((timers.due(at(90)), timers.wish()), (None, None));
    }
}
