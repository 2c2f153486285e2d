//! Making an account, changing what is one's own, and deleting it.

use std::sync::Arc;

use chinwag_protocol::{
    Event, JoinedBy, LogId, ProfileChange, Refused, Registration, Reply, Role, Settings, UserId, UserKind,
};

use super::{
    avatar, invite, membership, missing, naming,
    rights::rights,
    sessions::{self, end_all, note_proof, verified},
};
use crate::{
    facts::{Facts, Known},
    names,
    plan::Plan,
    policy::{Action, Grounds, Verdict, Who, permit},
    port::{Actor, Done, Prepared},
    project::portrayed,
    record::{Change, Counter, Credentials, Invite, OneTime, Owner, Purpose, Server, TokenHash, User},
};

/// The name shown for somebody who deleted his account.
pub const DELETED_NAME: &str = "Deleted user";

/// What somebody who registers holds in his hands.
#[derive(Default)]
pub(super) struct Held {
    setup: Option<Arc<OneTime>>,
    invite: Option<Arc<Invite>>,
}

/// Makes an account, with what it becomes a member of, and signs it in.
pub fn register(
    plan: &mut Plan<'_>,
    handle: &str,
    invite: Option<&TokenHash>,
    prepared: &Prepared,
    device: &str,
    door: &str,
) -> Known<Done> {
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    let held = held(plan, &server, invite)?;
    may_register(&server, &held, door)?;
    naming::check_free(plan, handle, None)?;

    let id = UserId(plan.next(Counter::User)?);
    let user = User { admin: held.setup.is_some(), ..new_user(plan, id, handle) };
    naming::take(plan, handle, Owner::User(id));
    let password = prepared.password.clone().unwrap_or_default();
    let credentials = Credentials { user: id, password, version: 1, ..Credentials::default() };
    plan.keep(Change::Credentials(Arc::new(credentials)));
    keep_and_tell(plan, user, id)?;

    if let Some(link) = &held.setup {
        plan.keep(Change::OneTimeUsed(link.token));
        plan.keep(Change::Server(Arc::new(Server { has_admin: true, ..Server::clone(&server) })));
    }
    join_everyone(plan, &server, id)?;
    if let Some(invite) = &held.invite {
        // The link may lead to `Everyone`, where he is already.
        if plan.member(invite.conversation, id)?.is_none() {
            invite::admit(plan, invite, id)?;
        }
    }
    let session = sessions::start(plan, id, prepared, device, door, None)?;
    Ok(Done::SignedIn { user: id, session })
}

/// A person as he is at first.
pub(super) fn new_user(plan: &Plan<'_>, id: UserId, handle: &str) -> User {
    User {
        id,
        handle: handle.to_owned(),
        name: String::new(),
        about: String::new(),
        hue: first_hue(id),
        avatar: None,
        kind: UserKind::Person,
        admin: false,
        suspended: false,
        deleted: false,
        created_at: plan.at(),
        settings: Settings { theme: "system".into(), ..Settings::default() },
        conversations: 0,
    }
}

/// What a token is good for. One that is good for nothing is refused even where none is needed: who followed a
/// link expects to arrive.
fn held(plan: &Plan<'_>, server: &Server, token: Option<&TokenHash>) -> Known<Held> {
    let Some(token) = token else { return Ok(Held::default()) };
    if let Some(link) = plan.one_time(token)? {
        let good = link.purpose == Purpose::Setup && link.expires_at > plan.at() && !server.has_admin;
        return if good {
            Ok(Held { setup: Some(link), invite: None })
        } else {
            Err(Refused::not_found().into())
        };
    }
    Ok(Held { setup: None, invite: Some(invite::good(plan, token, plan.at())?) })
}

/// Whether a new account may be made with what is in somebody's hands.
pub(super) fn may_register(server: &Server, held: &Held, door: &str) -> Result<(), Refused> {
    let invited = held.invite.is_some() && server.registration != Registration::Closed;
    let may_register = held.setup.is_some() || invited || server.registration == Registration::Open;
    let who = if door.is_empty() { Who::Anonymous } else { Who::Door };
    match permit(who, Action::CreateAccount, &Grounds { may_register, ..Grounds::default() }) {
        Verdict::Allow => Ok(()),
        _ if server.registration == Registration::Invite => {
            Err(Refused::forbidden("invite_needed", "this server needs an invitation to register"))
        }
        _ => Err(Refused::forbidden("registration_closed", "this server does not take new accounts")),
    }
}

