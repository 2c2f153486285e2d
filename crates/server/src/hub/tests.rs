//! The hub's machine over made-up entries: who hears what, and what is remembered as missing.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use chinwag_domain::record::Cursor;
use chinwag_protocol::{
    ConversationId, Entry, Event, JoinedBy, LogId, MessageBody, Millis, Position, Presence, Role, Seq,
    ServerFrame, ServerSignal, SessionId, Settings, UserId,
};

use super::{
    outbox::{Next, OUTBOX_BYTES_MAX, Outbox},
    state::{HELD_MAX, Identity, Opened, State},
};

const ROOM: ConversationId = ConversationId(5);
const LOG: LogId = LogId::Conversation(ROOM);
const ANNA: UserId = UserId(2);
const BEE: UserId = UserId(3);

/// A hub with entries numbered as they come.
#[derive(Default)]
struct World {
    state: State,
    clock: i64,
}

struct Client {
    key: usize,
    outbox: Arc<Outbox>,
    missed: RefCell<Vec<(LogId, Seq)>>,
}

impl World {
    fn record(&mut self, log: LogId, by: UserId, event: Event) -> Seq {
        self.clock += 1;
        let seq = self.state.head(log).seq.next();
        self.state.publish(&Entry { log, seq, at: Millis(self.clock), by, client_id: None, event });
        seq
    }

    fn join(&mut self, user: UserId, since: u32) -> Seq {
        self.record(
            LOG,
            user,
            Event::Joined { user, role: Role::Member, since: Seq(since), how: JoinedBy::Joining },
        )
    }

    fn say(&mut self, by: UserId, text: &str) -> Seq {
        let number = self.state.head(LOG).messages + 1;
        self.record(
            LOG,
            by,
            Event::Message(MessageBody { text: text.to_owned(), number, ..MessageBody::default() }),
        )
    }

    /// A connection that has read where cursors are.
    fn connect(&mut self, user: UserId, session: u32, resume: Option<&[(LogId, Seq)]>) -> Option<Client> {
        let client = self.open(user, session, resume)?;
        self.state.release_cursors(client.key, |_, _, _| panic!("nothing has moved since"));
        Some(client)
    }

    fn open(&mut self, user: UserId, session: u32, resume: Option<&[(LogId, Seq)]>) -> Option<Client> {
        let outbox = Arc::new(Outbox::default());
        let identity = Identity {
            user,
            session: SessionId(session),
            directory: true,
            invisible: false,
            hide_read: false,
        };
        match self.state.open(identity, outbox.clone(), resume) {
            Opened::Fresh(key) | Opened::Resumed(key) => {
                Some(Client { key, outbox, missed: RefCell::default() })
            }
            Opened::Ended | Opened::TooMany => None,
        }
    }
}

/// The text of an encoded server frame.
fn decode(frame: &Bytes) -> ServerFrame {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    serde_json::from_slice(&frame[head..]).unwrap()
}

impl Client {
    fn frames(&self) -> Vec<ServerFrame> {
        let mut frames = VecDeque::new();
        loop {
            match self.outbox.next(&mut frames, usize::MAX, usize::MAX) {
                Next::Write => {}
                Next::CatchUp(missing) => self.missed.borrow_mut().extend(missing),
                Next::Close(_) | Next::Wait => return frames.iter().map(decode).collect(),
            }
        }
    }

    fn entries(&self) -> Vec<(LogId, Seq)> {
        self.frames()
            .into_iter()
            .filter_map(|frame| match frame {
                ServerFrame::Entry(entry) => Some((entry.log, entry.seq)),
                _ => None,
            })
            .collect()
    }

    /// Whose read cursors were told, and where they are said to be.
    fn cursors(&self) -> Vec<(UserId, Seq)> {
        let moved = |frame| match frame {
            ServerFrame::Signal(ServerSignal::Cursor(moved)) => Some((moved.user, moved.read.seq)),
            _ => None,
        };
        self.frames().into_iter().filter_map(moved).collect()
    }

