//! What the tests of the suite run on: a store of one kind with rules that are written in the test itself.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
        mpsc,
    },
};

use chinwag_domain::{
    Ask, Committed, Known, Plan, Publish, Reader, Request, Stop, Store,
    facts::Facts,
    port::{Done, Verdict},
    record::{Avatar, Change, Conversation, Member, Sent, Standing, Told, User},
};
use chinwag_protocol::{
    ConversationId, ConversationKind, Entry, Event, FileId, History, JoinedBy, LogId, MessageBody, Millis,
    Posted, Posting, Refused, Reply, Role, Seq, SessionId, Settings, UserId, UserKind,
};
use tempfile::TempDir;

use crate::{Clock, Decide, memory::MemoryStore, sqlite};

/// What one request of a test does. A full disk makes the store decide a request again.
pub(crate) type Script = Box<dyn FnMut(&mut Plan<'_>) -> Known<Done> + Send>;

/// The engines under test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Sqlite,
}

/// What was published, in order; calls the tickets as the hub does.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) entries: Mutex<Vec<Arc<Entry>>>,
    pub(crate) batches: AtomicU32,
}

impl Publish for Heard {
    fn publish(&self, batch: Vec<Committed>) {
        self.batches.fetch_add(1, Ordering::SeqCst);
        for committed in &batch {
            self.entries.lock().unwrap().extend(committed.entries.iter().cloned());
        }
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

/// The scripts that wait for their request.
#[derive(Default)]
struct Scripts {
    waiting: Mutex<HashMap<u32, Script>>,
    next: AtomicU32,
}

impl Scripts {
    fn add(&self, script: Script) -> u32 {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.waiting.lock().unwrap().insert(number, script);
        number
    }

    fn run(&self, plan: &mut Plan<'_>, request: &Request) -> Known<Done> {
        let number = match request {
            Request::Seen { session } => session.0,
            Request::Command { actor, .. } => actor.session.0,
            _ => panic!("the suite asks by number"),
        };
        let mut script = self.waiting.lock().unwrap().remove(&number).expect("the script of a request");
        let done = script(plan);
        self.waiting.lock().unwrap().insert(number, script);
        done
    }
}

/// A store with everything around it.
pub(crate) struct Bed {
    pub(crate) kind: Kind,
    store: Option<Arc<dyn Store>>,
    scripts: Arc<Scripts>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) fatal: Arc<AtomicU32>,
    folder: TempDir,
    change: fn(&mut sqlite::Options),
}

impl Bed {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with(kind, |_| {})
    }

    /// With other options where the engine is SQLite.
    pub(crate) fn with(kind: Kind, change: fn(&mut sqlite::Options)) -> Self {
        Self::in_folder(kind, TempDir::new().unwrap(), change)
    }

    pub(crate) fn in_folder(kind: Kind, folder: TempDir, change: fn(&mut sqlite::Options)) -> Self {
        let mut bed = Self {
            kind,
            store: None,
            scripts: Arc::default(),
            heard: Arc::default(),
            now: Arc::new(AtomicI64::new(1_000)),
            fatal: Arc::default(),
            folder,
            change,
        };
        bed.open();
        bed
    }

    fn open(&mut self) {
        self.store = Some(match self.kind {
            Kind::Memory => Arc::new(MemoryStore::new(self.decide(), self.clock(), self.heard.clone())),
            Kind::Sqlite => Arc::new(sqlite::open(self.options()).unwrap()),
        });
    }

