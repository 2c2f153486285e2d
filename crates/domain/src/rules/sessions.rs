//! Beginning and ending sessions. Whose password was right is found out before; here it is only believed if it
//! was checked against the password that is still in force.

use std::sync::Arc;

use chinwag_protocol::{AppPasswordId, Event, Kind, LogId, Millis, Refused, Reply, SessionId, UserId};

use super::{app_password, missing, rights::rights};
use crate::{
    facts::{Facts, Known},
    limits::{SEEN_EVERY_MS, SESSION_IDLE_MS, SESSION_LIFETIME_MS, SESSIONS_MAX},
    names,
    plan::Plan,
    policy::Action,
    port::{Actor, Done, Prepared},
    record::{Change, Counter, Credentials, Session},
};

/// The refusal of a sign-in: the same for an unknown handle, a wrong password, and one that was just changed.
pub fn wrong_password() -> Refused {
    Refused::new(Kind::NotSignedIn, "wrong_password", "the name or the password is wrong")
}

/// Whether a session still holds: used in the last months, and not begun too long ago.
pub fn is_live(session: &Session, at: Millis) -> bool {
    at.0 - session.seen_at.0 < SESSION_IDLE_MS && at.0 - session.started_at.0 < SESSION_LIFETIME_MS
}

/// Starts a session for a user whose password was found right.
pub fn sign_in(
    plan: &mut Plan<'_>,
    user: UserId,
    prepared: &Prepared,
    device: &str,
    door: &str,
) -> Known<Done> {
    let found = plan.user(user)?.filter(|user| !user.deleted).ok_or_else(wrong_password)?;
    let credentials = plan.credentials(user)?.ok_or_else(wrong_password)?;
    let app_password = prepared.app_password.filter(|id| {
        credentials.app_passwords.iter().any(|own| own.id == *id && own.door == door && !door.is_empty())
    });
    let by_password = !credentials.password.is_empty() && prepared.verified == Some(credentials.version);
    if !by_password && app_password.is_none() {
        return Err(wrong_password().into());
    }
    if found.suspended {
        return Err(suspended().into());
    }
    if let Some(id) = app_password {
        app_password::used(plan, &credentials, id);
    }
    let session = start(plan, user, prepared, device, door, app_password)?;
    Ok(Done::SignedIn { user, session })
}

/// The refusal of somebody who was suspended.
pub(super) fn suspended() -> Refused {
    Refused::forbidden("suspended", "this account was suspended by an administrator of the server")
}

/// Starts a session; the oldest ones make room.
pub(super) fn start(
    plan: &mut Plan<'_>,
    user: UserId,
    prepared: &Prepared,
    device: &str,
    door: &str,
    app_password: Option<AppPasswordId>,
) -> Known<SessionId> {
    let token = prepared.token.as_ref().ok_or_else(|| missing("token for a session of user", user))?;
    make_room(plan, user)?;
    let (at, device) = (plan.at(), names::device(device));
    let id = SessionId(plan.next(Counter::Session)?);
    plan.record(LogId::User(user), user, Event::SessionStarted { session: id, device: device.clone() })?;
    plan.keep(Change::Session(Arc::new(Session {
        id,
        user,
        token: token.hash,
        device,
        door: door.to_owned(),
        app_password,
        bound: prepared.bound,
        started_at: at,
        confirmed_at: at,
        seen_at: at,
    })));
    Ok(id)
}

/// Ends sessions that have run out, and the longest unused ones above the limit.
fn make_room(plan: &mut Plan<'_>, user: UserId) -> Known<()> {
    let at = plan.now();
    let mut sessions = plan.sessions(user)?;
    sessions.sort_by_key(|session| (is_live(session, at), session.seen_at, session.id));
    let over = (sessions.len() + 1).saturating_sub(SESSIONS_MAX);
    for (place, session) in sessions.iter().enumerate() {
        if place < over || !is_live(session, at) {
            end(plan, user, session.id, user)?;
        }
    }
    Ok(())
}

fn end(plan: &mut Plan<'_>, user: UserId, session: SessionId, by: UserId) -> Known<()> {
    plan.record(LogId::User(user), by, Event::SessionEnded { session })?;
    Ok(())
}

/// Ends all sessions of a user, but for one.
pub(super) fn end_all(plan: &mut Plan<'_>, user: UserId, by: UserId, but: Option<SessionId>) -> Known<()> {
    for session in plan.sessions(user)? {
        if Some(session.id) != but {
            end(plan, user, session.id, by)?;
        }
    }
    Ok(())
}

