//! Runs the cases of `fixtures/sync`, which the web app runs too.

use std::{fs, path::Path};

use chinwag_client::sync::{Applied, State};
use chinwag_protocol::{ConversationId, Entry, HistoryPage, Millis, ServerSignal, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    start: Snapshot,
    #[serde(default)]
    history: Vec<Loaded>,
    steps: Vec<Step>,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    conversation: ConversationId,
    page: HistoryPage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    entry: Option<Entry>,
    signal: Option<ServerSignal>,
    fill: Option<Vec<Entry>>,
    page: Option<Loaded>,
    gives: Option<Value>,
}

fn gives(applied: Applied) -> Value {
    match applied {
        Applied::Applied => json!("applied"),
        Applied::Ignored => json!("ignored"),
        Applied::Gap { log, after } => json!({"gap": {"log": log, "after": after}}),
    }
}

/// Where the document differs from what is expected; the rule is in `fixtures/sync/README.md`.
fn difference(expected: &Value, found: &Value, at: &str) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(key, value)| {
            difference(value, found.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"))
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => expected
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(i, (a, b))| difference(a, b, &format!("{at}[{i}]"))),
        (expected, found) if expected == found => None,
        (expected, found) => Some(format!("{at}: expected {expected}, found {found}")),
    }
}

fn run(case: Case) -> Result<(), String> {
    let mut state = State::from(case.start);
    for loaded in &case.history {
        state.load(loaded.conversation, &loaded.page);
    }
    for (number, step) in case.steps.into_iter().enumerate() {
        if let Some(entry) = &step.entry {
            let found = gives(state.apply(entry));
            if let Some(expected) = step.gives.filter(|expected| *expected != found) {
                return Err(format!("step {number}: expected {expected}, found {found}"));
            }
        }
        if let Some(signal) = &step.signal {
            state.apply_signal(signal, Millis(0));
        }
        if let Some(entries) = &step.fill {
            state.fill(entries);
        }
        if let Some(loaded) = &step.page {
            state.load(loaded.conversation, &loaded.page);
        }
    }
    let document = state.document();
    match difference(&case.expect, &document, "") {
        Some(difference) => Err(difference),
        // A client that is restarted from what it kept must know the same.
        None => match difference(
            &json!({"conversations": document["conversations"], "positions": document["positions"]}),
            &State::from(state.snapshot()).document(),
            "",
        ) {
            Some(difference) => Err(format!("after a restart: {difference}")),
            None => Ok(()),
        },
    }
}

#[test]
fn every_case_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sync");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in fs::read_dir(folder).expect("the fixtures are there") {
        let path = file.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable case");
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!case.why.is_empty(), "{} says why", path.display());
        seen += 1;
        let name = case.name.clone();
        if let Err(difference) = run(case) {
            wrong.push(format!("{name}\n  {}\n  {difference}", path.display()));
        }
    }
    assert!(seen >= 15, "only {seen} cases found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_difference_is_found() {
    let found = json!({"a": {"b": [1, {"c": 2}]}});
    assert_eq!(difference(&json!({"a": {"b": [1, {"c": 2}]}, "x": null}), &found, ""), None);
    for wrong in
        [json!({"a": {"b": [1]}}), json!({"a": {"b": [1, {"c": 3}]}}), json!({"a": null}), json!({"x": 1})]
    {
        assert!(difference(&wrong, &found, "").is_some(), "{wrong}");
    }
}
