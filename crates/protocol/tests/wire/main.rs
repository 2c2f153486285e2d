//! The wire as it is: every variant of every enum that goes over it, one line of JSON per example.
//!
//! A change of the wire shows up in review as a changed line of a snapshot. The lists of variants are matched
//! without a wildcard, so a new variant does not compile here until it is listed, and fails until it has an
//! example. What the server does with a frame is not tested here.

mod asked;
mod told;
mod variants;

use std::{collections::BTreeSet, fmt::Debug};

use chinwag_protocol::ClientFrame;
use serde::{Serialize, de::DeserializeOwned};
use variants::Variants;

/// Every example survives the wire, every variant has one, and the lines are what a reviewer agreed to.
fn lines<T>(examples: &[T]) -> String
where
    T: Variants + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for example in examples {
        let wire = serde_json::to_string(example).expect("plain data can always be written");
        let read: T = serde_json::from_str(&wire).unwrap_or_else(|error| panic!("{error}: {wire}"));
        assert_eq!(&read, example, "{wire}");
        let tag = snake(example.variant());
        assert!(wire.starts_with(&format!("{{\"{tag}\":")) || wire == format!("\"{tag}\""), "{tag}: {wire}");
        seen.insert(example.variant());
        text.push_str(&wire);
        text.push('\n');
    }
    let missing: Vec<_> = T::ALL.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "no example of {missing:?}");
    text
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[test]
fn commands() {
    insta::assert_snapshot!("commands", lines(&asked::commands()));
}

#[test]
fn queries() {
    insta::assert_snapshot!("queries", lines(&asked::queries()));
    insta::assert_snapshot!("anchors", lines(&asked::anchors()));
}

#[test]
fn client_signals() {
    insta::assert_snapshot!("client_signals", lines(&asked::signals()));
}

#[test]
fn client_frames() {
    insta::assert_snapshot!("client_frames", lines(&asked::frames()));
}

#[test]
fn events() {
    insta::assert_snapshot!("events", lines(&told::events()));
    insta::assert_snapshot!("ways_of_joining", lines(&told::ways_of_joining()));
}

#[test]
fn replies_and_answers() {
    insta::assert_snapshot!("replies", lines(&told::replies()));
    insta::assert_snapshot!("answers", lines(&told::answers()));
}

#[test]
fn server_signals() {
    insta::assert_snapshot!("server_signals", lines(&told::signals()));
    insta::assert_snapshot!("presences", lines(&told::presences()));
}

#[test]
fn server_frames() {
    insta::assert_snapshot!("server_frames", lines(&told::frames()));
}

#[test]
fn refusals() {
    insta::assert_snapshot!("kinds_of_refusal", lines(&told::kinds()));
    let bodies: Vec<_> =
        told::refusals().iter().map(|r| serde_json::to_string(r).expect("plain data")).collect();
    insta::assert_snapshot!("refusals", bodies.join("\n"));
}

#[test]
fn words() {
    use variants::words;
    insta::assert_snapshot!("words", words().iter().map(|text| format!("{text}\n")).collect::<String>());
}

#[test]
fn bodies_of_the_routes_around_sign_in() {
    insta::assert_snapshot!("devices", asked::devices().join("\n"));
    insta::assert_snapshot!("signed_in", told::signed_in().join("\n"));
    insta::assert_snapshot!("server_info", told::server_info());
}

/// What a client may leave out, and what it may not add.
#[test]
fn asking_is_strict_but_short() {
    let post = r#"{"command":{"id":1,"do":{"post":{"conversation":2,"client_id":"a","text":"hi"}}}}"#;
    assert!(serde_json::from_str::<ClientFrame>(post).is_ok());
    let refused = [
        // A sender's name is never read from a command.
        r#"{"command":{"id":1,"do":{"post":{"conversation":2,"client_id":"a","text":"hi","by":1}}}}"#,
        r#"{"command":{"id":1,"do":{"post":{"conversation":2,"client_id":"a"}}}}"#,
        r#"{"command":{"id":1,"id":2,"do":{"leave":{"conversation":2}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":2,"conversation":3}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":-1}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":1.0}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":"1"}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":4294967296}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":null}}}}"#,
        r#"{"command":{"id":18446744073709551616,"do":{"leave":{"conversation":1}}}}"#,
        r#"{"command":{"id":1,"do":{"leave":{"conversation":1}},"get":{"sessions":{}}}}"#,
        r#"{"hello":{"version":1,"user":7}}"#,
        r#"{"signal":{"typing":{"conversation":1,"user":2}}}"#,
        r#"{"ping":{}} {"ping":{}}"#,
        r#"{"ping":{},"pong":{}}"#,
        r#"{"ping":{"x":1}}"#,
        "\"ping\"",
        "{}",
        "[]",
        "null",
        "",
        "\u{feff}{\"ping\":{}}",
    ];
    for text in refused {
        let read = serde_json::from_str::<ClientFrame>(text);
        assert!(read.is_err(), "{text} was read as {read:?}");
    }
}

fn reads_and_writes_back(bytes: &[u8]) {
    if let Ok(frame) = serde_json::from_slice::<ClientFrame>(bytes) {
        let wire = serde_json::to_vec(&frame).expect("plain data can always be written");
        let again: ClientFrame = serde_json::from_slice(&wire).expect("what we write we can read");
        assert_eq!(again, frame);
    }
}

#[test]
fn fuzz_ws_envelope() {
    bolero::check!().for_each(reads_and_writes_back);
}

/// Arbitrary bytes are hardly ever a frame; examples with a few bytes changed often are.
#[test]
fn fuzz_ws_envelope_changed() {
    let frames: Vec<Vec<u8>> =
        asked::frames().iter().map(|frame| serde_json::to_vec(frame).expect("plain data")).collect();
    bolero::check!().with_type::<(usize, Vec<(usize, u8)>)>().for_each(|(which, changes)| {
        let mut bytes = frames[which % frames.len()].clone();
        for (at, byte) in changes.iter().take(4) {
            let at = at % bytes.len();
            bytes[at] = *byte;
        }
        reads_and_writes_back(&bytes);
    });
}
