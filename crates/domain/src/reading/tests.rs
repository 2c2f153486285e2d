//! Who may see what: promises M1, M3 and M5, and the pages themselves.

use chinwag_protocol::{
    Anchor, Answer, Command, ConversationId, ConversationKind, Event, History, LogId, Query, Refused, Role,
    Seq, UserId,
};

use super::{
    CatchUp, Missed, catch_up, entries_for,
    memory::{ANNA, BELA, CARLA, DORA, GUS, NOBODY, OPAL, Town},
    snapshot,
};

fn latest(conversation: ConversationId) -> Query {
    Query::History { conversation, anchor: Anchor::Latest, limit: 200 }
}

fn numbers(town: &Town, user: UserId, query: &Query) -> Vec<u32> {
    town.page(user, query).items.iter().map(|item| item.entry.seq.0).collect()
}

/// Everything that one can ask of a conversation.
fn every_question(conversation: ConversationId) -> Vec<Query> {
    let message = Seq(4);
    vec![
        Query::Conversation { conversation },
        Query::Members { conversation, after: UserId(0), limit: 10 },
        Query::Bans { conversation },
        latest(conversation),
        Query::Thread { conversation, root: message, after: Seq(0), limit: 10 },
        Query::Pins { conversation },
        Query::MessageInfo { conversation, message },
        Query::Invites { conversation },
        Query::Online { conversation: Some(conversation) },
    ]
}

#[test]
fn m5_a_private_conversation_looks_to_strangers_like_none() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA, CARLA]);
    town.say(ANNA, group, "secret");
    town.done(ANNA, Command::RemoveMember { conversation: group, user: CARLA, ban: true });
    for stranger in [CARLA, DORA, GUS] {
        for (there, absent) in every_question(group).iter().zip(every_question(ConversationId(NOBODY))) {
            let (there, absent) = (town.look(stranger, there), town.look(stranger, &absent));
            assert_eq!(there, absent, "user {stranger}");
            assert_eq!(there, Err(Refused::not_found()), "user {stranger}");
        }
    }
    let log = LogId::Conversation(group);
    assert!(entries_for(&town.memory, DORA, log, Seq(0), 10).is_err());
    assert!(town.look(ANNA, &latest(group)).is_ok());
}

#[test]
fn m1_whoever_was_removed_gets_nothing_after_his_removal() {
    for ban in [false, true] {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        let log = LogId::Conversation(group);
        let before = town.say(ANNA, group, "before");
        town.done(ANNA, Command::RemoveMember { conversation: group, user: BELA, ban });
        let removal = before.next();
        town.say(ANNA, group, "after");
        town.done(ANNA, Command::Pin { conversation: group, message: before });

        let (entries, more) = entries_for(&town.memory, BELA, log, Seq(0), 100).unwrap();
        assert_eq!(entries.last().map(|entry| entry.seq), Some(removal));
        assert!(!more);
        assert_eq!(entries_for(&town.memory, BELA, log, removal, 100).unwrap(), (vec![], false));
        // However far he claims to be, the answer does not depend on how far the others are.
        for claimed in [removal, removal.next(), Seq(NOBODY)] {
            let positions = [(log, claimed), (LogId::User(BELA), Seq(2)), (LogId::Directory, Seq(0))];
            let missed = catch_up(&town.memory, &Town::actor(BELA), &positions).unwrap();
            assert_eq!(missed, CatchUp::Entries(vec![]), "{claimed}");
        }
        assert_eq!(snapshot(&town.memory, &Town::actor(BELA)).unwrap().conversations, []);
        let search = Query::Search { text: "before".into(), page: None, limit: 10 };
        assert!(matches!(town.look(BELA, &search), Ok(Answer::Search(page)) if page.hits.is_empty()));
        assert!(matches!(town.look(ANNA, &search), Ok(Answer::Search(page)) if page.hits.len() == 1));
    }
}

#[test]
fn m1_a_later_ban_leaves_a_former_member_what_was_his() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.done(BELA, Command::Leave { conversation: group });
    let log = LogId::Conversation(group);
    let his = entries_for(&town.memory, BELA, log, Seq(0), 100).unwrap();
    town.done(ANNA, Command::RemoveMember { conversation: group, user: BELA, ban: true });
    assert_eq!(entries_for(&town.memory, BELA, log, Seq(0), 100).unwrap(), his);
    // Banned without ever having been there: nothing at all.
    town.done(ANNA, Command::RemoveMember { conversation: group, user: DORA, ban: true });
    assert!(entries_for(&town.memory, DORA, log, Seq(0), 100).is_err());
}