    /// What the frames read so far left to the store.
    fn missing(&self) -> Vec<(LogId, Seq)> {
        self.missed.take()
    }

    fn is_closed(&self) -> bool {
        self.outbox.is_closing()
    }
}

#[test]
fn m1_a_removed_member_hears_of_the_removal_and_of_nothing_after() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.join(BEE, 1);
    let (anna, bee) = (world.connect(ANNA, 1, None).unwrap(), world.connect(BEE, 2, None).unwrap());
    world.say(ANNA, "before");
    let removal = world.record(LOG, ANNA, Event::Removed { user: BEE, banned: false });
    world.say(ANNA, "after");
    world.state.typing(anna.key, ROOM);
    world.state.cursor_moved(ROOM, ANNA, Cursor { delivered: Seq(9), read: Position::default() });
    world.state.tick();
    assert_eq!(bee.entries(), vec![(LOG, Seq(3)), (LOG, removal)]);
    assert_eq!(anna.entries(), vec![(LOG, Seq(3)), (LOG, removal), (LOG, Seq(5))]);
    world.state.typing(bee.key, ROOM);
    assert_eq!(anna.frames(), vec![], "who is not a member cannot be seen writing");
}

#[test]
fn m3_changes_of_older_messages_are_hidden_from_a_newer_member() {
    let mut world = World::default();
    world.join(ANNA, 1);
    let old = world.say(ANNA, "old");
    let joined = world.join(BEE, 3);
    let (anna, bee) = (world.connect(ANNA, 1, None).unwrap(), world.connect(BEE, 2, None).unwrap());
    let edit = world.record(LOG, ANNA, Event::Edited { message: old, text: "secret".to_owned() });
    let new = world.say(ANNA, "new");
    world.record(LOG, ANNA, Event::Edited { message: new, text: "open".to_owned() });
    let seen: Vec<(UserId, Event)> = bee
        .frames()
        .into_iter()
        .map(|frame| match frame {
            ServerFrame::Entry(entry) => (entry.by, entry.event),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(joined, Seq(3));
    assert_eq!(seen[0], (UserId(0), Event::Hidden {}), "nor is it told who did it");
    let seen: Vec<Event> = seen.into_iter().map(|(_, event)| event).collect();
    assert!(matches!(seen[1], Event::Message(_)) && matches!(seen[2], Event::Edited { .. }));
    assert_eq!(anna.entries()[0], (LOG, edit));
}

#[test]
fn resuming_sends_what_was_missed_from_memory() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.record(LogId::User(ANNA), ANNA, Event::ContactAdded { user: BEE });
    for text in ["1", "2", "3"] {
        world.say(ANNA, text);
    }
    let own = (LogId::User(ANNA), Seq(1));
    let directory = (LogId::Directory, Seq(0));
    let anna = world.connect(ANNA, 1, Some(&[(LOG, Seq(2)), own, directory])).unwrap();
    assert_eq!((anna.entries(), anna.missing()), (vec![(LOG, Seq(3)), (LOG, Seq(4))], vec![]));
    let unnamed = world.connect(ANNA, 2, Some(&[own, directory])).unwrap();
    assert_eq!(unnamed.entries()[0], (LOG, Seq(2)), "from the joined entry on");
}

#[test]
fn resuming_leaves_to_the_store_what_memory_does_not_have() {
    let mut world = World { state: State::new(&[], vec![(LogId::Directory, at(7))]), clock: 0 };
    world.join(BEE, 1);
    let own = (LogId::User(ANNA), Seq(0));
    // Anna has left the room since; the store knows up to where she may see it.
    let positions = [(LOG, Seq(0)), own, (LogId::Directory, Seq(4))];
    let anna = world.connect(ANNA, 1, Some(&positions)).unwrap();
    assert_eq!((anna.entries(), anna.missing()), (vec![], vec![(LogId::Directory, Seq(5)), (LOG, Seq(1))]));
}

fn at(seq: u32) -> Position {
    Position { seq: Seq(seq), messages: 0 }
}

#[test]
fn resuming_from_another_history_or_too_far_back_starts_afresh() {
    let heads = vec![(LogId::Directory, at(6_000)), (LogId::User(ANNA), at(3))];
    let mut state = State::new(&[], heads);
    let identity =
        Identity { user: ANNA, session: SessionId(1), directory: true, invisible: false, hide_read: false };
    let mut open = |directory: u32, own: u32| {
        let positions = [(LogId::Directory, Seq(directory)), (LogId::User(ANNA), Seq(own))];
        matches!(state.open(identity.clone(), Arc::default(), Some(&positions)), Opened::Resumed(_))
    };
    assert!(open(5_999, 3));
    assert!(open(1_000, 3));
    assert!(!open(999, 3), "too much");
    assert!(!open(6_001, 3), "ahead of the end");
    assert!(!open(6_000, 4), "ahead of the end");
}

#[test]
fn m4_an_ended_session_is_closed_and_cannot_come_back() {
    let mut world = World::default();
    world.join(ANNA, 1);
    let (one, two) = (world.connect(ANNA, 1, None).unwrap(), world.connect(ANNA, 2, None).unwrap());
    world.record(LogId::User(ANNA), ANNA, Event::SessionEnded { session: SessionId(1) });
    world.say(ANNA, "to the other device only");
    assert!(one.is_closed() && !two.is_closed());
    assert_eq!((one.entries().len(), two.entries().len()), (0, 2));
    assert!(world.connect(ANNA, 1, None).is_none());
}

#[test]
fn presence_is_told_to_watchers_once_a_tick() {
    let mut world = World::default();
    let bee = world.connect(BEE, 2, None).unwrap();
    let told = |world: &mut World, client: &Client| -> Vec<Presence> {
        world.state.tick();
        client
            .frames()
            .into_iter()
            .flat_map(|frame| match frame {
                ServerFrame::Signal(ServerSignal::Presence(changes)) => {
                    changes.into_iter().map(|change| change.presence).collect()
                }
                _ => Vec::new(),
            })
            .collect()
    };
    world.state.watch(bee.key, vec![ANNA]);
    assert_eq!(told(&mut world, &bee), vec![Presence::Offline]);
    let one = world.connect(ANNA, 1, None).unwrap();
    let two = world.connect(ANNA, 1, None).unwrap();
    assert_eq!(told(&mut world, &bee), vec![Presence::Online]);
    world.state.look(one.key, Presence::Away);
    assert_eq!(told(&mut world, &bee), vec![]);
    world.state.close(two.key, Millis(7));
    assert_eq!(told(&mut world, &bee), vec![Presence::Away]);
    world.state.close(one.key, Millis(8));
    assert_eq!(told(&mut world, &bee), vec![Presence::Offline]);
    assert_eq!(world.state.presence_of(ANNA).seen_at, Some(Millis(8)));
    let hidden = world.connect(ANNA, 1, None).unwrap();
    let settings = Settings { invisible: true, ..Settings::default() };
    world.record(LogId::User(ANNA), ANNA, Event::SettingsChanged { settings });
    assert_eq!(told(&mut world, &bee), vec![]);
    world.state.close(hidden.key, Millis(9));
    world.state.close(bee.key, Millis(9));
    assert_eq!(world.state.connections(), 0);
}

#[test]
fn c3_who_comes_and_goes_within_a_tick_leaves_no_ghost() {
    let mut world = World::default();
    let bee = world.connect(BEE, 2, None).unwrap();
    let anna = world.connect(ANNA, 1, None).unwrap();
    world.state.watch(bee.key, vec![ANNA]);
    world.state.close(anna.key, Millis(7));
    world.state.tick();
    let last = bee.frames().into_iter().rev().find_map(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Presence(changes)) => Some(changes[0].presence),
        _ => None,
    });
    assert_eq!(last, Some(Presence::Offline));
    // And who stays is told as there.
    let _anna = world.connect(ANNA, 1, None).unwrap();
    world.state.watch(bee.key, vec![ANNA]);
    world.state.tick();
    let told = bee.frames().into_iter().rev().find_map(|frame| match frame {
        ServerFrame::Signal(ServerSignal::Presence(changes)) => Some(changes[0].presence),
        _ => None,
    });
    assert_eq!(told, Some(Presence::Online));
}

