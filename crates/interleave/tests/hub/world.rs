//! A server with three connections and two people who change things under their feet.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use chinwag_domain::{
    Actor, Ask, Committed, Prepared, Publish, Reader, Request, Stop, Store,
    facts::Known as Fact,
    port::{Done, Token, Verdict},
    rules,
};
use chinwag_interleave::{
    disk::{self, Disk, Faults, Parts},
    hub::{self, Hub, Identity, Inbox},
    memory::{self, MemoryStore},
    sessions::{Known, Sessions},
};
use chinwag_protocol::{
    Command, ConversationId, ConversationKind, LogId, Millis, Refused, Registration, Seq, SessionId, UserId,
};
use shuttle::{
    future::block_on,
    sync::{Condvar, Mutex},
    thread,
};
use tokio::sync::oneshot;

use crate::{
    broken::Broken,
    client::{self, Client, End, Plan},
};

/// The conversation from which one is removed.
const ROOM: ConversationId = ConversationId(2);
pub(crate) const LOG: LogId = LogId::Conversation(ROOM);

/// Tokens are this byte, many times: Anna's, Ben's, and Ben's on the device that he lost.
const ANNA: u8 = 1;
const BEN: u8 = 2;
const LOST: u8 = 3;

/// Messages before and after the removal.
const BEFORE: usize = 2;
const AFTER: usize = 2;

pub(crate) struct World {
    pub(crate) broken: Broken,
    pub(crate) hub: Hub,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sessions: Arc<Sessions>,
    noted: Mutex<Noted>,
    changed: Condvar,
}

#[derive(Default)]
struct Noted {
    /// How far clients are in the conversation, and who was told that he was removed.
    places: BTreeMap<UserId, (Seq, bool)>,
    /// Tokens of sessions of which somebody was answered that they have ended.
    over: Vec<u8>,
    /// The server is going down: whoever comes now is sent away.
    closing: bool,
}

impl World {
    /// Notes how far a client is, for those who wait for it.
    pub(crate) fn note(&self, user: UserId, client: &Client) {
        let mut noted = self.noted.lock().unwrap();
        let place = client.places.get(&LOG).copied().unwrap_or_default();
        let known = noted.places.entry(user).or_default();
        known.0 = known.0.max(place);
        known.1 |= client.removed;
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Noted) -> bool) {
        let mut noted = self.noted.lock().unwrap();
        while !until(&noted) {
            noted = self.changed.wait(noted).unwrap();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.noted.lock().unwrap().closing
    }

    pub(crate) fn is_over(&self, token: u8) -> bool {
        self.noted.lock().unwrap().over.contains(&token)
    }

    /// Asks for something; the answer comes later.
    fn send(&self, actor: &Actor, command: Command) -> oneshot::Receiver<Verdict> {
        let (answer, answered) = oneshot::channel();
        let prepared = Prepared::of(&command);
        let request = Request::Command { actor: actor.clone(), command, prepared };
        let ticket = Box::new(move |verdict: Verdict| drop(answer.send(verdict)));
        self.store.transact(Ask { request, ticket });
        answered
    }
}

fn succeeds(answer: oneshot::Receiver<Verdict>) {
    block_on(answer).expect("every ticket is called").expect("nothing of this is refused");
}

/// Reads, and waits for what was read.
pub(crate) fn ask<T: Send + 'static>(
    store: &dyn Store,
    read: impl FnOnce(&dyn Reader) -> Fact<T> + Send + 'static,
) -> Result<T, Stop> {
    let (answer, answered) = oneshot::channel();
    store.read(Box::new(move |reader| drop(answer.send(reader.map_err(Stop::from).and_then(read)))));
    block_on(answered).expect("every reading is answered")
}

