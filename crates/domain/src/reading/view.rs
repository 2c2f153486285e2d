//! How a conversation, a message and the whole of what one knows look to one viewer.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use chinwag_protocol::{
    ConversationId, ConversationView, Entry, Event, Item, LogId, MyMembership, Position, Profile, Seq,
    Snapshot, UserId, UserKind,
};

use super::Viewer;
use crate::{
    facts::Known,
    port::Reader,
    record::{Call, Conversation, Cursor, Member},
};

/// At most so many unread mentions are told; more than that is "many".
const MENTIONS_TOLD: usize = 100;

/// What anybody who may know of a conversation sees of it: no content, and nothing that counts content.
fn outline(conversation: &Conversation) -> ConversationView {
    ConversationView {
        id: conversation.id,
        kind: conversation.kind,
        handle: conversation.handle.clone(),
        name: conversation.name.clone(),
        topic: conversation.topic.clone(),
        avatar: conversation.avatar.map(|avatar| avatar.file),
        public: conversation.public,
        history: conversation.history,
        posting: conversation.posting,
        direct: conversation.direct,
        members: conversation.members,
        closed: conversation.closed,
        head: Position::default(),
        call: None,
        mine: None,
        last: None,
    }
}

/// A conversation as its new member's own log tells it: as of his `joined` entry, which is its head.
///
/// Without the last message: a user's log outlives a deletion, so no text may stand in it.
pub fn entered_view(conversation: &Conversation, member: &Member, call: Option<&Call>) -> ConversationView {
    ConversationView {
        head: member.entered,
        call: call.map(|call| call.view.clone()),
        mine: Some(MyMembership {
            role: member.role,
            since: member.since,
            read: member.entered,
            mentions: Vec::new(),
            muted_until: member.muted_until,
        }),
        ..outline(conversation)
    }
}

/// A conversation as this user may see it: whole for a member, in outline for anybody else, if it is public.
///
/// Whether the user may know of it at all is the caller's question.
pub fn view(
    reader: &dyn Reader,
    conversation: &Conversation,
    member: Option<&Member>,
) -> Known<ConversationView> {
    let Some(member) = member.filter(|member| member.is_active()) else {
        return Ok(outline(conversation));
    };
    let id = conversation.id;
    let cursor = effective(reader.cursor(id, member.user)?, member);
    let last = match reader.last_message(id, member.since)? {
        Some(entry) => Some(Box::new(item(reader, entry, member)?)),
        None => None,
    };
    Ok(ConversationView {
        head: reader.head(LogId::Conversation(id))?.position,
        call: reader.call(id)?.map(|call| call.view.clone()),
        mine: Some(MyMembership {
            role: member.role,
            since: member.since,
            read: cursor.read,
            mentions: reader.mentions(member.user, id, cursor.read.seq, MENTIONS_TOLD)?,
            muted_until: member.muted_until,
        }),
        last,
        ..outline(conversation)
    })
}

/// A member's cursors: what lies before his joining counts as received and read.
pub fn effective(cursor: Cursor, member: &Member) -> Cursor {
    Cursor {
        delivered: cursor.delivered.max(member.entered.seq),
        read: if cursor.read.seq < member.entered.seq { member.entered } else { cursor.read },
    }
}

/// Whether this entry is about a message from before `since`: then the viewer learns only that there was an entry.
pub fn is_hidden(entry: &Entry, since: Seq) -> bool {
    entry.event.target().is_some_and(|target| target < since)
}

/// The entry as a member may see it. It must lie in his window: see [`Member::may_see`].
pub fn visible<'e>(entry: &'e Entry, member: &Member) -> Cow<'e, Entry> {
    if is_hidden(entry, member.since) { Cow::Owned(hide(entry)) } else { Cow::Borrowed(entry) }
}

/// Leaves of an entry only that there was one.
pub fn hide(entry: &Entry) -> Entry {
    // Who acted, and under which id, would tell of the hidden message too.
    Entry {
        log: entry.log,
        seq: entry.seq,
        at: entry.at,
        by: UserId::default(),
        client_id: None,
        event: Event::Hidden {},
    }
}

/// One entry with what later entries made of it.
pub(super) fn item(reader: &dyn Reader, entry: Entry, member: &Member) -> Known<Item> {
    let state = match entry.event {
        Event::Message(_) => reader
            .overlays(member.conversation, entry.seq, entry.seq)?
            .pop()
            .map(|(_, overlay)| overlay.state.clone()),
        _ => None,
    };
    let entry = if is_hidden(&entry, member.since) { hide(&entry) } else { entry };
    Ok(Item { entry, state })
}

/// A run of entries, oldest first, with what later entries made of them.
pub(super) fn items(reader: &dyn Reader, entries: Vec<Entry>, member: &Member) -> Known<Vec<Item>> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
    let mut overlays = reader.overlays(member.conversation, first.seq, last.seq)?.into_iter().peekable();
    let mut items = Vec::with_capacity(entries.len());
    for entry in entries {
        while overlays.next_if(|(seq, _)| *seq < entry.seq).is_some() {}
        let state = overlays.next_if(|(seq, _)| *seq == entry.seq).map(|(_, overlay)| overlay.state.clone());
        let entry = if is_hidden(&entry, member.since) { hide(&entry) } else { entry };
        items.push(Item { entry, state });
    }
    Ok(items)
}

/// Everything a client needs to start.
pub(super) fn snapshot(viewer: &Viewer<'_>) -> Known<Snapshot> {
    let (reader, me) = (viewer.reader, &viewer.user);
    let mut conversations = Vec::new();
    let mut named = BTreeSet::new();
    for member in reader.memberships(me.id)? {
        let Some(conversation) = reader.conversation(member.conversation)?.filter(|found| !found.closed)
        else {
            continue;
        };
        let view = view(reader, &conversation, Some(&member))?;
        named.extend(conversation.other(me.id));
        named.extend(view.last.as_ref().map(|item| item.entry.by));
        conversations.push(view);
    }
    let relations = reader.relations(me.id)?;
    let those = |wanted: fn(&crate::record::Relation) -> bool| -> Vec<UserId> {
        relations.iter().filter(|(_, relation)| wanted(relation)).map(|(user, _)| *user).collect()
    };
    let (contacts, blocked) = (those(|r| r.contact), those(|r| r.blocked));
    named.extend(contacts.iter().chain(&blocked));
    named.remove(&me.id);
    Ok(Snapshot {
        me: me.profile(),
        session: viewer.session.id,
        settings: me.settings.clone(),
        conversations,
        users: profiles(reader, named)?,
        contacts,
        blocked,
        positions: own_logs(viewer)?,
    })
}

/// The heads of the logs that are not conversations.
fn own_logs(viewer: &Viewer<'_>) -> Known<Vec<(LogId, Seq)>> {
    let mut logs = vec![LogId::User(viewer.user.id)];
    if viewer.user.kind != UserKind::Guest {
        logs.push(LogId::Directory);
    }
    logs.into_iter().map(|log| Ok((log, viewer.reader.head(log)?.position.seq))).collect()
}

/// The profiles of those of these users who exist.
pub(super) fn profiles(reader: &dyn Reader, users: impl IntoIterator<Item = UserId>) -> Known<Vec<Profile>> {
    let mut profiles = Vec::new();
    for user in users {
        profiles.extend(reader.user(user)?.map(|user| user.profile()));
    }
    Ok(profiles)
}

/// The conversation, if it is there and open.
pub(super) fn open(reader: &dyn Reader, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
    Ok(reader.conversation(id)?.filter(|conversation| !conversation.closed))
}
