//! Who may post which file, and when one is let go.

use std::sync::atomic::{AtomicU32, Ordering};

use chinwag_protocol::{
    Attach, Command, ConversationId, Event, FileId, Kind, LogId, Posting, Refused, Reply, Role, Seq, UserId,
};

use super::Uploaded;
use crate::{
    facts::Facts,
    limits::{ATTACHMENTS_MAX, FILE_NAME_BYTES_MAX, UPLOAD_WAITS_MS},
    port::{Actor, Request},
    testing::World,
};

const FILE: FileId = FileId([7; 32]);
const OTHER: FileId = FileId([8; 32]);

/// A refusal is remembered under the id of its command, so each has one of its own.
fn fresh_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("files-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

struct Cast {
    world: World,
    anna: Actor,
    ben: Actor,
    group: ConversationId,
}

fn cast() -> Cast {
    let mut world = World::founded();
    let (anna, ben) = (world.register("anna"), world.register("ben"));
    let group = world.create(&anna, "Lab", false, Posting::Everyone);
    world.add(&anna, group, ben.user, Role::Member);
    Cast { world, anna, ben, group }
}

fn upload(world: &mut World, by: &Actor, file: FileId, size: u64) -> Result<(), Refused> {
    let uploaded = Uploaded { file, size, media_type: "image/png".into(), bytes_per_user: 1_000 };
    world.request(&Request::Uploaded { actor: by.clone(), uploaded }).map(drop)
}

fn attach(file: FileId) -> Attach {
    Attach { file, name: "tea.png".into(), of: None }
}

fn post_with(
    world: &mut World,
    by: &Actor,
    conversation: ConversationId,
    text: &str,
    attachments: Vec<Attach>,
) -> Result<Seq, Refused> {
    let client_id = fresh_id();
    let (text, reply_to, thread) = (text.to_owned(), None, None);
    let command =
        Command::Post { conversation, client_id, text, attachments, reply_to, thread, sent_at: None };
    match world.command(by, command)? {
        Reply::Posted(posted) => Ok(posted.seq),
        other => panic!("{other:?}"),
    }
}

fn messages(world: &World, user: UserId, file: FileId) -> Option<u32> {
    world.holding(user, file).unwrap().map(|held| held.messages)
}

/// What a pass of the keeper does now.
fn collect(world: &mut World) {
    let idle: Vec<_> = world.holdings.keys().copied().collect();
    world.request(&Request::CollectFiles { idle }).unwrap();
}

#[test]
fn a_message_takes_what_its_author_uploaded() {
    let Cast { mut world, anna, group, .. } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let seq = post_with(&mut world, &anna, group, "", vec![attach(FILE), attach(FILE)]).unwrap();
    let message = world.message(group, seq).unwrap().unwrap();
    assert_eq!(message.attachments.len(), 2);
    assert_eq!((message.attachments[0].size, message.attachments[0].media_type.as_str()), (42, "image/png"));
    assert_eq!(messages(&world, anna.user, FILE), Some(1), "a message counts once");
}

#[test]
fn nobody_posts_what_he_neither_uploaded_nor_sees() {
    let Cast { mut world, anna, ben, group } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let secret = world.create(&anna, "Secret", false, Posting::Everyone);
    let seq = post_with(&mut world, &anna, secret, "", vec![attach(FILE)]).unwrap();
    let mut refusals = Vec::new();
    for of in [
        None,
        Some((secret, seq)),
        Some((secret, Seq(99))),
        Some((ConversationId(99), Seq(1))),
        Some((group, seq)),
    ] {
        let asked = Attach { of, ..attach(FILE) };
        refusals.push(post_with(&mut world, &ben, group, &format!("{of:?}"), vec![asked]).unwrap_err());
    }
    assert_eq!(refusals[0].code, "file_not_found");
    assert!(refusals.iter().all(|refused| *refused == refusals[0]), "no answer tells more than another");
    let unknown = post_with(&mut world, &ben, group, "x", vec![attach(OTHER)]).unwrap_err();
    assert_eq!(unknown, refusals[0]);
}

#[test]
fn whoever_sees_a_file_can_forward_it_and_then_holds_it_too() {
    let Cast { mut world, anna, ben, group } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let seq = post_with(&mut world, &anna, group, "", vec![attach(FILE)]).unwrap();
    let own = world.create(&ben, "Own", false, Posting::Everyone);
    let asked = Attach { of: Some((group, seq)), ..attach(FILE) };
    let copy = post_with(&mut world, &ben, own, "", vec![asked.clone()]).unwrap();
    assert_eq!(world.message(own, copy).unwrap().unwrap().attachments[0].size, 42);
    world.command(&anna, Command::Delete { conversation: group, message: seq }).unwrap();
    collect(&mut world);
    assert_eq!((messages(&world, anna.user, FILE), messages(&world, ben.user, FILE)), (None, Some(1)));
    let refused = post_with(&mut world, &anna, group, "again", vec![asked]).unwrap_err();
    assert_eq!(refused.code, "file_not_found", "a deleted message holds nothing");
}

#[test]
fn an_upload_waits_an_hour_and_a_deleted_message_not_at_all() {
    let Cast { mut world, anna, group, .. } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    world.at.0 += UPLOAD_WAITS_MS;
    collect(&mut world);
    assert_eq!(messages(&world, anna.user, FILE), Some(0));
    world.at.0 += 1;
    collect(&mut world);
    assert_eq!(messages(&world, anna.user, FILE), None);

    upload(&mut world, &anna, FILE, 42).unwrap();
    let seqs: Vec<_> =
        (0..2).map(|_| post_with(&mut world, &anna, group, "", vec![attach(FILE)]).unwrap()).collect();
    world.at.0 += 2 * UPLOAD_WAITS_MS;
    world.command(&anna, Command::Delete { conversation: group, message: seqs[0] }).unwrap();
    collect(&mut world);
    assert_eq!(messages(&world, anna.user, FILE), Some(1));
    world.command(&anna, Command::Delete { conversation: group, message: seqs[1] }).unwrap();
    world.command(&anna, Command::Delete { conversation: group, message: seqs[1] }).unwrap();
    collect(&mut world);
    assert_eq!(messages(&world, anna.user, FILE), None);
}

#[test]
fn what_is_uploaded_again_waits_again() {
    let Cast { mut world, anna, group, .. } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let seq = post_with(&mut world, &anna, group, "", vec![attach(FILE)]).unwrap();
    upload(&mut world, &anna, FILE, 42).unwrap();
    world.command(&anna, Command::Delete { conversation: group, message: seq }).unwrap();
    collect(&mut world);
    post_with(&mut world, &anna, group, "second", vec![attach(FILE)]).unwrap();
}

#[test]
fn a_user_has_only_so_much_room() {
    let Cast { mut world, anna, .. } = cast();
    upload(&mut world, &anna, FILE, 600).unwrap();
    upload(&mut world, &anna, FILE, 600).unwrap();
    let refused = upload(&mut world, &anna, OTHER, 401).unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (Kind::StorageFull, "quota_exceeded"));
    upload(&mut world, &anna, OTHER, 400).unwrap();
}

