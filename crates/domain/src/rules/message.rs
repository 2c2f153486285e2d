//! Saying something, and what becomes of it: edits, deletions, reactions, pins.
//!
//! A message that one may not see does not exist: replies, threads and everything else that names one are refused
//! as for a number that was never given out.

use std::sync::Arc;

use chinwag_protocol::{
    ConversationId, Event, LogId, MessageBody, Posted, Posting, Refused, Reply, Role, Seq, UserId,
};

use super::rights::{Place, place};
use crate::{
    facts::{Facts, Known},
    limits::{PINS_MAX, REACTIONS_MAX, REACTIONS_PER_USER_MAX},
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
    /// The message it answers.
    pub reply_to: Option<Seq>,
    /// The thread it goes to.
    pub thread: Option<Seq>,
}

/// Says something. What the built-in bot answers is recorded right behind it.
pub fn post(plan: &mut Plan<'_>, actor: &Actor, prepared: &Prepared, new: &NewMessage<'_>) -> Known<Reply> {
    let place = place(plan, actor, new.conversation)?;
    place.need(match place.conversation.posting {
        Posting::Everyone => Action::Post,
        Posting::Admins => Action::PostAsAdmin,
    })?;
    heard(plan, &place)?;
    text::check_message(new.text)?;
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
        mentions,
        mentions_all,
        via: actor.door.as_deref().map(str::to_owned),
    };
    let position = plan.record_as(log, actor.user, Some(new.client_id.to_owned()), Event::Message(body))?;
    if let Some(answer) = &prepared.bot_answer {
        bot_answers(plan, log, answer, position.seq, thread)?;
    }
    Ok(Reply::Posted(Posted { conversation: new.conversation, seq: position.seq, at: plan.at() }))
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
    text::check_message(text)?;
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
mod tests {
    use chinwag_protocol::{
        Command, ConversationChange, Event, History, LogId, Posting, Refused, Reply, Seq,
    };

    use crate::{
        port::Prepared,
        reading::memory::{ANNA, BELA, BOT, CARLA, DORA, NOBODY, Town},
    };