/// A group without history for newcomers, with a past of every kind, and Carla who has just come.
fn newcomer() -> (Town, ConversationId, Seq, Seq) {
    let mut town = Town::new();
    let group = town.group(ANNA, History::FromJoining, &[BELA]);
    let old = town.say(ANNA, group, "the old secret @carla");
    town.done(ANNA, Command::Pin { conversation: group, message: old });
    town.done(ANNA, Command::AddMember { conversation: group, user: CARLA });
    let joined = town.memory.logs[&LogId::Conversation(group)].last().unwrap().seq;
    (town, group, old, joined)
}

#[test]
fn m3_a_newcomer_sees_nothing_from_before() {
    let (mut town, group, old, joined) = newcomer();
    assert_eq!(numbers(&town, CARLA, &latest(group)), [joined.0]);
    for anchor in [Anchor::Before(joined), Anchor::Before(old), Anchor::Date(chinwag_protocol::Millis(0))] {
        let page = town.page(CARLA, &Query::History { conversation: group, anchor, limit: 200 });
        assert!(page.items.iter().all(|item| item.entry.seq >= joined), "{anchor:?}");
        assert!(!page.more_before, "{anchor:?}");
    }
    let around = Query::History { conversation: group, anchor: Anchor::Around(old), limit: 200 };
    assert_eq!(numbers(&town, CARLA, &around), [joined.0]);
    for query in [
        Query::Thread { conversation: group, root: old, after: Seq(0), limit: 10 },
        Query::MessageInfo { conversation: group, message: old },
    ] {
        assert_eq!(town.look(CARLA, &query), Err(Refused::not_found()));
    }
    assert_eq!(town.look(CARLA, &Query::Pins { conversation: group }), Ok(Answer::Items(vec![])));
    let search = Query::Search { text: "secret".into(), page: None, limit: 10 };
    assert!(matches!(town.look(CARLA, &search), Ok(Answer::Search(page)) if page.hits.is_empty()));
    let view = snapshot(&town.memory, &Town::actor(CARLA)).unwrap().conversations.remove(0);
    let mine = view.mine.unwrap();
    assert_eq!((view.last, mine.mentions, view.head.messages - mine.read.messages), (None, vec![], 0));
    // What one may not see one can neither answer nor touch, as if it had never been.
    for (hidden, absent) in every_touch(group, old).into_iter().zip(every_touch(group, Seq(NOBODY))) {
        let (hidden_answer, absent_answer) = (town.ask(CARLA, hidden.clone()), town.ask(CARLA, absent));
        assert_eq!(hidden_answer, absent_answer, "{hidden:?}");
        assert!(hidden_answer.is_err(), "{hidden:?}");
    }
}

fn every_touch(conversation: ConversationId, message: Seq) -> Vec<Command> {
    let post = |reply_to, thread| Command::Post {
        conversation,
        client_id: format!("touch-{reply_to:?}-{thread:?}"),
        text: "x".into(),
        attachments: Vec::new(),
        reply_to,
        thread,
        sent_at: None,
    };
    vec![
        post(Some(message), None),
        post(None, Some(message)),
        Command::Edit { conversation, message, text: "x".into() },
        Command::Delete { conversation, message },
        Command::React { conversation, message, emoji: "👍".into() },
        Command::Unreact { conversation, message, emoji: "👍".into() },
        Command::Pin { conversation, message },
        Command::Unpin { conversation, message },
    ]
}

#[test]
fn m3_later_entries_about_older_messages_are_hidden_from_a_newcomer() {
    let (mut town, group, old, joined) = newcomer();
    let (conversation, message) = (group, old);
    town.done(ANNA, Command::Edit { conversation, message, text: "still secret".into() });
    town.done(BELA, Command::React { conversation, message, emoji: "👍".into() });
    town.done(BELA, Command::Unreact { conversation, message, emoji: "👍".into() });
    town.done(ANNA, Command::Unpin { conversation, message });
    town.done(ANNA, Command::Pin { conversation, message });
    town.done(ANNA, Command::Delete { conversation, message });
    let new = town.say(BELA, group, "for all");
    let (entries, _) = entries_for(&town.memory, CARLA, LogId::Conversation(group), Seq(0), 100).unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (joined.0..=new.0).map(Seq).collect::<Vec<_>>()
    );
    for entry in &entries {
        if joined < entry.seq && entry.seq < new {
            assert_eq!((&entry.event, entry.by), (&Event::Hidden {}, UserId(0)));
        } else {
            assert_ne!(entry.event, Event::Hidden {});
        }
    }
    let pages = town.page(CARLA, &latest(group));
    assert_eq!(pages.items.iter().map(|item| item.entry.clone()).collect::<Vec<_>>(), entries);
    let (whole, _) = entries_for(&town.memory, BELA, LogId::Conversation(group), Seq(0), 100).unwrap();
    assert!(whole.iter().all(|entry| entry.event != Event::Hidden {}));
}

