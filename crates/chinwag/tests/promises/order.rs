//! O1, O3: one order for everybody, by whatever way it is looked at.

use std::{collections::BTreeMap, thread, time::Instant};

use chinwag_protocol::{
    Anchor, Answer, Command, ConversationId, Entry, Event, Kind, LogId, Query, Seq, ServerFrame,
};

use crate::support::{PATIENCE, Person, Server, folder, messages, say};

const EACH: usize = 60;

/// The texts of a conversation, by their numbers.
type Order = BTreeMap<Seq, String>;

fn order_of(entries: &[Entry], group: ConversationId) -> Order {
    let of_group = entries.iter().filter(|entry| entry.log == LogId::Conversation(group));
    of_group
        .filter_map(|entry| match &entry.event {
            Event::Message(body) => Some((entry.seq, body.text.clone())),
            _ => None,
        })
        .collect()
}

/// The whole history, page by page from its end.
fn by_history(person: &Person, conversation: ConversationId) -> Order {
    let mut order = Order::new();
    let mut anchor = Anchor::Latest;
    loop {
        let page = match person.query(Query::History { conversation, anchor, limit: 17 }).expect("a member") {
            Answer::History(page) => page,
            other => panic!("{other:?}"),
        };
        let entries: Vec<Entry> = page.items.into_iter().map(|item| item.entry).collect();
        assert!(entries.is_sorted_by_key(|entry| entry.seq), "a page is in order");
        anchor = Anchor::Before(entries.first().expect("a page that was announced has something").seq);
        order.extend(order_of(&entries, conversation));
        if !page.more_before {
            return order;
        }
    }
}

/// What searching finds, newest first, over all pages; asked again until the index has everything.
fn by_search(person: &Person, conversation: ConversationId, count: usize) -> Vec<(Seq, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        let mut page = None;
        loop {
            let query = Query::Search { text: "everybody".to_owned(), page: page.take(), limit: 25 };
            match person.query(query) {
                Ok(Answer::Search(search)) => {
                    found.extend(search.hits.into_iter().map(|hit| hit.item.entry));
                    page = search.next;
                }
                // The index is still at work: from the beginning again.
                Err(refused) if refused.kind == Kind::TooMany => found.clear(),
                other => panic!("{other:?}"),
            }
            if page.is_none() {
                break;
            }
        }
        if found.len() >= count {
            assert!(found.iter().all(|entry| entry.log == LogId::Conversation(conversation)));
            return found
                .into_iter()
                .map(|entry| (entry.seq, messages(std::slice::from_ref(&entry)).remove(0).1))
                .collect();
        }
        assert!(Instant::now() < deadline, "the index has only {} of {count}", found.len());
    }
}

#[test]
fn o1_everybody_sees_one_order_by_every_way() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let (people, group) = server.group_of(["anna", "bee", "carl", "dora"], "Choir");
    let total = 3 * EACH;
    // Dora only listens, and is away for the second half.
    let mut half = people[3].connect();
    let listeners: Vec<_> = people[..3]
        .iter()
        .map(|person| {
            let mut socket = person.connect();
            thread::spawn(move || {
                let (mut seen, mut said) = (Vec::new(), 0);
                socket.until(|frame| {
                    if let ServerFrame::Entry(entry) = frame {
                        said += usize::from(matches!(entry.event, Event::Message(_)));
                        seen.push(entry.clone());
                    }
                    (said == total).then_some(())
                });
                seen
            })
        })
        .collect();
    let writers: Vec<_> = people[..3]
        .iter()
        .enumerate()
        .map(|(index, person)| {
            let mut socket = person.connect();
            thread::spawn(move || {
                for number in 0..EACH {
                    let text = format!("everybody hears {index} say {number}");
                    socket.command(say(group, &format!("{number}"), &text));
                }
                for _ in 0..EACH {
                    socket.until(|frame| match frame {
                        ServerFrame::Done { .. } => Some(()),
                        ServerFrame::Refused { refused, .. } => panic!("{refused:?}"),
                        _ => None,
                    });
                }
            })
        })
        .collect();
    let mut seen_by_dora = Vec::new();
    half.until(|frame| {
        if let ServerFrame::Entry(entry) = frame {
            seen_by_dora.push(entry.clone());
        }
        (order_of(&seen_by_dora, group).len() >= total / 2).then_some(())
    });
    let origin = half.origin();
    drop(half);
    for writer in writers {
        writer.join().expect("the writer does not panic");
    }
    let mut again = people[3].resume(origin);
    while order_of(&seen_by_dora, group).len() < total {
        if let ServerFrame::Entry(entry) = again.next().expect("the connection is open") {
            seen_by_dora.push(entry);
        }
    }

    let truth = order_of(&people[0].log(group), group);
    assert_eq!(truth.len(), total);
    let numbers: Vec<u32> = truth.keys().map(|seq| seq.0).collect();
    assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "without gaps");
    for (index, listener) in listeners.into_iter().enumerate() {
        let seen = listener.join().expect("the listener does not panic");
        let of_group = seen.iter().filter(|entry| entry.log == LogId::Conversation(group));
        assert!(of_group.is_sorted_by_key(|entry| entry.seq), "person {index} heard them in order");
        assert_eq!(order_of(&seen, group), truth, "live, person {index}");
    }
    let of_group: Vec<Seq> =
        seen_by_dora.iter().filter(|e| e.log == LogId::Conversation(group)).map(|e| e.seq).collect();
    assert!(of_group.is_sorted(), "in order, also across a resume: {of_group:?}");
    assert_eq!(order_of(&seen_by_dora, group), truth, "live and resumed");
    for person in &people {
        assert_eq!(by_history(person, group), truth, "by pages of history");
    }
    let mut found = by_search(&people[1], group, total);
    assert!(found.is_sorted_by(|a, b| a.0 > b.0), "newest first");
    found.reverse();
    assert_eq!(found.into_iter().collect::<Order>(), truth, "by searching");
}

#[test]
fn o3_an_answer_stands_behind_what_its_author_had_seen() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Table");
    const BALLS: usize = 150;
    let play = |person: &Person, name: &'static str, serves: bool| {
        let mut socket = person.connect();
        thread::spawn(move || {
            let mut played = Vec::new();
            let mut seen = Seq::ZERO;
            for number in 0..BALLS {
                if number > 0 || !serves {
                    seen = socket.until(|frame| match frame {
                        ServerFrame::Entry(entry) => match &entry.event {
                            Event::Message(body) if !body.text.starts_with(name) => Some(entry.seq),
                            _ => None,
                        },
                        _ => None,
                    });
                }
                let text = format!("{name}-{number}");
                let mut command = say(group, &text, &text);
                if let Command::Post { reply_to, .. } = &mut command {
                    *reply_to = (seen > Seq::ZERO).then_some(seen);
                }
                socket.command(command);
                played.push((seen, text));
            }
            // The last ball of the game, so that nothing is still under way.
            socket.until_text(&format!("bee-{}", BALLS - 1));
            played
        })
    };
    let bees = play(&bee, "bee", false);
    let annas = play(&anna, "anna", true);
    let played: Vec<(Seq, String)> = [annas, bees]
        .into_iter()
        .flat_map(|player| player.join().expect("the player does not panic"))
        .collect();
    let places: BTreeMap<String, Seq> =
        order_of(&anna.log(group), group).into_iter().map(|(seq, text)| (text, seq)).collect();
    for (seen, text) in played {
        assert!(places[&text] > seen, "{text} stands at {}, its author had seen {seen}", places[&text]);
    }
}
