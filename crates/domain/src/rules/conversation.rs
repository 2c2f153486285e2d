//! Conversations themselves: opening, making, changing, closing, muting.

use chinwag_protocol::{
    ConversationChange, ConversationId, ConversationKind, Event, History, JoinedBy, LogId, Millis, Posting,
    Refused, Reply, Role, UserId,
};

use super::{
    avatar, call,
    membership::{enter, invitable, room},
    naming,
    rights::{Place, place, rights},
};
use crate::{
    facts::{Facts, Known},
    limits::MEMBERS_AT_ONCE_MAX,
    names,
    plan::Plan,
    policy::Action,
    port::Actor,
    record::{Conversation, Counter, Owner, User},
};

/// How many handles are tried when one is made from a name that others have too.
const DERIVED_MAX: u32 = 20;

/// Opens the direct conversation with a user, making it if there is none.
///
/// Somebody who was blocked is told the same as about a user who does not exist.
pub fn open_direct(plan: &mut Plan<'_>, actor: &Actor, other: UserId) -> Known<Reply> {
    let mut rights = rights(plan, actor)?;
    let me = rights.user.id;
    let users = (me.min(other), me.max(other));
    if let Some(conversation) = plan.direct(users)?
        && plan.member(conversation, me)?.is_some_and(|member| member.is_active())
    {
        return Ok(Reply::Conversation { conversation });
    }
    let found = plan.user(other)?.filter(|user| user.is_active());
    rights.grounds.blocked = plan.relation(other, me)?.blocked;
    rights.grounds.shares = share_a_conversation(plan, me, other)?;
    rights.need(Action::StartDirect)?;
    let found = found.ok_or_else(Refused::not_found)?;
    let conversation = make_direct(plan, &rights.user, &found)?;
    Ok(Reply::Conversation { conversation })
}

/// Makes the direct conversation of two users, who may be the same. Whether the first may was asked before.
pub(super) fn make_direct(plan: &mut Plan<'_>, me: &User, other: &User) -> Known<ConversationId> {
    let users = (me.id.min(other.id), me.id.max(other.id));
    let id = ConversationId(plan.next(Counter::Conversation)?);
    plan.record(
        LogId::Conversation(id),
        me.id,
        Event::Created {
            kind: ConversationKind::Direct,
            handle: None,
            name: String::new(),
            topic: String::new(),
            public: false,
            history: History::All,
            posting: Posting::Everyone,
            direct: Some(users),
        },
    )?;
    for user in if me.id == other.id { vec![me] } else { vec![me, other] } {
        join_new(plan, id, user, Role::Member, me.id)?;
    }
    Ok(id)
}

/// Only guests need it; for others nothing is looked up.
fn share_a_conversation(plan: &Plan<'_>, user: UserId, other: UserId) -> Known<bool> {
    if plan.user(user)?.is_none_or(|user| user.kind != chinwag_protocol::UserKind::Guest) {
        return Ok(false);
    }
    for member in plan.memberships(user)? {
        if plan.member(member.conversation, other)?.is_some_and(|member| member.is_active()) {
            return Ok(true);
        }
    }
    Ok(user == other)
}

fn join_new(plan: &mut Plan<'_>, id: ConversationId, user: &User, role: Role, by: UserId) -> Known<()> {
    let conversation = plan.conversation(id)?.ok_or_else(Refused::not_found)?;
    room(&conversation, user)?;
    enter(plan, id, user.id, role, by, JoinedBy::Creating)
}

/// A group or channel to be made, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewConversation<'c> {
    /// The asker's own id of the command.
    pub client_id: &'c str,
    /// Group or channel.
    pub kind: ConversationKind,
    /// Name shown.
    pub name: &'c str,
    /// Unique name.
    pub handle: Option<&'c str>,
    /// What it is about.
    pub topic: &'c str,
    /// Whether anybody may find and join it.
    pub public: bool,
    /// What new members may read.
    pub history: History,
    /// Who may post.
    pub posting: Option<Posting>,
    /// Whom to add at once.
    pub members: &'c [UserId],
}

/// Makes a group or channel; the asker owns it.
pub fn create(plan: &mut Plan<'_>, actor: &Actor, new: &NewConversation<'_>) -> Known<Reply> {
    let rights = rights(plan, actor)?;
    // Guests know only where they were invited to: what lets them find a public conversation lets them make one.
    rights.need(Action::KnowPublic)?;
    let me = rights.user.id;
    let posting = match (new.kind, new.posting) {
        (ConversationKind::Direct, _) => {
            let why = "a direct conversation is opened, not created";
            return Err(Refused::invalid("kind", "not_created", why).into());
        }
        (_, Some(posting)) => posting,
        (ConversationKind::Group, None) => Posting::Everyone,
        (ConversationKind::Channel, None) => Posting::Admins,
    };
    let name = names::conversation_name(new.name)?;
    let topic = names::topic(new.topic)?;
    if new.members.len() > MEMBERS_AT_ONCE_MAX {
        let why = format!("at most {MEMBERS_AT_ONCE_MAX} users can be added at once");
        return Err(Refused::too_large("members", why).into());
    }
    let id = ConversationId(plan.next(Counter::Conversation)?);
    let handle = match (new.public, new.handle) {
        (true, handle) => Some(public_handle(plan, handle, name)?),
        (false, None) => None,
        (false, Some(_)) => return Err(handle_needs_public().into()),
    };
    if let Some(handle) = &handle {
        naming::take(plan, handle, Owner::Conversation(id));
    }
    plan.record_as(
        LogId::Conversation(id),
        me,
        Some(new.client_id.to_owned()),
        Event::Created {
            kind: new.kind,
            handle,
            name: name.to_owned(),
            topic: topic.to_owned(),
            public: new.public,
            history: new.history,
            posting,
            direct: None,
        },
    )?;
    join_new(plan, id, &rights.user, Role::Owner, me)?;
    for user in new.members {
        let user = invitable(plan, me, *user)?;
        if plan.member(id, user.id)?.is_none() {
            join_new(plan, id, &user, Role::Member, me)?;
        }
    }
    Ok(Reply::Conversation { conversation: id })
}

