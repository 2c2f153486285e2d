//! Saying something, and what becomes of it: edits, deletions, reactions, pins.
//!
//! A message that one may not see does not exist: replies, threads and everything else that names one are refused
//! as for a number that was never given out.

use std::sync::Arc;

use chinwag_protocol::{
    Attach, ConversationId, Event, LogId, MessageBody, Millis, Posted, Posting, Refused, Reply, Role, Seq,
    UserId,
};

use super::{
    file,
    rights::{Place, place},
};
use crate::{
    facts::{Facts, Known},
    limits::{CLOCK_AHEAD_MAX_MS, PINS_MAX, REACTIONS_MAX, REACTIONS_PER_USER_MAX},
    names,
    plan::Plan,
    policy::Action,
    port::{Actor, Prepared},
    record::{Message, Owner},
    text,
};

/// Up to so many members anybody may call all of them with `@everyone`; beyond, only admins.
const EVERYONE_MEMBERS_MAX: u32 = 50;
/// How often one message can be edited: each edit is kept, so there must be an end.
const EDITS_MAX: usize = 500;

/// A message to be recorded, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'c> {
    /// Where.
    pub conversation: ConversationId,
    /// The author's own id of it.
    pub client_id: &'c str,
    /// What.
    pub text: &'c str,
    /// The files it is to hold.
    pub attachments: &'c [Attach],
    /// The message it answers.
    pub reply_to: Option<Seq>,
    /// The thread it goes to.
    pub thread: Option<Seq>,
    /// When it was written, by its author's clock.
    pub sent_at: Option<Millis>,
}

/// Says something. What the built-in bot answers is recorded right behind it.
pub fn post(plan: &mut Plan<'_>, actor: &Actor, prepared: &Prepared, new: &NewMessage<'_>) -> Known<Reply> {
    let place = place(plan, actor, new.conversation)?;
    if !new.attachments.is_empty() {
        place.need(Action::Attach)?;
    }
    may_speak(plan, &place)?;
    check_text(new.text, !new.attachments.is_empty())?;
    let attachments = file::attached(plan, actor, &place, new.attachments)?;
    if let Some(seq) = new.reply_to {
        visible(plan, &place, seq)?;
    }
    let thread = match new.thread {
        Some(seq) => Some(thread_root(plan, &place, seq)?),
        None => None,
    };
    let (mentions, mentions_all) = mentions(plan, &place, new.text)?;
    let log = LogId::Conversation(new.conversation);
    let body = MessageBody {
        text: new.text.to_owned(),
        number: plan.head(log)?.position.messages + 1,
        reply_to: new.reply_to,
        thread,
        attachments,
        mentions,
        mentions_all,
        via: actor.door.as_deref().map(str::to_owned),
        sent_at: credible(new.sent_at, plan.now()),
    };
    let position = plan.record_as(log, actor.user, Some(new.client_id.to_owned()), Event::Message(body))?;
    if let Some(answer) = &prepared.bot_answer {
        bot_answers(plan, log, answer, position.seq, thread)?;
    }
    Ok(Reply::Posted(Posted { conversation: new.conversation, seq: position.seq, at: plan.at() }))
}

/// What a sender's clock claims, unless nobody can have written anything then. The message matters more than its
/// date, so a wrong clock is no reason to refuse it.
fn credible(claimed: Option<Millis>, now: Millis) -> Option<Millis> {
    claimed.filter(|at| at.0 > 0 && at.0 <= now.0.saturating_add(CLOCK_AHEAD_MAX_MS))
}

/// Refuses whoever may not say anything here, or not to whom it would reach.
pub(super) fn may_speak(plan: &Plan<'_>, place: &Place) -> Known<()> {
    place.need(match place.conversation.posting {
        Posting::Everyone => Action::Post,
        Posting::Admins => Action::PostAsAdmin,
    })?;
    heard(plan, place)
}

