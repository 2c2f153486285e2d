//! One client of the workload: a device that asks, listens, loses its connection, comes back, and notes everything.
//!
//! It keeps no state of messages, only how far it is in each log; whether what it hears makes sense is for the judge.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_protocol::{
    Anchor, Answer, ClientFrame, ClientSignal, Command, ConversationId, Entry, Event, Hello, Kind, LogId,
    Origin, PROTOCOL_VERSION, Query, Refused, Reply, Seq, ServerFrame, ServerSignal, Snapshot, UserId,
};

use crate::{
    Random,
    history::{History, Op, Position, Seen, What, hash},
    net::{Came, Socket},
};

/// How many of its own messages and of others' a client remembers, to do something with them.
const REMEMBERED: usize = 40;

/// After so long without a word from the server a client asks for one, and after twice that gives the connection up.
const SILENCE: Duration = Duration::from_secs(15);

/// What all clients share.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) history: History,
    pub(crate) users: Vec<u32>,
    pub(crate) places: Vec<Place>,
    /// Between two actions of one client, on average.
    pub(crate) pause: Duration,
    /// Nothing new is begun; what is open is finished.
    pub(crate) quiet: AtomicBool,
    pub(crate) end: AtomicBool,
    pub(crate) calls: AtomicU64,
    /// Only new messages, short ones, that every wire can carry.
    pub(crate) plain: bool,
    /// Conversations in which less is said than elsewhere: so many of a thousand choices stand.
    pub(crate) seldom: Vec<u32>,
    pub(crate) seldom_per_mille: u64,
    /// How often the server was killed.
    pub(crate) crashes: AtomicU64,
}

impl World {
    /// One of these conversations.
    pub(crate) fn choose(&self, random: &mut Random, from: &[u32]) -> u32 {
        let chosen = random.pick(from).copied().unwrap_or_default();
        if !self.seldom.contains(&chosen) || random.per_mille(self.seldom_per_mille) {
            return chosen;
        }
        let often: Vec<u32> = from.iter().copied().filter(|id| !self.seldom.contains(id)).collect();
        random.pick(&often).copied().unwrap_or(chosen)
    }
}

/// A conversation of the workload.
pub(crate) struct Place {
    pub(crate) id: u32,
    /// Never leaves, and so can read everything.
    pub(crate) owner: u32,
    pub(crate) direct: bool,
    pub(crate) public: bool,
}

/// Where a client tells how far it is.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) settled: bool,
    /// Why it last had no connection, if it says so.
    pub(crate) trouble: String,
    pub(crate) positions: BTreeMap<u32, u32>,
}

/// A message as it is asked for, the same each time.
#[derive(Clone)]
struct Message {
    /// In the order in which its author wrote them.
    number: u64,
    conversation: u32,
    client_id: String,
    text: String,
    reply_to: Option<Seq>,
}

enum Asked {
    Post { message: Message, probe: bool },
    Other,
}

/// See the module.
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) user: u32,
    pub(crate) session: u32,
    pub(crate) token: String,
    /// It comes as a web page does: with this cookie instead of the token.
    pub(crate) cookie: Option<String>,
    pub(crate) world: Arc<World>,
    pub(crate) random: Random,
    pub(crate) progress: Arc<std::sync::Mutex<Progress>>,
    pub(crate) link: Link,
}

/// The part of a client that begins empty.
#[derive(Default)]
pub(crate) struct Link {
    socket: Option<Socket>,
    epoch: String,
    positions: BTreeMap<LogId, u32>,
    mine: Vec<u32>,
    asked: HashMap<u64, Asked>,
    again: VecDeque<Message>,
    said: VecDeque<(Message, u32)>,
    others: VecDeque<(u32, u32)>,
    posts: u64,
    pinged: Option<Instant>,
    heard: Option<Instant>,
}

impl Client {
    fn note(&self, what: What) {
        self.world.history.note(self.number, self.user, self.session, what);
    }

    fn is_quiet(&self) -> bool {
        self.world.quiet.load(Ordering::Acquire)
    }

