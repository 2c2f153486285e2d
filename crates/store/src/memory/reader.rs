//! What readers ask of the memory engine.

use std::sync::Arc;

use chinwag_domain::{
    Known, Reader,
    project::ALL_MEMBERS,
    reading::{
        fold,
        search::{Found, Wanted},
    },
    record::{
        Call, Conversation, Cursor, Holding, Invite, Member, Overlay, Relation, Session, Standing, TokenHash,
        User,
    },
};
use chinwag_protocol::{ConversationId, Entry, Event, FileId, LogId, Millis, Position, Seq, UserId};

use super::state::{State, Stored};
use crate::engine::{self, PAGE_BYTES};

/// Takes entries until there are enough of them, or about a page of bytes.
fn page<'s>(stored: impl Iterator<Item = &'s Stored>, limit: usize) -> Vec<Entry> {
    let mut weight = 0;
    let mut page = Vec::new();
    for stored in stored.take(limit) {
        weight += engine::weight(&stored.entry);
        if weight > PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(stored.entry.clone());
    }
    page
}

impl Reader for State {
    fn find_users(&self, folded: &str, limit: usize) -> Known<Vec<Arc<User>>> {
        let mut found: Vec<(bool, String, Arc<User>)> = Vec::new();
        for user in self.users.values() {
            let (handle, name) = (fold(&user.handle), fold(&user.name));
            if handle.contains(folded) || name.contains(folded) {
                let inside = !handle.starts_with(folded) && !name.starts_with(folded);
                found.push((inside, handle, user.clone()));
            }
        }
        // Stable, so that equal ones stay in the order of their ids.
        found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        Ok(found.into_iter().take(limit).map(|(_, _, user)| user).collect())
    }