#[test]
fn b1_a_stalled_reader_is_behind_and_others_are_not() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.join(BEE, 1);
    let (anna, bee) = (world.connect(ANNA, 1, None).unwrap(), world.connect(BEE, 2, None).unwrap());
    let text = "x".repeat(16_000);
    let mut heard = 0;
    for _ in 0..=OUTBOX_BYTES_MAX / text.len() {
        world.say(ANNA, &text);
        heard += bee.entries().len();
    }
    assert_eq!(heard, OUTBOX_BYTES_MAX / text.len() + 1);
    assert_eq!((anna.entries(), anna.missing()), (vec![], vec![(LOG, Seq(3))]));
    world.say(ANNA, "again live");
    assert_eq!(anna.entries().len(), 1);
}

#[test]
fn receipts_go_to_small_conversations_and_to_oneself() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.join(BEE, 1);
    let (anna, bee) = (world.connect(ANNA, 1, None).unwrap(), world.connect(BEE, 2, None).unwrap());
    let cursor = Cursor { delivered: Seq(2), read: at(2) };
    world.state.cursor_moved(ROOM, ANNA, cursor);
    world.state.tick();
    assert_eq!((anna.frames().len(), bee.frames().len()), (1, 1));
    for user in 10..110 {
        world.join(UserId(user), 1);
    }
    anna.frames();
    bee.frames();
    world.state.cursor_moved(ROOM, ANNA, cursor);
    world.state.tick();
    assert_eq!((anna.frames().len(), bee.frames().len()), (1, 0));
}

