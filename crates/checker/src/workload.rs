//! Many clients at once against one server, all their choices from one seed, and at the end a look at the whole.
//!
//! Does nothing to the server: whoever kills or slows it says so with [`Workload::crash`] and, when everything is well
//! again, [`Workload::heal`].

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use chinwag_protocol::{
    Answer, Command, ConversationId, ConversationKind, Device, Entry, History as Past, LogId, Query, Refused,
    Reply, Seq, SignedIn, UserId,
};

use crate::{
    Random,
    client::{Client, Link, Place, Progress, World},
    history::{History, Op, Record, Seen, What},
    judge, net,
};

/// Enough for clients that have nothing to wait for but the server.
const SETTLE: Duration = Duration::from_secs(20);

/// Of every account.
const PASSWORD: &str = "correct horse battery";

/// How much is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens, through all its restarts.
    pub address: SocketAddr,
    /// What all choices follow from.
    pub seed: u64,
    /// People.
    pub users: u32,
    /// Devices of each.
    pub devices: u32,
    /// Conversations, of all kinds.
    pub conversations: u32,
    /// Actions of all clients together in a second.
    pub actions_per_s: u32,
}

/// Somebody at one device.
pub(crate) struct Person {
    pub(crate) user: u32,
    pub(crate) session: u32,
    pub(crate) token: String,
    /// It is a web page, which shows this.
    pub(crate) cookie: Option<String>,
}

/// A running workload.
pub struct Workload {
    world: Arc<World>,
    people: Vec<Person>,
    threads: Vec<JoinHandle<()>>,
    progress: Vec<Arc<Mutex<Progress>>>,
    /// How long after the heal everything may take before the workload stops waiting; the judge is stricter.
    settle: Duration,
}

impl Workload {
    /// One in which nothing goes on yet.
    pub(crate) fn idle(world: Arc<World>, settle: Duration) -> Self {
        Self { world, people: Vec::new(), threads: Vec::new(), progress: Vec::new(), settle }
    }

    /// Makes the accounts and conversations, and starts all clients.
    pub fn start(plan: &Plan) -> Result<Self, Refused> {
        let random = Random::new(plan.seed);
        let history = History::default();
        let mut people: Vec<Vec<Person>> = Vec::new();
        for number in 0..plan.users {
            // Other runs against the same server have other names.
            let handle = format!("k{:x}-{number}", plan.seed & 0xffff_ffff);
            let mut devices = vec![sign_in(plan.address, "/api/register", &handle, PASSWORD)?];
            for _ in 1..plan.devices.max(1) {
                devices.push(sign_in(plan.address, "/api/sign-in", &handle, PASSWORD)?);
            }
            people.push(devices);
        }
        let users: Vec<u32> = people.iter().filter_map(|devices| Some(devices.first()?.user)).collect();
        let clients = u64::from(plan.users) * u64::from(plan.devices.max(1));
        let pause =
            Duration::from_secs(1) * u32::try_from(clients).unwrap_or(u32::MAX) / plan.actions_per_s.max(1);
        let mut world = World {
            address: plan.address,
            history,
            users,
            places: Vec::new(),
            pause,
            quiet: AtomicBool::new(false),
            end: AtomicBool::new(false),
            calls: AtomicU64::new(1),
            plain: false,
            seldom: Vec::new(),
            seldom_per_mille: 0,
            crashes: AtomicU64::new(0),
        };
        make_places(&mut world, &people, plan, random.fork(1))?;
        let world = Arc::new(world);
        let mut all = Self::idle(world, SETTLE);
        for device in people.into_iter().flatten() {
            all.start_client(device, &random);
        }
        Ok(all)
    }