/// Neighbours in the list should not look alike: 137 degrees is the golden angle.
fn first_hue(id: UserId) -> u16 {
    u16::try_from(u64::from(id.0) * 137 % 360).expect("a remainder of 360 fits")
}

/// A new account becomes a member of the group of all, if the server is set so.
pub(super) fn join_everyone(plan: &mut Plan<'_>, server: &Server, user: UserId) -> Known<()> {
    let Some(everyone) = server.everyone.filter(|_| server.join_everyone) else { return Ok(()) };
    let conversation = plan.conversation(everyone)?.ok_or_else(|| missing("conversation", everyone))?;
    let found = plan.user(user)?.ok_or_else(|| missing("user", user))?;
    // A server may have more users than a conversation has room for; they still get their account.
    if membership::room(&conversation, &found).is_ok() {
        membership::enter(plan, everyone, user, Role::Member, user, JoinedBy::Registering)?;
    }
    Ok(())
}

/// Keeps a user and tells the directory what others may know of him.
pub(super) fn keep_and_tell(plan: &mut Plan<'_>, user: User, by: UserId) -> Known<()> {
    let profile = user.profile();
    plan.keep(Change::User(Arc::new(user)));
    plan.record(LogId::Directory, by, Event::UserChanged { profile })?;
    Ok(())
}

/// Chooses a new password with a reset link, which is used up; all sessions end. Does not sign in.
pub fn reset(plan: &mut Plan<'_>, link: &TokenHash, prepared: &Prepared) -> Known<Done> {
    let found = plan.one_time(link)?.filter(|link| link.expires_at > plan.at());
    let Some(Purpose::Reset(id)) = found.map(|link| link.purpose) else {
        return Err(Refused::not_found().into());
    };
    plan.user(id)?.filter(|user| user.is_active()).ok_or_else(Refused::not_found)?;
    plan.keep(Change::OneTimeUsed(*link));
    set_password(plan, id, prepared)?;
    end_all(plan, id, id, None)?;
    Ok(Done::Reply(Reply::Done {}))
}

fn set_password(plan: &mut Plan<'_>, user: UserId, prepared: &Prepared) -> Known<()> {
    let password = prepared.password.clone().ok_or_else(|| missing("new password of user", user))?;
    let old = plan.credentials(user)?.map(|old| Credentials::clone(&old)).unwrap_or_default();
    // App passwords go with it: who changes his password wants to keep somebody out.
    plan.keep(Change::Credentials(Arc::new(Credentials {
        user,
        password,
        version: old.version + 1,
        app_passwords: Vec::new(),
        change_password: false,
        ..old
    })));
    Ok(())
}

/// Changes one's own profile; a new handle frees the old one.
pub fn change_profile(plan: &mut Plan<'_>, actor: &Actor, change: &ProfileChange) -> Known<Reply> {
    let rights = rights(plan, actor)?;
    rights.need(Action::OwnProfile)?;
    let mut user = User::clone(&rights.user);
    if let Some(name) = &change.name {
        user.name = names::display_name(name)?.to_owned();
    }
    if let Some(about) = &change.about {
        user.about = names::about(about)?.to_owned();
    }
    if let Some(hue) = change.hue {
        if hue >= 360 {
            return Err(Refused::invalid("hue", "out_of_range", "hue is a number from 0 to 359").into());
        }
        user.hue = hue;
    }
    if let Some(avatar) = avatar::chosen(plan, actor, user.avatar, change.avatar)? {
        portrayed(plan, user.id, user.avatar, avatar.file)?;
        user.avatar = avatar.file;
    }
    if let Some(handle) = change.handle.as_ref().filter(|handle| **handle != user.handle) {
        naming::rename(plan, Some(&user.handle), handle, Owner::User(user.id))?;
        user.handle.clone_from(handle);
    }
    if user != *rights.user {
        keep_and_tell(plan, user, actor.user)?;
    }
    Ok(Reply::Done {})
}