/// Beside files one may say nothing.
fn check_text(text: &str, beside_files: bool) -> Result<(), Refused> {
    if beside_files { text::check_caption(text) } else { text::check_message(text) }
}

/// The bot needs no membership: it was asked here.
fn bot_answers(plan: &mut Plan<'_>, log: LogId, answer: &str, asked: Seq, thread: Option<Seq>) -> Known<()> {
    let Some(server) = plan.server()? else { return Ok(()) };
    let number = plan.head(log)?.position.messages + 1;
    let body = MessageBody {
        text: answer.to_owned(),
        number,
        reply_to: Some(asked),
        thread,
        ..MessageBody::default()
    };
    plan.record(log, server.bot, Event::Message(body))?;
    Ok(())
}

/// The first message of the thread that this message begins or belongs to.
fn thread_root(plan: &Plan<'_>, place: &Place, seq: Seq) -> Known<Seq> {
    match visible(plan, place, seq)?.thread {
        Some(root) => Ok(visible(plan, place, root)?.seq),
        None => Ok(seq),
    }
}

/// Members whom a text mentions, and whether it calls all of them and may.
fn mentions(plan: &Plan<'_>, place: &Place, text: &str) -> Known<(Vec<UserId>, bool)> {
    if !text.contains('@') {
        return Ok((Vec::new(), false));
    }
    let found = text::mentions(text);
    let mut members: Vec<UserId> = Vec::new();
    for candidates in found.names {
        for handle in candidates {
            let Some(name) = plan.name(&names::fold(&handle))? else { continue };
            if let Owner::User(user) = name.owner {
                let active =
                    plan.member(place.conversation.id, user)?.is_some_and(|member| member.is_active());
                if active && !members.contains(&user) {
                    members.push(user);
                }
            }
            break;
        }
    }
    let admin = own_role(place) >= Role::Admin;
    Ok((members, found.all && (admin || place.conversation.members <= EVERYONE_MEMBERS_MAX)))
}

fn own_role(place: &Place) -> Role {
    place.member.as_ref().filter(|member| member.is_active()).map_or(Role::Member, |member| member.role)
}

/// Refuses what would reach somebody who blocked the asker, as if there were no such conversation.
fn heard(plan: &Plan<'_>, place: &Place) -> Known<()> {
    let me = place.rights.user.id;
    match place.conversation.other(me) {
        Some(other) if plan.relation(other, me)?.blocked => Err(Refused::not_found().into()),
        _ => Ok(()),
    }
}

/// A message that the asker may see; otherwise the answer for one that is not there.
fn visible(plan: &Plan<'_>, place: &Place, seq: Seq) -> Known<Arc<Message>> {
    let sees = place.member.as_ref().is_some_and(|member| member.is_active() && member.may_see(seq));
    if !sees {
        return Err(Refused::not_found().into());
    }
    plan.message(place.conversation.id, seq)?.ok_or_else(|| Refused::not_found().into())
}

/// The same for one that is still there.
fn undeleted(plan: &Plan<'_>, place: &Place, seq: Seq) -> Known<Arc<Message>> {
    let message = visible(plan, place, seq)?;
    if message.overlay.state.deleted {
        return Err(Refused::conflict("message_deleted", "this message was deleted").into());
    }
    Ok(message)
}

/// The place of a message, for somebody who may see it and may do this to it: an action for his own, another for
/// somebody else's.
fn own_or_other(
    plan: &Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    seq: Seq,
    (own, other): (Action, Action),
) -> Known<(Place, Arc<Message>)> {
    let place = place(plan, actor, id)?;
    if !place.rights.grounds.member {
        place.need(other)?;
    }
    let message = visible(plan, &place, seq)?;
    place.need(if message.author == actor.user { own } else { other })?;
    Ok((place, message))
}

