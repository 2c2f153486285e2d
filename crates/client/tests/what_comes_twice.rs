//! L2, O5, C4: what a client makes of what comes twice, too early, or not any more.

use std::path::Path;

use chinwag_client::sync::{Applied, State};
use chinwag_protocol::{
    ConversationId, Entry, Event, LogId, MessageBody, Millis, Seq, ServerSignal, Snapshot, UserId,
};

const LAB: ConversationId = ConversationId(2);
const LOG: LogId = LogId::Conversation(LAB);
const BEE: UserId = UserId(2);

/// Anna in the group Lab, whose log ends at 4 with one message.
fn start() -> State {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sync/duplicates-are-ignored.json");
    let text = std::fs::read_to_string(file).expect("the fixture is there");
    let mut case: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let snapshot: Snapshot = serde_json::from_value(case["start"].take()).expect("a snapshot");
    let state = State::from(snapshot);
    assert_eq!(state.position(LOG), Some(Seq(4)));
    state
}

fn entry(seq: u32, event: Event) -> Entry {
    Entry { log: LOG, seq: Seq(seq), at: Millis(i64::from(seq)), by: BEE, client_id: None, event }
}

/// A message, and everything that can become of it.
fn life() -> Vec<Entry> {
    let body = MessageBody { text: "first".into(), number: 2, ..MessageBody::default() };
    let message = Seq(5);
    let emoji = || "👍".to_owned();
    let events = [
        Event::Message(body),
        Event::Edited { message, text: "second".into() },
        Event::Reacted { message, emoji: emoji() },
        Event::Edited { message, text: "third".into() },
        Event::Unreacted { message, emoji: emoji() },
        Event::Pinned { message },
        Event::Reacted { message, emoji: emoji() },
        Event::Unpinned { message },
        Event::Edited { message, text: "last".into() },
        Event::Deleted { message },
    ];
    (5..).zip(events).map(|(seq, event)| entry(seq, event)).collect()
}

/// The states that a message goes through, one for each entry.
fn stations(life: &[Entry]) -> Vec<serde_json::Value> {
    let mut state = start();
    life.iter()
        .map(|entry| {
            assert_eq!(state.apply(entry), Applied::Applied);
            shown(&state)
        })
        .collect()
}

/// What is shown of the conversation.
fn shown(state: &State) -> serde_json::Value {
    let known = &state.conversations[&LAB];
    serde_json::json!({ "items": known.items, "view": known.view, "unread": known.unread() })
}

#[test]
fn l2_what_comes_twice_is_applied_once() {
    let life = life();
    let stations = stations(&life);
    let mut state = start();
    for (index, entry) in life.iter().enumerate() {
        assert_eq!(state.apply(entry), Applied::Applied);
        // After a resume anything from before may come again, in its order.
        for again in &life[..=index] {
            assert_eq!(state.apply(again), Applied::Ignored, "{again:?}");
        }
        assert_eq!(state.fill(&life[..=index]), 0);
        assert_eq!(shown(&state), stations[index], "after entry {} and all before it again", entry.seq);
    }
}

#[test]
fn o5_what_becomes_of_a_message_is_applied_after_it_and_in_order() {
    let life = life();
    let stations = stations(&life);
    let mut chance = 1_u64;
    for _ in 0..300 {
        let mut state = start();
        let mut applied = 0;
        while applied < life.len() {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = (chance >> 33) as usize % life.len();
            match state.apply(&life[index]) {
                Applied::Applied => {
                    assert_eq!(index, applied, "nothing is applied but the next");
                    applied += 1;
                }
                Applied::Ignored => assert!(index < applied, "only what was applied is ignored"),
                Applied::Gap { log, after } => {
                    assert!(index > applied);
                    assert_eq!((log, after), (LOG, Seq(4 + applied as u32)), "it says what is missing");
                    // Now and then the client asks, and gets as much as a page holds.
                    if chance.is_multiple_of(7) {
                        applied += state.fill(&life[applied..life.len().min(applied + 3)]);
                    }
                }
            }
            if applied > 0 {
                assert_eq!(shown(&state), stations[applied - 1], "only states that there really were");
            }
        }
    }
}

#[test]
fn c4_typing_ends_by_itself_after_six_seconds() {
    let mut state = start();
    let typing = ServerSignal::Typing { conversation: LAB, user: BEE };
    let writes = |state: &State, at| state.writing(LAB, Millis(at)).collect::<Vec<_>>();
    state.apply_signal(&typing, Millis(1_000));
    assert_eq!(writes(&state, 6_999), [BEE]);
    assert_eq!(writes(&state, 7_000), [], "without a word of anybody");
    state.apply_signal(&typing, Millis(8_000));
    state.apply_signal(&typing, Millis(12_000));
    assert_eq!(writes(&state, 17_999), [BEE], "told again, it goes on");
    assert_eq!(writes(&state, 18_000), []);
    state.apply_signal(&typing, Millis(20_000));
    state.apply(&life()[0]);
    assert_eq!(writes(&state, 20_001), [], "who has sent it is no longer writing");
}