    /// The number of the next client.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.threads.len() + 1).unwrap_or(u32::MAX)
    }

    /// Takes a client that is not of this protocol into account.
    pub(crate) fn add(&mut self, thread: JoinHandle<()>, progress: Arc<Mutex<Progress>>, person: Person) {
        self.threads.push(thread);
        self.progress.push(progress);
        self.people.push(person);
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Why whoever has no connection has none, as far as it is known.
    pub(crate) fn troubles(&self) -> String {
        let mut all = Vec::new();
        for progress in self.progress.iter().filter_map(|progress| progress.lock().ok()) {
            if !progress.settled {
                all.push(progress.trouble.clone());
            }
        }
        all.join("; ")
    }

    /// Whether all clients have come as far as they can without others.
    pub(crate) fn is_settled(&self) -> bool {
        self.progress.iter().all(|progress| progress.lock().is_ok_and(|progress| progress.settled))
    }

    pub(crate) fn start_client(&mut self, device: Person, random: &Random) {
        let number = self.next();
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let client = Client {
            number,
            user: device.user,
            session: device.session,
            token: device.token.clone(),
            cookie: device.cookie.clone(),
            world: self.world.clone(),
            random: random.fork(100 + u64::from(number)),
            progress: progress.clone(),
            link: Link::default(),
        };
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || client.run());
        if let Ok(thread) = thread {
            self.add(thread, progress, device);
        }
    }

    /// What is noted so far.
    pub fn history(&self) -> &History {
        &self.world.history
    }

    /// The server was killed, and is not yet started again.
    pub fn crash(&self) {
        self.world.history.mark(What::Crash);
        self.world.crashes.fetch_add(1, Ordering::AcqRel);
    }

    /// A backup is about to be taken.
    pub fn backup(&self) {
        self.world.history.mark(What::Backup);
    }

    /// The server was killed, and will be started with the store of the last backup.
    pub fn restored(&self) {
        self.world.history.mark(What::Restored);
    }

    /// The server is well again: nothing new is begun, everybody comes back and gets what is missing, then the logs
    /// are read as a whole. The history of it all.
    pub fn heal(self) -> Result<Vec<Record>, Refused> {
        self.world.history.mark(What::Heal);
        self.world.quiet.store(true, Ordering::Release);
        let until = Instant::now() + self.settle;
        let result = self.read_finals(until);
        self.world.end.store(true, Ordering::Release);
        for thread in self.threads {
            let _ = thread.join();
        }
        for what in final_logs(&result?) {
            self.world.history.mark(what);
        }
        Ok(self.world.history.records())
    }

    /// Waits until everybody has everything, or too long; then what the logs are.
    fn read_finals(&self, until: Instant) -> Result<Vec<(u32, Vec<Entry>)>, Refused> {
        while !self.is_settled() && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let mut finals = self.finals()?;
        while Instant::now() < until {
            let heads: Vec<(u32, usize)> = finals.iter().map(|(id, log)| (*id, log.len())).collect();
            let behind = |progress: &Arc<Mutex<Progress>>| {
                progress.lock().is_ok_and(|progress| {
                    heads.iter().any(|(id, head)| {
                        progress
                            .positions
                            .get(id)
                            .is_some_and(|seq| usize::try_from(*seq).is_ok_and(|seq| seq < *head))
                    })
                })
            };
            if self.progress.iter().any(behind) || self.world.plain && self.is_told_less(&finals) {
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            }
            // An action whose connection was cut may have come to pass late.
            let again = self.finals()?;
            let same = again.iter().map(|(_, log)| log.len()).eq(heads.iter().map(|(_, head)| *head));
            finals = again;
            if same {
                break;
            }
        }
        Ok(finals)
    }

    /// Whether a program of another wire has not been told everything yet.
    fn is_told_less(&self, finals: &[(u32, Vec<Entry>)]) -> bool {
        let history = History::default();
        final_logs(finals).for_each(|what| history.mark(what));
        let mut records = self.world.history.records();
        records.extend(history.records());
        judge::is_told_less(&records)
    }

    fn finals(&self) -> Result<Vec<(u32, Vec<Entry>)>, Refused> {
        let mut finals = Vec::new();
        for place in &self.world.places {
            let owner = self.people.iter().find(|person| person.user == place.owner);
            let Some(owner) = owner else { continue };
            let mut log: Vec<Entry> = Vec::new();
            loop {
                let after = log.last().map_or(Seq::ZERO, |entry| entry.seq);
                let query =
                    Query::Entries { log: LogId::Conversation(ConversationId(place.id)), after, limit: 200 };
                match net::post(self.world.address, "/api/query", Some(&owner.token), &query)? {
                    Answer::Entries { entries, more } => {
                        log.extend(entries);
                        if !more {
                            break;
                        }
                    }
                    other => return Err(strange(&other)),
                }
            }
            finals.push((place.id, log));
        }
        Ok(finals)
    }
}