#[test]
fn c1_a_cursor_is_never_told_as_lying_before_the_joining() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.say(ANNA, "before bee");
    let joined = world.join(BEE, 1);
    let bee = world.connect(BEE, 2, None).unwrap();
    world.state.cursor_moved(ROOM, BEE, Cursor { delivered: Seq(1), read: Position::default() });
    world.state.tick();
    let moved = match bee.frames().pop() {
        Some(ServerFrame::Signal(ServerSignal::Cursor(moved))) => moved,
        other => panic!("{other:?}"),
    };
    assert_eq!((moved.delivered, moved.read), (joined, Position { seq: joined, messages: 1 }));
}

#[test]
fn c1_a_cursor_is_told_as_it_is_when_it_is_told() {
    let mut world = World::default();
    world.join(ANNA, 1);
    let anna = world.connect(ANNA, 1, None).unwrap();
    world.state.cursor_moved(ROOM, ANNA, Cursor { delivered: Seq(1), read: at(1) });
    world.state.refresh_cursors(|_, _, _| Cursor { delivered: Seq(3), read: at(3) });
    world.state.tick();
    match &anna.frames()[..] {
        [ServerFrame::Signal(ServerSignal::Cursor(moved))] => {
            assert_eq!((moved.delivered, moved.read), (Seq(3), at(3)));
        }
        other => panic!("{other:?}"),
    }
}

fn read(seq: u32) -> Cursor {
    Cursor { delivered: Seq(seq), read: at(seq) }
}

