//! M1, M2, M4, M5: who may no longer hear, does not.

use std::thread;

use chinwag_protocol::{Answer, Command, Event, Kind, LogId, Query, Reply, Seq, ServerFrame};

use crate::support::{Person, Server, folder, messages, say};

#[test]
fn m1_m2_a_removal_cuts_at_one_entry_while_others_write() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee, carl], group) = server.group_of(["anna", "bee", "carl"], "Sharp");
    let mut victim = carl.connect();
    let writer = {
        let bee = bee.clone();
        thread::spawn(move || {
            let mut socket = bee.connect();
            let mut refused = 0;
            for number in 0..400 {
                socket.command(say(group, &number.to_string(), &number.to_string()));
            }
            for _ in 0..400 {
                refused += socket.until(|frame| match frame {
                    ServerFrame::Done { .. } => Some(0),
                    ServerFrame::Refused { .. } => Some(1),
                    _ => None,
                });
            }
            refused
        })
    };
    victim.until_text("100");
    anna.command(Command::RemoveMember { conversation: group, user: carl.id, ban: false })
        .expect("she owns it");
    assert_eq!(writer.join().expect("the writer does not panic"), 0);
    let log = anna.log(group);
    let removal = log
        .iter()
        .find(|entry| matches!(&entry.event, Event::Removed { user, .. } if *user == carl.id))
        .expect("it was recorded")
        .seq;
    // His own log tells him last; whatever else came must be there by then.
    let mut last = Seq::ZERO;
    victim.until(|frame| match frame {
        ServerFrame::Entry(entry) if entry.log == LogId::Conversation(group) => {
            last = entry.seq;
            None
        }
        ServerFrame::Entry(entry) => matches!(entry.event, Event::Departed { .. }).then_some(()),
        _ => None,
    });
    assert_eq!(last, removal, "everything up to his removal, nothing after");
    assert!(messages(&log).len() == 400);
    assert_eq!(carl.log(group).last().map(|entry| entry.seq), Some(removal), "the same by asking");
    let refused = carl.post(group, "late", "I am still here").expect_err("removed");
    let unknown = carl.post(chinwag_protocol::ConversationId(9_999), "later", "hello").expect_err("no such");
    assert_eq!(refused, unknown, "M5: no difference to what does not exist");
}

#[test]
fn m4_a_revoked_session_is_closed_at_once_and_stays_out() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let lost = Person::sign_in(server.address, "anna").expect("the password is right");
    let mut socket = lost.connect();
    anna.command(Command::EndSession { session: lost.session }).expect("her own");
    let (after, closing) = socket.until_closed();
    assert_eq!(closing.expect("it is told why").reason.kind, Kind::NotSignedIn);
    assert!(after.iter().all(|frame| !matches!(frame, ServerFrame::Entry(_))), "{after:?}");
    assert_eq!(lost.query(Query::Sessions {}).map_err(|refused| refused.kind), Err(Kind::NotSignedIn));
    match anna.query(Query::Sessions {}) {
        Ok(Answer::Sessions(sessions)) => assert_eq!(sessions.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn m4_a_new_password_ends_all_other_sessions() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let other = Person::sign_in(server.address, "anna").expect("the password is right");
    let mut socket = other.connect();
    let change = Command::ChangePassword {
        old: crate::support::PASSWORD.to_owned(),
        new: "another long password".to_owned(),
    };
    assert_eq!(anna.command(change), Ok(Reply::Done {}));
    assert!(socket.until_closed().1.is_some());
    assert!(anna.query(Query::Sessions {}).is_ok());
    assert_eq!(
        Person::sign_in(server.address, "anna").map(|_| ()).map_err(|r| r.code),
        Err("wrong_password".into())
    );
}

#[test]
fn m4_a_suspended_user_is_out_until_let_in_again() {
    let data = folder();
    let server = Server::start(data.path());
    let root =
        Person::register(server.address, "root_anna", server.setup_token()).expect("the first administrator");
    let bee = server.register("bee");
    let mut socket = bee.connect();
    root.command(Command::Suspend { user: bee.id, suspended: true }).expect("just signed in: fresh enough");
    assert!(socket.until_closed().1.is_some());
    assert_eq!(
        Person::sign_in(server.address, "bee").map(|_| ()).map_err(|refused| refused.kind),
        Err(Kind::Forbidden)
    );
    root.command(Command::Suspend { user: bee.id, suspended: false }).expect("allowed");
    assert!(Person::sign_in(server.address, "bee").is_ok());
}

#[test]
fn strangers_can_be_written_to_only_so_often_a_day() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let strangers: Vec<Person> = (0..11).map(|number| server.register(&format!("person.{number}"))).collect();
    for stranger in &strangers[..10] {
        anna.direct(stranger.id);
    }
    let last = strangers[10].clone();
    let refused = anna.command(Command::OpenDirect { user: last.id }).expect_err("one too many");
    assert_eq!(refused.kind, Kind::TooMany);
    // Whom one has to do with is no stranger.
    let group = anna.group("Together");
    last.join(group);
    anna.direct(last.id);
}
