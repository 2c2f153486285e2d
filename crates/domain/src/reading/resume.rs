//! Going on: which logs somebody who comes back is sent, and from where. The one rule for the hub, which has the ends
//! of the logs in memory, and for whoever has a reader.
//!
//! It needs no entry: only who he is, where he left off, and how far each log goes.

use std::collections::BTreeMap;

use chinwag_protocol::{ConversationId, LogId, Seq, UserId};

/// Whoever missed more than this starts afresh: a snapshot is smaller.
pub const CATCH_UP_MAX: u32 = 5_000;

/// A conversation that somebody is a member of.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// Which.
    pub conversation: ConversationId,
    /// His own `joined` entry: where he starts who does not name it.
    pub entered: Seq,
    /// It has its last entry.
    pub closed: bool,
}

/// Somebody who comes back.
#[derive(Clone, Copy, Debug)]
pub struct Returning<'p> {
    /// Who.
    pub user: UserId,
    /// He reads the directory: everybody but guests.
    pub directory: bool,
    /// The last entry that he has of each log.
    pub positions: &'p [(LogId, Seq)],
    /// He starts afresh if he missed more entries than this.
    pub most: u64,
}

/// The logs to send, each with the last entry that he has; his own first, for it tells which conversations he entered
/// meanwhile. `None`: he missed too much, or knows another history than this store, and starts from a snapshot.
///
/// The conversations that he names and is not a member of come last, unjudged: up to where he may see them only the
/// store knows, and their ends decide nothing here, or trying positions would tell a stranger where they are.
pub fn resume(
    returning: &Returning<'_>,
    followed: &[Followed],
    head: impl Fn(LogId) -> Seq,
) -> Option<Vec<(LogId, Seq)>> {
    let mut named: BTreeMap<LogId, Seq> = returning.positions.iter().copied().collect();
    let (mut plan, mut total) = (Vec::new(), 0_u64);
    let mut consider = |log: LogId, after: Seq| {
        let head = head(log);
        total += u64::from(head.0.saturating_sub(after.0));
        if head > after {
            plan.push((log, after));
        }
        // Ahead of the end: the client knows another history than this store.
        (after <= head && total <= returning.most).then_some(head > after)
    };
    let own = LogId::User(returning.user);
    let has_news = consider(own, named.remove(&own)?)?;
    if returning.directory {
        consider(LogId::Directory, named.remove(&LogId::Directory)?)?;
    }
    for one in followed {
        let log = LogId::Conversation(one.conversation);
        let after = match named.remove(&log) {
            Some(after) => after,
            // A snapshot leaves it out, so whoever does not name it has no use for it, unless his own log is about
            // to tell him that he entered: then he must hear the end.
            None if one.closed && !has_news => continue,
            None => one.entered,
        };
        consider(log, after)?;
    }
    plan.extend(named.into_iter().filter(|(log, _)| matches!(log, LogId::Conversation(_))));
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::{Followed, Returning, resume};
    use chinwag_protocol::{ConversationId, LogId, Seq, UserId};

    const OWN: LogId = LogId::User(UserId(1));
    const OPEN: LogId = LogId::Conversation(ConversationId(1));
    const CLOSED: LogId = LogId::Conversation(ConversationId(2));
    const ELSEWHERE: LogId = LogId::Conversation(ConversationId(3));

    fn plan(positions: &[(LogId, u32)], directory: bool) -> Option<Vec<(LogId, u32)>> {
        let positions: Vec<_> = positions.iter().map(|(log, seq)| (*log, Seq(*seq))).collect();
        let returning = Returning { user: UserId(1), directory, positions: &positions, most: 100 };
        let followed = [(1, false), (2, true)].map(|(id, closed)| Followed {
            conversation: ConversationId(id),
            entered: Seq(2),
            closed,
        });
        let head = |log| match log {
            OWN => Seq(5),
            LogId::Directory => Seq(7),
            OPEN => Seq(20),
            CLOSED => Seq(90),
            _ => Seq(1_000),
        };
        let plan = resume(&returning, &followed, head)?;
        Some(plan.into_iter().map(|(log, seq)| (log, seq.0)).collect())
    }

    #[test]
    fn who_has_everything_is_sent_nothing() {
        assert_eq!(plan(&[(OWN, 5), (LogId::Directory, 7), (OPEN, 20)], true), Some(vec![]));
        assert_eq!(plan(&[(OWN, 5), (OPEN, 20), (CLOSED, 90)], false), Some(vec![]));
    }

    #[test]
    fn a_closed_conversation_is_sent_only_to_who_may_not_know_of_its_end() {
        assert_eq!(plan(&[(OWN, 5), (OPEN, 20)], false), Some(vec![]), "a snapshot left it out");
        assert_eq!(plan(&[(OWN, 5), (OPEN, 20), (CLOSED, 80)], false), Some(vec![(CLOSED, 80)]));
        assert_eq!(plan(&[(OWN, 4), (OPEN, 20)], false), Some(vec![(OWN, 4), (CLOSED, 2)]));
    }

    #[test]
    fn what_is_not_named_starts_where_one_entered() {
        assert_eq!(
            plan(&[(OWN, 5), (LogId::Directory, 6)], true),
            Some(vec![(LogId::Directory, 6), (OPEN, 2)])
        );
    }

    #[test]
    fn who_is_ahead_or_names_too_little_or_missed_too_much_starts_afresh() {
        assert_eq!(plan(&[(OPEN, 20)], false), None, "no place in his own log");
        assert_eq!(plan(&[(OWN, 5), (OPEN, 20)], true), None, "none in the directory");
        assert_eq!(plan(&[(OWN, 6), (OPEN, 20)], false), None);
        assert_eq!(plan(&[(OWN, 5), (OPEN, 21)], false), None);
        assert_eq!(
            plan(&[(OWN, 4), (OPEN, 9)], false).map(|plan| plan.len()),
            Some(3),
            "1 + 11 + 88 is allowed"
        );
        assert_eq!(plan(&[(OWN, 4), (OPEN, 8)], false), None, "1 + 12 + 88 is too much");
    }

    #[test]
    fn a_strangers_claims_decide_nothing() {
        for claimed in [0, 1_000, 2_000] {
            let positions = [(OWN, 5), (OPEN, 20), (ELSEWHERE, claimed), (LogId::User(UserId(9)), 3)];
            assert_eq!(plan(&positions, false), Some(vec![(ELSEWHERE, claimed)]), "up to the store");
        }
    }
}