#[test]
fn a_page_is_a_part_of_the_window_and_says_what_lies_around_it() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    for i in 4..=10 {
        assert_eq!(town.say(ANNA, group, &format!("message {i}")), Seq(i));
    }
    let eighth = town.memory.logs[&LogId::Conversation(group)][7].at;
    let cases: [(Anchor, u16, &[u32], bool, bool); 12] = [
        (Anchor::Latest, 3, &[8, 9, 10], true, false),
        (Anchor::Latest, 200, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false, false),
        (Anchor::Latest, 0, &[10], true, false),
        (Anchor::Before(Seq(4)), 2, &[2, 3], true, true),
        (Anchor::Before(Seq(1)), 2, &[], false, true),
        (Anchor::Before(Seq(u32::MAX)), 1, &[10], true, false),
        (Anchor::After(Seq(8)), 5, &[9, 10], true, false),
        (Anchor::After(Seq(u32::MAX)), 5, &[], true, false),
        (Anchor::Around(Seq(5)), 4, &[3, 4, 5, 6], true, true),
        (Anchor::Around(Seq(99)), 4, &[8, 9, 10], true, false),
        (Anchor::Date(eighth), 2, &[8, 9], true, true),
        (Anchor::Date(chinwag_protocol::Millis(i64::MAX)), 2, &[10], true, false),
    ];
    for (anchor, limit, expected, before, after) in cases {
        let query = Query::History { conversation: group, anchor, limit };
        let page = town.page(BELA, &query);
        assert_eq!(numbers(&town, BELA, &query), expected, "{anchor:?}");
        assert_eq!((page.more_before, page.more_after), (before, after), "{anchor:?}");
    }
}

#[test]
fn a_page_is_at_most_about_a_mebibyte_around_its_anchor() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[]);
    let long = "lang ".repeat(1_500);
    for _ in 0..180 {
        town.say(ANNA, group, &long);
    }
    let query = Query::History { conversation: group, anchor: Anchor::Around(Seq(90)), limit: 200 };
    let page = town.page(ANNA, &query);
    let size = serde_json::to_vec(&page).unwrap().len();
    assert!((900_000..1_100_000).contains(&size), "{size}");
    let numbers = numbers(&town, ANNA, &query);
    assert!(numbers.contains(&90) && page.more_before && page.more_after);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_thread_is_found_by_its_root_and_by_its_replies() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    let root = town.say(ANNA, group, "root");
    let reply = |town: &mut Town, thread| {
        let client_id = format!("reply-{}", town.at);
        let text = "reply".to_owned();
        town.done(
            BELA,
            Command::Post {
                conversation: group,
                client_id,
                text,
                attachments: Vec::new(),
                reply_to: None,
                thread: Some(thread),
                sent_at: None,
            },
        );
    };
    reply(&mut town, root);
    town.say(ANNA, group, "between");
    // A reply to a reply goes to the same thread.
    reply(&mut town, root.next());
    for asked in [root, root.next()] {
        let thread = Query::Thread { conversation: group, root: asked, after: Seq(0), limit: 10 };
        assert_eq!(numbers(&town, ANNA, &thread), [root.0, root.0 + 1, root.0 + 3]);
    }
    let first = Query::Thread { conversation: group, root, after: Seq(0), limit: 1 };
    assert!(town.page(ANNA, &first).more_after);
    assert_eq!(town.page(ANNA, &first).items[0].state.as_ref().map(|state| state.replies), Some(2));
}

#[test]
fn receipts_count_those_who_were_there_and_tell() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA, CARLA]);
    let message = town.say(ANNA, group, "hello");
    town.done(ANNA, Command::AddMember { conversation: group, user: DORA });
    town.say(BELA, group, "answering is reading");
    let info = |town: &Town| match town.look(ANNA, &Query::MessageInfo { conversation: group, message }) {
        Ok(Answer::MessageInfo(info)) => (info.delivered_to, info.read_by),
        other => panic!("{other:?}"),
    };
    assert_eq!(info(&town), (vec![BELA], vec![BELA]));
    town.memory.cursors.entry((group, CARLA)).or_default().delivered = message;
    assert_eq!(info(&town), (vec![BELA, CARLA], vec![BELA]));
}

