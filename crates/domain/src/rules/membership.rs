//! Who is in a conversation: joining, leaving, adding, removing, banning, roles.
//!
//! Each change is an entry in the conversation's log, for everybody, and where it concerns one user's list of
//! conversations also one in his own log, for his clients.

use std::sync::Arc;

use chinwag_protocol::{
    ConversationId, Event, History, JoinedBy, LogId, Refused, Reply, Role, UserId, UserKind,
};

use super::{
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
    let view = Box::new(entered_view(&conversation, &member));
    plan.record(LogId::User(user), by, Event::Entered { conversation: view })?;
    Ok(())
}

/// A member goes, by an event that says so. Whether he may, or must, was asked before.
pub fn depart(plan: &mut Plan<'_>, id: ConversationId, user: UserId, by: UserId, event: Event) -> Known<()> {
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
    let event = Event::Removed { user, banned: ban };
    match (active, before) {
        (Some(_), _) => depart(plan, id, user, actor.user, event)?,
        (None, Some(gone)) if gone.standing == Standing::Banned => {}
        (None, _) if ban && plan.user(user)?.is_some() => {
            plan.record(LogId::Conversation(id), actor.user, event)?;
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
mod tests {
    use chinwag_protocol::{Command, ConversationKind, Event, History, LogId, Refused, Role, Seq, UserId};

    use crate::{
        Facts,
        reading::memory::{ANNA, BELA, CARLA, DORA, GUS, NOBODY, OPAL, Town},
    };

    fn last_events(town: &Town, log: LogId, count: usize) -> Vec<Event> {
        let entries = &town.memory.logs[&log];
        entries[entries.len() - count..].iter().map(|entry| entry.event.clone()).collect()
    }

    #[test]
    fn joining_and_leaving_are_told_to_all_and_to_oneself() {
        let mut town = Town::new();
        let hall = town.create(ANNA, ConversationKind::Group, true, History::FromJoining, &[]);
        town.done(BELA, Command::Join { conversation: hall });
        let log = LogId::Conversation(hall);
        let how = chinwag_protocol::JoinedBy::Joining;
        let joined = Event::Joined { user: BELA, role: Role::Member, since: Seq(3), how };
        assert_eq!(last_events(&town, log, 1), [joined]);
        let Event::Entered { conversation } = &last_events(&town, LogId::User(BELA), 1)[0] else { panic!() };
        assert_eq!((conversation.head.seq, conversation.members, &conversation.last), (Seq(3), 2, &None));
        town.done(BELA, Command::Join { conversation: hall });
        assert_eq!(town.memory.logs[&log].len(), 3, "joined already");
        town.done(BELA, Command::Leave { conversation: hall });
        assert_eq!(last_events(&town, log, 1), [Event::Left { user: BELA }]);
        assert_eq!(last_events(&town, LogId::User(BELA), 1), [Event::Departed { conversation: hall }]);
        assert_eq!(town.ask(BELA, Command::Leave { conversation: hall }), Err(Refused::not_found()));
        // The owner may not leave others behind; alone he closes it, and its name is free.
        town.done(BELA, Command::Join { conversation: hall });
        assert_eq!(town.code(ANNA, Command::Leave { conversation: hall }), "owner_leaves");
        town.done(BELA, Command::Leave { conversation: hall });
        town.done(ANNA, Command::Leave { conversation: hall });
        assert_eq!(last_events(&town, log, 2), [Event::Left { user: ANNA }, Event::Closed {}]);
        assert_eq!(town.ask(BELA, Command::Join { conversation: hall }), Err(Refused::not_found()));
    }

    #[test]
    fn the_history_setting_says_what_newcomers_see() {
        let mut town = Town::new();
        let open = |town: &mut Town, conversation, history| {
            let change =
                chinwag_protocol::ConversationChange { history: Some(history), ..Default::default() };
            town.done(ANNA, Command::ChangeConversation { conversation, change });
        };
        let group = town.group(ANNA, History::FromJoining, &[]);
        town.say(ANNA, group, "three");
        open(&mut town, group, History::All);
        town.say(ANNA, group, "five");
        town.done(ANNA, Command::AddMember { conversation: group, user: BELA });
        open(&mut town, group, History::FromJoining);
        town.done(ANNA, Command::AddMember { conversation: group, user: CARLA });
        let since = |user| town.memory.member(group, user).unwrap().unwrap().since;
        // The maker from the beginning, Bela from where it was opened, Carla from her joining.
        assert_eq!((since(ANNA), since(BELA), since(CARLA)), (Seq(1), Seq(4), Seq(8)));
    }

    #[test]
    fn who_may_bring_and_remove_whom() {
        // Anna owns, Bela is an admin, Carla a member, Dora none; Opal runs the server and is none.
        let town = || {
            let mut town = Town::new();
            let group = town.group(ANNA, History::All, &[BELA, CARLA, GUS]);
            town.done(ANNA, Command::SetRole { conversation: group, user: BELA, role: Role::Admin });
            (town, group)
        };
        let (_, conversation) = town();
        let add = |user| Command::AddMember { conversation, user };
        let remove = |user| Command::RemoveMember { conversation, user, ban: false };
        let ban = |user| Command::RemoveMember { conversation, user, ban: true };
        let unban = |user| Command::Unban { conversation, user };
        let role = |user, role| Command::SetRole { conversation, user, role };
        for (by, command, expected) in [
            (ANNA, add(DORA), "ok"),
            (BELA, add(DORA), "ok"),
            (CARLA, add(DORA), "forbidden"),
            (GUS, add(DORA), "forbidden"),
            (DORA, add(DORA), "not_found"),
            (ANNA, add(UserId(NOBODY)), "not_found"),
            (ANNA, add(CARLA), "ok"),
            (ANNA, remove(BELA), "ok"),
            (ANNA, remove(ANNA), "oneself"),
            (BELA, remove(CARLA), "ok"),
            (BELA, remove(ANNA), "forbidden"),
            (CARLA, remove(GUS), "forbidden"),
            (DORA, remove(CARLA), "not_found"),
            (ANNA, remove(DORA), "not_found"),
            (OPAL, remove(CARLA), "ok"),
            (OPAL, remove(ANNA), "owner"),
            (BELA, ban(DORA), "ok"),
            (BELA, ban(UserId(NOBODY)), "not_found"),
            (BELA, unban(DORA), "ok"),
            (CARLA, unban(DORA), "forbidden"),
            (ANNA, role(CARLA, Role::Admin), "ok"),
            (ANNA, role(CARLA, Role::Owner), "ok"),
            (ANNA, role(GUS, Role::Admin), "not_for_guests"),
            (ANNA, role(DORA, Role::Admin), "not_found"),
            (ANNA, role(ANNA, Role::Member), "owner_leaves"),
            (BELA, role(CARLA, Role::Owner), "forbidden"),
            (BELA, role(ANNA, Role::Member), "forbidden"),
            (BELA, role(BELA, Role::Member), "ok"),
            (CARLA, role(CARLA, Role::Admin), "forbidden"),
            (DORA, role(CARLA, Role::Admin), "not_found"),
        ] {
            let (mut town, _) = town();
            let before = town.memory.logs.clone();
            assert_eq!(town.code(by, command.clone()), expected, "{command:?} by {by}");
            assert!(expected == "ok" || town.memory.logs == before, "{command:?} by {by} left a trace");
        }
    }

    #[test]
    fn a_ban_keeps_out_until_it_is_lifted() {
        let mut town = Town::new();
        let hall = town.create(ANNA, ConversationKind::Group, true, History::All, &[BELA]);
        town.done(ANNA, Command::RemoveMember { conversation: hall, user: BELA, ban: true });
        assert_eq!(town.code(BELA, Command::Join { conversation: hall }), "forbidden");
        assert_eq!(town.code(ANNA, Command::AddMember { conversation: hall, user: BELA }), "banned");
        town.done(ANNA, Command::Unban { conversation: hall, user: BELA });
        town.done(BELA, Command::Join { conversation: hall });
    }

    #[test]
    fn ownership_goes_from_one_to_another() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        town.done(ANNA, Command::SetRole { conversation: group, user: BELA, role: Role::Owner });
        let role = |town: &Town, user| town.memory.member(group, user).unwrap().unwrap().role;
        assert_eq!((role(&town, ANNA), role(&town, BELA)), (Role::Admin, Role::Owner));
        town.done(ANNA, Command::Leave { conversation: group });
        assert_eq!(town.code(BELA, Command::Leave { conversation: group }), "ok");
    }

    #[test]
    fn who_blocked_somebody_cannot_be_brought_by_him() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[]);
        town.done(BELA, Command::Block { user: ANNA });
        let add = |user| Command::AddMember { conversation: group, user };
        assert_eq!(town.ask(ANNA, add(BELA)), town.ask(ANNA, add(UserId(NOBODY))));
    }
}
