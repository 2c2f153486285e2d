//! M1, M2: a removal is one entry of the log, and everything is on one side of it or on the other.

use std::collections::BTreeMap;

use chinwag_protocol::{
    Anchor, Answer, ClientFrame, ClientSignal, Command, ConversationId, Entry, Event, Kind, LogId, Query,
    Reply, Seq, ServerFrame, ServerSignal, UserId,
};

use crate::support::{Person, Server, Socket, folder, messages, say};

/// Reads until an entry of one's own log that one caused oneself comes: everything told before has come by then.
fn all_until_contact_added(socket: &mut Socket) -> Vec<ServerFrame> {
    let mut frames = Vec::new();
    socket.until(|frame| {
        frames.push(frame.clone());
        matches!(frame, ServerFrame::Entry(Entry { event: Event::ContactAdded { .. }, .. })).then_some(())
    });
    frames
}

fn concerns(frame: &ServerFrame, group: ConversationId) -> bool {
    match frame {
        ServerFrame::Entry(entry) => entry.log == LogId::Conversation(group),
        ServerFrame::Signal(ServerSignal::Typing { conversation, .. }) => *conversation == group,
        ServerFrame::Signal(ServerSignal::Cursor(moved)) => moved.conversation == group,
        _ => false,
    }
}

/// Every way of asking for something of a conversation, and what a former member gets by it.
fn asks_in_vain(carl: &Person, group: ConversationId, old: Seq, new: Seq, removal: Seq) {
    let entries = carl.log(group);
    assert_eq!(entries.last().map(|entry| entry.seq), Some(removal), "what was his stays his, and no more");
    let history = |anchor| Query::History { conversation: group, anchor, limit: 200 };
    let mut queries = vec![
        Query::MessageInfo { conversation: group, message: new },
        Query::Thread { conversation: group, root: new, after: Seq::ZERO, limit: 50 },
        Query::Members { conversation: group, after: UserId(0), limit: 50 },
        Query::Bans { conversation: group },
        Query::Invites { conversation: group },
        Query::Pins { conversation: group },
        Query::Online { conversation: Some(group) },
        Query::Conversation { conversation: group },
    ];
    for anchor in [Anchor::Latest, Anchor::After(removal), Anchor::Around(new), Anchor::Before(new.next())] {
        queries.push(history(anchor));
    }
    queries.push(Query::Search { text: "afterwards".to_owned(), page: None, limit: 50 });
    queries.push(history(Anchor::Around(old)));
    for query in queries {
        let name = format!("{query:?}");
        match carl.query(query) {
            Err(refused) => {
                assert!(matches!(refused.kind, Kind::NotFound | Kind::Forbidden), "{name}: {refused:?}");
            }
            Ok(answer) => {
                let text = serde_json::to_string(&answer).expect("serialisable");
                assert!(!text.contains("afterwards"), "{name}: {text}");
                if let Answer::History(page) = answer {
                    assert!(page.items.iter().all(|item| item.entry.seq <= removal), "{name}: {text}");
                }
            }
        }
    }
    let snapshot = carl.connect().snapshot.expect("fresh");
    assert!(snapshot.conversations.iter().all(|view| view.id != group));
}

