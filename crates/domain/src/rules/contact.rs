//! Whom one knows, and from whom one does not want to hear. Nobody is told.

use chinwag_protocol::{Event, LogId, Refused, Reply, UserId};

use super::rights::rights;
use crate::{
    facts::{Facts, Known},
    plan::Plan,
    policy::Action,
    port::Actor,
    record::Relation,
};

/// Adds a contact. One must unblock first whom one has blocked.
pub fn add(plan: &mut Plan<'_>, actor: &Actor, user: UserId) -> Known<Reply> {
    let relation = towards(plan, actor, user)?;
    if relation.blocked {
        return Err(Refused::conflict("blocked", "you have blocked this user: unblock first")
            .at("user")
            .into());
    }
    if relation.contact { done() } else { record(plan, actor, Event::ContactAdded { user }) }
}

/// Removes a contact.
pub fn remove(plan: &mut Plan<'_>, actor: &Actor, user: UserId) -> Known<Reply> {
    if towards(plan, actor, user)?.contact {
        record(plan, actor, Event::ContactRemoved { user })
    } else {
        done()
    }
}

/// Blocks somebody.
pub fn block(plan: &mut Plan<'_>, actor: &Actor, user: UserId) -> Known<Reply> {
    if towards(plan, actor, user)?.blocked { done() } else { record(plan, actor, Event::Blocked { user }) }
}

/// Unblocks.
pub fn unblock(plan: &mut Plan<'_>, actor: &Actor, user: UserId) -> Known<Reply> {
    if towards(plan, actor, user)?.blocked { record(plan, actor, Event::Unblocked { user }) } else { done() }
}

/// What the actor thinks of another user, who exists and is not himself.
fn towards(plan: &Plan<'_>, actor: &Actor, user: UserId) -> Known<Relation> {
    rights(plan, actor)?.need(Action::OwnProfile)?;
    if user == actor.user {
        return Err(Refused::invalid("user", "oneself", "this is yourself").into());
    }
    plan.user(user)?.ok_or_else(Refused::not_found)?;
    plan.relation(actor.user, user)
}

fn record(plan: &mut Plan<'_>, actor: &Actor, event: Event) -> Known<Reply> {
    plan.record(LogId::User(actor.user), actor.user, event)?;
    done()
}

fn done() -> Known<Reply> {
    Ok(Reply::Done {})
}