fn final_logs(finals: &[(u32, Vec<Entry>)]) -> impl Iterator<Item = What> {
    finals.iter().map(|(conversation, log)| What::Final {
        conversation: *conversation,
        log: log.iter().map(Seen::from).collect(),
    })
}

pub(crate) fn strange(what: &impl std::fmt::Debug) -> Refused {
    Refused::new(chinwag_protocol::Kind::Unavailable, "strange", format!("{what:?}"))
}

/// Who comes in, and by which password.
pub(crate) fn device(handle: &str, password: &str, cookie: bool) -> Device {
    Device {
        handle: handle.to_owned(),
        password: password.to_owned(),
        device: "checker".to_owned(),
        invite: None,
        cookie,
    }
}

pub(crate) fn sign_in(
    address: SocketAddr,
    path: &str,
    handle: &str,
    password: &str,
) -> Result<Person, Refused> {
    let device = device(handle, password, false);
    let SignedIn { user, session, token, .. } = net::post(address, path, None, &device)?;
    let token = token.ok_or_else(|| strange(&"no token"))?;
    Ok(Person { user: user.0, session: session.0, token, cookie: None })
}

/// Notes that somebody made somebody a member.
pub(crate) fn entered(world: &World, conversation: u32, by: u32, subject: u32) {
    let call = world.calls.fetch_add(1, Ordering::Relaxed);
    let note = |what| world.history.note(0, by, 0, what);
    note(What::Invoke { call, op: Op::Enter { conversation, subject } });
    note(What::Ok { call, seq: None, page: None, more: false });
}

/// Conversations of all kinds: public and private, with the past or without, between two.
fn make_places(
    world: &mut World,
    people: &[Vec<Person>],
    plan: &Plan,
    mut random: Random,
) -> Result<(), Refused> {
    for number in 0..plan.conversations {
        let Some(owner) = random.pick(people).and_then(|devices| devices.first()) else { return Ok(()) };
        let others: Vec<u32> = world.users.iter().copied().filter(|user| *user != owner.user).collect();
        let direct = number % 5 == 4;
        let (command, members) = if direct {
            let Some(other) = random.pick(&others).copied() else { continue };
            (Command::OpenDirect { user: UserId(other) }, vec![other])
        } else {
            let members: Vec<u32> = others.into_iter().filter(|_| random.per_mille(600)).collect();
            let command = Command::CreateConversation {
                client_id: format!("make-{number}"),
                kind: ConversationKind::Group,
                name: format!("Place {number}"),
                handle: None,
                topic: String::new(),
                public: number % 2 == 0,
                history: if number % 3 == 0 { Past::FromJoining } else { Past::All },
                posting: None,
                members: members.iter().map(|user| UserId(*user)).collect(),
            };
            (command, members)
        };
        let id = match net::post(world.address, "/api/command", Some(&owner.token), &command)? {
            Reply::Conversation { conversation } => conversation.0,
            other => return Err(strange(&other)),
        };
        if world.places.iter().any(|place| place.id == id) {
            continue;
        }
        for subject in members.into_iter().chain([owner.user]) {
            entered(world, id, owner.user, subject);
        }
        world.places.push(Place { id, owner: owner.user, direct, public: !direct && number % 2 == 0 });
    }
    Ok(())
}
