//! The rules, one file a noun.
//!
//! [`decide`] is the single entry. Each rule is a function of the plan (which knows the facts), the actor and the
//! command's fields; it refuses, or records events and answers. Rights come from [`crate::policy`] through
//! [`rights`]; a rule asks for the right first and looks at what it acts on afterwards, so that a refusal tells
//! nobody what exists.

use std::sync::Arc;

use chinwag_protocol::{Command, Refused};

use crate::{
    facts::{Facts, Failed, Known},
    plan::Plan,
    port::{Actor, Done, Prepared, Request},
    record::{Session, User},
};

use self::idempotency::once;

pub mod account;
pub mod admin;
pub mod app_password;
mod avatar;
pub mod call;
pub mod contact;
pub mod conversation;
pub mod file;
pub mod founding;
pub mod guest;
pub mod idempotency;
pub mod import;
pub mod invite;
pub mod membership;
pub mod message;
pub mod naming;
pub mod notice;
pub mod rights;
pub mod sessions;

/// Decides a request over the facts in `plan`; what follows from it is in the plan afterwards.
pub fn decide(plan: &mut Plan<'_>, request: &Request) -> Known<Done> {
    match request {
        Request::Command { actor, command, prepared } => command_of(plan, actor, command, prepared),
        Request::Found { registration, setup } => founding::found(plan, *registration, *setup),
        Request::Register { handle, invite, prepared, device, door } => {
            account::register(plan, handle, invite.as_ref(), prepared, device, door)
        }
        Request::Guest { handle, from, prepared, device } => {
            guest::enter(plan, handle, from, prepared, device)
        }
        Request::Upgrade { handle, from, prepared, device } => {
            guest::upgrade(plan, handle, from, prepared, device)
        }
        Request::EndBound { users } => sessions::end_bound(plan, users),
        Request::ImportUser { handle, about, prepared } => import::user(plan, handle, about, prepared),
        Request::ImportMessage { from, to, client_id, text } => {
            import::message(plan, *from, *to, client_id, text)
        }
        Request::Notify { user, client_id, text } => notice::tell(plan, *user, client_id, text),
        Request::SignIn { user, prepared, device, door } => {
            sessions::sign_in(plan, *user, prepared, device, door)
        }
        Request::Reset { link, prepared } => account::reset(plan, link, prepared),
        Request::Uploaded { actor, uploaded } => file::uploaded(plan, actor, uploaded).map(Done::Reply),
        Request::CollectFiles { idle } => file::collect(plan, idle).map(Done::Reply),
        Request::ExpireCall { conversation, call } => {
            call::expire(plan, *conversation, *call).map(Done::Reply)
        }
        Request::Seen { session } => sessions::seen(plan, *session),
    }
}

