//! Accounts and waiting messages from another system. Asked by whoever holds the data folder, never over a wire.
//!
//! What is asked again is answered as it was: an account that was imported before is not touched, a message has an
//! id made from what it is.

use std::sync::Arc;

use chinwag_protocol::{
    Command, ConversationId, Event, LogId, MessageBody, Posted, Refused, Reply, UserId, UserKind,
};

use super::{
    account::{join_everyone, keep_and_tell, new_user},
    conversation, idempotency, missing, naming,
};
use crate::{
    facts::{Facts, Known},
    names,
    plan::Plan,
    port::{Done, Prepared},
    record::{Change, Counter, Credentials, Owner, User},
    text,
};

/// Makes an account. Its password is not held against the rules for new ones: its owner is asked to change it.
pub fn user(plan: &mut Plan<'_>, handle: &str, about: &str, prepared: &Prepared) -> Known<Done> {
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    naming::check_free(plan, handle, None)?;
    let about = names::about(about)?.to_owned();
    let id = UserId(plan.next(Counter::User)?);
    let password = prepared.password.clone().ok_or_else(|| missing("password of user", id))?;
    naming::take(plan, handle, Owner::User(id));
    plan.keep(Change::Credentials(Arc::new(Credentials {
        user: id,
        password,
        version: 1,
        imported: true,
        change_password: true,
        ..Credentials::default()
    })));
    let user = User { about, ..new_user(plan, id, handle) };
    keep_and_tell(plan, user, id)?;
    join_everyone(plan, &server, id)?;
    Ok(Done::Reply(Reply::Done {}))
}

/// Records a message that waited, unless it was recorded before.
pub fn message(plan: &mut Plan<'_>, from: UserId, to: UserId, client_id: &str, said: &str) -> Known<Done> {
    let sender = person(plan, from)?;
    let receiver = person(plan, to)?;
    if plan.relation(to, from)?.blocked {
        return Err(Refused::forbidden("blocked", "the receiver has blocked the sender").into());
    }
    said_once(plan, &sender, &receiver, client_id, said)
}

/// Records what somebody said to somebody in their direct conversation, unless it was recorded before.
pub(super) fn said_once(
    plan: &mut Plan<'_>,
    sender: &User,
    receiver: &User,
    client_id: &str,
    said: &str,
) -> Known<Done> {
    let (from, to) = (sender.id, receiver.id);
    let conversation = direct(plan, sender, receiver)?;
    let command = Command::OpenDirect { user: to };
    let fingerprint = Some(idempotency::fingerprint(&(from, to, said)));
    let prepared = Prepared { fingerprint, ..Prepared::default() };
    idempotency::once(plan, from, client_id, &command, &prepared, |plan| {
        text::check_message(said)?;
        let log = LogId::Conversation(conversation);
        let number = plan.head(log)?.position.messages + 1;
        let body = MessageBody { text: said.to_owned(), number, ..MessageBody::default() };
        let position = plan.record_as(log, from, Some(client_id.to_owned()), Event::Message(body))?;
        Ok(Reply::Posted(Posted { conversation, seq: position.seq, at: plan.at() }))
    })
}

fn person(plan: &Plan<'_>, id: UserId) -> Known<Arc<User>> {
    let found = plan.user(id)?.filter(|user| user.is_active() && user.kind == UserKind::Person);
    found.ok_or_else(|| Refused::not_found().into())
}

/// The direct conversation of two, made if there is none.
fn direct(plan: &mut Plan<'_>, from: &User, to: &User) -> Known<ConversationId> {
    let users = (from.id.min(to.id), from.id.max(to.id));
    if let Some(id) = plan.direct(users)?
        && plan.member(id, from.id)?.is_some_and(|member| member.is_active())
    {
        return Ok(id);
    }
    conversation::make_direct(plan, from, to)
}

#[cfg(test)]
mod tests;