/// The handle asked for, if it is free; or one made from the name.
fn public_handle(plan: &Plan<'_>, asked: Option<&str>, name: &str) -> Known<String> {
    if let Some(handle) = asked {
        naming::check_free(plan, handle, None)?;
        return Ok(handle.to_owned());
    }
    let underivable = || {
        let why = "no unique name could be made from the name: choose one";
        Refused::invalid("handle", "handle_needed", why)
    };
    let base = names::derive(name).ok_or_else(underivable)?;
    let numbered = (2..=DERIVED_MAX).map(|number| {
        let suffix = format!("-{number}");
        let room = crate::limits::HANDLE_CHARACTERS_MAX - suffix.len();
        base.chars().take(room).chain(suffix.chars()).collect()
    });
    for handle in std::iter::once(base.clone()).chain(numbered) {
        match naming::check_free(plan, &handle, None) {
            Ok(()) => return Ok(handle),
            Err(crate::Stop::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    Err(underivable().into())
}

fn handle_needs_public() -> Refused {
    Refused::invalid("handle", "handle_needs_public", "only a public conversation has a unique name")
}

/// Changes name, topic or settings.
pub fn change(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    change: &ConversationChange,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    let now = &place.conversation;
    if is_built_in(plan, id)? {
        may_change_built_in(plan, actor, &place)?;
    } else {
        place.need(Action::Change)?;
    }
    if now.direct.is_some() {
        return Err(Refused::forbidden("direct", "a direct conversation cannot be changed").into());
    }
    let changed = differences(plan, actor, now, change)?;
    if changed == ConversationChange::default() {
        return Ok(Reply::Done {});
    }
    let old = now.handle.clone();
    match (&changed.handle, changed.public) {
        (Some(new), _) => naming::rename(plan, old.as_deref(), new, Owner::Conversation(id))?,
        (None, Some(false)) => old.iter().for_each(|old| naming::free(plan, old)),
        _ => {}
    }
    plan.record(LogId::Conversation(id), actor.user, Event::Changed(changed))?;
    Ok(Reply::Done {})
}

/// What of a change is allowed and new.
fn differences(
    plan: &Plan<'_>,
    actor: &Actor,
    now: &Conversation,
    change: &ConversationChange,
) -> Known<ConversationChange> {
    let name = change.name.as_deref().map(names::conversation_name).transpose()?;
    let topic = change.topic.as_deref().map(names::topic).transpose()?;
    let public = change.public.unwrap_or(now.public);
    let handle = match (public, &change.handle) {
        (true, Some(handle)) => {
            naming::check_free(plan, handle, Some(Owner::Conversation(now.id)))?;
            Some(handle.clone())
        }
        (true, None) if now.handle.is_none() => Some(public_handle(plan, None, name.unwrap_or(&now.name))?),
        (_, None) => None,
        (false, Some(_)) => return Err(handle_needs_public().into()),
    };
    Ok(ConversationChange {
        handle: handle.filter(|handle| now.handle.as_ref() != Some(handle)),
        name: name.filter(|name| *name != now.name).map(str::to_owned),
        topic: topic.filter(|topic| *topic != now.topic).map(str::to_owned),
        avatar: avatar::chosen(plan, actor, now.avatar.map(|avatar| avatar.file), change.avatar)?,
        public: change.public.filter(|public| *public != now.public),
        history: change.history.filter(|history| *history != now.history),
        posting: change.posting.filter(|posting| *posting != now.posting),
    })
}

/// Whether this is the server's own group.
pub(super) fn is_built_in(plan: &Plan<'_>, id: ConversationId) -> Known<bool> {
    Ok(plan.server()?.is_some_and(|server| server.everyone == Some(id)))
}

/// The server's own group is a part of its settings, whoever is an admin in it.
fn may_change_built_in(plan: &Plan<'_>, actor: &Actor, place: &Place) -> Known<()> {
    if place.rights.user.admin {
        return Ok(rights(plan, actor)?.need_fresh(Action::ManageServer)?);
    }
    place.need(if place.conversation.public { Action::KnowPublic } else { Action::KnowPrivate })?;
    Err(built_in().into())
}

fn built_in() -> Refused {
    Refused::forbidden("built_in", "this conversation belongs to the server")
}

/// Deletes a conversation for everybody.
pub fn close(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Dispose)?;
    if is_built_in(plan, id)? {
        return Err(built_in().into());
    }
    record_closed(plan, &place, actor.user)?;
    Ok(Reply::Done {})
}

/// The last entry of a conversation; its name is free for others.
pub(super) fn record_closed(plan: &mut Plan<'_>, place: &Place, by: UserId) -> Known<()> {
    if let Some(handle) = &place.conversation.handle {
        naming::free(plan, handle);
    }
    call::before_closing(plan, place.conversation.id, by)?;
    plan.record(LogId::Conversation(place.conversation.id), by, Event::Closed {})?;
    Ok(())
}

/// Mutes a conversation for oneself until a time, or unmutes it.
pub fn mute(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, until: Option<Millis>) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Hear)?;
    let member = place.member.filter(|member| member.is_active()).ok_or_else(Refused::not_found)?;
    if member.muted_until != until {
        let log = LogId::User(actor.user);
        plan.record(log, actor.user, Event::Muted { conversation: id, until })?;
    }
    Ok(Reply::Done {})
}

#[cfg(test)]
mod tests;
