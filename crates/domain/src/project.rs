//! What each event does to the records: the one place where the present state follows from what happened.
//!
//! Clients fold the same events in the same way; `fixtures/sync` and the property tests hold the two together.

use std::sync::Arc;

use chinwag_protocol::{
    Attachment, CallView, ConversationChange, ConversationId, Entry, Event, FileId, History, LogId,
    MessageState, Millis, Position, Reaction, Role, Seq, UserId,
};

use crate::{
    facts::{Facts, Failed, Known},
    plan::{Plan, messages_after},
    record::{Avatar, Call, Change, Conversation, Holding, Member, Overlay, Standing},
    rules::file::distinct,
};

/// Stands for all members in [`Change::Mention`].
pub const ALL_MEMBERS: UserId = UserId(0);

/// Draws the consequences of an entry that is about to be recorded.
pub fn apply(plan: &mut Plan<'_>, entry: &Entry) -> Known<()> {
    match entry.log {
        LogId::Conversation(conversation) => in_conversation(plan, conversation, entry),
        LogId::User(user) => in_user(plan, user, &entry.event),
        // The record of a user holds more than the directory tells; the rule keeps it.
        LogId::Directory => Ok(()),
    }
}

fn in_conversation(plan: &mut Plan<'_>, id: ConversationId, entry: &Entry) -> Known<()> {
    match &entry.event {
        Event::Created { kind, handle, name, topic, public, history, posting, direct } => {
            plan.keep(Change::Conversation(Arc::new(Conversation {
                id,
                kind: *kind,
                handle: handle.clone(),
                name: name.clone(),
                topic: topic.clone(),
                avatar: None,
                public: *public,
                history: *history,
                open_from: entry.seq,
                posting: *posting,
                direct: *direct,
                members: 0,
                owner: None,
                pins: 0,
                closed: false,
                created_at: entry.at,
            })));
            Ok(())
        }
        Event::Changed(change) => {
            if let Some(avatar) = change.avatar {
                shows(plan, id, avatar.file.map(|file| Avatar { file, by: entry.by }))?;
            }
            with_conversation(plan, id, |conversation| changed(conversation, change, entry.seq))
        }
        Event::Closed {} => {
            shows(plan, id, None)?;
            with_conversation(plan, id, |conversation| {
                conversation.closed = true;
                conversation.handle = None;
            })
        }
        Event::Joined { user, role, since, .. } => {
            let messages = plan.head(entry.log)?.position.messages;
            let before = plan.member(id, *user)?;
            plan.keep(Change::Member(Arc::new(Member {
                conversation: id,
                user: *user,
                role: *role,
                standing: Standing::Active,
                since: *since,
                entered: Position { seq: entry.seq, messages },
                joined_at: entry.at,
                until: None,
                muted_until: before.and_then(|member| member.muted_until),
            })));
            with_conversation(plan, id, |conversation| {
                conversation.members += 1;
                note_owner(conversation, *user, *role);
            })?;
            count_conversations(plan, *user, 1)
        }
        Event::Left { user } => goes(plan, id, *user, entry.seq, Standing::Gone),
        Event::Removed { user, banned } => {
            goes(plan, id, *user, entry.seq, if *banned { Standing::Banned } else { Standing::Gone })
        }
        Event::Banned { user } => banned(plan, id, *user),
        Event::Unbanned { user } => with_member(plan, id, *user, |member| member.standing = Standing::Gone),
        Event::RoleChanged { user, role } => {
            with_conversation(plan, id, |conversation| note_owner(conversation, *user, *role))?;
            with_member(plan, id, *user, |member| member.role = *role)
        }
        Event::Message(body) => {
            let (number, mentions) =
                (messages_after(plan.head(entry.log)?.position, &entry.event), &body.mentions);
            debug_assert_eq!(body.number, number, "messages are numbered without gaps");
            for user in mentions.iter().filter(|user| **user != entry.by) {
                plan.keep(Change::Mention(*user, id, entry.seq));
            }
            for Attachment { file, size, media_type, .. } in distinct(&body.attachments) {
                takes(plan, entry.by, *file, *size, media_type)?;
            }
            if body.mentions_all {
                plan.keep(Change::Mention(ALL_MEMBERS, id, entry.seq));
            }
            match body.thread {
                Some(root) => with_overlay(plan, id, root, entry, |state| state.replies += 1),
                None => Ok(()),
            }
        }
        Event::Edited { message, text } => {
            let (text, at) = (text.clone(), entry.at);
            with_overlay(plan, id, *message, entry, |state| {
                state.text = Some(text);
                state.edited_at = Some(at);
            })
        }
        Event::Deleted { message } => {
            count_pins(plan, id, *message, false)?;
            if let Some(found) = plan.message(id, *message)? {
                plan.keep(Change::Erase(id, *message));
                for attachment in distinct(&found.attachments) {
                    lets_go(plan, found.author, attachment.file)?;
                }
                for edit in &found.overlay.edits {
                    plan.keep(Change::Erase(id, *edit));
                }
            }
            with_overlay(plan, id, *message, entry, |state| {
                *state = MessageState { deleted: true, replies: state.replies, ..MessageState::default() };
            })
        }
        Event::Reacted { message, emoji } => with_overlay(plan, id, *message, entry, |state| {
            match state.reactions.iter_mut().find(|reaction| reaction.emoji == *emoji) {
                Some(reaction) if reaction.users.contains(&entry.by) => {}
                Some(reaction) => reaction.users.push(entry.by),
                None => state.reactions.push(Reaction { emoji: emoji.clone(), users: vec![entry.by] }),
            }
        }),
        Event::Unreacted { message, emoji } => with_overlay(plan, id, *message, entry, |state| {
            for reaction in state.reactions.iter_mut().filter(|reaction| reaction.emoji == *emoji) {
                reaction.users.retain(|user| *user != entry.by);
            }
            state.reactions.retain(|reaction| !reaction.users.is_empty());
        }),
        Event::Pinned { message } => {
            count_pins(plan, id, *message, true)?;
            with_overlay(plan, id, *message, entry, |state| state.pinned = true)
        }
        Event::Unpinned { message } => {
            count_pins(plan, id, *message, false)?;
            with_overlay(plan, id, *message, entry, |state| state.pinned = false)
        }
        Event::CallStarted { media, via } => {
            let view = CallView {
                call: entry.seq,
                by: entry.by,
                at: entry.at,
                media: *media,
                via: via.clone(),
                accepted: Vec::new(),
                declined: Vec::new(),
            };
            plan.keep(Change::Call(Arc::new(Call { conversation: id, view })));
            Ok(())
        }
        Event::CallAnswered { call: seq, accepted } => {
            let Some(call) = plan.call(id)?.filter(|call| call.view.call == *seq) else { return Ok(()) };
            let mut call = Call::clone(&call);
            call.view.declined.retain(|user| *user != entry.by);
            if *accepted {
                call.view.accepted.push(entry.by);
            } else {
                call.view.declined.push(entry.by);
            }
            plan.keep(Change::Call(Arc::new(call)));
            Ok(())
        }
        Event::CallEnded { .. } => {
            plan.keep(Change::CallOver(id));
            Ok(())
        }
        _ => Err(misplaced(entry)),
    }
}