/// Ends the sessions that an app password began.
pub(super) fn end_those_of(plan: &mut Plan<'_>, user: UserId, app_password: AppPasswordId) -> Known<()> {
    for session in plan.sessions(user)? {
        if session.app_password == Some(app_password) {
            end(plan, user, session.id, user)?;
        }
    }
    Ok(())
}

/// Ends the sessions of these users that lived as long as a link at a door.
pub fn end_bound(plan: &mut Plan<'_>, users: &[UserId]) -> Known<Done> {
    for user in users {
        for session in plan.sessions(*user)? {
            if session.bound {
                end(plan, *user, session.id, *user)?;
            }
        }
    }
    Ok(Done::Reply(Reply::Done {}))
}

/// Notes that a session was used, to the hour: a write per use would be one per connection.
pub fn seen(plan: &mut Plan<'_>, id: SessionId) -> Known<Done> {
    let session = plan.session(id)?.ok_or_else(Refused::not_signed_in)?;
    if plan.at().0 - session.seen_at.0 >= SEEN_EVERY_MS {
        let changed = Session { seen_at: plan.at(), ..Session::clone(&session) };
        plan.keep(Change::Session(Arc::new(changed)));
    }
    Ok(Done::Reply(Reply::Done {}))
}

/// Ends one of one's own sessions; somebody else's is not found.
pub fn end_one(plan: &mut Plan<'_>, actor: &Actor, id: SessionId) -> Known<Reply> {
    let rights = rights(plan, actor)?;
    // Signing out is everybody's, whatever door he came through.
    if id != actor.session {
        rights.need(Action::OwnAccount)?;
    }
    plan.session(id)?.filter(|session| session.user == actor.user).ok_or_else(Refused::not_found)?;
    end(plan, actor.user, id, actor.user)?;
    Ok(Reply::Done {})
}

/// Ends all one's sessions but this.
pub fn end_others(plan: &mut Plan<'_>, actor: &Actor) -> Known<Reply> {
    rights(plan, actor)?.need(Action::OwnAccount)?;
    end_all(plan, actor.user, actor.user, Some(actor.session))?;
    Ok(Reply::Done {})
}

/// The actor's credentials, if the password he gave was right and is still in force.
pub(super) fn verified(
    plan: &Plan<'_>,
    actor: &Actor,
    prepared: &Prepared,
    field: &str,
) -> Known<Arc<Credentials>> {
    let credentials =
        plan.credentials(actor.user)?.ok_or_else(|| missing("credentials of user", actor.user))?;
    if credentials.password.is_empty() || prepared.verified != Some(credentials.version) {
        // Not the refusal of a sign-in: the session holds, and a client must not throw it away.
        return Err(Refused::forbidden("wrong_password", "the password is wrong").at(field).into());
    }
    Ok(credentials)
}

/// Notes that the password was proved in this session now.
pub(super) fn note_proof(plan: &mut Plan<'_>, id: SessionId) -> Known<()> {
    let session = plan.session(id)?.ok_or_else(Refused::not_signed_in)?;
    let changed = Session { confirmed_at: plan.at(), ..Session::clone(&session) };
    plan.keep(Change::Session(Arc::new(changed)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::UserId;

    use crate::{
        facts::Facts,
        port::{Prepared, Request, Token},
        testing::World,
    };

    #[test]
    fn a_session_bound_to_a_link_ends_with_the_server_and_no_other() {
        let mut world = World::founded();
        let prepared = Prepared { password: Some("hash".into()), ..Prepared::default() };
        let (handle, about) = ("anna".into(), String::new());
        world.request(&Request::ImportUser { handle, about, prepared }).unwrap();
        let anna = UserId(2);
        let version = world.credentials(anna).unwrap().unwrap().version;
        for (number, bound) in [(1, true), (2, false), (3, true)] {
            let token = Some(Token { plain: "plain".into(), hash: [number; 32] });
            let prepared = Prepared { verified: Some(version), token, bound, ..Prepared::default() };
            let (device, door) = ("old program".into(), "tcp_json".into());
            world.request(&Request::SignIn { user: anna, prepared, device, door }).unwrap();
        }
        world.request(&Request::EndBound { users: vec![UserId(1), anna] }).unwrap();
        let left: Vec<_> = world.sessions(anna).unwrap().iter().map(|session| session.token[0]).collect();
        assert_eq!(left, [2]);
    }
}