#[test]
fn catching_up_starts_where_one_left_off() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.say(ANNA, group, "one");
    let actor = Town::actor(BELA);
    let (own, log) = (LogId::User(BELA), LogId::Conversation(group));
    let named = |own_seq, seq: Option<u32>| {
        let mut positions = vec![(own, Seq(own_seq)), (LogId::Directory, Seq(0))];
        positions.extend(seq.map(|seq| (log, Seq(seq))));
        positions
    };
    let missed = |positions: &[(LogId, Seq)]| catch_up(&town.memory, &actor, positions).unwrap();
    let run = |log, from, head| Missed { log, from: Seq(from), head: Seq(head) };
    assert_eq!(missed(&named(1, Some(4))), CatchUp::Entries(vec![]));
    assert_eq!(missed(&named(1, Some(2))), CatchUp::Entries(vec![run(log, 2, 4)]));
    // The `entered` in one's own log comes first, and shows the conversation as of its third entry.
    assert_eq!(missed(&named(0, None)), CatchUp::Entries(vec![run(own, 0, 1), run(log, 3, 4)]));
    // Ahead of the store, or without a place in one's own log: from the beginning.
    assert_eq!(missed(&named(1, Some(5))), CatchUp::TooMuch);
    assert_eq!(missed(&[(log, Seq(4))]), CatchUp::TooMuch);
    // What is not one's own is not told of, there or not.
    let strange = [(LogId::User(ANNA), Seq(9)), (LogId::Conversation(ConversationId(NOBODY)), Seq(9))];
    assert_eq!(missed(&[&named(1, Some(4))[..], &strange].concat()), CatchUp::Entries(vec![]));
}

#[test]
fn who_missed_too_much_starts_afresh() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    let log = LogId::Conversation(group);
    let entry = town.memory.logs[&log][0].clone();
    let all = town.memory.logs.get_mut(&log).unwrap();
    for seq in 4..=super::CATCH_UP_MAX + 3 {
        all.push(chinwag_protocol::Entry {
            seq: Seq(seq),
            event: Event::Unbanned { user: DORA },
            ..entry.clone()
        });
    }
    let positions = |seq| [(LogId::User(BELA), Seq(1)), (LogId::Directory, Seq(0)), (log, Seq(seq))];
    let missed = |seq| catch_up(&town.memory, &Town::actor(BELA), &positions(seq)).unwrap();
    assert!(matches!(missed(3), CatchUp::Entries(runs) if runs.len() == 1));
    assert_eq!(missed(2), CatchUp::TooMuch);
}

