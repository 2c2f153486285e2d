//! Messages: who may do what to them, limits, and what is left of a deleted one.

use chinwag_protocol::{
    Command, ConversationChange, Event, History, LogId, Millis, Posting, Refused, Reply, Seq,
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
    let other = Command::Post {
        conversation: group,
        client_id,
        text: "b".into(),
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    };
    assert_eq!(town.code(ANNA, other.clone()), "client_id_reused");
    // Another person's ids are his own.
    assert_eq!(town.code(BELA, other), "ok");
}

#[test]
fn the_senders_own_time_is_kept_if_it_can_be_and_is_no_part_of_what_makes_a_message_the_same() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    let day = crate::limits::CLOCK_AHEAD_MAX_MS;
    for (claimed, kept) in [
        (None, false),
        (Some(1), true),
        (Some(day), true),
        (Some(0), false),
        (Some(-5), false),
        (Some(2 * day), false),
    ] {
        let mut post = town.message(group, "dated");
        let Command::Post { sent_at, .. } = &mut post else { panic!() };
        *sent_at = claimed.map(Millis);
        let Ok(Reply::Posted(posted)) = town.ask(ANNA, post.clone()) else { panic!("{claimed:?}") };
        let expected = claimed.filter(|_| kept).map(Millis);
        assert_eq!(body(&town, group, posted.seq).sent_at, expected, "{claimed:?}");
        let Command::Post { sent_at, .. } = &mut post else { panic!() };
        *sent_at = Some(Millis(77));
        assert_eq!(town.ask(ANNA, post), Ok(Reply::Posted(posted)), "the same once more");
    }
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
    let Ok(Reply::Conversation { conversation }) = town.ask(ANNA, Command::OpenDirect { user: BELA }) else {
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
        for (user, expected) in [(BELA, by_author), (ANNA, by_owner), (CARLA, by_member), (DORA, by_stranger)]
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
    let last = Seq(u32::try_from(town.memory.logs[&LogId::Conversation(conversation)].len()).unwrap() - 1);
    town.done(ANNA, Command::Delete { conversation, message: last });
    assert_eq!(town.code(ANNA, Command::Pin { conversation, message }), "ok");
}