    /// Works until the end.
    pub(crate) fn run(mut self) {
        let mut next = Instant::now() + self.pause();
        let mut retry = Duration::from_millis(5);
        let mut stalled = None;
        while !self.world.end.load(Ordering::Acquire) {
            if self.link.socket.is_none() {
                if self.connect() {
                    retry = Duration::from_millis(5);
                } else {
                    std::thread::park_timeout(retry);
                    retry = (retry * 2).min(Duration::from_millis(100));
                    continue;
                }
            }
            let quiet = self.is_quiet();
            if stalled.is_some_and(|until| Instant::now() < until) && !quiet {
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            stalled = None;
            let wait = if quiet {
                Duration::from_millis(20)
            } else {
                next.saturating_duration_since(Instant::now())
            };
            self.listen(wait.min(Duration::from_millis(50)));
            self.mind_silence();
            self.ask_again();
            if self.link.socket.is_none() {
                continue;
            }
            if !quiet && Instant::now() >= next {
                next = Instant::now() + self.pause();
                stalled = self.act();
            }
            self.tell_progress();
        }
    }

    fn pause(&mut self) -> Duration {
        let mean = u64::try_from(self.world.pause.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.random.below(2 * mean))
    }

    fn tell_progress(&self) {
        let link = &self.link;
        let Ok(mut progress) = self.progress.lock() else { return };
        progress.settled =
            self.is_quiet() && link.socket.is_some() && link.asked.is_empty() && link.again.is_empty();
        if progress.settled {
            let conversation = |(log, seq): (&LogId, &u32)| match log {
                LogId::Conversation(id) if link.mine.contains(&id.0) => Some((id.0, *seq)),
                _ => None,
            };
            progress.positions = link.positions.iter().filter_map(conversation).collect();
        }
    }

    fn connect(&mut self) -> bool {
        let fresh = self.link.positions.is_empty() || self.random.per_mille(150);
        let resume = (!fresh).then(|| Origin {
            epoch: self.link.epoch.clone(),
            positions: self.link.positions.iter().map(|(log, seq)| (*log, Seq(*seq))).collect(),
        });
        let token = self.cookie.is_none().then(|| self.token.clone());
        let hello = ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, token, resume });
        let Some(mut socket) = Socket::open(self.world.address, self.cookie.as_deref(), &hello) else {
            return false;
        };
        socket.wait_at_most(Duration::from_secs(10));
        let Came::Frame(frame) = socket.next() else { return false };
        match *frame {
            ServerFrame::Welcome(welcome) => {
                if self.link.epoch != welcome.epoch {
                    // Another store: what was acknowledged by the one before may not be there.
                    self.link.said.clear();
                    self.link.others.clear();
                }
                self.link.epoch = welcome.epoch;
                self.begin(&welcome.snapshot);
            }
            ServerFrame::Resumed(_) => self.note(What::Open { snapshot: None }),
            _ => return false,
        }
        self.link.socket = Some(socket);
        self.link.heard = Some(Instant::now());
        true
    }

    fn begin(&mut self, snapshot: &Snapshot) {
        let mut positions: Vec<Position> = snapshot
            .positions
            .iter()
            .map(|(log, seq)| Position { log: log.to_string(), seq: seq.0, unread: None })
            .collect();
        let link = &mut self.link;
        link.positions = snapshot.positions.iter().map(|(log, seq)| (*log, seq.0)).collect();
        link.mine.clear();
        for view in &snapshot.conversations {
            let unread =
                view.mine.as_ref().map(|mine| (view.head.messages, mine.read.seq.0, mine.read.messages));
            positions.push(Position { log: format!("c{}", view.id), seq: view.head.seq.0, unread });
            link.positions.insert(LogId::Conversation(view.id), view.head.seq.0);
            link.mine.push(view.id.0);
        }
        self.note(What::Open { snapshot: Some(positions) });
    }

    /// The connection is gone: what was open is unknown, and asked again.
    fn lose(&mut self) {
        if let Some(socket) = self.link.socket.take() {
            socket.cut();
        }
        self.note(What::Cut);
        let mut open: Vec<_> = self.link.asked.drain().collect();
        open.sort_by_key(|(call, _)| *call);
        for (call, asked) in open {
            self.note(What::Info { call });
            if let Asked::Post { message, probe: false } = asked {
                self.link.again.push_back(message);
            }
        }
        // A server that goes down refuses what comes in before it answers what it has.
        self.link.again.make_contiguous().sort_by_key(|message| message.number);
    }

    fn send(&mut self, frame: &ClientFrame) {
        if self.link.socket.as_mut().is_some_and(|socket| !socket.send(frame)) {
            self.lose();
        }
    }

    fn call(&mut self, op: Op, asked: Asked, command: Command) {
        let call = self.world.calls.fetch_add(1, Ordering::Relaxed);
        self.note(What::Invoke { call, op });
        self.link.asked.insert(call, asked);
        self.send(&ClientFrame::Command { id: call, command });
    }

    fn look(&mut self, op: Op, get: Query) {
        let call = self.world.calls.fetch_add(1, Ordering::Relaxed);
        self.note(What::Invoke { call, op });
        self.link.asked.insert(call, Asked::Other);
        self.send(&ClientFrame::Query { id: call, get });
    }

    fn post(&mut self, message: Message, probe: bool) {
        let Message { conversation, client_id, text, reply_to, .. } = message.clone();
        let seen = self.position(conversation);
        let op = Op::Post { conversation, client_id: client_id.clone(), body_hash: hash(&text), seen };
        let conversation = ConversationId(conversation);
        let command = Command::Post {
            conversation,
            client_id,
            text,
            attachments: Vec::new(),
            reply_to,
            thread: None,
            sent_at: None,
        };
        self.call(op, Asked::Post { message, probe }, command);
    }

    /// What got no answer is asked again, in the order in which it was asked first, before anything new.
    fn ask_again(&mut self) {
        while self.link.socket.is_some() {
            let Some(message) = self.link.again.pop_front() else { return };
            self.post(message, false);
        }
    }

    fn position(&self, conversation: u32) -> u32 {
        self.link
            .positions
            .get(&LogId::Conversation(ConversationId(conversation)))
            .copied()
            .unwrap_or_default()
    }

    // ---- doing something

    /// One action; until when the client then stops reading, if it does.
    fn act(&mut self) -> Option<Instant> {
        let place = self.place();
        match self.random.below(1000) {
            0..640 => self.say(place),
            640..690 | 870..910 if self.world.plain => self.say(place),
            640..690 => self.change(),
            690..740 => self.react(),
            740..820 => self.move_cursor(place),
            820..870 => self.read(place),
            870..910 => self.change_members(),
            910..940 => self.repeat(),
            940..965 => self.lose(),
            965..975 => {
                let stall = 200 + self.random.below(1_500);
                self.note(What::Stall);
                return Some(Instant::now() + Duration::from_millis(stall));
            }
            _ => self.ping(),
        }
        None
    }

    /// One of one's own conversations; now and then any other, to see whether that is refused.
    fn place(&mut self) -> u32 {
        let all: Vec<u32> = self.world.places.iter().map(|place| place.id).collect();
        let mine: Vec<u32> = all.iter().copied().filter(|id| self.link.mine.contains(id)).collect();
        let from = if mine.is_empty() || self.random.per_mille(40) { all } else { mine };
        self.world.choose(&mut self.random, &from)
    }

    fn say(&mut self, conversation: u32) {
        self.link.posts += 1;
        let client_id = format!("k{}-{}", self.number, self.link.posts);
        let length = if self.random.per_mille(60) && !self.world.plain {
            self.random.below(6_000)
        } else {
            self.random.below(400)
        };
        let text = format!("{client_id} {}", "wag ".repeat(usize::try_from(length / 4).unwrap_or_default()));
        let text = text.trim_end().to_owned();
        let answered = self.link.others.iter().rev().find(|(place, _)| *place == conversation).copied();
        let reply_to =
            answered.filter(|_| !self.world.plain && self.random.per_mille(100)).map(|(_, seq)| Seq(seq));
        let number = self.link.posts;
        self.post(Message { number, conversation, client_id, text, reply_to }, false);
    }

    fn one_said(&mut self) -> Option<(Message, u32)> {
        let at = usize::try_from(self.random.below(self.link.said.len() as u64)).ok()?;
        self.link.said.get(at).cloned()
    }

    /// Edits or deletes something of one's own.
    fn change(&mut self) {
        let Some((Message { conversation, client_id, .. }, message)) = self.one_said() else { return };
        let (id, seq) = (ConversationId(conversation), Seq(message));
        if self.random.per_mille(300) {
            let op = Op::Touch { conversation, message, kind: "deleted".to_owned() };
            self.call(op, Asked::Other, Command::Delete { conversation: id, message: seq });
        } else {
            let text = format!("{client_id} changed {}", self.random.number());
            let op = Op::Edit { conversation, message, body_hash: hash(&text) };
            self.call(op, Asked::Other, Command::Edit { conversation: id, message: seq, text });
        }
    }

    fn react(&mut self) {
        let others: Vec<_> = self.link.others.iter().copied().collect();
        let Some((conversation, message)) = self.random.pick(&others).copied() else { return };
        let (id, seq, emoji) = (ConversationId(conversation), Seq(message), "👍".to_owned());
        if self.random.per_mille(700) {
            let op = Op::Touch { conversation, message, kind: "reacted".to_owned() };
            self.call(op, Asked::Other, Command::React { conversation: id, message: seq, emoji });
        } else {
            let op = Op::Touch { conversation, message, kind: "unreacted".to_owned() };
            self.call(op, Asked::Other, Command::Unreact { conversation: id, message: seq, emoji });
        }
    }

    fn move_cursor(&mut self, conversation: u32) {
        let to = self.position(conversation);
        // A device that looks at something older must not set the others back.
        let cursor = if self.random.per_mille(300) {
            u32::try_from(self.random.below(u64::from(to) + 1)).unwrap_or(to)
        } else {
            to
        };
        let call = self.world.calls.fetch_add(1, Ordering::Relaxed);
        self.note(What::Invoke { call, op: Op::Cursor { conversation, cursor } });
        let (conversation, delivered, read) = (ConversationId(conversation), Seq(to), Seq(cursor));
        self.send(&ClientFrame::Signal(ClientSignal::Cursor { conversation, delivered, read }));
    }

    fn read(&mut self, conversation: u32) {
        let id = ConversationId(conversation);
        if self.random.per_mille(400) {
            let get = Query::History { conversation: id, anchor: Anchor::Latest, limit: 30 };
            return self.look(Op::Latest { conversation }, get);
        }
        let to = self.position(conversation);
        let back = u32::try_from(self.random.below(120)).unwrap_or_default();
        let after = to.saturating_sub(back);
        let get = Query::Entries { log: LogId::Conversation(id), after: Seq(after), limit: 200 };
        self.look(Op::Read { conversation, after }, get);
    }

    fn change_members(&mut self) {
        let at = usize::try_from(self.random.below(self.world.places.len() as u64)).unwrap_or_default();
        let world = self.world.clone();
        let Some(place) = world.places.get(at).filter(|place| !place.direct) else { return };
        let (conversation, id) = (place.id, ConversationId(place.id));
        let member = self.link.mine.contains(&conversation);
        if place.owner == self.user {
            let Some(subject) = self.random.pick(&world.users).copied().filter(|user| *user != self.user)
            else {
                return;
            };
            let user = UserId(subject);
            if self.random.per_mille(550) {
                let op = Op::Enter { conversation, subject };
                self.call(op, Asked::Other, Command::AddMember { conversation: id, user });
            } else {
                let op = Op::Leave { conversation, subject };
                self.call(op, Asked::Other, Command::RemoveMember { conversation: id, user, ban: false });
            }
        } else if member && self.random.per_mille(400) {
            let op = Op::Leave { conversation, subject: self.user };
            self.call(op, Asked::Other, Command::Leave { conversation: id });
        } else if place.public || self.random.per_mille(100) {
            let op = Op::Enter { conversation, subject: self.user };
            self.call(op, Asked::Other, Command::Join { conversation: id });
        }
    }

    /// Says again what was acknowledged, sometimes with another text.
    fn repeat(&mut self) {
        let Some((mut message, _)) = self.one_said() else { return };
        if self.random.per_mille(250) {
            message.text.push_str(" otherwise");
        }
        self.post(message, true);
    }

    fn ping(&mut self) {
        if self.link.pinged.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
            self.link.pinged = Some(Instant::now());
            self.send(&ClientFrame::Ping {});
        }
    }

    // ---- listening

    /// A cable that was pulled tells nobody: only silence does.
    fn mind_silence(&mut self) {
        let silent = self.link.heard.map_or(Duration::ZERO, |at| at.elapsed());
        if silent > 2 * SILENCE {
            self.lose();
        } else if silent > SILENCE {
            self.ping();
        }
    }

    fn listen(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        // Whatever has come is taken, but an action that is due is not put off for ever.
        for _ in 0..2_000 {
            let Some(socket) = &mut self.link.socket else { return };
            socket.wait_at_most(until.saturating_duration_since(Instant::now()));
            match socket.next() {
                Came::Frame(frame) => {
                    self.link.heard = Some(Instant::now());
                    self.hear(*frame);
                }
                Came::Nothing => return,
                Came::End => return self.lose(),
            }
        }
    }

    fn hear(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Entry(entry) => self.take(&entry),
            ServerFrame::CaughtUp {} => self.note(What::CaughtUp),
            ServerFrame::Done { id, reply } => {
                let seq = match reply {
                    Reply::Posted(posted) => Some(posted.seq.0),
                    _ => None,
                };
                self.note(What::Ok { call: id, seq, page: None, more: false });
                let asked = self.link.asked.remove(&id);
                if let (Some(Asked::Post { message, probe: false }), Some(seq)) = (asked, seq) {
                    self.link.said.push_back((message, seq));
                    shorten(&mut self.link.said);
                }
            }
            ServerFrame::Answer { id, answer } => {
                self.link.asked.remove(&id);
                let (page, more) = match answer {
                    Answer::Entries { entries, more } => (entries.iter().map(Seen::from).collect(), more),
                    Answer::History(page) => {
                        (page.items.iter().map(|item| Seen::from(&item.entry)).collect(), page.more_after)
                    }
                    _ => (Vec::new(), true),
                };
                self.note(What::Ok { call: id, seq: None, page: Some(page), more });
            }
            ServerFrame::Refused { id: Some(call), refused } => self.refused(call, &refused),
            ServerFrame::Signal(ServerSignal::Cursor(moved)) => self.note(What::Cursor {
                conversation: moved.conversation.0,
                of: moved.user.0,
                delivered: moved.delivered.0,
                read: moved.read.seq.0,
                messages: moved.read.messages,
            }),
            ServerFrame::Closing(_) => self.lose(),
            _ => {}
        }
    }

    fn refused(&mut self, call: u64, refused: &Refused) {
        let asked = self.link.asked.remove(&call);
        let again = matches!(asked, Some(Asked::Post { probe: false, .. }));
        match refused.kind {
            // It may have happened; or it certainly did not, but was no answer to the question.
            Kind::Unavailable => self.note(What::Info { call }),
            Kind::TooMany | Kind::StorageFull if !again => self.note(What::Info { call }),
            // Certainly not stored. Asked again, it takes its place then, behind others that did not have to be.
            Kind::TooMany | Kind::StorageFull => self.note(What::Fail { call, code: refused.code.clone() }),
            _ => return self.note(What::Fail { call, code: refused.code.clone() }),
        }
        if let Some(Asked::Post { message, probe: false }) = asked {
            self.link.again.push_back(message);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn take(&mut self, entry: &Entry) {
        self.note(What::Entry { entry: Seen::from(entry) });
        let link = &mut self.link;
        let position = link.positions.entry(entry.log).or_default();
        *position = entry.seq.0.max(*position);
        match &entry.event {
            Event::Entered { conversation } => {
                let position = link.positions.entry(LogId::Conversation(conversation.id)).or_default();
                *position = conversation.head.seq.0.max(*position);
                if !link.mine.contains(&conversation.id.0) {
                    link.mine.push(conversation.id.0);
                }
            }
            Event::Departed { conversation } => link.mine.retain(|id| *id != conversation.0),
            Event::Message(_) => {
                if let LogId::Conversation(id) = entry.log {
                    link.others.push_back((id.0, entry.seq.0));
                    shorten(&mut link.others);
                }
            }
            _ => {}
        }
    }
}

fn shorten<T>(queue: &mut VecDeque<T>) {
    while queue.len() > REMEMBERED {
        queue.pop_front();
    }
}
