//! C1, C2: how far one has read, and what is left to read.

use chinwag_checker::{Random, random};
use chinwag_protocol::{
    Answer, ClientFrame, ClientSignal, Command, ConversationId, ConversationView, Event, Position, Query,
    Seq, ServerFrame, ServerSignal,
};

use crate::support::{Person, Server, Socket, folder};

fn view(person: &Person, conversation: ConversationId) -> ConversationView {
    match person.query(Query::Conversation { conversation }).expect("a member") {
        Answer::Conversation(view) => *view,
        other => panic!("{other:?}"),
    }
}

/// Tells how far one has read, and waits until the server has said where that leaves one.
fn read_up_to(person: &Person, socket: &mut Socket, conversation: ConversationId, read: Seq) -> Position {
    let signal = ClientSignal::Cursor { conversation, delivered: read, read };
    socket.send(&ClientFrame::Signal(signal));
    socket.until(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Cursor(moved)) if moved.user == person.id => Some(moved.read),
        _ => None,
    })
}

#[test]
fn c1_a_read_cursor_never_goes_back_between_devices() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let talk = anna.direct(bee.id);
    let seqs: Vec<Seq> =
        (0..6).map(|number| anna.post(talk, &number.to_string(), "hello").expect("allowed")).collect();
    let (mut desk, mut pocket) = (bee.connect(), bee.connect());
    let mut others = anna.connect();
    let mut last = Seq::ZERO;
    // The devices contradict each other; what is told only ever grows.
    for (device, wanted) in [(0, 2), (1, 1), (1, 4), (0, 0), (0, 3), (1, 5), (0, 5), (1, 2)] {
        let socket = if device == 0 { &mut desk } else { &mut pocket };
        let told = read_up_to(&bee, socket, talk, seqs[wanted]);
        assert!(told.seq >= last && told.seq >= seqs[wanted], "{told:?} after {last} and {}", seqs[wanted]);
        last = told.seq;
        // The other device hears the same, and must not be left with it for its own turn.
        let socket = if device == 0 { &mut pocket } else { &mut desk };
        socket.until(|frame| match frame {
            ServerFrame::Signal(ServerSignal::Cursor(moved)) if moved.user == bee.id => Some(()),
            _ => None,
        });
        assert_eq!(view(&bee, talk).mine.expect("a member").read.seq, last);
    }
    let mut seen = Seq::ZERO;
    others.until(|frame| {
        if let ServerFrame::Signal(ServerSignal::Cursor(moved)) = frame
            && moved.user == bee.id
        {
            assert!(moved.read.seq >= seen, "told to others as going back");
            seen = moved.read.seq;
        }
        (seen == seqs[5]).then_some(())
    });
}

#[test]
fn c2_unread_is_what_lies_above_the_cursor_and_may_be_seen() {
    const ROUNDS: usize = 10;
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let mut random = Random::new(seed).fork(3);
    let data = folder();
    let server = Server::start_lifted(data.path());
    let (anna, bee, carl) = (server.register("anna"), server.register("bee"), server.register("carl"));
    let group = anna.group("Count");
    for number in 0..7 {
        anna.post(group, &format!("before-{number}"), "before anybody came").expect("allowed");
    }
    let change = chinwag_protocol::ConversationChange {
        history: Some(chinwag_protocol::History::FromJoining),
        ..Default::default()
    };
    anna.command(Command::ChangeConversation { conversation: group, change }).expect("she owns it");
    bee.join(group);
    let mut socket = bee.connect();
    for round in 0..ROUNDS {
        for number in 0..random.below(6) {
            let id = format!("{round}-{number}");
            let seq = anna.post(group, &id, &format!("text {id}")).expect("allowed");
            match random.below(4) {
                0 => drop(anna.command(Command::Delete { conversation: group, message: seq }).expect("hers")),
                1 => {
                    let text = "other".to_owned();
                    drop(
                        anna.command(Command::Edit { conversation: group, message: seq, text })
                            .expect("hers"),
                    );
                }
                2 => {
                    carl.join(group);
                    drop(carl.command(Command::Leave { conversation: group }).expect("allowed"));
                }
                _ => {}
            }
        }
        if random.below(4) == 0 {
            bee.post(group, &format!("own-{round}"), "my own").expect("allowed");
        }
        let head = view(&bee, group).head.seq;
        let wanted = Seq(u32::try_from(random.below(u64::from(head.0) + 3)).expect("small"));
        let told = read_up_to(&bee, &mut socket, group, wanted);
        let view = view(&bee, group);
        let read = view.mine.as_ref().expect("a member").read;
        assert!(read.seq >= told.seq && read.messages >= told.messages);
        let above = bee
            .log(group)
            .iter()
            .filter(|entry| entry.seq > read.seq && matches!(entry.event, Event::Message(_)))
            .count();
        let unread = view.head.messages.checked_sub(read.messages).expect("never less than none");
        assert_eq!(unread as usize, above, "round {round}: read up to {read:?} of {:?}", view.head);
    }
}
