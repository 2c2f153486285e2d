//! L1, L2, L3, L6: offline delivery, cut connections, several devices.

use chinwag_protocol::{ClientFrame, ClientSignal, Event, LogId, Origin, Seq, ServerFrame, ServerSignal};

use crate::support::{Person, Server, folder, messages};

#[test]
fn l3_who_was_away_gets_everything_once_and_in_order() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let talk = anna.direct(bee.id);
    let mut socket = bee.connect();
    anna.post(talk, "1", "you are here").expect("allowed");
    socket.until_text("you are here");
    let origin = socket.origin();
    drop(socket);
    for number in 2..=5 {
        anna.post(talk, &number.to_string(), &format!("while away {number}")).expect("allowed");
    }
    let mut socket = bee.resume(origin);
    assert!(socket.snapshot.is_none(), "resumed, not started afresh");
    let mut entries = Vec::new();
    socket.until(|frame| match frame {
        ServerFrame::Entry(entry) => {
            entries.push(entry.clone());
            None
        }
        ServerFrame::CaughtUp {} => Some(()),
        _ => None,
    });
    let texts: Vec<String> = messages(&entries).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, (2..=5).map(|number| format!("while away {number}")).collect::<Vec<_>>());
    anna.post(talk, "6", "live again").expect("allowed");
    let live = socket.until_text("live again");
    assert_eq!(messages(&live).len(), 1);
}

#[test]
fn l3_a_client_that_never_saw_a_conversation_resumes_into_it() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let origin = bee.connect().origin();
    let talk = anna.direct(bee.id);
    anna.post(talk, "1", "hello, stranger").expect("allowed");
    let mut socket = bee.resume(origin);
    let seen = socket.until_text("hello, stranger");
    let entered = seen.iter().find_map(|entry| match &entry.event {
        Event::Entered { conversation } => Some(conversation.id),
        _ => None,
    });
    assert_eq!(entered, Some(talk), "told in one's own log before the message");
}

#[test]
fn l3_a_crash_of_the_server_is_bridged_without_a_fresh_start() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let talk = anna.direct(bee.id);
    let mut socket = bee.connect();
    anna.post(talk, "1", "before the crash").expect("allowed");
    socket.until_text("before the crash");
    server.kill();
    let server = Server::start(data.path());
    let anna = Person { address: server.address, ..anna };
    let bee = Person { address: server.address, ..bee };
    anna.post(talk, "2", "after the crash").expect("allowed");
    let mut socket = bee.resume(socket.origin());
    assert!(socket.snapshot.is_none(), "the new process knows where each log ends");
    assert_eq!(messages(&socket.until_text("after the crash")).len(), 1);
}

#[test]
fn l3_positions_of_another_store_start_afresh() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let origin = anna.connect().origin();
    let other = Origin { epoch: "another".to_owned(), positions: origin.positions.clone() };
    assert!(anna.resume(other).snapshot.is_some());
    let mut ahead = origin;
    for (_, seq) in &mut ahead.positions {
        *seq = Seq(seq.0 + 1);
    }
    assert!(anna.resume(ahead).snapshot.is_some());
}

#[test]
fn two_devices_of_one_user_see_the_same() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let talk = anna.direct(bee.id);
    let phone = Person::sign_in(server.address, "anna").expect("the password is right");
    let (mut desk, mut pocket) = (anna.connect(), phone.connect());
    desk.command(crate::support::say(talk, "1", "from the desk"));
    pocket.until_text("from the desk");
    bee.post(talk, "1", "answer").expect("allowed");
    desk.until_text("answer");
    let answer = pocket.until_text("answer").last().expect("just seen").seq;
    // What one device has read, the other no longer shows as unread.
    pocket.send(&ClientFrame::Signal(ClientSignal::Cursor {
        conversation: talk,
        delivered: answer,
        read: answer,
    }));
    let read = desk.until(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Cursor(moved))
            if moved.user == anna.id && moved.read.seq == answer =>
        {
            Some(moved.read)
        }
        _ => None,
    });
    assert_eq!(read.messages, 2);
    // And if that device was away meanwhile, it is told when it comes back.
    let origin = desk.origin();
    drop(desk);
    bee.post(talk, "2", "one more").expect("allowed");
    let more = pocket.until_text("one more").last().expect("just seen").seq;
    pocket.send(&ClientFrame::Signal(ClientSignal::Cursor {
        conversation: talk,
        delivered: more,
        read: more,
    }));
    pocket.until(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Cursor(moved)) => (moved.read.seq == more).then_some(()),
        _ => None,
    });
    let mut desk = anna.resume(origin);
    desk.until_text("one more");
    let read = desk.until(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Cursor(moved)) => Some(moved.read.seq),
        ServerFrame::CaughtUp {} => panic!("it is not told"),
        _ => None,
    });
    assert_eq!(read, more);
    let fresh = phone.connect().snapshot.expect("fresh");
    let view = fresh.conversations.iter().find(|view| view.id == talk).expect("a member");
    assert_eq!(view.head.messages - view.mine.as_ref().expect("a member").read.messages, 0);
}

#[test]
fn l1_a_reader_that_stalls_gets_everything_later() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Long");
    let mut stalled = bee.connect();
    let mut writer = anna.connect();
    let text = "y".repeat(7_900);
    // Far more than the outbox and both sockets' buffers hold.
    const COUNT: u32 = 3_000;
    for number in 0..COUNT {
        let question =
            writer.command(crate::support::say(group, &number.to_string(), &format!("{number} {text}")));
        writer.until(|frame| match frame {
            ServerFrame::Done { id, .. } => (*id == question).then_some(()),
            ServerFrame::Refused { refused, .. } => panic!("{refused:?}"),
            _ => None,
        });
    }
    let mut expected = 0;
    stalled.until(|frame| {
        if let ServerFrame::Entry(entry) = frame
            && let (LogId::Conversation(_), Event::Message(body)) = (entry.log, &entry.event)
        {
            let number: u32 = body.text.split(' ').next().expect("numbered").parse().expect("numbered");
            assert_eq!(number, expected, "in order, without a gap or a double");
            expected += 1;
        }
        (expected == COUNT).then_some(())
    });
}
