//! Catching up: which logs somebody may follow, from where, and the entries he missed.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{ConversationId, Entry, Event, LogId, Refused, Seq, UserId, UserKind};

use super::{
    Viewer,
    view::{hide, is_hidden},
};
use crate::{facts::Known, limits::PAGE_ENTRIES_MAX, port::Reader, record::Member};

/// Whoever missed more than this starts afresh: a snapshot is smaller.
pub const CATCH_UP_MAX: u32 = 5_000;

/// What somebody who was away is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// These runs of entries, in this order; empty if nothing was missed.
    Entries(Vec<Missed>),
    /// Too much, or the positions are not of this store: a full welcome.
    TooMuch,
}

/// A run of entries of one log that somebody missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Which log.
    pub log: LogId,
    /// The last entry he has.
    pub from: Seq,
    /// The last entry he may have now.
    pub head: Seq,
}

/// The numbers of a log that a user may see: after the first, up to the second. `None` if he may not know of it.
fn window(reader: &dyn Reader, user: UserId, log: LogId) -> Known<Option<(Seq, Seq)>> {
    match log {
        LogId::Directory => {
            let guest = reader.user(user)?.is_none_or(|user| user.kind == UserKind::Guest);
            if guest { Ok(None) } else { Ok(Some((Seq::ZERO, reader.head(log)?.position.seq))) }
        }
        LogId::User(owner) if owner == user => Ok(Some((Seq::ZERO, reader.head(log)?.position.seq))),
        LogId::User(_) => Ok(None),
        LogId::Conversation(id) => match reader.member(id, user)? {
            Some(member) => of_member(reader, &member),
            None => Ok(None),
        },
    }
}

/// The part of a conversation's log that is a member's, or was while he was one.
fn of_member(reader: &dyn Reader, member: &Member) -> Known<Option<(Seq, Seq)>> {
    let last = match member.until {
        // Banned without ever having been a member.
        Some(Seq::ZERO) => return Ok(None),
        Some(until) => until,
        None => reader.head(LogId::Conversation(member.conversation))?.position.seq,
    };
    Ok(Some((member.since.prev(), last)))
}

/// Entries of a log after a number, as this user may see them, and whether there are more.
///
/// Somebody who was removed still gets what was said while he was a member, his removal included, and nothing more.
pub fn entries_for(
    reader: &dyn Reader,
    user: UserId,
    log: LogId,
    after: Seq,
    limit: usize,
) -> Known<(Vec<Entry>, bool)> {
    let Some((before, last)) = window(reader, user, log)? else { return Err(Refused::not_found().into()) };
    let after = after.max(before);
    if after >= last {
        return Ok((Vec::new(), false));
    }
    let mut entries = reader.entries(log, after, last, limit)?;
    let more = entries.last().is_some_and(|entry| entry.seq < last);
    let since = before.next();
    entries = entries
        .into_iter()
        .map(|entry| if is_hidden(&entry, since) { hide(&entry) } else { entry })
        .collect();
    Ok((entries, more))
}

/// What somebody with these positions missed.
///
/// His own log comes first: it tells which conversations he entered meanwhile. A conversation that he does not
/// name starts at his `joined` entry, as the view in his own log does.
pub(super) fn catch_up(viewer: &Viewer<'_>, positions: &[(LogId, Seq)]) -> Known<CatchUp> {
    let (reader, me) = (viewer.reader, viewer.user.id);
    let mut named: BTreeMap<LogId, Seq> = positions.iter().copied().collect();
    for log in [LogId::User(me), LogId::Directory] {
        let followed = window(reader, me, log)?.is_some();
        if followed && !named.contains_key(&log) {
            return Ok(CatchUp::TooMuch);
        }
    }
    let entered = entered_meanwhile(reader, me, &named)?;
    for member in reader.memberships(me)? {
        let log = LogId::Conversation(member.conversation);
        let closed = reader.conversation(member.conversation)?.is_none_or(|conversation| conversation.closed);
        // One that was entered and closed meanwhile: the client hears that it entered, so it must hear the end.
        if !named.contains_key(&log) && (!closed || entered.contains(&member.conversation)) {
            named.insert(log, member.entered.seq);
        }
    }

    let mut missed = Vec::new();
    let mut sum = 0_u32;
    let own_first = |log: &LogId| (*log != LogId::User(me), *log);
    let mut logs: Vec<_> = named.into_iter().collect();
    logs.sort_by_key(|(log, _)| own_first(log));
    for (log, from) in logs {
        let Some((before, head)) = window(reader, me, log)? else { continue };
        let from = from.max(before);
        // Somebody who is gone is not told how far the conversation went on without him.
        if from > head && !is_gone(reader, me, log)? {
            return Ok(CatchUp::TooMuch);
        }
        if from < head {
            sum = sum.saturating_add(head.0 - from.0);
            missed.push(Missed { log, from, head });
        }
        if sum > CATCH_UP_MAX {
            return Ok(CatchUp::TooMuch);
        }
    }
    Ok(CatchUp::Entries(missed))
}

/// The conversations that the missed entries of a user's own log will make his client enter.
fn entered_meanwhile(
    reader: &dyn Reader,
    user: UserId,
    named: &BTreeMap<LogId, Seq>,
) -> Known<BTreeSet<ConversationId>> {
    let log = LogId::User(user);
    let mut entered = BTreeSet::new();
    let head = reader.head(log)?.position.seq;
    let mut after = named.get(&log).copied().unwrap_or(head);
    if head.0.saturating_sub(after.0) > CATCH_UP_MAX {
        // Far too much anyway.
        return Ok(entered);
    }
    while after < head {
        let entries = reader.entries(log, after, head, PAGE_ENTRIES_MAX)?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        entered.extend(entries.iter().filter_map(|entry| match &entry.event {
            Event::Entered { conversation } => Some(conversation.id),
            _ => None,
        }));
    }
    Ok(entered)
}

fn is_gone(reader: &dyn Reader, user: UserId, log: LogId) -> Known<bool> {
    match log {
        LogId::Conversation(id) => Ok(reader.member(id, user)?.is_none_or(|member| !member.is_active())),
        _ => Ok(false),
    }
}
