//! Guests: accounts without a password, bound to a network address and a door.
//!
//! A guest is who he is only because he asks from the same address through the same door. So nobody can take a
//! name that has a password this way, and a guest can make the name his own by giving it one.

use std::sync::Arc;

use chinwag_protocol::{Refused, UserId, UserKind};

use super::{
    account::{join_everyone, keep_and_tell, may_register, new_user},
    missing, naming,
    sessions::{self, end_all},
};
use crate::{
    facts::{Facts, Known},
    names,
    plan::Plan,
    port::{Done, Prepared},
    record::{Change, Counter, Credentials, GuestFrom, Owner, User},
};

/// Signs a guest in, making his account if the name is free.
pub fn enter(
    plan: &mut Plan<'_>,
    handle: &str,
    from: &GuestFrom,
    prepared: &Prepared,
    device: &str,
) -> Known<Done> {
    let user = match plan.name(&names::fold(handle))?.map(|name| name.owner) {
        Some(owner) => returning(plan, handle, owner, from)?,
        None => newcomer(plan, handle, from)?,
    };
    let session = sessions::start(plan, user, prepared, device, &from.door, None)?;
    Ok(Done::SignedIn { user, session })
}

/// The guest whose name this is, if it is he who asks.
fn returning(plan: &Plan<'_>, handle: &str, owner: Owner, from: &GuestFrom) -> Known<UserId> {
    let user = guest_from(plan, owner, from)?.ok_or_else(|| taken(handle))?;
    if user.suspended {
        return Err(sessions::suspended().into());
    }
    Ok(user.id)
}

/// The guest behind a name, if he is bound to this address and door.
pub fn guest_from(facts: &dyn Facts, owner: Owner, from: &GuestFrom) -> Known<Option<Arc<User>>> {
    let Owner::User(id) = owner else { return Ok(None) };
    let user = facts.user(id)?.filter(|user| user.kind == UserKind::Guest && !user.deleted);
    let bound = facts.credentials(id)?.and_then(|credentials| credentials.guest.clone());
    Ok(user.filter(|_| bound.as_ref() == Some(from)))
}

fn newcomer(plan: &mut Plan<'_>, handle: &str, from: &GuestFrom) -> Known<UserId> {
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    naming::check_free(plan, handle, None)?;
    let id = UserId(plan.next(Counter::User)?);
    naming::take(plan, handle, Owner::User(id));
    plan.keep(Change::Credentials(Arc::new(Credentials {
        user: id,
        guest: Some(from.clone()),
        ..Credentials::default()
    })));
    let user = User { kind: UserKind::Guest, ..new_user(plan, id, handle) };
    keep_and_tell(plan, user, id)?;
    join_everyone(plan, &server, id)?;
    Ok(id)
}

/// One code for every reason: whether a name has a password is nobody's business.
fn taken(handle: &str) -> Refused {
    Refused::conflict("handle_taken", format!("the name {handle} is taken")).at("handle")
}

/// Makes a person of a guest: the same account, from now on with a password.
pub fn upgrade(
    plan: &mut Plan<'_>,
    handle: &str,
    from: &GuestFrom,
    prepared: &Prepared,
    device: &str,
) -> Known<Done> {
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    may_register(&server, &Default::default(), &from.door)?;
    let owner = plan.name(&names::fold(handle))?.map(|name| name.owner).ok_or_else(|| taken(handle))?;
    let id = returning(plan, handle, owner, from)?;
    let user = plan.user(id)?.ok_or_else(|| missing("user", id))?;
    let password = prepared.password.clone().ok_or_else(|| missing("new password of user", id))?;
    let version = plan.credentials(id)?.map_or(0, |credentials| credentials.version) + 1;
    plan.keep(Change::Credentials(Arc::new(Credentials {
        user: id,
        password,
        version,
        ..Credentials::default()
    })));
    keep_and_tell(plan, User { kind: UserKind::Person, ..User::clone(&user) }, id)?;
    // Whoever came before came without a password.
    end_all(plan, id, id, None)?;
    let session = sessions::start(plan, id, prepared, device, &from.door, None)?;
    Ok(Done::SignedIn { user: id, session })
}

#[cfg(test)]
mod tests;
