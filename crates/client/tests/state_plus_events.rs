//! L4: state + events = fresh state, against the server's own rules.
//!
//! Random people do random things. Each has a client that took its snapshot early and since then only applies what
//! catching up brings, at random moments; it must know the same as one that takes a snapshot now.
//!
//! Left out on purpose: what a client may keep of a closed conversation, which a fresh snapshot no longer lists; and
//! the last message from before one entered, which is asked for as history.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
};

use chinwag_client::sync::{Applied, State};
use chinwag_domain::{
    Actor, Ask, Committed, Known, Prepared, Publish, Reader, Request, Store, Token,
    port::{Done, Verdict},
    reading::{self, CatchUp},
    record::Cursor,
    rules::{self, file::Uploaded},
};
use chinwag_protocol::{
    Answer, Attach, CallMedia, Command, ConversationChange, ConversationId, ConversationKind, CursorMoved,
    Entry, FileId, History, LogId, Millis, NewAvatar, Posting, ProfileChange, Query, Registration, Reply,
    Role, Seq, ServerSignal, SessionId, Settings, UserId,
};
use chinwag_store::memory::MemoryStore;
use serde_json::{Value, json};

const STEPS: usize = 500;
const SEEDS: u64 = 16;

struct Tell;

impl Publish for Tell {
    fn publish(&self, batch: Vec<Committed>) {
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

/// Small, and the same for each run of a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

struct Person {
    user: UserId,
    session: SessionId,
    client: State,
}

struct World {
    store: MemoryStore,
    clock: Arc<AtomicI64>,
    chance: Chance,
    people: Vec<Person>,
    tokens: u32,
    seen: BTreeSet<String>,
    said: Vec<(ConversationId, Seq)>,
    banned: Vec<(ConversationId, UserId)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let time = Arc::new(AtomicI64::new(1_000_000));
        let clock = time.clone();
        let clock = Arc::new(move || Millis(clock.fetch_add(7, Ordering::Relaxed)));
        let store = MemoryStore::new(Arc::new(rules::decide), clock, Arc::new(Tell));
        let mut world = Self {
            store,
            clock: time,
            chance: Chance(seed),
            people: Vec::new(),
            tokens: 0,
            seen: BTreeSet::new(),
            said: Vec::new(),
            banned: Vec::new(),
        };
        let founded = world.ask(Request::Found { registration: Registration::Open, setup: Some([9; 32]) });
        assert!(founded.is_ok(), "{founded:?}");
        for (number, handle) in ["anna", "bert", "cleo", "dora"].into_iter().enumerate() {
            let prepared =
                Prepared { password: Some("hash".into()), token: Some(world.token()), ..Prepared::default() };
            // The first one comes by the setup link and is an administrator.
            let invite = (number == 0).then_some([9; 32]);
            let (handle, device, door) = (handle.to_owned(), "test".to_owned(), String::new());
            let request = Request::Register { handle, invite, prepared, device, door };
            let Ok(Done::SignedIn { user, session }) = world.ask(request) else { panic!("not registered") };
            let client = world.fresh(user, session);
            world.people.push(Person { user, session, client });
        }
        world
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&self.tokens.to_be_bytes());
        Token { plain: format!("tok_{}", self.tokens), hash }
    }

    fn ask(&self, request: Request) -> Verdict {
        let (tell, told) = mpsc::channel();
        let ticket = Box::new(move |verdict| tell.send(verdict).unwrap());
        self.store.transact(Ask { request, ticket });
        told.recv().unwrap()
    }

    fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Reader) -> Known<T> + Send + 'static,
    ) -> Known<T> {
        let (tell, told) = mpsc::channel();
        self.store.read(Box::new(move |reader| tell.send(look(reader.unwrap())).unwrap()));
        told.recv().unwrap()
    }

    fn fresh(&self, user: UserId, session: SessionId) -> State {
        let actor = Actor { user, session, door: None };
        State::from(self.read(move |reader| reading::snapshot(reader, &actor)).unwrap())
    }

    fn command(&mut self, who: usize, command: Command) -> Option<Reply> {
        let (user, session) = (self.people[who].user, self.people[who].session);
        let prepared = Prepared {
            verified: Some(1),
            password: Some("hash".into()),
            token: Some(self.token()),
            ..Prepared::of(&command)
        };
        let actor = Actor { user, session, door: None };
        match self.ask(Request::Command { actor, command, prepared }) {
            Ok(Done::Reply(reply)) => Some(reply),
            Ok(Done::SignedIn { .. } | Done::Refused(_)) | Err(_) => None,
        }
    }

    /// One person does something.
    fn act(&mut self, number: usize) {
        let who = self.chance.of(&[0, 0, 1, 2, 3]);
        let other = self.chance.below(self.people.len());
        let user = self.people[other].user;
        let conversation = ConversationId(1 + self.chance.below(6) as u32);
        let message = Seq(1 + self.chance.below(40) as u32);
        let emoji = self.chance.of(&["👍", "🎉"]).to_owned();
        let client_id = format!("k{number}");
        let text = self.chance.of(&["hello", "@anna look", "@everyone", "@bert @cleo", "what?"]).to_owned();
        let even = number.is_multiple_of(2);
        let command = match self.chance.below(40) {
            0 => Command::OpenDirect { user },
            1 => Command::CreateConversation {
                client_id,
                kind: if even { ConversationKind::Group } else { ConversationKind::Channel },
                name: format!("Place {number}"),
                handle: None,
                topic: String::new(),
                public: self.chance.below(3) > 0,
                history: if even { History::All } else { History::FromJoining },
                posting: None,
                members: Vec::new(),
            },
            2 => self.conversation_change(who, conversation, number),
            3 | 4 => Command::Join { conversation },
            5 => Command::Leave { conversation },
            6 | 7 => Command::AddMember { conversation, user },
            8 => {
                self.banned.push((conversation, user));
                Command::RemoveMember { conversation, user, ban: even }
            }
            9 if !self.banned.is_empty() => {
                let index = self.chance.below(self.banned.len());
                let (conversation, user) = self.banned[index];
                Command::Unban { conversation, user }
            }
            10 => {
                let role = self.chance.of(&[Role::Member, Role::Admin, Role::Owner]);
                Command::SetRole { conversation, user, role }
            }
            11 => Command::Mute { conversation, until: even.then_some(Millis(9_000_000)) },
            12 => Command::Edit { conversation, message, text: format!("{text} (new)") },
            13 | 14 => Command::Delete { conversation, message },
            15 => Command::React { conversation, message, emoji },
            16 if !self.said.is_empty() => {
                // Also what was said before the others joined.
                let index = self.chance.below(self.said.len());
                let (conversation, message) = self.said[index];
                Command::React { conversation, message, emoji }
            }
            17 => Command::Unreact { conversation, message, emoji },
            18 => Command::Pin { conversation, message },
            19 => Command::Unpin { conversation, message },
            20 => Command::AddContact { user },
            21 => Command::RemoveContact { user },
            22 => Command::Block { user },
            23 => Command::Unblock { user },
            24 => Command::ChangeSettings(Settings {
                theme: "dark".into(),
                invisible: even,
                ..Settings::default()
            }),
            25 => Command::ChangeProfile(ProfileChange {
                about: Some(format!("at {number}")),
                avatar: even.then(|| self.avatar(who)),
                ..ProfileChange::default()
            }),
            26 => return self.second_device(who),
            27 if self.chance.below(6) == 0 => Command::CloseConversation { conversation },
            28 | 29 => return self.move_cursor(who, conversation, message),
            30 => return self.own_message(who, conversation, number),
            31..=33 => return self.call(who, conversation, number),
            _ => {
                let about = even.then_some(message);
                let (reply_to, thread) =
                    if self.chance.below(2) == 0 { (about, None) } else { (None, about) };
                Command::Post {
                    conversation,
                    client_id,
                    text,
                    attachments: Vec::new(),
                    reply_to,
                    thread,
                    sent_at: None,
                }
            }
        };
        self.command(who, command);
    }

    fn conversation_change(&mut self, who: usize, conversation: ConversationId, number: usize) -> Command {
        let mut change = ConversationChange::default();
        match self.chance.below(6) {
            0 => change.name = Some(format!("Name {number}")),
            1 => change.topic = Some(format!("topic {number}")),
            2 => change.history = Some(self.chance.of(&[History::All, History::FromJoining])),
            3 => change.avatar = Some(self.avatar(who)),
            4 => change.posting = Some(self.chance.of(&[Posting::Everyone, Posting::Admins])),
            _ => change.public = Some(self.chance.below(2) == 0),
        }
        Command::ChangeConversation { conversation, change }
    }

    /// Says something and at once changes what was said, so that these events are not left to luck.
    fn own_message(&mut self, who: usize, conversation: ConversationId, number: usize) {
        let client_id = format!("own{number}");
        let attachments = if number.is_multiple_of(2) { vec![self.upload(who)] } else { Vec::new() };
        let post = Command::Post {
            conversation,
            client_id,
            text: "mine".into(),
            attachments,
            reply_to: None,
            thread: None,
            sent_at: None,
        };
        let Some(Reply::Posted(posted)) = self.command(who, post) else { return };
        let message = posted.seq;
        self.said.push((conversation, message));
        self.command(who, Command::Edit { conversation, message, text: "mine, better".into() });
        self.command(who, Command::Pin { conversation, message });
        self.command(who, Command::React { conversation, message, emoji: "👍".into() });
        if number.is_multiple_of(3) {
            self.command(who, Command::Unreact { conversation, message, emoji: "👍".into() });
            self.command(who, Command::Unpin { conversation, message });
        }
        if number.is_multiple_of(5) {
            // Who joins now may not see it, and hears only that there was something.
            let user = self.people[(who + 1) % self.people.len()].user;
            let history = Some(History::FromJoining);
            let change = ConversationChange { history, ..ConversationChange::default() };
            self.command(who, Command::ChangeConversation { conversation, change });
            self.command(who, Command::RemoveMember { conversation, user, ban: false });
            self.command(who, Command::AddMember { conversation, user });
            self.command(who, Command::React { conversation, message, emoji: "🎉".into() });
        }
    }

    /// Somebody hands a file over.
    fn upload(&mut self, who: usize) -> Attach {
        let file = FileId([u8::try_from(self.chance.below(3)).unwrap(); 32]);
        let actor = Actor { user: self.people[who].user, session: self.people[who].session, door: None };
        let (media_type, bytes_per_user) = ("image/png".to_owned(), 1 << 20);
        let uploaded = Uploaded { file, size: 7, media_type, bytes_per_user };
        self.ask(Request::Uploaded { actor, uploaded }).unwrap();
        Attach { file, name: "a file".into(), of: None }
    }

    /// A new picture for something, or none.
    fn avatar(&mut self, who: usize) -> NewAvatar {
        let file = (self.chance.below(3) > 0).then(|| self.upload(who).file);
        NewAvatar { file }
    }

    /// Somebody calls; some answer, and it may go on.
    fn call(&mut self, who: usize, conversation: ConversationId, number: usize) {
        let media = self.chance.of(&[CallMedia::Audio, CallMedia::Video]);
        let start = Command::StartCall { conversation, client_id: format!("call{number}"), media };
        let call = match self.command(who, start) {
            Some(Reply::Call { call, .. }) => call,
            _ => match self.read(move |reader| reader.call(conversation)).unwrap() {
                Some(call) => call.view.call,
                None => return,
            },
        };
        for _ in 0..self.chance.below(3) {
            let (other, accept) = (self.chance.below(self.people.len()), self.chance.below(2) == 0);
            self.command(other, Command::AnswerCall { conversation, call, accept });
        }
        match self.chance.below(4) {
            0 => drop(self.command(who, Command::EndCall { conversation, call })),
            1 => {
                self.clock.fetch_add(60_000, Ordering::Relaxed);
                self.ask(Request::ExpireCall { conversation, call }).unwrap();
            }
            _ => {}
        }
    }

    /// Somebody signs in on another device, which then ends.
    fn second_device(&mut self, who: usize) {
        let user = self.people[who].user;
        let prepared = Prepared { verified: Some(1), token: Some(self.token()), ..Prepared::default() };
        let (device, door) = ("phone".to_owned(), String::new());
        if let Ok(Done::SignedIn { session, .. }) = self.ask(Request::SignIn { user, prepared, device, door })
        {
            self.command(who, Command::EndSession { session });
        }
    }

    fn is_member(&self, conversation: ConversationId, user: UserId) -> bool {
        self.read(move |reader| reader.member(conversation, user))
            .unwrap()
            .is_some_and(|member| member.is_active())
    }

    /// Another device of the same user reads; this one is told.
    fn move_cursor(&mut self, who: usize, conversation: ConversationId, seq: Seq) {
        let user = self.people[who].user;
        if !self.is_member(conversation, user) {
            return;
        }
        let head =
            self.read(move |reader| reader.head(LogId::Conversation(conversation))).unwrap().position.seq;
        let seq = seq.min(head);
        let read = self.read(move |reader| reader.position(conversation, seq)).unwrap();
        let moved = self.store.move_cursor(conversation, user, Cursor { delivered: seq, read });
        // A connected client has all entries before it hears of a cursor.
        self.catch_up(who);
        let signal = CursorMoved { conversation, user, delivered: moved.delivered, read: moved.read };
        self.people[who].client.apply_signal(&ServerSignal::Cursor(signal), Millis(0));
    }

    /// Brings a client up to date as a resumed connection does.
    fn catch_up(&mut self, who: usize) {
        let person = &self.people[who];
        let actor = Actor { user: person.user, session: person.session, door: None };
        let (user, positions) = (person.user, person.client.positions());
        let missed = self.read(move |reader| {
            let CatchUp::Entries(runs) = reading::catch_up(reader, &actor, &positions)? else {
                panic!("too much")
            };
            let mut entries: Vec<Entry> = Vec::new();
            for run in runs {
                let mut after = run.from;
                while after < run.head {
                    let (page, _) = reading::entries_for(reader, user, run.log, after, 50)?;
                    let Some(last) = page.last() else { break };
                    after = last.seq;
                    entries.extend(page);
                }
            }
            Ok(entries)
        });
        for entry in missed.unwrap() {
            let event = json!(entry.event);
            self.seen.extend(event.as_object().unwrap().keys().cloned());
            let applied = self.people[who].client.apply(&entry);
            assert!(
                !matches!(applied, Applied::Gap { .. }),
                "catching up leaves a gap: {applied:?} at {entry:?}"
            );
            assert_eq!(
                self.people[who].client.apply(&entry),
                Applied::Ignored,
                "a second time changes nothing"
            );
        }
        let users: Vec<UserId> = self.people[who].client.unknown_users().into_iter().collect();
        let (user, session) = (self.people[who].user, self.people[who].session);
        let actor = Actor { user, session, door: None };
        let query = Query::Users { users };
        let answer = self.read(move |reader| reading::answer(reader, &actor, &query, Millis(2_000_000)));
        if let Ok(Answer::Users(profiles)) = answer {
            self.people[who].client.learn(profiles);
        }
    }

    /// Compares a client with one that starts now.
    fn compare(&mut self, who: usize, seed: u64, step: usize) {
        self.catch_up(who);
        let person = &self.people[who];
        let (mut old, mut new) =
            (person.client.document(), self.fresh(person.user, person.session).document());
        for document in [&mut old, &mut new] {
            canonical(document);
        }
        let entered: Vec<(String, Value)> = old["conversations"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, view)| view.get("last").is_none())
            .map(|(id, view)| (id.clone(), view.clone()))
            .collect();
        for (id, _) in entered {
            // Said before one entered; the client has heard of no message since.
            let view = &mut new["conversations"][&id];
            if let Some(view) = view.as_object_mut() {
                view.remove("last");
            }
        }
        // Profiles that only one of the two has heard of are asked for when they are needed.
        let known: BTreeSet<String> = old["users"].as_object().unwrap().keys().cloned().collect();
        let fresh = new["users"].as_object_mut().unwrap();
        fresh.retain(|id, _| known.contains(id));
        let both: BTreeSet<String> = fresh.keys().cloned().collect();
        old["users"].as_object_mut().unwrap().retain(|id, _| both.contains(id));
        assert_eq!(old, new, "seed {seed}, step {step}, user {}", person.user);
    }
}