/// Whose a token is.
pub(crate) fn known(reader: &dyn Reader, token: &[u8; 32]) -> Fact<Option<Known>> {
    let Some(session) = reader.session_by_token(token)? else { return Ok(None) };
    let identity = Identity {
        user: session.user,
        session: session.id,
        directory: true,
        invisible: false,
        hide_read: false,
    };
    Ok(Some(Known { identity, door: None, seen_at: Millis(0) }))
}

/// As in the server: the cache forgets before anybody is told.
struct Publisher {
    broken: Broken,
    hub: Hub,
    sessions: Arc<Sessions>,
}

impl Publish for Publisher {
    fn publish(&self, mut batch: Vec<Committed>) {
        for entry in batch.iter().flat_map(|committed| &committed.entries) {
            self.sessions.follow(entry.log, &entry.event);
        }
        match self.broken {
            Broken::ToldOutOfOrder => {
                let hub = self.hub.clone();
                thread::spawn(move || hub.publish(batch));
            }
            Broken::AnswerBeforeHub => {
                for committed in &mut batch {
                    let ticket = std::mem::replace(&mut committed.ticket, Box::new(drop));
                    ticket(committed.verdict.clone());
                }
                self.hub.publish(batch);
            }
            _ => self.hub.publish(batch),
        }
    }
}

/// What the server knows before anything begins: two people in a conversation, one of them signed in twice.
pub(crate) struct Template {
    pub(crate) state: memory::State,
    pub(crate) anna: Actor,
    pub(crate) ben: Actor,
    lost: SessionId,
}

pub(crate) fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut state = memory::State::default();
        let mut decide = |request| {
            let (_, verdict) =
                state.decide(&|plan, request| rules::decide(plan, request), Millis(1_000), &request);
            verdict.expect("nothing of this is refused")
        };
        decide(Request::Found { registration: Registration::Open, setup: None });
        let prepared = |token: u8| Prepared {
            verified: Some(1),
            password: Some("hash".to_owned()),
            token: Some(Token { plain: String::new(), hash: [token; 32] }),
            ..Prepared::default()
        };
        let mut register = |handle: &str, token| {
            let (invite, device, door) = (None, "one".to_owned(), String::new());
            let done = decide(Request::Register {
                handle: handle.to_owned(),
                invite,
                prepared: prepared(token),
                device,
                door,
            });
            let Done::SignedIn { user, session } = done else { panic!("not signed in: {done:?}") };
            Actor { user, session, door: None }
        };
        let (anna, ben) = (register("anna", ANNA), register("ben", BEN));
        let (device, door) = ("lost".to_owned(), String::new());
        let done = decide(Request::SignIn { user: ben.user, prepared: prepared(LOST), device, door });
        let Done::SignedIn { session: lost, .. } = done else { panic!("not signed in: {done:?}") };
        let command = create("Room");
        let prepared = Prepared::of(&command);
        decide(Request::Command { actor: anna.clone(), command, prepared });
        let command = Command::AddMember { conversation: ROOM, user: ben.user };
        let prepared = Prepared::of(&command);
        decide(Request::Command { actor: anna.clone(), command, prepared });
        Template { state, anna, ben, lost }
    })
}

fn create(name: &str) -> Command {
    let json = serde_json::json!({"create_conversation": {
        "client_id": "create-the-room", "kind": ConversationKind::Group, "name": name
    }});
    serde_json::from_value(json).expect("a command of the protocol")
}

pub(crate) fn post(number: usize) -> Command {
    let json = serde_json::json!({"post": {
        "conversation": ROOM, "client_id": format!("message-{number}"), "text": format!("{number:0>150}")
    }});
    serde_json::from_value(json).expect("a command of the protocol")
}

/// Over which store the world is built.
#[derive(Clone, Copy)]
pub(crate) enum Engine {
    Memory,
    Disk,
}

