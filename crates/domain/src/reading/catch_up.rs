//! Catching up: which logs somebody may follow, from where, and the entries he missed.

use std::collections::BTreeMap;

use chinwag_protocol::{Entry, LogId, Refused, Seq, UserId, UserKind};

use super::{
    Viewer,
    resume::{CATCH_UP_MAX, Followed, Returning, resume},
    view::{hide, is_hidden},
};
use crate::{facts::Known, port::Reader, record::Member};

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

/// What somebody with these positions missed: what [`resume`] says, up to where he may see it.
pub(super) fn catch_up(viewer: &Viewer<'_>, positions: &[(LogId, Seq)]) -> Known<CatchUp> {
    let (reader, user) = (viewer.reader, viewer.user.id);
    let mut followed = Vec::new();
    for member in reader.memberships(user)? {
        let found = reader.conversation(member.conversation)?;
        followed.push(Followed {
            conversation: member.conversation,
            entered: member.entered.seq,
            closed: found.is_none_or(|conversation| conversation.closed),
        });
    }
    let mut heads = BTreeMap::new();
    let logs = followed.iter().map(|one| LogId::Conversation(one.conversation));
    for log in logs.chain([LogId::User(user), LogId::Directory]) {
        heads.insert(log, reader.head(log)?.position.seq);
    }
    let directory = viewer.user.kind != UserKind::Guest;
    let returning = Returning { user, directory, positions, most: CATCH_UP_MAX.into() };
    let head = |log| heads.get(&log).copied().unwrap_or_default();
    let Some(plan) = resume(&returning, &followed, head) else { return Ok(CatchUp::TooMuch) };
    let mut missed = Vec::new();
    for (log, from) in plan {
        let Some((before, head)) = window(reader, user, log)? else { continue };
        let from = from.max(before);
        if from < head {
            missed.push(Missed { log, from, head });
        }
    }
    Ok(CatchUp::Entries(missed))
}