/// A message of a user takes a file: his own upload, or one that he forwards.
fn takes(plan: &mut Plan<'_>, user: UserId, file: FileId, size: u64, media_type: &str) -> Known<()> {
    let messages = plan.holding(user, file)?.map_or(0, |held| held.messages) + 1;
    let (media_type, waits_since) = (media_type.to_owned(), None);
    plan.keep(Change::Holding(Arc::new(Holding { user, file, size, media_type, waits_since, messages })));
    Ok(())
}

/// The same for a picture that is to stand for something: the rule saw that the user holds it.
fn takes_own(plan: &mut Plan<'_>, user: UserId, file: FileId) -> Known<()> {
    let held = plan.holding(user, file)?.ok_or_else(|| missing("file", file))?;
    takes(plan, user, file, held.size, &held.media_type)
}

/// A user's profile shows another picture from now on. The profile itself is the rule's to keep.
pub(crate) fn portrayed(
    plan: &mut Plan<'_>,
    user: UserId,
    before: Option<FileId>,
    after: Option<FileId>,
) -> Known<()> {
    // The new one first: a file that is let go of in between would not be there any more.
    after.map_or(Ok(()), |file| takes_own(plan, user, file))?;
    before.map_or(Ok(()), |file| lets_go(plan, user, file))
}

