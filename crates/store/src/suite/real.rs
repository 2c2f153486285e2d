//! The engines under the real rules: from the first start to a message in a direct conversation.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
    mpsc,
};

use chinwag_domain::{
    Actor, Ask, Prepared, Request, Store, Token,
    facts::Known,
    port::{Done, Reader, Verdict},
    record::Avatar,
    rules::{self, file::Uploaded},
};
use chinwag_protocol::{
    Command, ConversationChange, ConversationId, ConversationKind, Event, FileId, History,
    Kind as RefusedKind, LogId, Millis, NewAvatar, ProfileChange, Registration, Reply, Seq, UserId,
};

use super::bed::{Bed, Heard, Kind};
use crate::{Decide, memory::MemoryStore, sqlite};

fn ask(store: &dyn Store, request: Request) -> Verdict {
    let (tell, told) = mpsc::channel();
    store.transact(Ask { request, ticket: Box::new(move |verdict| tell.send(verdict).unwrap()) });
    told.recv().unwrap()
}

fn register(store: &dyn Store, handle: &str, token: u8) -> Actor {
    let prepared = Prepared {
        password: Some("$argon2id$hash".into()),
        token: Some(Token { plain: format!("ses_{token}"), hash: [token; 32] }),
        ..Prepared::default()
    };
    let request = Request::Register {
        handle: handle.into(),
        invite: None,
        prepared,
        device: "a test".into(),
        door: String::new(),
    };
    match ask(store, request) {
        Ok(Done::SignedIn { user, session }) => Actor { user, session, door: None },
        other => panic!("registering {handle} was answered {other:?}"),
    }
}

fn command(store: &dyn Store, actor: &Actor, command: Command) -> Result<Reply, RefusedKind> {
    ask(store, Request::Command { actor: actor.clone(), command, prepared: Prepared::default() })
        .and_then(Done::into_reply)
        .map_err(|refused| refused.kind)
}

fn post(conversation: ConversationId, client_id: &str, text: &str) -> Command {
    let (client_id, text) = (client_id.into(), text.into());
    Command::Post {
        conversation,
        client_id,
        text,
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    }
}

/// A store with the real rules; the one on disk can be opened again.
fn open(bed: &Bed) -> Arc<dyn Store> {
    let now = Arc::new(AtomicI64::new(1_000_000));
    let clock: crate::Clock = Arc::new(move || Millis(now.fetch_add(1, Ordering::SeqCst)));
    let decide: Decide = Arc::new(rules::decide);
    let heard = Arc::new(Heard::default());
    match bed.kind {
        Kind::Memory => Arc::new(MemoryStore::new(decide, clock, heard)),
        Kind::Sqlite => {
            let mut options = sqlite::Options::new(bed.folder().join("real"), decide, clock, heard);
            options.ballast_bytes = 64 * 1024;
            Arc::new(sqlite::open(options).unwrap())
        }
    }
}

pub(super) fn d5_a_definite_refusal_is_kept(bed: &mut Bed) {
    let mut store = open(bed);
    let found = Request::Found { registration: Registration::Open, setup: Some([9; 32]) };
    assert!(ask(&*store, found).is_ok());
    let (anna, ben) = (register(&*store, "anna", 1), register(&*store, "ben", 2));
    let conversation = club(&*store, &anna);
    let may_i = || Request::Command {
        actor: ben.clone(),
        command: post(conversation, "asked", "may I?"),
        prepared: Prepared::default(),
    };
    let said = |store: &dyn Store| ask(store, may_i()).and_then(Done::into_reply).unwrap_err();
    let first = said(&*store);
    assert_eq!(first.kind, RefusedKind::Forbidden);
    assert!(command(&*store, &ben, Command::Join { conversation }).is_ok());
    assert_eq!(said(&*store), first, "though he is a member now");
    if bed.kind == Kind::Sqlite {
        drop(store);
        store = open(bed);
        assert_eq!(said(&*store), first, "and though the server was started anew");
    }
    assert!(command(&*store, &ben, post(conversation, "another", "may I?")).is_ok());
}

/// A public group.
fn club(store: &dyn Store, owner: &Actor) -> ConversationId {
    let create = Command::CreateConversation {
        client_id: "club".into(),
        kind: ConversationKind::Group,
        name: "Club".into(),
        handle: None,
        topic: String::new(),
        public: true,
        history: History::All,
        posting: None,
        members: Vec::new(),
    };
    match command(store, owner, create) {
        Ok(Reply::Conversation { conversation }) => conversation,
        other => panic!("no club: {other:?}"),
    }
}