    pub(crate) fn decide(&self) -> Decide {
        let scripts = self.scripts.clone();
        Arc::new(move |plan, request| scripts.run(plan, request))
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = self.now.clone();
        Arc::new(move || Millis(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn options(&self) -> sqlite::Options {
        let mut options =
            sqlite::Options::new(self.folder.path(), self.decide(), self.clock(), self.heard.clone());
        let fatal = self.fatal.clone();
        options.on_fatal = Box::new(move || {
            fatal.fetch_add(1, Ordering::SeqCst);
        });
        options.readers = 2;
        // Sixteen MiB for each of a hundred tests would only wear out the disk.
        options.ballast_bytes = 64 * 1024;
        (self.change)(&mut options);
        options
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().expect("the store is open")
    }

    /// Closes the store; its folder stays.
    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    /// Closes and opens again; the memory engine goes on as it is, for it would forget everything.
    pub(crate) fn reopen(&mut self) {
        if self.kind == Kind::Sqlite {
            self.close();
            self.open();
        }
    }

    pub(crate) fn at(&self, at: i64) {
        self.now.store(at, Ordering::SeqCst);
    }

    /// Hands a script to the writer.
    pub(crate) fn submit(&self, script: Script, answer: impl FnOnce(Verdict) + Send + 'static) {
        let session = SessionId(self.scripts.add(script));
        self.store().transact(Ask { request: Request::Seen { session }, ticket: Box::new(answer) });
    }

    /// Runs a script and waits for its verdict.
    pub(crate) fn run(&self, script: impl FnMut(&mut Plan<'_>) -> Known<Done> + Send + 'static) -> Verdict {
        let (tell, told) = mpsc::channel();
        self.submit(Box::new(script), move |verdict| tell.send(verdict).unwrap());
        told.recv().unwrap()
    }

    /// Runs a script in the name of a command.
    pub(crate) fn run_as(
        &self,
        command: chinwag_protocol::Command,
        script: impl FnMut(&mut Plan<'_>) -> Known<Done> + Send + 'static,
    ) -> Verdict {
        let (tell, told) = mpsc::channel();
        let session = SessionId(self.scripts.add(Box::new(script)));
        let actor = chinwag_domain::Actor { user: UserId(1), session, door: None };
        let request = Request::Command { actor, command, prepared: chinwag_domain::Prepared::default() };
        let ticket = Box::new(move |verdict| tell.send(verdict).unwrap());
        self.store().transact(Ask { request, ticket });
        told.recv().unwrap()
    }

    /// Runs a script that must succeed.
    pub(crate) fn does(&self, mut script: impl FnMut(&mut Plan<'_>) -> Known<()> + Send + 'static) {
        let verdict = self.run(move |plan| script(plan).map(|()| Done::Reply(Reply::Done {})));
        assert_eq!(verdict, Ok(Done::Reply(Reply::Done {})));
    }

    /// Reads over one state.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Reader) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = mpsc::channel();
        self.store().read(Box::new(move |reader| tell.send(reading(reader.unwrap())).unwrap()));
        told.recv().unwrap()
    }

    /// The numbers of all entries of a log.
    pub(crate) fn seqs(&self, log: LogId) -> Vec<u32> {
        self.read(move |reader| {
            let mut seqs: Vec<u32> = Vec::new();
            loop {
                let after = Seq(seqs.last().copied().unwrap_or(0));
                let page = reader.entries(log, after, Seq(u32::MAX), 1_000).unwrap();
                if page.is_empty() {
                    return seqs;
                }
                seqs.extend(page.iter().map(|entry| entry.seq.0));
            }
        })
    }

    /// Makes a group with these members, as conversation `id`.
    pub(crate) fn group(&self, id: u32, members: &'static [u32]) {
        self.does(move |plan| {
            let log = LogId::Conversation(ConversationId(id));
            let by = UserId(members[0]);
            plan.record(log, by, created(&format!("group {id}")))?;
            for user in members {
                if plan.user(UserId(*user))?.is_none() {
                    plan.keep(Change::User(Arc::new(user_named(*user, &format!("user{user}")))));
                }
                let how = JoinedBy::Creating;
                let joined = Event::Joined { user: UserId(*user), role: Role::Member, since: Seq(1), how };
                plan.record(log, by, joined)?;
            }
            Ok(())
        });
    }

    /// Posts a text; answers its number.
    pub(crate) fn post(&self, conversation: u32, by: u32, text: &str) -> Seq {
        let text = text.to_owned();
        match self.run(move |plan| posting(plan, conversation, by, None, |body| body.text.clone_from(&text)))
        {
            Ok(Done::Reply(Reply::Posted(posted))) => posted.seq,
            other => panic!("a post was answered {other:?}"),
        }
    }

    /// Posts with a client id, as the rules do: the same again answers the same, another body is a conflict.
    pub(crate) fn send(&self, conversation: u32, by: u32, client_id: &str, text: &str) -> Verdict {
        let (id, text) = (client_id.to_owned(), text.to_owned());
        self.run(move |plan| sending(plan, conversation, by, &id, &text))
    }
}

pub(crate) fn created(name: &str) -> Event {
    Event::Created {
        kind: ConversationKind::Group,
        handle: None,
        name: name.to_owned(),
        topic: String::new(),
        public: false,
        history: History::All,
        posting: Posting::Everyone,
        direct: None,
    }
}

pub(crate) fn user_named(id: u32, handle: &str) -> User {
    User {
        id: UserId(id),
        handle: handle.to_owned(),
        name: String::new(),
        about: String::new(),
        hue: 0,
        avatar: Some(FileId([4; 32])),
        kind: UserKind::Person,
        admin: false,
        suspended: false,
        deleted: false,
        created_at: Millis(1),
        settings: Settings::default(),
        conversations: 0,
    }
}

pub(crate) fn group_named(id: u32, name: &str) -> Conversation {
    Conversation {
        id: ConversationId(id),
        kind: ConversationKind::Group,
        handle: None,
        name: name.to_owned(),
        topic: String::new(),
        avatar: Some(Avatar { file: FileId([5; 32]), by: UserId(1) }),
        public: false,
        history: History::All,
        open_from: Seq(1),
        posting: Posting::Everyone,
        direct: None,
        members: 0,
        owner: None,
        pins: 0,
        closed: false,
        created_at: Millis(1),
    }
}

pub(crate) fn member(conversation: u32, user: u32, standing: Standing) -> Member {
    Member {
        conversation: ConversationId(conversation),
        user: UserId(user),
        role: Role::Member,
        standing,
        since: Seq(1),
        entered: chinwag_protocol::Position::default(),
        joined_at: Millis(1),
        until: None,
        muted_until: None,
    }
}

/// Records a message that `change` fills in.
pub(crate) fn posting(
    plan: &mut Plan<'_>,
    conversation: u32,
    by: u32,
    client_id: Option<String>,
    change: impl FnOnce(&mut MessageBody),
) -> Known<Done> {
    let log = LogId::Conversation(ConversationId(conversation));
    let number = plan.head(log)?.position.messages + 1;
    let mut body = MessageBody { number, ..MessageBody::default() };
    change(&mut body);
    let position = plan.record_as(log, UserId(by), client_id, Event::Message(body))?;
    let posted = Posted { conversation: ConversationId(conversation), seq: position.seq, at: plan.at() };
    Ok(Done::Reply(Reply::Posted(posted)))
}

pub(crate) fn sending(plan: &mut Plan<'_>, conversation: u32, by: u32, id: &str, text: &str) -> Known<Done> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    text.hash(&mut hash);
    let body = hash.finish();
    if let Some(sent) = plan.sent(UserId(by), id)? {
        if sent.body != body {
            return Err(Stop::Refused(Refused::conflict(
                "client_id_reused",
                "this id was used for something else",
            )));
        }
        let Told::Reply(reply) = &sent.told else { unreachable!("only what was done is kept here") };
        return Ok(Done::Reply(reply.clone()));
    }
    let done = posting(plan, conversation, by, Some(id.to_owned()), |body| body.text = text.to_owned())?;
    let Done::Reply(reply) = &done else { unreachable!("posting answers a reply") };
    let sent = Sent { user: UserId(by), client_id: id.to_owned(), body, told: Told::Reply(reply.clone()) };
    plan.keep(Change::Sent(Arc::new(sent)));
    Ok(done)
}