/// Takes away what a snapshot does not hold.
fn canonical(document: &mut Value) {
    let document = document.as_object_mut().unwrap();
    for passing in ["items", "cursors", "presence", "unknown_users"] {
        document.remove(passing);
    }
    let conversations = document["conversations"].as_object_mut().unwrap();
    conversations.retain(|_, view| view.get("closed").is_none());
    let open: BTreeSet<String> = conversations.keys().map(|id| format!("c{id}")).collect();
    let positions = document["positions"].as_object_mut().unwrap();
    positions.retain(|log, _| !log.starts_with('c') || open.contains(log));
}

/// Every event there is, by its name on the wire; but `created`, which comes before everybody's first entry and is
/// only seen by asking for it (`fixtures/sync/created-in-the-log.json`).
const EVENTS: &[&str] = &[
    "changed",
    "joined",
    "left",
    "removed",
    "banned",
    "unbanned",
    "role_changed",
    "message",
    "edited",
    "deleted",
    "reacted",
    "unreacted",
    "pinned",
    "unpinned",
    "call_started",
    "call_answered",
    "call_ended",
    "closed",
    "hidden",
    "entered",
    "departed",
    "contact_added",
    "contact_removed",
    "blocked",
    "unblocked",
    "muted",
    "settings_changed",
    "session_started",
    "session_ended",
    "user_changed",
];

#[test]
fn l4_an_early_snapshot_and_all_events_make_a_fresh_snapshot() {
    let mut seen = BTreeSet::new();
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.act(step);
            if world.chance.below(8) == 0 {
                let who = world.chance.below(world.people.len());
                world.compare(who, seed, step);
            }
        }
        for who in 0..world.people.len() {
            world.compare(who, seed, STEPS);
        }
        seen.extend(world.seen);
    }
    let missing: Vec<&&str> = EVENTS.iter().filter(|event| !seen.contains(**event)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
    let unknown: Vec<&String> = seen.iter().filter(|event| !EVENTS.contains(&event.as_str())).collect();
    assert!(unknown.is_empty(), "new events, to be named here: {unknown:?}");
}