/// What a reading finds.
fn read<T: Send + 'static>(
    store: &dyn Store,
    look: impl FnOnce(&dyn Reader) -> Known<T> + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    store.read(Box::new(move |reader| tell.send(look(reader.unwrap()).unwrap()).unwrap()));
    told.recv().unwrap()
}

pub(super) fn a_picture_is_held_as_long_as_it_is_shown(bed: &mut Bed) {
    let mut store = open(bed);
    let found = Request::Found { registration: Registration::Open, setup: Some([9; 32]) };
    assert!(ask(&*store, found).is_ok());
    let anna = register(&*store, "anna", 1);
    let conversation = club(&*store, &anna);
    let (face, badge) = (FileId([1; 32]), FileId([2; 32]));
    for file in [face, badge] {
        let uploaded = Uploaded { file, size: 7, media_type: "image/png".into(), bytes_per_user: 100 };
        assert!(ask(&*store, Request::Uploaded { actor: anna.clone(), uploaded }).is_ok());
    }
    let own = |file| {
        let avatar = Some(NewAvatar { file });
        Command::ChangeProfile(ProfileChange { avatar, ..ProfileChange::default() })
    };
    let clubs = |file| {
        let change = ConversationChange { avatar: Some(NewAvatar { file }), ..ConversationChange::default() };
        Command::ChangeConversation { conversation, change }
    };
    // All in vain, as far as the clock goes; what is shown is not.
    let idle = |store: &dyn Store| -> Vec<FileId> {
        let idle = read(store, |reader| reader.idle_holdings(Millis(i64::MAX), 10));
        idle.iter().map(|held| held.file).collect()
    };
    assert_eq!(idle(&*store), [face, badge]);
    assert!(command(&*store, &anna, own(Some(face))).is_ok());
    assert!(command(&*store, &anna, clubs(Some(badge))).is_ok());
    if bed.kind == Kind::Sqlite {
        drop(store);
        store = open(bed);
    }
    assert_eq!(idle(&*store), []);
    let user = anna.user;
    let shown = move |reader: &dyn Reader| {
        Ok((reader.user(user)?.unwrap().avatar, reader.conversation(conversation)?.unwrap().avatar))
    };
    assert_eq!(read(&*store, shown), (Some(face), Some(Avatar { file: badge, by: user })));
    assert!(command(&*store, &anna, clubs(Some(face))).is_ok());
    assert_eq!(idle(&*store), [badge]);
    assert!(command(&*store, &anna, own(None)).is_ok());
    assert_eq!(idle(&*store), [badge]);
    assert!(command(&*store, &anna, Command::CloseConversation { conversation }).is_ok());
    assert_eq!(idle(&*store), [face, badge]);
    assert_eq!(read(&*store, shown), (None, None));
}

pub(super) fn two_people_register_and_talk(bed: &mut Bed) {
    let store = open(bed);
    let found = || Request::Found { registration: Registration::Open, setup: Some([9; 32]) };
    assert!(ask(&*store, found()).is_ok());
    assert!(ask(&*store, found()).is_ok(), "the second start changes nothing");
    let (anna, ben) = (register(&*store, "anna", 1), register(&*store, "ben", 2));
    assert_ne!(anna.user, ben.user);
    let opened = command(&*store, &anna, Command::OpenDirect { user: ben.user }).unwrap();
    let Reply::Conversation { conversation } = opened else { panic!("{opened:?}") };
    let first = command(&*store, &anna, post(conversation, "one", "hello Ben")).unwrap();
    assert_eq!(command(&*store, &anna, post(conversation, "one", "hello Ben")).unwrap(), first);
    assert_eq!(command(&*store, &anna, post(conversation, "one", "other")), Err(RefusedKind::Conflict));
    assert!(command(&*store, &ben, post(conversation, "one", "hello Anna")).is_ok());
    let Reply::Posted(posted) = first else { panic!("{first:?}") };
    let edit = Command::Edit { conversation, message: posted.seq, text: "Hello, Ben".into() };
    assert!(command(&*store, &anna, edit).is_ok());
    let delete = Command::Delete { conversation, message: posted.seq };
    assert_eq!(command(&*store, &anna, delete), Ok(Reply::Done {}));

    let entries = read(&*store, move |reader| {
        reader.entries(LogId::Conversation(conversation), Seq::ZERO, Seq(u32::MAX), 100)
    });
    let texts: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Message(body) => Some(body.text.as_str()),
            Event::Edited { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["", "hello Anna", ""], "what was deleted is erased, with its edit");
    let seqs: Vec<u32> = entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=seqs.len() as u32).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.by != UserId(0)));
    drop(store);
    if bed.kind == Kind::Sqlite {
        let report = sqlite::scrub(&bed.folder().join("real"), |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
    }
}
