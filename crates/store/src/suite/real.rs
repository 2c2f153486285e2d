//! The engines under the real rules: from the first start to a message in a direct conversation.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
    mpsc,
};

use chinwag_domain::{
    Actor, Ask, Prepared, Request, Store, Token,
    port::{Done, Verdict},
    rules,
};
use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Event, History, Kind as RefusedKind, LogId, Millis,
    Registration, Reply, Seq, UserId,
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
    Command::Post { conversation, client_id, text, attachments: Vec::new(), reply_to: None, thread: None }
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
    let Ok(Reply::Conversation { conversation }) = command(&*store, &anna, create) else { panic!("no club") };
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

    let (tell, told) = mpsc::channel();
    store.read(Box::new(move |reader| {
        let entries =
            reader.unwrap().entries(LogId::Conversation(conversation), Seq::ZERO, Seq(u32::MAX), 100);
        tell.send(entries.unwrap()).unwrap();
    }));
    let entries = told.recv().unwrap();
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
