//! What the server's administrators may do to accounts and settings. Everything here needs a fresh proof of the
//! password, and none of it lets anybody read what others wrote.
//!
//! Invariant: there is an administrator as soon as there was one. None can suspend, demote or delete himself, and
//! whoever does it to another remains one.

use std::sync::Arc;

use chinwag_protocol::{Millis, Refused, Reply, ServerChange, UserId, UserKind};

use super::{account::keep_and_tell, missing, rights::rights, sessions::end_all};
use crate::{
    facts::{Facts, Known},
    limits::ONE_TIME_LIFETIME_MS,
    names,
    plan::Plan,
    policy::Action,
    port::{Actor, Prepared},
    record::{Change, OneTime, Purpose, Server, User},
};

/// Suspends a user and ends his sessions, or lifts it.
pub fn suspend(plan: &mut Plan<'_>, actor: &Actor, user: UserId, suspended: bool) -> Known<Reply> {
    let user = target(plan, actor, user)?;
    not_oneself(actor, &user)?;
    if user.suspended == suspended {
        return Ok(Reply::Done {});
    }
    let id = user.id;
    keep_and_tell(plan, User { suspended, ..User::clone(&user) }, actor.user)?;
    if suspended {
        end_all(plan, id, actor.user, None)?;
    }
    Ok(Reply::Done {})
}

/// Makes somebody an administrator, or no longer one.
pub fn set_admin(plan: &mut Plan<'_>, actor: &Actor, user: UserId, admin: bool) -> Known<Reply> {
    let user = target(plan, actor, user)?;
    not_oneself(actor, &user)?;
    if user.kind != UserKind::Person {
        return Err(Refused::forbidden("not_a_person", "only people can be administrators").into());
    }
    if user.admin != admin {
        keep_and_tell(plan, User { admin, ..User::clone(&user) }, actor.user)?;
    }
    Ok(Reply::Done {})
}

/// Makes a link with which a user can choose a new password. The administrator never learns the password.
pub fn reset_password(plan: &mut Plan<'_>, actor: &Actor, user: UserId, prepared: &Prepared) -> Known<Reply> {
    let user = target(plan, actor, user)?;
    if user.kind != UserKind::Person || user.suspended {
        return Err(Refused::forbidden("cannot_sign_in", "this account cannot sign in").into());
    }
    let token = prepared.token.as_ref().ok_or_else(|| missing("token for a link of user", user.id))?;
    let expires_at = Millis(plan.at().0 + ONE_TIME_LIFETIME_MS);
    let link = OneTime { token: token.hash, purpose: Purpose::Reset(user.id), expires_at };
    plan.keep(Change::OneTime(Arc::new(link)));
    Ok(Reply::ResetLink { token: token.plain.clone() })
}

/// Ends all sessions of a user.
pub fn end_sessions_of(plan: &mut Plan<'_>, actor: &Actor, user: UserId) -> Known<Reply> {
    let user = target(plan, actor, user)?;
    end_all(plan, user.id, actor.user, None)?;
    Ok(Reply::Done {})
}

/// Changes the server's settings.
pub fn change_server(plan: &mut Plan<'_>, actor: &Actor, change: &ServerChange) -> Known<Reply> {
    rights(plan, actor)?.need_fresh(Action::ManageServer)?;
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    let mut changed = Server::clone(&server);
    if let Some(name) = &change.name {
        changed.name = names::conversation_name(name)?.to_owned();
    }
    if let Some(registration) = change.registration {
        changed.registration = registration;
    }
    if let Some(everyone) = change.everyone {
        changed.join_everyone = everyone;
    }
    if changed != *server {
        plan.keep(Change::Server(Arc::new(changed)));
    }
    Ok(Reply::Done {})
}

/// The user to act on, after the right to act: whoever may not act does not learn who exists.
fn target(plan: &Plan<'_>, actor: &Actor, user: UserId) -> Known<Arc<User>> {
    rights(plan, actor)?.need_fresh(Action::ManageUsers)?;
    let user = plan.user(user)?.filter(|user| !user.deleted).ok_or_else(Refused::not_found)?;
    if plan.server()?.is_some_and(|server| server.bot == user.id) {
        return Err(Refused::forbidden("built_in", "this account belongs to the server").into());
    }
    Ok(user)
}

fn not_oneself(actor: &Actor, user: &User) -> Result<(), Refused> {
    if actor.user == user.id {
        let why = "an administrator cannot do this to himself: another one has to";
        return Err(Refused::forbidden("own_right", why));
    }
    Ok(())
}