/// Replaces one's own settings.
pub fn change_settings(plan: &mut Plan<'_>, actor: &Actor, settings: &Settings) -> Known<Reply> {
    let rights = rights(plan, actor)?;
    rights.need(Action::OwnAccount)?;
    let one_of = |field: &str, value: &str, allowed: &[&str]| {
        if allowed.contains(&value) {
            return Ok(());
        }
        let why = format!("{field} is one of {}", allowed.join(", "));
        Err(Refused::invalid(field, "unknown_value", why))
    };
    one_of("theme", &settings.theme, &["system", "light", "dark"])?;
    if !settings.notify.is_empty() {
        one_of("notify", &settings.notify, &["all", "mentions", "none"])?;
    }
    let zone = &settings.time_zone;
    // Only its form: which zones there are is a question to the disk, asked when one is used.
    if zone.len() > 64 || !zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte)) {
        return Err(Refused::invalid(
            "time_zone",
            "unknown_value",
            "time_zone is an IANA name as Europe/Warsaw",
        )
        .into());
    }
    if *settings != rights.user.settings {
        let event = Event::SettingsChanged { settings: settings.clone() };
        plan.record(LogId::User(actor.user), actor.user, event)?;
    }
    Ok(Reply::Done {})
}

/// Changes one's own password; all one's other sessions end, and this one has proved itself.
pub fn change_password(plan: &mut Plan<'_>, actor: &Actor, new: &str, prepared: &Prepared) -> Known<Reply> {
    let mut rights = rights(plan, actor)?;
    // The old password comes with the command: that is proof enough, once it was found right.
    rights.grounds.fresh = true;
    rights.need(Action::OwnSecrets)?;
    names::new_password(new, &rights.user.handle).map_err(|refused| refused.at("new"))?;
    verified(plan, actor, prepared, "old")?;
    set_password(plan, actor.user, prepared)?;
    end_all(plan, actor.user, actor.user, Some(actor.session))?;
    note_proof(plan, actor.session)?;
    Ok(Reply::Done {})
}

/// Proves again who one is, for what needs it.
pub fn confirm_password(plan: &mut Plan<'_>, actor: &Actor, prepared: &Prepared) -> Known<Reply> {
    rights(plan, actor)?.need(Action::OwnAccount)?;
    verified(plan, actor, prepared, "password")?;
    note_proof(plan, actor.session)?;
    Ok(Reply::Done {})
}

/// Deletes one's account: leaves every conversation, ends every session, forgets what it said about itself.
///
/// What was said stays, by a deleted user. The handle stays taken, so that nobody can pose as him.
pub fn delete(plan: &mut Plan<'_>, actor: &Actor, prepared: &Prepared) -> Known<Reply> {
    let mut rights = rights(plan, actor)?;
    rights.grounds.fresh = true;
    rights.need(Action::OwnSecrets)?;
    let credentials = verified(plan, actor, prepared, "password")?;
    if rights.user.admin {
        // Whoever acts is an administrator, so as long as none can undo himself there is always one.
        let why = "an administrator cannot delete his account: another one has to take the right away first";
        return Err(Refused::forbidden("own_right", why).into());
    }
    leave_all(plan, actor)?;
    end_all(plan, actor.user, actor.user, None)?;
    plan.keep(Change::Credentials(Arc::new(Credentials {
        user: actor.user,
        version: credentials.version + 1,
        ..Credentials::default()
    })));
    let user = plan.user(actor.user)?.ok_or_else(|| missing("user", actor.user))?;
    portrayed(plan, user.id, user.avatar, None)?;
    let gone = User {
        handle: format!("{}{}", names::DELETED_PREFIX, user.id),
        name: DELETED_NAME.into(),
        about: String::new(),
        avatar: None,
        settings: Settings::default(),
        deleted: true,
        ..User::clone(&user)
    };
    keep_and_tell(plan, gone, actor.user)?;
    Ok(Reply::Done {})
}

fn leave_all(plan: &mut Plan<'_>, actor: &Actor) -> Known<()> {
    for member in plan.memberships(actor.user)? {
        let id = member.conversation;
        let conversation = plan.conversation(id)?.ok_or_else(|| missing("conversation", id))?;
        if conversation.closed {
            // Nothing comes after its last entry; that somebody was in it harms nobody.
            continue;
        }
        if conversation.direct.is_some() {
            // Nobody leaves a talk of two, but somebody who is no more cannot be in it.
            membership::depart(plan, id, actor.user, actor.user, Event::Left { user: actor.user })?;
        } else {
            membership::leave(plan, actor, id)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
