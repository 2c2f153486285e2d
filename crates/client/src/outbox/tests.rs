//! The outbox over real files: what survives a restart, and that everything in it is sent once.

use std::fs;

use chinwag_protocol::Kind;

use super::*;

fn draft(conversation: u32, text: &str) -> Draft {
    Draft::new(ConversationId(conversation), text)
}

fn posted(seq: u32) -> Outcome {
    Outcome::Posted(Posted { conversation: ConversationId(2), seq: Seq(seq), at: Millis(1) })
}

fn texts(outbox: &Outbox) -> Vec<&str> {
    outbox.waiting().iter().map(|draft| draft.text.as_str()).collect()
}

#[test]
fn what_was_taken_in_survives_a_restart_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/anna.jsonl");
    let mut outbox = Outbox::open(&path).unwrap();
    let first = draft(2, "first");
    outbox.add(first.clone()).unwrap();
    outbox.add(draft(3, "elsewhere")).unwrap();
    outbox.add(draft(2, "second")).unwrap();
    drop(outbox);

    let mut outbox = Outbox::open(&path).unwrap();
    assert_eq!(texts(&outbox), ["first", "elsewhere", "second"]);
    let now: Vec<_> = outbox.first_of_each().map(|draft| draft.text.clone()).collect();
    assert_eq!(now, ["first", "elsewhere"], "one conversation's messages leave one at a time");
    outbox.finish(&first.client_id, posted(9)).unwrap();
    drop(outbox);

    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(texts(&outbox), ["elsewhere", "second"]);
    assert_eq!(outbox.outcome(&first.client_id), Some(&posted(9)));
}

#[test]
fn a_line_cut_off_by_a_crash_at_any_byte_loses_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    outbox.add(draft(2, "kept")).unwrap();
    let kept = fs::metadata(&path).unwrap().len() as usize;
    outbox.add(draft(2, "cut öff")).unwrap();
    drop(outbox);
    let whole = fs::read(&path).unwrap();
    for length in kept..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut outbox = Outbox::open(&path).unwrap();
        assert_eq!(texts(&outbox), ["kept"], "cut at {length}");
        outbox.add(draft(2, "after")).unwrap();
        assert_eq!(texts(&Outbox::open(&path).unwrap()), ["kept", "after"], "cut at {length}");
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_an_error_and_nothing_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    fs::write(&path, "nonsense\n").unwrap();
    let error = Outbox::open(&path).unwrap_err();
    assert_eq!(error.doing, "read");
    assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense\n");
}

#[test]
fn two_processes_see_each_others_messages_and_one_of_them_sends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let (mut one, mut other) = (Outbox::open(&path).unwrap(), Outbox::open(&path).unwrap());
    assert!(one.become_sender().unwrap());
    assert!(one.become_sender().unwrap(), "it still is");
    assert!(!other.become_sender().unwrap());

    let message = draft(2, "from the other");
    other.add(message.clone()).unwrap();
    one.refresh().unwrap();
    assert_eq!(texts(&one), ["from the other"]);
    one.finish(&message.client_id, posted(4)).unwrap();
    other.refresh().unwrap();
    assert_eq!(other.outcome(&message.client_id), Some(&posted(4)));
    assert!(other.waiting().is_empty());

    one.stop_sending();
    assert!(other.become_sender().unwrap());
}

#[test]
fn the_file_stays_small_and_others_follow_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let (mut one, mut other) = (Outbox::open(&path).unwrap(), Outbox::open(&path).unwrap());
    one.add(draft(9, "stays")).unwrap();
    for number in 0..200 {
        let message = draft(2, &format!("{number} {}", "x".repeat(200)));
        one.add(message.clone()).unwrap();
        one.finish(&message.client_id, posted(number)).unwrap();
        // An outcome that is old enough to be forgotten.
        one.finished.values_mut().for_each(|(at, _)| at.0 -= OUTCOMES_KEPT_MS);
    }
    let size = fs::metadata(&path).unwrap().len();
    assert!(size < 100_000, "{size} bytes for one waiting message");
    other.refresh().unwrap();
    assert_eq!(texts(&other), ["stays"]);
    other.add(draft(9, "too")).unwrap();
    one.refresh().unwrap();
    assert_eq!(texts(&one), ["stays", "too"]);
}

#[test]
fn a_message_that_was_added_twice_waits_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    let message = draft(2, "once");
    outbox.add(message.clone()).unwrap();
    outbox.add(message.clone()).unwrap();
    assert_eq!(texts(&outbox), ["once"]);
    outbox.finish(&message.client_id, posted(1)).unwrap();
    outbox.finish(&message.client_id, Outcome::Withdrawn {}).unwrap();
    assert_eq!(outbox.outcome(&message.client_id), Some(&posted(1)), "the first outcome counts");
}

#[test]
fn only_a_final_refusal_ends_a_message() {
    for (kind, ends) in [
        (Kind::Unavailable, false),
        (Kind::TooMany, false),
        (Kind::NotSignedIn, false),
        (Kind::Forbidden, true),
        (Kind::NotFound, true),
        (Kind::TooLarge, true),
        (Kind::Conflict, true),
        (Kind::Invalid, true),
        (Kind::StorageFull, false),
    ] {
        assert_eq!(Outcome::of_refusal(&Refused::new(kind, "x", "x")).is_some(), ends, "{kind:?}");
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_the_outbox_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let mut outbox = Outbox::open(&path).unwrap();
    outbox.add(draft(2, "kept")).unwrap();
    // A file that cannot be written stands for a full disk.
    let read_only = fs::OpenOptions::new().read(true).open(&path).unwrap();
    outbox.file.put_file(read_only);
    let error = outbox.add(draft(2, "lost")).unwrap_err();
    assert_eq!(error.doing, "write to");
    assert_eq!(texts(&outbox), ["kept"]);
    assert_eq!(texts(&Outbox::open(&path).unwrap()), ["kept"]);
}