#[test]
fn searching_finds_only_what_one_may_read() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    let other = town.group(ANNA, History::All, &[CARLA]);
    town.say(ANNA, group, "First needle");
    town.say(BELA, group, "second NEEDLE, and more");
    town.say(CARLA, other, "third needle");
    let gone = town.say(ANNA, group, "deleted needle");
    town.done(ANNA, Command::Delete { conversation: group, message: gone });
    let found = |user, text: &str| {
        let query = Query::Search { text: text.into(), page: None, limit: 10 };
        match town.look(user, &query) {
            Ok(Answer::Search(page)) => page.hits.into_iter().map(|hit| hit.context).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let (first, second, third) = ("First needle", "second NEEDLE, and more", "third needle");
    for (user, text, expected) in [
        (BELA, "needle", vec![second, first]),
        (CARLA, "needle", vec![third]),
        (DORA, "needle", vec![]),
        (ANNA, "needle from:@Bela", vec![second]),
        (BELA, "needle from:me", vec![second]),
        (ANNA, "needle from:nobody", vec![]),
        (ANNA, "in:nowhere needle", vec![]),
        (BELA, "\"needle, and\"", vec![second]),
        (ANNA, "", vec![]),
    ] {
        assert_eq!(found(user, text), expected, "{user} {text}");
    }
    let first_page = Query::Search { text: "needle".into(), page: None, limit: 1 };
    let Ok(Answer::Search(page)) = town.look(BELA, &first_page) else { panic!("no page") };
    assert_eq!(page.hits[0].marks, [(7, 13)]);
    let next = Query::Search { text: "needle".into(), page: page.next, limit: 1 };
    assert!(matches!(town.look(BELA, &next), Ok(Answer::Search(page)) if page.hits[0].context == first));
    let wrong = Query::Search { text: "needle".into(), page: Some("-1".into()), limit: 1 };
    assert_eq!(town.look(BELA, &wrong).unwrap_err().code, "bad_page");
}

#[test]
fn guests_have_no_directory_and_administrators_no_content() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA, GUS]);
    let hall = town.create(CARLA, ConversationKind::Group, true, History::All, &[]);
    town.say(ANNA, group, "secret");
    let users = Query::FindUsers { text: String::new(), limit: 100 };
    assert!(
        matches!(town.look(GUS, &users), Ok(Answer::Users(users)) if users.iter().map(|user| user.id).eq([ANNA, BELA, GUS])),
        "a guest finds those with whom he shares a conversation"
    );
    assert_eq!(town.look(GUS, &Query::Online { conversation: None }).unwrap_err().code, "no_directory");
    assert!(town.look(GUS, &Query::Online { conversation: Some(group) }).is_ok());
    assert_eq!(town.look(GUS, &Query::AppPasswords {}).unwrap_err().code, "forbidden");
    assert!(matches!(town.look(BELA, &users), Ok(Answer::Users(users)) if users.len() == 7));
    let some = Query::Users { users: vec![ANNA, CARLA, UserId(NOBODY)] };
    assert!(
        matches!(town.look(GUS, &some), Ok(Answer::Users(users)) if users.len() == 1 && users[0].id == ANNA)
    );
    assert_eq!(town.look(GUS, &Query::Conversation { conversation: hall }), Err(Refused::not_found()));
    let handle = |handle: &str| Query::Handle { handle: handle.into() };
    assert_eq!(town.look(GUS, &handle("carla")), Err(Refused::not_found()));
    assert!(matches!(town.look(GUS, &handle("ANNA")), Ok(Answer::User(user)) if user.id == ANNA));

    // The hall is public: known to all, read by its members only.
    let Ok(Answer::Conversation(view)) = town.look(BELA, &Query::Conversation { conversation: hall }) else {
        panic!("a public conversation is known")
    };
    assert_eq!((view.mine, view.last, view.head.seq), (None, None, Seq(0)));
    assert_eq!(town.look(BELA, &latest(hall)), Err(Refused::not_found()));
    // A server administrator sees size and members, and no word.
    let members = Query::Members { conversation: group, after: UserId(0), limit: 10 };
    let Ok(Answer::Members(members)) = town.look(OPAL, &members) else { panic!("for operating the server") };
    assert!(members.iter().all(|member| member.read == Seq(0) && member.delivered == Seq(0)));
    assert!(town.look(OPAL, &Query::Conversation { conversation: group }).is_ok());
    for query in [latest(group), Query::Pins { conversation: group }] {
        assert_eq!(town.look(OPAL, &query), Err(Refused::not_found()));
    }
}

#[test]
fn a_session_that_ended_reads_nothing() {
    let town = Town::new();
    let mut actor = Town::actor(ANNA);
    actor.session = chinwag_protocol::SessionId(BELA.0);
    for actor in [actor, Town::actor(UserId(NOBODY))] {
        let answer = super::answer(&town.memory, &actor, &Query::Snapshot {}, chinwag_protocol::Millis(0));
        assert!(matches!(answer, Err(crate::Stop::Refused(refused)) if refused == Refused::not_signed_in()));
    }
    let ask = |at| {
        super::answer(&town.memory, &Town::actor(ANNA), &Query::Sessions {}, chinwag_protocol::Millis(at))
    };
    assert!(matches!(ask(0), Ok(Answer::Sessions(sessions)) if sessions.len() == 1));
    assert!(ask(crate::limits::SESSION_IDLE_MS).is_err(), "unused for too long");
}

#[test]
fn an_invitation_shows_where_it_leads_and_nothing_of_what_was_said() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.say(ANNA, group, "secret");
    let make = Command::CreateInvite {
        client_id: "i".into(),
        conversation: group,
        lifetime_s: None,
        uses: Some(1),
        role: Role::Member,
    };
    let Ok(chinwag_protocol::Reply::Invite { token: Some(token), .. }) = town.ask(ANNA, make) else {
        panic!()
    };
    let Ok(Answer::Conversation(view)) = town.look(DORA, &Query::Invite { token: token.clone() }) else {
        panic!()
    };
    assert_eq!((view.id, view.last, view.head.seq), (group, None, Seq(0)));
    assert!(
        matches!(town.look(ANNA, &Query::Invites { conversation: group }), Ok(Answer::Invites(open)) if open.len() == 1)
    );
    assert_eq!(town.look(BELA, &Query::Invites { conversation: group }).unwrap_err().code, "not_an_admin");
    town.done(DORA, Command::UseInvite { token: token.clone() });
    assert_eq!(town.look(CARLA, &Query::Invite { token }), Err(Refused::not_found()));
}