#[test]
fn only_a_message_with_files_may_say_nothing() {
    let Cast { mut world, anna, group, .. } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    assert_eq!(post_with(&mut world, &anna, group, "", Vec::new()).unwrap_err().code, "text_empty");
    let many = vec![attach(FILE); ATTACHMENTS_MAX + 1];
    assert_eq!(post_with(&mut world, &anna, group, "x", many).unwrap_err().kind, Kind::TooLarge);
    let full = vec![attach(FILE); ATTACHMENTS_MAX];
    let seq = post_with(&mut world, &anna, group, "y", full).unwrap();
    let edit = |text: &str| Command::Edit { conversation: group, message: seq, text: text.into() };
    world.command(&anna, edit("")).unwrap();
    let plain = world.post(&anna, group, "plain");
    let edit = Command::Edit { conversation: group, message: plain, text: String::new() };
    assert_eq!(world.command(&anna, edit).unwrap_err().code, "text_empty");
}

#[test]
fn a_name_is_made_harmless() {
    let Cast { mut world, anna, group, .. } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let mut named = |name: String| {
        let asked = Attach { file: FILE, name, of: None };
        let seq = post_with(&mut world, &anna, group, "", vec![asked])?;
        let Event::Message(body) = &world.log(LogId::Conversation(group))[seq.0 as usize - 1].event else {
            panic!("a message was posted")
        };
        Ok::<_, Refused>(body.attachments[0].name.clone())
    };
    for (asked, kept) in [
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\x.exe", "x.exe"),
        (".bashrc", "bashrc"),
        ("a\u{0}b\u{202e}gpj.exe\n", "abgpj.exe"),
        ("  ..  ", "file"),
        ("", "file"),
        ("日本.png", "日本.png"),
    ] {
        assert_eq!(named(asked.into()).unwrap(), kept, "{asked:?}");
    }
    assert!(named("x".repeat(FILE_NAME_BYTES_MAX)).is_ok());
    assert_eq!(named("x".repeat(FILE_NAME_BYTES_MAX + 1)).unwrap_err().kind, Kind::TooLarge);
}

#[test]
fn a_door_may_attach_but_not_forward() {
    let Cast { mut world, anna, ben, group } = cast();
    upload(&mut world, &anna, FILE, 42).unwrap();
    let seq = post_with(&mut world, &anna, group, "", vec![attach(FILE)]).unwrap();
    let door = Actor { door: Some("tag_json".into()), ..ben };
    upload(&mut world, &door, OTHER, 42).unwrap();
    post_with(&mut world, &door, group, "", vec![attach(OTHER)]).unwrap();
    let asked = Attach { of: Some((group, seq)), ..attach(FILE) };
    assert_eq!(post_with(&mut world, &door, group, "", vec![asked]).unwrap_err().kind, Kind::Forbidden);
}