/// Each rule asks [`acting`] for itself, through [`rights`]: before that, nothing is told.
fn command_of(plan: &mut Plan<'_>, actor: &Actor, command: &Command, prepared: &Prepared) -> Known<Done> {
    acting(plan, actor)?;
    let reply = match command {
        Command::ChangeProfile(change) => account::change_profile(plan, actor, change),
        Command::ChangeSettings(settings) => account::change_settings(plan, actor, settings),
        Command::ChangePassword { old: _, new } => account::change_password(plan, actor, new, prepared),
        Command::ConfirmPassword { password: _ } => account::confirm_password(plan, actor, prepared),
        Command::EndSession { session } => sessions::end_one(plan, actor, *session),
        Command::EndOtherSessions {} => sessions::end_others(plan, actor),
        Command::DeleteAccount { password: _ } => account::delete(plan, actor, prepared),
        Command::CreateAppPassword { client_id, door, name } => {
            // Outside of `once`: the same command is asked again after the proof.
            app_password::may_create(plan, actor)?;
            return once(plan, actor.user, client_id, command, prepared, |plan| {
                app_password::create(plan, actor, prepared, door, name)
            });
        }
        Command::RevokeAppPassword { app_password } => app_password::revoke(plan, actor, *app_password),
        Command::AddContact { user } => contact::add(plan, actor, *user),
        Command::RemoveContact { user } => contact::remove(plan, actor, *user),
        Command::Block { user } => contact::block(plan, actor, *user),
        Command::Unblock { user } => contact::unblock(plan, actor, *user),

        Command::OpenDirect { user } => conversation::open_direct(plan, actor, *user),
        Command::CreateConversation {
            client_id,
            kind,
            name,
            handle,
            topic,
            public,
            history,
            posting,
            members,
        } => {
            let new = conversation::NewConversation {
                client_id,
                kind: *kind,
                name,
                handle: handle.as_deref(),
                topic,
                public: *public,
                history: *history,
                posting: *posting,
                members,
            };
            return once(plan, actor.user, client_id, command, prepared, |plan| {
                conversation::create(plan, actor, &new)
            });
        }
        Command::ChangeConversation { conversation, change } => {
            conversation::change(plan, actor, *conversation, change)
        }
        Command::CloseConversation { conversation } => conversation::close(plan, actor, *conversation),
        Command::Mute { conversation, until } => conversation::mute(plan, actor, *conversation, *until),
        Command::Join { conversation } => membership::join(plan, actor, *conversation),
        Command::Leave { conversation } => membership::leave(plan, actor, *conversation),
        Command::AddMember { conversation, user } => membership::add(plan, actor, *conversation, *user),
        Command::RemoveMember { conversation, user, ban } => {
            membership::remove(plan, actor, *conversation, *user, *ban)
        }
        Command::Unban { conversation, user } => membership::unban(plan, actor, *conversation, *user),
        Command::SetRole { conversation, user, role } => {
            membership::set_role(plan, actor, *conversation, *user, *role)
        }
        Command::CreateInvite { client_id, conversation, lifetime_s, uses, role } => {
            let new = invite::NewInvite {
                conversation: *conversation,
                lifetime_s: *lifetime_s,
                uses: *uses,
                role: *role,
            };
            return once(plan, actor.user, client_id, command, prepared, |plan| {
                invite::create(plan, actor, prepared, &new)
            });
        }
        Command::RevokeInvite { conversation, invite } => invite::revoke(plan, actor, *conversation, *invite),
        Command::UseInvite { token } => invite::redeem(plan, actor, token),
        Command::Post { conversation, client_id, text, attachments, reply_to, thread, sent_at } => {
            let new = message::NewMessage {
                conversation: *conversation,
                client_id,
                text,
                attachments,
                reply_to: *reply_to,
                thread: *thread,
                sent_at: *sent_at,
            };
            return once(plan, actor.user, client_id, command, prepared, |plan| {
                message::post(plan, actor, prepared, &new)
            });
        }
        Command::Edit { conversation, message, text } => {
            message::edit(plan, actor, *conversation, *message, text)
        }
        Command::Delete { conversation, message } => message::delete(plan, actor, *conversation, *message),
        Command::React { conversation, message, emoji } => {
            message::react(plan, actor, *conversation, *message, emoji)
        }
        Command::Unreact { conversation, message, emoji } => {
            message::unreact(plan, actor, *conversation, *message, emoji)
        }
        Command::Pin { conversation, message } => message::pin(plan, actor, *conversation, *message),
        Command::Unpin { conversation, message } => message::unpin(plan, actor, *conversation, *message),

        Command::StartCall { conversation, client_id, media } => {
            return once(plan, actor.user, client_id, command, prepared, |plan| {
                call::start(plan, actor, *conversation, client_id, *media)
            });
        }
        Command::AnswerCall { conversation, call, accept } => {
            call::answer(plan, actor, *conversation, *call, *accept)
        }
        Command::EndCall { conversation, call } => call::end(plan, actor, *conversation, *call),

        Command::Suspend { user, suspended } => admin::suspend(plan, actor, *user, *suspended),
        Command::SetAdmin { user, admin } => admin::set_admin(plan, actor, *user, *admin),
        Command::ResetPassword { user } => admin::reset_password(plan, actor, *user, prepared),
        Command::EndSessionsOf { user } => admin::end_sessions_of(plan, actor, *user),
        Command::ChangeServer(change) => admin::change_server(plan, actor, change),
    };
    reply.map(Done::Reply)
}

/// The user who asks: his session exists, is his, and he is active. Every rule about a person begins with this.
pub fn acting(plan: &Plan<'_>, actor: &Actor) -> Known<Arc<User>> {
    signed_in(plan, actor).map(|(user, _)| user)
}

/// The same, with the session.
fn signed_in(plan: &Plan<'_>, actor: &Actor) -> Known<(Arc<User>, Arc<Session>)> {
    let session = plan.session(actor.session)?.filter(|session| session.user == actor.user);
    let session = session.filter(|session| sessions::is_live(session, plan.now()));
    let user = plan.user(actor.user)?.filter(|user| user.is_active());
    match (user, session) {
        (Some(user), Some(session)) => Ok((user, session)),
        _ => Err(Refused::not_signed_in().into()),
    }
}

/// A rule asked for something that must exist: our own mistake, never the asker's.
pub(crate) fn missing(what: &str, id: impl std::fmt::Display) -> Failed {
    Failed::new(format!("cannot find {what} {id}"), "there is none")
}