    fn find_conversations(&self, folded: &str, limit: usize) -> Known<Vec<Arc<Conversation>>> {
        let mut found: Vec<(String, Arc<Conversation>)> = Vec::new();
        for conversation in self.conversations.values().filter(|found| found.public && !found.closed) {
            let handle = conversation.handle.as_deref().map(fold).unwrap_or_default();
            let texts = [&handle, &fold(&conversation.name), &fold(&conversation.topic)];
            if texts.iter().any(|text| text.contains(folded)) {
                found.push((handle, conversation.clone()));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found.into_iter().take(limit).map(|(_, conversation)| conversation).collect())
    }

    fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> Known<Vec<Arc<Member>>> {
        let all = self.members.range((conversation, UserId(0))..=(conversation, UserId(u32::MAX)));
        let active = all.map(|(_, member)| member).filter(|member| member.user > after && member.is_active());
        Ok(active.take(limit).cloned().collect())
    }

    fn bans(&self, conversation: ConversationId) -> Known<Vec<Arc<Member>>> {
        let all = self.members.range((conversation, UserId(0))..=(conversation, UserId(u32::MAX)));
        Ok(all
            .map(|(_, member)| member)
            .filter(|member| member.standing == Standing::Banned)
            .cloned()
            .collect())
    }

    fn all_memberships(&self) -> Known<Vec<Arc<Member>>> {
        Ok(self.members.values().filter(|member| member.is_active()).cloned().collect())
    }

    fn all_heads(&self) -> Known<Vec<(LogId, Position)>> {
        let mut heads: Vec<(LogId, Position)> = self.logs.keys().map(|log| (*log, self.end(*log))).collect();
        heads.sort_unstable();
        Ok(heads)
    }

    fn relations(&self, of: UserId) -> Known<Vec<(UserId, Relation)>> {
        let all = self.relations.range((of, UserId(0))..=(of, UserId(u32::MAX)));
        Ok(all
            .filter(|(_, relation)| relation.contact || relation.blocked)
            .map(|((_, to), relation)| (*to, *relation))
            .collect())
    }

    fn invites(&self, conversation: ConversationId) -> Known<Vec<Arc<Invite>>> {
        let of = self.invites.values().filter(|invite| invite.conversation == conversation);
        Ok(of.filter(|invite| !invite.revoked && invite.uses_left > 0).cloned().collect())
    }

    fn session_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Session>>> {
        Ok(self.sessions.values().rev().find(|session| session.token == *token).cloned())
    }

    fn entries(&self, log: LogId, after: Seq, up_to: Seq, limit: usize) -> Known<Vec<Entry>> {
        let range =
            self.log(log).iter().skip(after.0 as usize).take_while(|stored| stored.entry.seq <= up_to);
        Ok(page(range, limit))
    }

    fn entries_before(&self, log: LogId, from: Seq, before: Seq, limit: usize) -> Known<Vec<Entry>> {
        let older = self.log(log).iter().rev().skip_while(|stored| stored.entry.seq >= before);
        let mut page = page(older.take_while(|stored| stored.entry.seq >= from), limit);
        page.reverse();
        Ok(page)
    }

    fn overlays(&self, conversation: ConversationId, from: Seq, to: Seq) -> Known<Vec<(Seq, Arc<Overlay>)>> {
        if from > to {
            return Ok(Vec::new());
        }
        let range = self.overlays.range((conversation, from)..=(conversation, to));
        Ok(range.map(|((_, seq), overlay)| (*seq, overlay.clone())).collect())
    }

    fn thread(&self, conversation: ConversationId, root: Seq, after: Seq, limit: usize) -> Known<Vec<Entry>> {
        let later = self.log(LogId::Conversation(conversation)).iter().skip(after.0 as usize);
        let replies = later.filter(|stored| match &stored.entry.event {
            Event::Message(body) => body.thread == Some(root),
            _ => false,
        });
        Ok(page(replies, limit))
    }

    fn is_held(&self, file: FileId) -> Known<bool> {
        Ok(self.holdings.keys().any(|(_, held)| *held == file))
    }

    fn idle_holdings(&self, before: Millis, limit: usize) -> Known<Vec<Arc<Holding>>> {
        Ok(self.holdings.values().filter(|held| held.is_idle(before)).take(limit).cloned().collect())
    }

    fn open_calls(&self) -> Known<Vec<Arc<Call>>> {
        Ok(self.calls.values().cloned().collect())
    }

    fn pins(&self, conversation: ConversationId) -> Known<Vec<Seq>> {
        let range = self.overlays.range((conversation, Seq::ZERO)..=(conversation, Seq(u32::MAX)));
        Ok(range.rev().filter(|(_, overlay)| overlay.state.pinned).map(|((_, seq), _)| *seq).collect())
    }

    fn mentions(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Known<Vec<Seq>> {
        let mut found: Vec<Seq> = Vec::new();
        for whom in [user, ALL_MEMBERS] {
            let range =
                self.mentions.range((conversation, whom, after.next())..=(conversation, whom, Seq(u32::MAX)));
            found.extend(range.map(|(_, _, seq)| *seq).filter(|seq| {
                let deleted =
                    self.overlays.get(&(conversation, *seq)).is_some_and(|overlay| overlay.state.deleted);
                let message = self.stored(LogId::Conversation(conversation), *seq);
                !deleted && message.is_some_and(|message| message.entry.by != user)
            }));
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    fn last_message(&self, conversation: ConversationId, from: Seq) -> Known<Option<Entry>> {
        let log = self.log(LogId::Conversation(conversation)).iter().rev();
        let last = log.map(|stored| &stored.entry).find(|entry| matches!(entry.event, Event::Message(_)));
        Ok(last.filter(|entry| entry.seq >= from).cloned())
    }

    fn seq_at(&self, conversation: ConversationId, at: Millis) -> Known<Seq> {
        let log = self.log(LogId::Conversation(conversation));
        let first = log.get(log.partition_point(|stored| stored.entry.at < at)).or(log.last());
        Ok(first.map_or(Seq::ZERO, |stored| stored.entry.seq))
    }

    fn position(&self, conversation: ConversationId, seq: Seq) -> Known<Position> {
        let log = LogId::Conversation(conversation);
        if seq == Seq::ZERO {
            return Ok(Position::default());
        }
        Ok(self.stored(log, seq).map_or_else(|| self.end(log), Stored::position))
    }

    fn cursor(&self, conversation: ConversationId, user: UserId) -> Known<Cursor> {
        Ok(self.cursors.get(&(conversation, user)).copied().unwrap_or_default())
    }

    fn search(&self, wanted: &Wanted) -> Known<Found> {
        crate::scan::scan(self, wanted)
    }
}
