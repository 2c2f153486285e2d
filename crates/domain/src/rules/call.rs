//! Calls: that one is started, answered, ended. What is heard in it happens elsewhere.
//!
//! Invariant: a conversation has at most one call at a time, and each call ends: by whoever may end it, with whoever
//! made it, or by the clock.

use std::sync::Arc;

use chinwag_protocol::{
    CallEnd, CallMedia, ConversationId, Event, LogId, Millis, Refused, Reply, Seq, UserId,
};

use super::{message, rights::place};
use crate::{
    facts::{Facts, Known},
    limits::{CALL_LASTS_MS, CALL_RINGS_MS},
    plan::Plan,
    policy::Action,
    port::Actor,
    record::Call,
};

/// Calls the others of a conversation.
pub fn start(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    client_id: &str,
    media: CallMedia,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Call)?;
    message::may_speak(plan, &place)?;
    if place.conversation.members < 2 || place.conversation.other(actor.user) == Some(actor.user) {
        return Err(Refused::forbidden("nobody_there", "there is nobody to call").into());
    }
    if plan.call(id)?.is_some() {
        return Err(Refused::conflict("call_open", "there is a call in this conversation already").into());
    }
    let event = Event::CallStarted { media, via: actor.door.as_deref().map(str::to_owned) };
    let position = plan.record_as(log(id), actor.user, Some(client_id.to_owned()), event)?;
    Ok(Reply::Call { conversation: id, call: position.seq })
}

/// Accepts a call, or declines it.
pub fn answer(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    seq: Seq,
    accept: bool,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Call)?;
    let call = open(plan, id, seq)?.ok_or_else(|| Refused::conflict("call_over", "this call is over"))?;
    if call.view.by == actor.user {
        return Err(Refused::forbidden("own_call", "one does not answer one's own call").into());
    }
    let accepted = call.view.accepted.contains(&actor.user);
    // Whoever accepted once is in it; declining afterwards would be hanging up.
    if accepted || (!accept && call.view.declined.contains(&actor.user)) {
        return Ok(Reply::Done {});
    }
    plan.record(log(id), actor.user, Event::CallAnswered { call: seq, accepted: accept })?;
    let others = place.conversation.members.saturating_sub(1) as usize;
    let all_declined = !accept && call.view.accepted.is_empty() && call.view.declined.len() + 1 >= others;
    if all_declined {
        end_as(plan, id, &call, actor.user, CallEnd::Declined)?;
    }
    Ok(Reply::Done {})
}

/// Ends a call for everybody: whoever made it may, both sides of a direct one, and who moderates.
pub fn end(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(if place.rights.grounds.member { Action::Call } else { Action::ModerateCall })?;
    let Some(call) = open(plan, id, seq)? else { return Ok(Reply::Done {}) };
    let own = call.view.by == actor.user;
    if !own && place.conversation.direct.is_none() {
        place.need(Action::ModerateCall)?;
    }
    let reason = match (call.view.accepted.is_empty(), own) {
        (false, _) => CallEnd::Ended,
        (true, true) => CallEnd::Missed,
        (true, false) => CallEnd::Declined,
    };
    end_as(plan, id, &call, actor.user, reason)?;
    Ok(Reply::Done {})
}

/// Ends a call that nobody answered for too long, or that nobody ended. Asked again, it does nothing.
pub fn expire(plan: &mut Plan<'_>, id: ConversationId, seq: Seq) -> Known<Reply> {
    if let Some(call) = open(plan, id, seq)?.filter(|call| call.ends_at() <= plan.at()) {
        let reason = if call.view.accepted.is_empty() { CallEnd::Missed } else { CallEnd::Failed };
        end_as(plan, id, &call, call.view.by, reason)?;
    }
    Ok(Reply::Done {})
}

/// Before somebody goes: a call does not outlive whoever made it, nor the only one who answered.
pub(super) fn before_departing(plan: &mut Plan<'_>, id: ConversationId, user: UserId) -> Known<()> {
    let Some(call) = plan.call(id)? else { return Ok(()) };
    if call.view.by == user || call.view.accepted == [user] {
        let reason = if call.view.accepted.is_empty() { CallEnd::Missed } else { CallEnd::Ended };
        end_as(plan, id, &call, user, reason)?;
    }
    Ok(())
}

/// Before a conversation is deleted.
pub(super) fn before_closing(plan: &mut Plan<'_>, id: ConversationId, by: UserId) -> Known<()> {
    match plan.call(id)? {
        Some(call) => end_as(plan, id, &call, by, CallEnd::Ended),
        None => Ok(()),
    }
}

/// The call that is named, if it goes on.
fn open(plan: &Plan<'_>, id: ConversationId, seq: Seq) -> Known<Option<Arc<Call>>> {
    Ok(plan.call(id)?.filter(|call| call.view.call == seq))
}

fn end_as(plan: &mut Plan<'_>, id: ConversationId, call: &Call, by: UserId, reason: CallEnd) -> Known<()> {
    plan.record(log(id), by, Event::CallEnded { call: call.view.call, reason })?;
    Ok(())
}

fn log(id: ConversationId) -> LogId {
    LogId::Conversation(id)
}

impl Call {
    /// When the server ends it, if nobody does before.
    pub fn ends_at(&self) -> Millis {
        let lasts = if self.view.accepted.is_empty() { CALL_RINGS_MS } else { CALL_LASTS_MS };
        Millis(self.view.at.0.saturating_add(lasts))
    }
}

#[cfg(test)]
mod tests;