/// A conversation shows another picture from now on.
fn shows(plan: &mut Plan<'_>, id: ConversationId, after: Option<Avatar>) -> Known<()> {
    let before = plan.conversation(id)?.and_then(|conversation| conversation.avatar);
    if before == after {
        return Ok(());
    }
    after.map_or(Ok(()), |avatar| takes_own(plan, avatar.by, avatar.file))?;
    before.map_or(Ok(()), |avatar| lets_go(plan, avatar.by, avatar.file))?;
    with_conversation(plan, id, |conversation| conversation.avatar = after)
}

/// What a change of its name or settings makes of a conversation.
fn changed(conversation: &mut Conversation, change: &ConversationChange, at: Seq) {
    if change.handle.is_some() {
        conversation.handle.clone_from(&change.handle);
    }
    if let Some(name) = &change.name {
        conversation.name.clone_from(name);
    }
    if let Some(topic) = &change.topic {
        conversation.topic.clone_from(topic);
    }
    if let Some(public) = change.public {
        conversation.public = public;
        if !public {
            conversation.handle = None;
        }
    }
    if let Some(history) = change.history {
        if history == History::All && conversation.history != History::All {
            conversation.open_from = at;
        }
        conversation.history = history;
    }
    if let Some(posting) = change.posting {
        conversation.posting = posting;
    }
}

/// A message of a user that held a file is deleted, or a picture replaced. With the last of them the file can go at
/// once.
fn lets_go(plan: &mut Plan<'_>, user: UserId, file: FileId) -> Known<()> {
    let Some(held) = plan.holding(user, file)? else { return Ok(()) };
    let mut changed = Holding::clone(&held);
    changed.messages = changed.messages.saturating_sub(1);
    if changed.messages == 0 && changed.waits_since.is_none() {
        changed.waits_since = Some(Millis(0));
    }
    plan.keep(Change::Holding(Arc::new(changed)));
    Ok(())
}

fn in_user(plan: &mut Plan<'_>, user: UserId, event: &Event) -> Known<()> {
    let mut relate = |to: UserId, change: fn(&mut crate::record::Relation)| -> Known<()> {
        let mut relation = plan.relation(user, to)?;
        change(&mut relation);
        plan.keep(Change::Relation(user, to, relation));
        Ok(())
    };
    match event {
        Event::ContactAdded { user: to } => relate(*to, |relation| relation.contact = true),
        Event::ContactRemoved { user: to } => relate(*to, |relation| relation.contact = false),
        Event::Blocked { user: to } => relate(*to, |relation| {
            relation.blocked = true;
            relation.contact = false;
        }),
        Event::Unblocked { user: to } => relate(*to, |relation| relation.blocked = false),
        Event::Muted { conversation, until } => {
            with_member(plan, *conversation, user, |member| member.muted_until = *until)
        }
        Event::SettingsChanged { settings } => {
            let Some(found) = plan.user(user)? else { return Ok(()) };
            let mut changed = crate::record::User::clone(&found);
            changed.settings = settings.clone();
            plan.keep(Change::User(Arc::new(changed)));
            Ok(())
        }
        Event::SessionEnded { session } => {
            plan.keep(Change::SessionEnded(*session));
            Ok(())
        }
        // What a conversation's log says of a member is the truth; these two repeat it for the user's clients.
        // A session holds a secret, so the rule that starts it keeps its record.
        _ => Ok(()),
    }
}