/// Changes the text of one's own message.
pub fn edit(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq, text: &str) -> Known<Reply> {
    let (place, message) = own_or_other(plan, actor, id, seq, (Action::EditOwn, Action::EditOther))?;
    undeleted(plan, &place, seq)?;
    heard(plan, &place)?;
    check_text(text, !message.attachments.is_empty())?;
    if message.overlay.edits.len() >= EDITS_MAX {
        let why = format!("a message can be edited {EDITS_MAX} times");
        return Err(Refused::forbidden("too_many_edits", why).into());
    }
    if message.text != text {
        let event = Event::Edited { message: seq, text: text.to_owned() };
        plan.record(LogId::Conversation(id), actor.user, event)?;
    }
    Ok(Reply::Done {})
}

/// Deletes a message for everyone.
pub fn delete(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq) -> Known<Reply> {
    let (_, message) = own_or_other(plan, actor, id, seq, (Action::DeleteOwn, Action::DeleteOther))?;
    if !message.overlay.state.deleted {
        plan.record(LogId::Conversation(id), actor.user, Event::Deleted { message: seq })?;
    }
    Ok(Reply::Done {})
}

/// Reacts to a message.
pub fn react(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq, emoji: &str) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::React)?;
    heard(plan, &place)?;
    let emoji = text::reaction(emoji)?;
    let message = undeleted(plan, &place, seq)?;
    let reactions = &message.overlay.state.reactions;
    let same = reactions.iter().find(|reaction| reaction.emoji == emoji);
    if same.is_some_and(|reaction| reaction.users.contains(&actor.user)) {
        return Ok(Reply::Done {});
    }
    if same.is_none() && reactions.len() >= REACTIONS_MAX {
        let why = format!("a message has at most {REACTIONS_MAX} kinds of reactions");
        return Err(Refused::forbidden("too_many_reactions", why).into());
    }
    if reactions.iter().filter(|reaction| reaction.users.contains(&actor.user)).count()
        >= REACTIONS_PER_USER_MAX
    {
        let why = format!("one can react to a message in at most {REACTIONS_PER_USER_MAX} ways");
        return Err(Refused::forbidden("too_many_reactions", why).into());
    }
    let event = Event::Reacted { message: seq, emoji: emoji.to_owned() };
    plan.record(LogId::Conversation(id), actor.user, event)?;
    Ok(Reply::Done {})
}

/// Takes a reaction back.
pub fn unreact(
    plan: &mut Plan<'_>,
    actor: &Actor,
    id: ConversationId,
    seq: Seq,
    emoji: &str,
) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::React)?;
    let emoji = text::reaction(emoji)?;
    let message = visible(plan, &place, seq)?;
    let reacted = |reaction: &chinwag_protocol::Reaction| {
        reaction.emoji == emoji && reaction.users.contains(&actor.user)
    };
    if message.overlay.state.reactions.iter().any(reacted) {
        let event = Event::Unreacted { message: seq, emoji: emoji.to_owned() };
        plan.record(LogId::Conversation(id), actor.user, event)?;
    }
    Ok(Reply::Done {})
}

/// Pins a message.
pub fn pin(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Pin)?;
    heard(plan, &place)?;
    let message = undeleted(plan, &place, seq)?;
    if message.overlay.state.pinned {
        return Ok(Reply::Done {});
    }
    if place.conversation.pins as usize >= PINS_MAX {
        let why = format!("a conversation has at most {PINS_MAX} pinned messages: unpin one");
        return Err(Refused::forbidden("too_many_pins", why).into());
    }
    plan.record(LogId::Conversation(id), actor.user, Event::Pinned { message: seq })?;
    Ok(Reply::Done {})
}

/// Unpins.
pub fn unpin(plan: &mut Plan<'_>, actor: &Actor, id: ConversationId, seq: Seq) -> Known<Reply> {
    let place = place(plan, actor, id)?;
    place.need(Action::Pin)?;
    let message = visible(plan, &place, seq)?;
    if message.overlay.state.pinned {
        plan.record(LogId::Conversation(id), actor.user, Event::Unpinned { message: seq })?;
    }
    Ok(Reply::Done {})
}

#[cfg(test)]
mod tests;
