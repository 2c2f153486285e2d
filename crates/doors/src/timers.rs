//! Wishes to be woken, of many links, behind the one that a door may have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LinkId, Moment, Output};

/// Moments by link and by what each is for; each has at most one of a kind.
#[derive(Debug)]
pub(crate) struct Timers<A> {
    of: BTreeMap<LinkId, BTreeMap<A, Moment>>,
    order: BTreeSet<(Moment, LinkId, A)>,
    /// For when the listener was last asked to wake the door.
    asked: Option<Moment>,
}

impl<A> Default for Timers<A> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), order: BTreeSet::new(), asked: None }
    }
}

impl<A: Ord + Copy> Timers<A> {
    /// Wakes a link for this then, and not at the time that was set before.
    pub(crate) fn set(&mut self, link: LinkId, alarm: A, at: Moment) {
        self.clear(link, alarm);
        self.of.entry(link).or_default().insert(alarm, at);
        self.order.insert((at, link, alarm));
    }

    /// Wakes a link for this no more.
    pub(crate) fn clear(&mut self, link: LinkId, alarm: A) {
        let Some(own) = self.of.get_mut(&link) else { return };
        if let Some(at) = own.remove(&alarm) {
            self.order.remove(&(at, link, alarm));
        }
        if own.is_empty() {
            self.of.remove(&link);
        }
    }

    /// Wakes a link for nothing more.
    pub(crate) fn forget(&mut self, link: LinkId) {
        for (alarm, at) in self.of.remove(&link).into_iter().flatten() {
            self.order.remove(&(at, link, alarm));
        }
    }

    /// Whether a link is to be woken for this.
    pub(crate) fn is_set(&self, link: LinkId, alarm: A) -> bool {
        self.of.get(&link).is_some_and(|own| own.contains_key(&alarm))
    }

    /// The next link whose time has come, and for what. The listener has woken the door, so its wish is spent.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(LinkId, A)> {
        self.asked = None;
        let (_, link, alarm) = *self.order.first().filter(|(at, ..)| *at <= now)?;
        self.clear(link, alarm);
        Some((link, alarm))
    }

    /// The wish that the door has to state now, if the one stated before is not early enough.
    ///
    /// An earlier wish that no longer holds is left alone: waking for nothing costs less than saying so each time.
    pub(crate) fn wish(&mut self) -> Option<Output> {
        let (first, ..) = self.order.first()?;
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
        let (link, mut timers) = (LinkId(1), Timers::default());
        assert_eq!(timers.wish(), None);
        timers.set(link, 'a', at(50));
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(50))));
        timers.set(link, 'b', at(70));
        assert_eq!(timers.wish(), None);
        timers.set(link, 'b', at(30));
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(30))));
        assert_eq!(timers.due(at(30)), Some((link, 'b')));
        assert_eq!(timers.due(at(30)), None);
        assert_eq!(timers.wish(), Some(Output::WakeAt(at(50))));
        timers.clear(link, 'a');
        assert_eq!((timers.due(at(90)), timers.wish()), (None, None));
    }

    #[test]
    fn a_link_that_is_forgotten_is_woken_for_nothing() {
        let mut timers = Timers::default();
        for (link, alarm) in [(1, 'a'), (2, 'a'), (1, 'b')] {
            timers.set(LinkId(link), alarm, at(20));
        }
        timers.forget(LinkId(1));
        assert!(!timers.is_set(LinkId(1), 'a') && timers.is_set(LinkId(2), 'a'));
        assert_eq!((timers.due(at(20)), timers.due(at(20))), (Some((LinkId(2), 'a')), None));
        assert!(timers.of.is_empty() && timers.order.is_empty());
    }
}