#[test]
fn m1_who_was_removed_hears_of_nothing_afterwards_by_any_way() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee, carl], group) = server.group_of(["anna", "bee", "carl"], "Inner");
    let old = anna.post(group, "old", "carl may read this").expect("allowed");
    let (mut desk, mut pocket) = (carl.connect(), carl.connect());
    let away = desk.origin();
    let mut listening = bee.connect();
    anna.command(Command::RemoveMember { conversation: group, user: carl.id, ban: false })
        .expect("she owns it");
    let removal = anna.log(group).last().expect("just removed").seq;

    // Everything that can happen in a conversation happens.
    let new = anna.post(group, "new", "said afterwards").expect("allowed");
    anna.command(Command::Edit { conversation: group, message: old, text: "changed afterwards".into() })
        .expect("her own");
    anna.command(Command::React { conversation: group, message: old, emoji: "👍".into() }).expect("allowed");
    anna.command(Command::Pin { conversation: group, message: new }).expect("allowed");
    let mut writing = anna.connect();
    writing.send(&ClientFrame::Signal(ClientSignal::Typing { conversation: group }));
    let moved = ClientSignal::Cursor { conversation: group, delivered: new, read: new };
    listening.send(&ClientFrame::Signal(moved));
    // When those who may have heard of it all, there is nothing left that Carl could still hear.
    let (mut typed, mut read) = (false, false);
    listening.until(|frame| {
        match frame {
            ServerFrame::Signal(ServerSignal::Typing { .. }) => typed = true,
            ServerFrame::Signal(ServerSignal::Cursor(moved)) => read |= moved.read.seq == new,
            _ => {}
        }
        (typed && read).then_some(())
    });
    carl.command(Command::AddContact { user: bee.id }).expect("allowed");
    for socket in [&mut desk, &mut pocket] {
        let frames = all_until_contact_added(socket);
        let of_group: Vec<&ServerFrame> = frames.iter().filter(|frame| concerns(frame, group)).collect();
        let entries: Vec<Seq> = of_group
            .iter()
            .filter_map(|frame| match frame {
                ServerFrame::Entry(entry) => Some(entry.seq),
                _ => None,
            })
            .collect();
        assert_eq!(entries, [removal], "told after his removal: {of_group:?}");
        assert_eq!(of_group.len(), 1, "told after his removal: {of_group:?}");
    }
    asks_in_vain(&carl, group, old, new, removal);
    // And by coming back from where he was when he still was a member.
    let mut again = carl.resume(away);
    let mut frames = Vec::new();
    again.until(|frame| {
        frames.push(frame.clone());
        matches!(frame, ServerFrame::CaughtUp {}).then_some(())
    });
    let later = frames.iter().find(
        |frame| matches!(frame, ServerFrame::Entry(entry) if concerns(frame, group) && entry.seq > removal),
    );
    assert!(later.is_none(), "resumed into what came afterwards: {later:?}");
}

#[test]
fn m2_what_somebody_says_around_his_removal_is_delivered_or_refused() {
    const IN_FLIGHT: usize = 16;
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, carl], group) = server.group_of(["anna", "carl"], "Edge");
    let mut listening = anna.connect();
    let writer = {
        let carl = carl.clone();
        std::thread::spawn(move || {
            let mut socket = carl.connect();
            let mut open: BTreeMap<u64, String> = BTreeMap::new();
            let (mut said, mut refused, mut sent) = (BTreeMap::new(), Vec::new(), 0);
            while refused.is_empty() || !open.is_empty() {
                while refused.is_empty() && open.len() < IN_FLIGHT {
                    let text = format!("edge-{sent}");
                    sent += 1;
                    open.insert(socket.command(say(group, &text, &text)), text);
                }
                match socket.next().expect("his session goes on") {
                    ServerFrame::Done { id, reply: Reply::Posted(posted) } => {
                        said.insert(posted.seq, open.remove(&id).expect("asked once"));
                    }
                    ServerFrame::Refused { id: Some(id), .. } => {
                        refused.push(open.remove(&id).expect("asked once"));
                    }
                    _ => {}
                }
            }
            (said, refused)
        })
    };
    listening.until_text("edge-60");
    anna.command(Command::RemoveMember { conversation: group, user: carl.id, ban: true })
        .expect("she owns it");
    let (said, refused) = writer.join().expect("the writer does not panic");
    let log = anna.log(group);
    let removal = log
        .iter()
        .find(|entry| matches!(&entry.event, Event::Removed { user, .. } if *user == carl.id))
        .expect("it was recorded")
        .seq;
    let recorded: BTreeMap<Seq, String> = log
        .iter()
        .filter_map(|entry| Some((entry.seq, messages(std::slice::from_ref(entry)).pop()?.1)))
        .collect();
    assert_eq!(recorded, said, "recorded is what was acknowledged, nothing else");
    assert!(said.keys().all(|seq| *seq < removal), "nothing of his stands behind his removal");
    assert!(refused.iter().all(|text| !recorded.values().any(|recorded| recorded == text)));
    // Others were told exactly that, too.
    let last = said.values().next_back().expect("he said something");
    if recorded.values().any(|text| text == last) && last != "edge-60" {
        listening.until(|frame| match frame {
            ServerFrame::Entry(entry) => (entry.seq == removal).then_some(()),
            _ => None,
        });
    }
}