/// One schedule.
pub(crate) fn live(broken: Broken, engine: Engine) {
    let Template { state, anna, ben, lost } = template();
    let (hub, inbox) = hub::channel();
    let sessions = Arc::<Sessions>::default();
    let publisher = Publisher { broken, hub: hub.clone(), sessions: sessions.clone() };
    let clock = Arc::new(|| Millis(2_000));
    let decide = Arc::new(rules::decide);
    let (state, disk) = (state.clone(), Disk::new(Faults::default()));
    let (publish, there): (Arc<dyn Publish>, _) = (Arc::new(publisher), places(&state));
    let store: Arc<dyn Store> = match engine {
        Engine::Memory => Arc::new(MemoryStore::beginning_with(state, decide, clock.clone(), publish, 64)),
        Engine::Disk => {
            let disk = disk.clone();
            disk::engine::open(Parts { state, decide, clock: clock.clone(), publish, disk, queue: 64 })
        }
    };
    let mut hub_state = Inbox::load(&*store).expect("the hub can be loaded");
    // So little that resuming and falling behind both have to ask the store.
    hub_state.bound_catching_up(2, 1_000);
    let hub_store: Arc<dyn Store> = store.clone();
    let hub_thread = thread::spawn(move || inbox.run(hub_state, &hub_store, &(clock as hub::Clock)));
    let (noted, changed) = (Mutex::default(), Condvar::new());
    let world = Arc::new(World { broken, hub, store, sessions, noted, changed });

    let begun = there;
    let connections = [
        connect(&world, begun.clone(), Plan { token: ANNA, resume: false, cut_after: usize::MAX }),
        connect(&world, begun.clone(), Plan { token: BEN, resume: true, cut_after: 2 }),
        connect(&world, begun, Plan { token: LOST, resume: true, cut_after: 3 }),
    ];
    let ending = {
        let (world, ben, lost) = (world.clone(), ben.clone(), *lost);
        thread::spawn(move || {
            succeeds(world.send(&ben, Command::EndSession { session: lost }));
            world.noted.lock().unwrap().over.push(LOST);
        })
    };
    // Nobody waits for an answer before he goes on.
    let mut answers: Vec<_> = (0..BEFORE).map(|number| world.send(anna, post(number))).collect();
    let removal = Command::RemoveMember { conversation: ROOM, user: ben.user, ban: false };
    answers.push(world.send(anna, removal));
    answers.extend((BEFORE..BEFORE + AFTER).map(|number| world.send(anna, post(number))));
    answers.into_iter().for_each(succeeds);
    ending.join().unwrap();

    let head = ask(&*world.store, |reader| reader.all_heads()).expect("heads can be read");
    let head = head.iter().find(|(log, _)| *log == LOG).expect("there is a conversation").1.seq;
    // Whoever is owed something and is never woken keeps this waiting for ever, which the scheduler notices.
    world.wait(|noted| {
        let anna_has_all = noted.places.get(&anna.user).is_some_and(|(place, _)| *place == head);
        anna_has_all && noted.places.get(&ben.user).is_some_and(|(_, removed)| *removed)
    });
    world.noted.lock().unwrap().closing = true;
    world.hub.close_all(Refused::not_signed_in());
    for connection in connections {
        connection.join().unwrap();
    }
    assert!(world.sessions.find(&[LOST; 32]).is_err(), "cache: an ended session is still remembered");
    world.hub.stop();
    hub_thread.join().unwrap();
    // What is left of the store ends here.
    drop(world);
    assert_eq!(disk.complaints(), Vec::<String>::new());
}

/// What a client has that has been there all the time.
fn places(state: &memory::State) -> Client {
    let places =
        state.all_heads().expect("memory can be read").into_iter().map(|(log, head)| (log, head.seq));
    Client { places: places.collect(), removed: false }
}

/// A client that comes back as often as it is cut, until it is told to go or not let in.
fn connect(world: &Arc<World>, mut client: Client, plan: Plan) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || {
        let mut plan = plan;
        while client::live(&world, &mut client, plan) == End::Cut {
            plan = Plan { resume: true, cut_after: usize::MAX, ..plan };
        }
    })
}