    fn body(
        town: &Town,
        conversation: chinwag_protocol::ConversationId,
        seq: Seq,
    ) -> chinwag_protocol::MessageBody {
        match &town.memory.logs[&LogId::Conversation(conversation)][seq.0 as usize - 1].event {
            Event::Message(body) => body.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn d7_the_same_message_sent_twice_is_there_once() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        let post = town.message(group, "once");
        let first = town.ask(ANNA, post.clone());
        let entries = town.memory.logs.clone();
        assert_eq!(town.ask(ANNA, post.clone()), first);
        assert_eq!(town.memory.logs, entries);
        let Command::Post { client_id, .. } = post else { panic!() };
        let other =
            Command::Post { conversation: group, client_id, text: "b".into(), reply_to: None, thread: None };
        assert_eq!(town.code(ANNA, other.clone()), "client_id_reused");
        // Another person's ids are his own.
        assert_eq!(town.code(BELA, other), "ok");
    }

    #[test]
    fn mentions_are_members_and_everyone_is_for_small_groups_and_admins() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA, CARLA]);
        for (text, mentions, all) in [
            ("@Bela and @CARLA, @bela", vec![BELA, CARLA], false),
            ("@dora is not here", vec![], false),
            ("@bela.", vec![BELA], false),
            ("mail a@bela.example", vec![], false),
            ("@everyone", vec![], true),
            ("@here now", vec![], true),
            ("@nobody", vec![], false),
        ] {
            let seq = town.say(BELA, group, text);
            let body = body(&town, group, seq);
            assert_eq!((body.mentions, body.mentions_all), (mentions, all), "{text}");
        }
    }

    #[test]
    fn the_bot_answers_right_behind_and_without_being_a_member() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        let post = town.message(group, "/time");
        let prepared = Prepared { bot_answer: Some("noon".into()), ..Prepared::default() };
        let Ok(Reply::Posted(posted)) = town.ask_with(BELA, post.clone(), prepared.clone()) else { panic!() };
        let answer = body(&town, group, posted.seq.next());
        assert_eq!((answer.text.as_str(), answer.number, answer.reply_to), ("noon", 2, Some(posted.seq)));
        assert_eq!(town.memory.logs[&LogId::Conversation(group)].last().map(|entry| entry.by), Some(BOT));
        let length = town.memory.logs[&LogId::Conversation(group)].len();
        assert!(town.ask_with(BELA, post, prepared).is_ok());
        assert_eq!(town.memory.logs[&LogId::Conversation(group)].len(), length, "asked twice, answered once");
    }

    #[test]
    fn where_admins_post_members_do_not() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        let change = ConversationChange { posting: Some(Posting::Admins), ..ConversationChange::default() };
        town.done(ANNA, Command::ChangeConversation { conversation: group, change });
        let (by_member, by_owner) = (town.message(group, "a"), town.message(group, "b"));
        assert_eq!(town.code(BELA, by_member), "forbidden");
        assert_eq!(town.code(ANNA, by_owner), "ok");
    }

    #[test]
    fn whom_the_other_blocked_finds_nothing_there() {
        let mut town = Town::new();
        let Ok(Reply::Conversation { conversation }) = town.ask(ANNA, Command::OpenDirect { user: BELA })
        else {
            panic!()
        };
        let message = town.say(ANNA, conversation, "hello");
        town.done(BELA, Command::Block { user: ANNA });
        for command in [
            town.message(conversation, "are you there?"),
            Command::Edit { conversation, message, text: "hello?".into() },
            Command::React { conversation, message, emoji: "👍".into() },
            Command::Pin { conversation, message },
        ] {
            assert_eq!(town.ask(ANNA, command.clone()), Err(Refused::not_found()), "{command:?}");
        }
        assert_eq!(town.code(ANNA, Command::Delete { conversation, message }), "ok");
    }

    #[test]
    fn who_may_do_what_to_a_message() {
        let command = |what: &str, conversation, message| match what {
            "edit" => Command::Edit { conversation, message, text: "new".into() },
            "delete" => Command::Delete { conversation, message },
            "pin" => Command::Pin { conversation, message },
            "unpin" => Command::Unpin { conversation, message },
            "react" => Command::React { conversation, message, emoji: "👍".into() },
            other => panic!("{other}"),
        };
        // The author is Bela, a member; Anna owns the group; Carla is another member, Dora is none.
        for (what, by_author, by_owner, by_member, by_stranger) in [
            ("edit", "ok", "forbidden", "forbidden", "not_found"),
            ("delete", "ok", "ok", "forbidden", "not_found"),
            ("pin", "forbidden", "ok", "forbidden", "not_found"),
            ("unpin", "forbidden", "ok", "forbidden", "not_found"),
            ("react", "ok", "ok", "ok", "not_found"),
        ] {
            for (user, expected) in
                [(BELA, by_author), (ANNA, by_owner), (CARLA, by_member), (DORA, by_stranger)]
            {
                let mut town = Town::new();
                let group = town.group(ANNA, History::All, &[BELA, CARLA]);
                let message = town.say(BELA, group, "mine");
                let before = town.memory.logs.clone();
                assert_eq!(town.code(user, command(what, group, message)), expected, "{what} by {user}");
                if expected != "ok" {
                    assert_eq!(town.memory.logs, before, "{what} by {user} left a trace");
                    let absent = if expected == "forbidden" { "not_found" } else { expected };
                    let nothing = command(what, group, Seq(NOBODY));
                    let answer = town.code(user, nothing);
                    assert!(answer == absent || answer == "forbidden", "{what} by {user}: {answer}");
                }
            }
        }
    }

    #[test]
    fn a_deleted_message_is_gone_with_its_edits() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        let message = town.say(BELA, group, "first words");
        let conversation = group;
        town.done(BELA, Command::Edit { conversation, message, text: "second words".into() });
        town.done(ANNA, Command::React { conversation, message, emoji: "👍".into() });
        town.done(ANNA, Command::Pin { conversation, message });
        town.done(BELA, Command::Delete { conversation, message });
        let stored = serde_json::to_string(&town.memory.logs[&LogId::Conversation(group)]).unwrap();
        assert!(!stored.contains("words"), "{stored}");
        let length = town.memory.logs[&LogId::Conversation(group)].len();
        town.done(BELA, Command::Delete { conversation, message });
        assert_eq!(town.memory.logs[&LogId::Conversation(group)].len(), length);
        for command in [
            Command::Edit { conversation, message, text: "again".into() },
            Command::React { conversation, message, emoji: "👍".into() },
            Command::Pin { conversation, message },
        ] {
            let by = if matches!(command, Command::Edit { .. }) { BELA } else { ANNA };
            assert_eq!(town.code(by, command.clone()), "message_deleted", "{command:?}");
        }
    }

    #[test]
    fn doing_again_what_is_so_changes_nothing() {
        let mut town = Town::new();
        let conversation = town.group(ANNA, History::All, &[BELA]);
        let message = town.say(ANNA, conversation, "text");
        for command in [
            Command::Edit { conversation, message, text: "other".into() },
            Command::React { conversation, message, emoji: "👍".into() },
            Command::Unreact { conversation, message, emoji: "👍".into() },
            Command::Pin { conversation, message },
            Command::Unpin { conversation, message },
        ] {
            town.done(ANNA, command.clone());
            let before = town.memory.logs.clone();
            town.done(ANNA, command.clone());
            assert_eq!(town.memory.logs, before, "{command:?}");
        }
        let wrong = Command::React { conversation, message, emoji: "no".into() };
        assert_eq!(town.code(ANNA, wrong), "not_an_emoji");
    }

    #[test]
    fn a_message_has_so_many_reactions_and_a_conversation_so_many_pins() {
        let mut town = Town::new();
        let conversation = town.group(ANNA, History::All, &[BELA, CARLA]);
        let message = town.say(ANNA, conversation, "text");
        let emoji: Vec<String> = emojis::iter().take(51).map(|emoji| emoji.as_str().to_owned()).collect();
        let react = |emoji: &String| Command::React { conversation, message, emoji: emoji.clone() };
        for (user, range) in [(ANNA, 0..20), (BELA, 20..40), (CARLA, 40..50)] {
            emoji[range].iter().for_each(|emoji| town.done(user, react(emoji)));
        }
        assert_eq!(town.code(ANNA, react(&emoji[20])), "too_many_reactions", "20 kinds of one user");
        assert_eq!(town.code(CARLA, react(&emoji[50])), "too_many_reactions", "50 kinds of one message");
        assert_eq!(town.code(CARLA, react(&emoji[0])), "ok");
        for _ in 0..100 {
            let message = town.say(ANNA, conversation, "pin me");
            town.done(ANNA, Command::Pin { conversation, message });
        }
        assert_eq!(town.code(ANNA, Command::Pin { conversation, message }), "too_many_pins");
        let last =
            Seq(u32::try_from(town.memory.logs[&LogId::Conversation(conversation)].len()).unwrap() - 1);
        town.done(ANNA, Command::Delete { conversation, message: last });
        assert_eq!(town.code(ANNA, Command::Pin { conversation, message }), "ok");
    }
}
