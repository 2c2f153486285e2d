//! Who is in a conversation: joining, leaving, adding, removing, banning, roles.
//!
//! Each change is an entry in the conversation's log, for everybody, and where it concerns one user's list of
//! conversations also one in his own log, for his clients.

use std::sync::Arc;

use chinwag_protocol::{
    ConversationId, Event, History, JoinedBy, LogId, Refused, Reply, Role, UserId, UserKind,
};

use super::{
    call,
    conversation::{is_built_in, record_closed},
    rights::{Place, place},
};
use crate::{
    facts::{Facts, Failed, Known},
    limits::{CONVERSATIONS_MAX, MEMBERS_MAX},
    plan::Plan,
    policy::{Action, Grounds, Verdict, Who, permit},
    port::Actor,
    reading::entered_view,
    record::{Conversation, Member, Standing, User},
};

/// Makes a user a member. Whether he may, and whether there is room, was asked before.
pub fn enter(
    plan: &mut Plan<'_>,
    id: ConversationId,
    user: UserId,
    role: Role,
    by: UserId,
    how: JoinedBy,
) -> Known<()> {
    let log = LogId::Conversation(id);
    let conversation = plan.conversation(id)?.ok_or_else(|| missing("conversation", id))?;
    let joined = plan.head(log)?.position.seq.next();
    // Those with whom a conversation begins see its beginning.
    let since = match conversation.history {
        History::FromJoining if how != JoinedBy::Creating => joined,
        _ => conversation.open_from,
    };
    plan.record(log, by, Event::Joined { user, role, since, how })?;
    let conversation = plan.conversation(id)?.ok_or_else(|| missing("conversation", id))?;
    let member = plan.member(id, user)?.ok_or_else(|| missing("member", user))?;
    let view = Box::new(entered_view(&conversation, &member, plan.call(id)?.as_deref()));
    plan.record(LogId::User(user), by, Event::Entered { conversation: view })?;
    Ok(())
}

/// A member goes, by an event that says so. Whether he may, or must, was asked before.
pub fn depart(plan: &mut Plan<'_>, id: ConversationId, user: UserId, by: UserId, event: Event) -> Known<()> {
    call::before_departing(plan, id, user)?;
    plan.record(LogId::Conversation(id), by, event)?;
    plan.record(LogId::User(user), by, Event::Departed { conversation: id })?;
    Ok(())
}

fn missing(what: &str, id: impl std::fmt::Display) -> Failed {
    Failed::new(format!("cannot use {what} {id} that was just recorded"), "there is none")
}

/// Refuses if the conversation, or the user's list of conversations, is full.
pub fn room(conversation: &Conversation, user: &User) -> Result<(), Refused> {
    if conversation.members >= MEMBERS_MAX {
        let why = format!("a conversation has at most {MEMBERS_MAX} members");
        return Err(Refused::forbidden("conversation_full", why));
    }
    if user.conversations >= CONVERSATIONS_MAX {
        let why = format!("a user is in at most {CONVERSATIONS_MAX} conversations");
        return Err(Refused::forbidden("too_many_conversations", why));
    }
    Ok(())
}

/// Somebody whom `actor` may bring into a conversation: who is not there, or does not want to hear from him, is
/// not found.
pub fn invitable(plan: &Plan<'_>, actor: UserId, user: UserId) -> Known<Arc<User>> {
    let found = plan.user(user)?.filter(|user| user.is_active());
    let blocked = plan.relation(user, actor)?.blocked;
    Ok(found.filter(|_| !blocked).ok_or_else(Refused::not_found)?)
}

/// Joins a public conversation.
pub fn join(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    if !place.rights.grounds.member {
        if !place.conversation.public {
            return Err(Refused::not_found().into());
        }
        place.need(Action::KnowPublic)?;
        not_banned(&place)?;
        room(&place.conversation, &place.rights.user)?;
        enter(plan, id, actor.user, Role::Member, actor.user, JoinedBy::Joining)?;
    }
    Ok(Reply::Conversation { conversation: id })
}

/// Leaves. Who owns it must hand it on or delete it first; the last to go deletes it.
pub fn leave(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    let member = membership(&place)?;
    not_direct(&place)?;
    if member.role == Role::Owner && !place.rights.grounds.alone {
        let why = "you own this conversation: transfer it or delete it first";
        return Err(Refused::forbidden("owner_leaves", why).into());
    }
    place.need(Action::Leave)?;
    depart(plan, id, actor.user, actor.user, Event::Left { user: actor.user })?;
    // Nobody could ever come back to it, or speak for it.
    let deserted = place.rights.grounds.alone && (!place.conversation.public || member.role == Role::Owner);
    if deserted && !is_built_in(plan, id)? {
        record_closed(plan, &place, actor.user)?;
    }
    Ok(Reply::Done {})
}

/// One's own active membership, or the answer for a conversation that does not exist.
fn membership(place: &Place) -> Known<Arc<Member>> {
    let member = place.member.clone().filter(|member| member.is_active());
    member.ok_or_else(|| Refused::not_found().into())
}

/// The table asks about bans for most; guests and administrators have columns of their own.
pub(super) fn not_banned(place: &Place) -> Result<(), Refused> {
    if place.member.as_ref().is_some_and(|member| member.standing == Standing::Banned) {
        return Err(Refused::forbidden("banned", "you are banned from this conversation"));
    }
    Ok(())
}