/// A tick's cursor waits in the outbox while the connection reads a newer one from the store; it writes what it has
/// read and then looks into its outbox.
#[test]
fn c1_a_tick_while_a_connection_reads_its_cursors_tells_nothing_older_after_them() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.join(BEE, 1);
    let own = [(LOG, Seq(2)), (LogId::User(ANNA), Seq(0)), (LogId::Directory, Seq(0))];
    for resume in [None, Some(&own[..])] {
        let anna = world.open(ANNA, 1, resume).unwrap();
        world.state.cursor_moved(ROOM, ANNA, read(3));
        world.state.cursor_moved(ROOM, BEE, read(3));
        world.state.tick();
        // Here the connection reads that Anna's is at 4, and passes it on.
        assert_eq!(anna.cursors(), vec![]);
        // Bee's has moved meanwhile, and is told once, as it is now.
        let now = |_, user, to| if user == ANNA { read(4) } else { to };
        world.state.release_cursors(anna.key, now);
        assert_eq!(anna.cursors(), vec![(ANNA, Seq(4)), (BEE, Seq(3))]);
        world.state.cursor_moved(ROOM, ANNA, read(5));
        world.state.tick();
        assert_eq!(anna.cursors(), vec![(ANNA, Seq(5))], "as it moves");
    }
}

#[test]
fn c1_a_connection_that_lost_signals_reads_its_cursors_between_two_ticks() {
    let mut world = World::default();
    world.join(ANNA, 1);
    let anna = world.connect(ANNA, 1, None).unwrap();
    world.state.cursor_moved(ROOM, ANNA, read(3));
    world.state.tick();
    world.state.hold_cursors(anna.key);
    world.state.hold_cursors(anna.key);
    world.state.cursor_moved(ROOM, ANNA, read(4));
    world.state.tick();
    assert_eq!(anna.cursors(), vec![(ANNA, Seq(3))], "what was told before is written before");
    world.state.release_cursors(anna.key, |_, _, _| read(5));
    assert_eq!(anna.cursors(), vec![(ANNA, Seq(5))]);
    world.state.release_cursors(anna.key, |_, _, _| panic!("nothing is held"));
}

#[test]
fn m1_cursors_that_were_held_are_not_told_to_who_left_meanwhile() {
    let mut world = World::default();
    world.join(ANNA, 1);
    world.join(BEE, 1);
    let bee = world.open(BEE, 2, None).unwrap();
    world.state.cursor_moved(ROOM, ANNA, read(2));
    world.state.tick();
    world.record(LOG, BEE, Event::Left { user: BEE });
    world.state.release_cursors(bee.key, |_, _, to| to);
    assert_eq!(bee.cursors(), vec![]);
}

#[test]
fn b1_cursors_are_held_up_to_a_bound_and_then_lost_as_signals_are() {
    let mut world = World::default();
    let rooms = u32::try_from(HELD_MAX).unwrap() + 1;
    for room in 1..=rooms {
        let joined = Event::Joined { user: ANNA, role: Role::Member, since: Seq(1), how: JoinedBy::Joining };
        world.record(LogId::Conversation(ConversationId(room)), ANNA, joined);
    }
    let anna = world.open(ANNA, 1, None).unwrap();
    let move_in = |world: &mut World, rooms: u32| {
        (1..=rooms).for_each(|room| world.state.cursor_moved(ConversationId(room), ANNA, read(1)));
        world.state.tick();
    };
    move_in(&mut world, rooms - 1);
    move_in(&mut world, rooms - 1);
    assert!(!anna.outbox.signals_were_lost());
    move_in(&mut world, rooms);
    assert!(anna.outbox.signals_were_lost(), "the connection reads them again");
}

#[test]
fn a_user_has_a_bounded_number_of_connections() {
    let mut world = World::default();
    world.state.bound_connections(10, 20);
    let sessions: Vec<bool> = (0..11).map(|_| world.connect(ANNA, 1, None).is_some()).collect();
    assert_eq!(sessions.iter().filter(|opened| **opened).count(), 10);
    let others: Vec<bool> = (2..13).map(|session| world.connect(ANNA, session, None).is_some()).collect();
    assert_eq!(others.iter().filter(|opened| **opened).count(), 10);
}