/// A member goes, and sees nothing after `last`.
fn goes(plan: &mut Plan<'_>, id: ConversationId, user: UserId, last: Seq, standing: Standing) -> Known<()> {
    with_member(plan, id, user, |member| {
        member.standing = standing;
        member.role = Role::Member;
        member.until = Some(last);
    })?;
    with_conversation(plan, id, |conversation| {
        conversation.members = conversation.members.saturating_sub(1);
        note_owner(conversation, user, Role::Member);
    })?;
    count_conversations(plan, user, -1)
}

/// Somebody who is not a member is kept out.
fn banned(plan: &mut Plan<'_>, id: ConversationId, user: UserId) -> Known<()> {
    if plan.member(id, user)?.is_some() {
        // What he could see while he was a member stays his.
        return with_member(plan, id, user, |member| member.standing = Standing::Banned);
    }
    let (entered, joined_at) = (Position::default(), plan.at());
    plan.keep(Change::Member(Arc::new(Member {
        conversation: id,
        user,
        role: Role::Member,
        standing: Standing::Banned,
        since: Seq(1),
        entered,
        joined_at,
        until: Some(Seq::ZERO),
        muted_until: None,
    })));
    Ok(())
}

/// A message is about to be pinned, or to be no longer.
fn count_pins(plan: &mut Plan<'_>, id: ConversationId, message: Seq, pinned: bool) -> Known<()> {
    let was = plan.message(id, message)?.is_some_and(|message| message.overlay.state.pinned);
    if was == pinned {
        return Ok(());
    }
    with_conversation(plan, id, |conversation| {
        conversation.pins = conversation.pins.saturating_add_signed(if pinned { 1 } else { -1 });
    })
}

fn note_owner(conversation: &mut Conversation, user: UserId, role: Role) {
    if role == Role::Owner {
        conversation.owner = Some(user);
    } else if conversation.owner == Some(user) {
        conversation.owner = None;
    }
}

fn count_conversations(plan: &mut Plan<'_>, user: UserId, by: i32) -> Known<()> {
    let Some(found) = plan.user(user)? else { return Ok(()) };
    let mut changed = crate::record::User::clone(&found);
    changed.conversations = changed.conversations.saturating_add_signed(by);
    plan.keep(Change::User(Arc::new(changed)));
    Ok(())
}

fn with_conversation(
    plan: &mut Plan<'_>,
    id: ConversationId,
    change: impl FnOnce(&mut Conversation),
) -> Known<()> {
    let found = plan.conversation(id)?.ok_or_else(|| missing("conversation", id))?;
    let mut changed = Conversation::clone(&found);
    change(&mut changed);
    plan.keep(Change::Conversation(Arc::new(changed)));
    Ok(())
}

fn with_member(
    plan: &mut Plan<'_>,
    conversation: ConversationId,
    user: UserId,
    change: impl FnOnce(&mut Member),
) -> Known<()> {
    let found = plan.member(conversation, user)?.ok_or_else(|| missing("member", user))?;
    let mut changed = Member::clone(&found);
    change(&mut changed);
    plan.keep(Change::Member(Arc::new(changed)));
    Ok(())
}

fn with_overlay(
    plan: &mut Plan<'_>,
    conversation: ConversationId,
    message: Seq,
    entry: &Entry,
    change: impl FnOnce(&mut MessageState),
) -> Known<()> {
    let found = plan.message(conversation, message)?.ok_or_else(|| missing("message", message))?;
    let mut overlay: Overlay = found.overlay.clone();
    change(&mut overlay.state);
    overlay.state.changed = entry.seq;
    match &entry.event {
        Event::Edited { .. } => overlay.edits.push(entry.seq),
        Event::Deleted { .. } => overlay.edits.clear(),
        _ => {}
    }
    plan.keep(Change::Overlay(conversation, message, Arc::new(overlay)));
    Ok(())
}

/// A rule recorded an event about something that it did not look up first: our own mistake, never the asker's.
fn missing(what: &str, id: impl std::fmt::Display) -> Failed {
    Failed::new(format!("cannot apply an event to {what} {id}"), "there is none")
}

fn misplaced(entry: &Entry) -> crate::facts::Stop {
    Failed::new(
        format!("cannot record entry {} of log {}", entry.seq, entry.log),
        "the event belongs elsewhere",
    )
    .into()
}