fn not_direct(place: &Place) -> Result<(), Refused> {
    if place.conversation.direct.is_some() {
        let why = "a direct conversation is for ever between the same two";
        return Err(Refused::forbidden("direct", why));
    }
    Ok(())
}

/// Adds a user.
pub fn add(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, user: UserId) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::AddMember)?;
    not_direct(&place)?;
    let before = plan.member(id, user)?;
    if before.as_ref().is_some_and(|member| member.is_active()) {
        return Ok(Reply::Done {});
    }
    let user = invitable(plan, actor.user, user)?;
    if before.is_some_and(|member| member.standing == Standing::Banned) {
        let why = "this user is banned from the conversation: lift the ban first";
        return Err(Refused::conflict("banned", why).into());
    }
    room(&place.conversation, &user)?;
    enter(plan, id, user.id, Role::Member, actor.user, JoinedBy::Adding)?;
    Ok(Reply::Done {})
}

/// Removes a member; a ban keeps him out, and can also be laid on somebody who is not a member.
pub fn remove(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    user: UserId,
    ban: bool,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    let before = plan.member(id, user)?;
    let active = before.clone().filter(|member| member.is_active());
    let role = active.as_ref().map_or(Role::Member, |member| member.role);
    place.need_over(Action::RemoveMember, role, Role::Member)?;
    not_direct(&place)?;
    if user == actor.user {
        return Err(Refused::invalid("user", "oneself", "to go oneself is to leave").into());
    }
    if role == Role::Owner {
        return Err(Refused::forbidden("owner", "the owner of a conversation cannot be removed").into());
    }
    match (active, before) {
        (Some(_), _) => depart(plan, id, user, actor.user, Event::Removed { user, banned: ban })?,
        (None, Some(gone)) if gone.standing == Standing::Banned => {}
        (None, _) if ban && plan.user(user)?.is_some() => {
            plan.record(LogId::Conversation(id), actor.user, Event::Banned { user })?;
        }
        (None, Some(_)) if !ban => {}
        _ => return Err(Refused::not_found().into()),
    }
    Ok(Reply::Done {})
}

/// Lifts a ban.
pub fn unban(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, user: UserId) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need_over(Action::RemoveMember, Role::Member, Role::Member)?;
    if plan.member(id, user)?.is_some_and(|member| member.standing == Standing::Banned) {
        plan.record(LogId::Conversation(id), actor.user, Event::Unbanned { user })?;
    }
    Ok(Reply::Done {})
}

/// Promotes, demotes, or hands the ownership on.
pub fn set_role(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    user: UserId,
    role: Role,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    not_a_matter_of_roles(&place)?;
    let target = plan.member(id, user)?.filter(|member| member.is_active());
    if role == Role::Owner {
        place.need(Action::Dispose)?;
    } else if user == actor.user {
        return step_down(plan, &place, role);
    } else {
        let now = target.as_ref().map_or(Role::Member, |member| member.role);
        place.need_over(Action::SetRole, now, role)?;
    }
    let target = target.ok_or_else(Refused::not_found)?;
    if target.role == role {
        return Ok(Reply::Done {});
    }
    // A guest with a role would hold rights that the table gives no guest.
    let person = plan.user(user)?.is_some_and(|user| user.kind != UserKind::Guest && user.is_active());
    if !person && role > Role::Member {
        return Err(Refused::forbidden("not_for_guests", "this user cannot have a role").into());
    }
    let log = LogId::Conversation(id);
    let owner = place.conversation.owner;
    plan.record(log, actor.user, Event::RoleChanged { user, role })?;
    if let (Role::Owner, Some(before)) = (role, owner) {
        plan.record(log, actor.user, Event::RoleChanged { user: before, role: Role::Admin })?;
    }
    Ok(Reply::Done {})
}

/// In a direct conversation both are equal; whoever may not know of it learns nothing from this.
fn not_a_matter_of_roles(place: &Place) -> Known<()> {
    if place.rights.grounds.member {
        not_direct(place)?;
    }
    Ok(())
}

/// Gives up a role of one's own.
fn step_down(plan: &mut Plan<'_>, place: &Place, role: Role) -> Known<Reply> {
    let me = place.rights.user.id;
    let member = membership(place)?;
    if member.role == role {
        return Ok(Reply::Done {});
    }
    if member.role == Role::Owner {
        let why = "you own this conversation: transfer it first";
        return Err(Refused::forbidden("owner_leaves", why).into());
    }
    if role > member.role {
        return Err(Refused::forbidden("forbidden", "you may not do this").into());
    }
    plan.record(LogId::Conversation(place.conversation.id), me, Event::RoleChanged { user: me, role })?;
    Ok(Reply::Done {})
}

/// Whether somebody may bring others into a conversation at present, and with which role of his own.
pub(super) fn may_bring(facts: &dyn Facts, id: ConversationId, user: UserId) -> Known<Option<Role>> {
    let Some(user) = facts.user(user)?.filter(|user| user.is_active()) else { return Ok(None) };
    let Some(member) = facts.member(id, user.id)?.filter(|member| member.is_active()) else {
        return Ok(None);
    };
    let who = match (user.kind, member.role) {
        (UserKind::Guest, _) => Who::Guest,
        (_, Role::Member) => Who::Member,
        (_, Role::Admin) => Who::Admin,
        (_, Role::Owner) => Who::Owner,
    };
    let allowed = permit(who, Action::AddMember, &Grounds { member: true, ..Grounds::default() });
    Ok((allowed == Verdict::Allow).then_some(member.role))
}

#[cfg(test)]
mod tests;
