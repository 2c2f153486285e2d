//! Entries that the program was not told, though the state knows what they led to.
//!
//! When the server answers a resume with a whole snapshot, the state jumps. Whoever follows the entries themselves
//! must not miss those in between: they are asked for, and what comes live meanwhile waits, so that each log is told
//! in order. This outlives a connection, because the state has moved on already.

use std::collections::BTreeMap;

use chinwag_protocol::{ConversationId, Entry, LogId, Seq};

use crate::sync::State;

/// A log that has grown by more than this meanwhile is read as history, not told.
const OWED_MAX: u32 = 5_000;

/// What is owed of one log.
#[derive(Debug)]
struct Debt {
    /// Told up to here.
    after: Seq,
    /// Owed up to here.
    to: Seq,
    /// What came live since, to be told afterwards.
    held: Vec<Entry>,
}

/// What is owed, by log.
#[derive(Debug, Default)]
pub(super) struct Owed {
    debts: BTreeMap<LogId, Debt>,
}

impl Owed {
    /// The state jumps from one to the other. Answers the conversations in which too much happened to be told.
    pub(super) fn jump(&mut self, old: &State, new: &State) -> Vec<ConversationId> {
        let mut skipped = Vec::new();
        let mut debts = BTreeMap::new();
        for (id, known) in &new.conversations {
            let log = LogId::Conversation(*id);
            let Some(before) = old.conversations.get(id) else { continue };
            // What was owed before and not told yet, and what was held back, is owed still.
            let after = self.debts.get(&log).map_or(before.view.head.seq, |debt| debt.after);
            let to = known.view.head.seq;
            match to.0.saturating_sub(after.0) {
                0 => {}
                1..=OWED_MAX => drop(debts.insert(log, Debt { after, to, held: Vec::new() })),
                _ => skipped.push(*id),
            }
        }
        self.debts = debts;
        skipped
    }

    /// Forgets everything: the entries are of another store now.
    pub(super) fn clear(&mut self) {
        self.debts.clear();
    }

    /// The logs to ask about, and after which entry.
    pub(super) fn questions(&self) -> Vec<(LogId, Seq)> {
        self.debts.iter().map(|(log, debt)| (*log, debt.after)).collect()
    }

    /// Keeps a live entry back if older ones of its log are owed; hands it back if not.
    pub(super) fn hold(&mut self, entry: Entry) -> Option<Entry> {
        match self.debts.get_mut(&entry.log) {
            Some(debt) => {
                debt.held.push(entry);
                None
            }
            None => Some(entry),
        }
    }

    /// Takes an answer. Answers what is to be told now, and after which entry to ask on.
    pub(super) fn pay(&mut self, log: LogId, entries: Vec<Entry>, more: bool) -> (Vec<Entry>, Option<Seq>) {
        let Some(debt) = self.debts.get_mut(&log) else { return (Vec::new(), None) };
        let (after, to) = (debt.after, debt.to);
        let mut told: Vec<Entry> =
            entries.into_iter().filter(|entry| entry.seq > after && entry.seq <= to).collect();
        debt.after = told.last().map_or(after, |entry| entry.seq);
        if more && debt.after < to && !told.is_empty() {
            return (told, Some(debt.after));
        }
        told.append(&mut self.forgive(log));
        (told, None)
    }

    /// What is owed of a log will not come; what was held back is to be told.
    pub(super) fn forgive(&mut self, log: LogId) -> Vec<Entry> {
        self.debts.remove(&log).map(|debt| debt.held).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{Event, Millis, UserId};
    use serde_json::json;

    use super::*;

    const LOG: LogId = LogId::Conversation(ConversationId(2));

    fn state(head: u32) -> State {
        let me = json!({"id": 1, "handle": "anna", "name": "anna", "hue": 1, "kind": "person"});
        let view = json!({"id": 2, "kind": "group", "name": "Lab", "public": false, "history": "all",
            "posting": "everyone", "members": 2, "head": {"seq": head, "messages": 0}});
        let snapshot = json!({"me": me, "session": 7, "settings": {"theme": "system"}, "conversations": [view],
            "users": [], "contacts": [], "blocked": [], "positions": [["u1", 3], ["d", 3]]});
        State::from(serde_json::from_value::<chinwag_protocol::Snapshot>(snapshot).unwrap())
    }

    fn entries(numbers: std::ops::RangeInclusive<u32>) -> Vec<Entry> {
        let event = Event::Hidden {};
        numbers
            .map(|seq| Entry {
                log: LOG,
                seq: Seq(seq),
                at: Millis(1),
                by: UserId(2),
                client_id: None,
                event: event.clone(),
            })
            .collect()
    }

    fn numbers(entries: &[Entry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn what_lies_between_two_states_is_told_before_what_comes_live() {
        let mut owed = Owed::default();
        assert!(owed.jump(&state(4), &state(8)).is_empty());
        assert_eq!(owed.questions(), [(LOG, Seq(4))]);
        assert!(entries(9..=9).into_iter().all(|entry| owed.hold(entry).is_none()));
        let (told, next) = owed.pay(LOG, entries(5..=6), true);
        assert_eq!((numbers(&told), next), (vec![5, 6], Some(Seq(6))));
        let (told, next) = owed.pay(LOG, entries(7..=9), false);
        assert_eq!((numbers(&told), next), (vec![7, 8, 9], None), "the ninth once, as it came live");
        assert!(owed.hold(entries(10..=10).remove(0)).is_some(), "nothing is owed any more");
    }

    #[test]
    fn a_second_jump_owes_what_the_first_had_not_paid() {
        let mut owed = Owed::default();
        owed.jump(&state(4), &state(8));
        owed.pay(LOG, entries(5..=5), true);
        assert!(owed.hold(entries(9..=9).remove(0)).is_none());
        owed.jump(&state(9), &state(12));
        assert_eq!(owed.questions(), [(LOG, Seq(5))]);
        assert_eq!(numbers(&owed.pay(LOG, entries(6..=12), false).0), [6, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn too_much_is_said_instead_of_told() {
        let mut owed = Owed::default();
        assert_eq!(owed.jump(&state(4), &state(4 + OWED_MAX + 1)), [ConversationId(2)]);
        assert!(owed.questions().is_empty());
        owed.jump(&state(4), &state(8));
        assert!(owed.hold(entries(9..=9).remove(0)).is_none());
        assert_eq!(numbers(&owed.forgive(LOG)), [9], "a refused question does not hold back for ever");
    }
}
