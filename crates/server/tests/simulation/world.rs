//! The whole core in one thread: people with devices, a server, a disk, and somebody who breaks things.
//!
//! A seed decides everything. Time is a number that grows by a few milliseconds at each step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use chinwag_domain::{
    Ask, Prepared, Publish, Request, Store, Token,
    port::{Done, Verdict},
};
use chinwag_protocol::{
    ConversationId, CursorMoved, Entry, Event, LogId, Millis, Registration, Seq, ServerFrame, ServerSignal,
    SessionId, UserId,
};
use chinwag_server::{
    hub::{self, Clock, Hub, Inbox, frame},
    messenger::Publisher,
    sessions::Sessions,
};

use crate::{
    canary::Canary,
    chance::Chance,
    device::{Device, Draft},
    disk::Disk,
    link::{Around, Link},
    oracle::Oracle,
    waits::Wait,
};

/// Bounds that are large in a real server; small ones make rare paths common.
#[derive(Debug)]
pub(crate) struct Rare {
    pub(crate) outbox_bytes: usize,
    pub(crate) recent: usize,
    pub(crate) missed: u64,
    pub(crate) page: usize,
    pub(crate) pipe_bytes: usize,
    pub(crate) write_frames: usize,
    pub(crate) batch: usize,
    pub(crate) waiting: usize,
}

impl Rare {
    fn new(chance: &mut Chance) -> Self {
        Self {
            outbox_bytes: chance.of(&[500, 2_000, 8_000, 256 * 1024]),
            recent: chance.of(&[1, 4, 128]),
            missed: chance.of(&[20, 200, 5_000]),
            page: chance.of(&[1, 3, 200]),
            pipe_bytes: chance.of(&[300, 4_000, 64 * 1024]),
            write_frames: chance.of(&[1, 64]),
            batch: chance.of(&[1, 4, 512]),
            waiting: chance.of(&[3, 4_096]),
        }
    }
}

struct Server {
    hub: Hub,
    inbox: Inbox,
    state: hub::State,
    sessions: Arc<Sessions>,
    publisher: Publisher,
    /// Inputs that the hub has handled, and which one the last batch is.
    handled: u64,
    batch: u64,
    ticked_at: Millis,
}

type Answered = Arc<Mutex<Option<Verdict>>>;

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) oracle: Oracle,
    pub(crate) devices: Vec<Device>,
    pub(crate) users: Vec<UserId>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) canary: Option<Canary>,
    store: Arc<dyn Store>,
    server: Option<Server>,
    links: Vec<Link>,
    rare: Rare,
    time: Arc<AtomicI64>,
    clock: Clock,
    tokens: u32,
    pub(crate) numbers: u64,
    signing_in: BTreeMap<usize, (Answered, [u8; 32])>,
    /// Where crashes have hit.
    pub(crate) crashed_at: BTreeSet<Wait>,
    down_until: Millis,
    full_until: Millis,
    /// How often something breaks: once in so many steps.
    trouble: usize,
    frames: HashMap<usize, (Bytes, Rc<ServerFrame>)>,
    hash: u64,
    pub(crate) log: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64, canary: Option<Canary>) -> Self {
        let mut chance = Chance::new(seed);
        let rare = Rare::new(&mut chance);
        let time = Arc::new(AtomicI64::new(1_000_000));
        let now = Arc::clone(&time);
        let disk = Arc::new(Disk::new(canary, rare.waiting));
        let trouble = chance.of(&[40, 100, 400]);
        let mut world = Self {
            chance,
            oracle: Oracle::default(),
            devices: Vec::new(),
            users: Vec::new(),
            store: disk.clone(),
            disk,
            canary,
            server: None,
            links: Vec::new(),
            rare,
            clock: Arc::new(move || Millis(now.load(Ordering::Relaxed))),
            time,
            tokens: 0,
            numbers: 0,
            signing_in: BTreeMap::new(),
            crashed_at: BTreeSet::new(),
            down_until: Millis(0),
            full_until: Millis(0),
            trouble,
            frames: HashMap::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            log: VecDeque::new(),
        };
        world.settle();
        world
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.time.load(Ordering::Relaxed))
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn rare(&self) -> &Rare {
        &self.rare
    }

    /// Keeps the last words for whoever has to find out why.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.log.len() >= 400 {
            self.log.pop_front();
        }
        self.log.push_back(what());
    }

    fn stir(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn fresh_token(&mut self) -> Token {
        self.tokens += 1;
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&self.tokens.to_be_bytes());
        Token { plain: format!("ses_{}", self.tokens), hash }
    }

    /// Founds the server and registers everybody, before anything can break.
    fn settle(&mut self) {
        let setup = Some([255; 32]);
        self.at_once(Request::Found { registration: Registration::Open, setup }).unwrap();
        for number in 0..self.chance.between(3, 7) {
            let token = self.fresh_token();
            let hash = token.hash;
            let prepared =
                Prepared { password: Some("hash".into()), token: Some(token), ..Prepared::default() };
            let request = Request::Register {
                handle: format!("user{number}x"),
                invite: setup.filter(|_| number == 0),
                prepared,
                device: "one".into(),
                door: String::new(),
            };
            let Ok(Done::SignedIn { user, session }) = self.at_once(request) else {
                panic!("not registered")
            };
            self.users.push(user);
            self.devices.push(Device::new(user, session, hash, self.canary));
            for _ in 1..self.chance.of(&[1, 1, 2, 3]) {
                let token = self.fresh_token();
                let hash = token.hash;
                let prepared = Prepared { verified: Some(1), token: Some(token), ..Prepared::default() };
                let (device, door) = ("more".into(), String::new());
                let Ok(Done::SignedIn { session, .. }) =
                    self.at_once(Request::SignIn { user, prepared, device, door })
                else {
                    panic!("not signed in")
                };
                self.devices.push(Device::new(user, session, hash, self.canary));
            }
        }
        self.disk.write_cursors();
        self.start();
    }

    /// Decides and tells a request at once, where nothing else is going on.
    fn at_once(&mut self, request: Request) -> Verdict {
        let answered = self.ask(request);
        loop {
            self.commit(1);
            while let Some(batch) = self.disk.next_committed() {
                for committed in batch {
                    (committed.ticket)(committed.verdict);
                }
            }
            if let Some(verdict) = answered.lock().unwrap().take() {
                return verdict;
            }
        }
    }

    fn ask(&self, request: Request) -> Answered {
        let answered: Answered = Arc::default();
        let slot = Arc::clone(&answered);
        let ticket = Box::new(move |verdict| *slot.lock().unwrap() = Some(verdict));
        self.disk.transact(Ask { request, ticket });
        answered
    }

    fn start(&mut self) {
        let (hub, inbox) = hub::channel();
        self.disk.answer_at_once(true);
        let mut state = Inbox::load(&*self.store).unwrap();
        self.disk.answer_at_once(false);
        state.bound_catching_up(self.rare.recent, self.rare.missed);
        state.bound_connections(10, 20);
        let sessions = Arc::<Sessions>::default();
        let publisher = Publisher { hub: hub.clone(), sessions: sessions.clone(), chores: Arc::default() };
        self.server = Some(Server {
            hub,
            inbox,
            state,
            sessions,
            publisher,
            handled: 0,
            batch: 0,
            ticked_at: self.now(),
        });
    }

    /// Lives for so many steps under faults.
    pub(crate) fn live(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.oracle.broken.is_some() {
                return;
            }
            self.pass(3);
            if self.chance.one_in(self.trouble) {
                self.break_something();
            }
            self.step();
        }
    }

    fn pass(&mut self, ms: i64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
        let now = self.now();
        if self.server.is_none() && now >= self.down_until {
            self.note(|| "the server starts".into());
            self.start();
        }
        if self.full_until != Millis(0) && now >= self.full_until {
            self.full_until = Millis(0);
            self.disk.fill_up(false);
        }
        if let Some(server) = self.server.as_mut().filter(|server| now.0 - server.ticked_at.0 >= 200) {
            server.ticked_at = now;
            server.inbox.tick(&mut server.state, &self.store);
        }
        if self.disk.is_stopped() && self.server.is_some() && self.chance.one_in(10) {
            self.crash();
        }
    }

    fn step(&mut self) {
        match self.chance.below(40) {
            0..=7 => self.act(),
            8..=9 => {
                let most = self.chance.between(1, self.rare.batch.min(16));
                self.commit(most);
            }
            10..=11 => self.publish(),
            12..=17 => {
                self.hub_step();
            }
            18..=20 => {
                self.read_step();
            }
            21..=29 if !self.links.is_empty() => {
                let chosen = self.chance.below(self.links.len());
                self.link_step(chosen);
            }
            _ => {
                let chosen = self.chance.below(self.devices.len());
                self.device_step(chosen);
            }
        }
        if self.chance.one_in(300) {
            self.disk.write_cursors();
        }
    }

    fn commit(&mut self, most: usize) {
        let now = self.now();
        let recorded = self.disk.commit(most, now);
        self.record(&recorded);
    }

    fn record(&mut self, recorded: &[Arc<Entry>]) {
        self.stir(&(recorded.len() as u32).to_be_bytes());
        for entry in recorded {
            self.note(|| format!("committed {} {} by {}: {:?}", entry.log, entry.seq, entry.by, entry.event));
        }
        self.oracle.commit(recorded);
    }

    fn publish(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some(mut batch) = self.disk.next_committed() else { return };
        match self.canary {
            Some(Canary::RevokeWithoutClosing) => {
                for committed in &mut batch {
                    committed.entries.retain(|entry| !matches!(entry.event, Event::SessionEnded { .. }));
                }
            }
            Some(Canary::MembershipAtSubscribeOnly) => {
                for entry in batch.iter().flat_map(|committed| &committed.entries) {
                    let LogId::Conversation(id) = entry.log else { continue };
                    for link in self.links.iter().filter(|link| link.subscribed.contains(&id)) {
                        let user = link.user().expect("it is subscribed");
                        let member = self.disk.look(|reader| reader.member(id, user)).unwrap();
                        if member.is_some_and(|member| !member.is_active()) {
                            let told = frame(&ServerFrame::Entry(Entry::clone(entry)));
                            let _ = link.outbox.entry(entry.log, entry.seq, told);
                        }
                    }
                }
            }
            _ => {}
        }
        server.publisher.publish(batch);
        server.batch = server.handled + server.inbox.waiting() as u64;
    }

    fn hub_step(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let moved = server.inbox.step(&mut server.state, &self.store, &self.clock);
        server.handled += u64::from(moved);
        moved
    }

    fn read_step(&mut self) -> bool {
        let chance = &mut self.chance;
        self.disk.answer_one(|count| chance.below(count))
    }

    fn link_step(&mut self, chosen: usize) -> bool {
        let Some(server) = &self.server else { return false };
        let now = self.now();
        let around = Around {
            disk: &self.disk,
            hub: &server.hub,
            sessions: &server.sessions,
            rare: &self.rare,
            canary: self.canary,
            now,
        };
        let link = &mut self.links[chosen];
        let moved = link.step(&around, &mut self.chance);
        // Nobody listens any more, or it is over and its last word was taken.
        if link.is_over() && (link.to_client.is_empty() || self.devices[link.device].link != Some(chosen)) {
            self.remove_link(chosen);
        }
        moved
    }

    fn remove_link(&mut self, chosen: usize) {
        let device = self.links[chosen].device;
        if self.devices[device].link == Some(chosen) {
            let later = Millis(self.now().0 + 100);
            let at = later.max(self.devices[device].retry_at);
            self.devices[device].lost(at);
        }
        self.links.swap_remove(chosen);
        let moved = self.links.len();
        if let Some(link) = self.links.get(chosen)
            && self.devices[link.device].link == Some(moved)
        {
            self.devices[link.device].link = Some(chosen);
        }
    }

    /// A device connects, hears what has come, or does what it does from time to time.
    fn device_step(&mut self, chosen: usize) -> bool {
        let now = self.now();
        let device = &mut self.devices[chosen];
        if now < device.stalled_until {
            return false;
        }
        if device.stopped {
            return self.sign_in(chosen);
        }
        let Some(index) = device.link else { return self.connect(chosen) };
        let mut out = Vec::new();
        let mut moved = false;
        for _ in 0..self.chance.between(1, 4) {
            let Some(bytes) = self.links[index].take() else { break };
            moved = true;
            if let Some(ended) = self.hear(chosen, index, &bytes, &mut out) {
                let device = &mut self.devices[chosen];
                device.retry_at = ended.unwrap_or(now);
                device.stopped = ended.is_none();
                if let Some(server) = &self.server {
                    self.links[index].cut(&server.hub);
                }
                self.remove_link(index);
                return true;
            }
        }
        let device = &mut self.devices[chosen];
        device.tick(now, &mut out);
        moved |= !out.is_empty();
        self.links[index].from_client.extend(out);
        moved
    }

    fn hear(
        &mut self,
        chosen: usize,
        index: usize,
        bytes: &Bytes,
        out: &mut Vec<chinwag_protocol::ClientFrame>,
    ) -> Option<Option<Millis>> {
        let now = self.now();
        self.stir(&[chosen as u8]);
        let told = self.decode(bytes);
        self.stir(bytes);
        let user = self.devices[chosen].user;
        self.note(|| format!("device {chosen} of {user} hears {told:?}"));
        let known = &mut self.links[index].told;
        match &*told {
            ServerFrame::Signal(ServerSignal::Cursor(moved)) => self.oracle.cursor(known, *moved),
            ServerFrame::Welcome(welcome) => {
                for view in &welcome.snapshot.conversations {
                    let Some(mine) = &view.mine else { continue };
                    let (conversation, delivered) = (view.id, Seq::ZERO);
                    known.insert(
                        (conversation, user),
                        CursorMoved { conversation, user, delivered, read: mine.read },
                    );
                }
            }
            _ => {}
        }
        self.devices[chosen].hear(&told, now, &mut self.oracle, out).err()
    }

    /// Entries are encoded once for all who hear them, and so decoded once here.
    fn decode(&mut self, bytes: &Bytes) -> Rc<ServerFrame> {
        if self.frames.len() > 500 {
            self.frames.clear();
        }
        let known = self.frames.entry(bytes.as_ptr() as usize).or_insert_with(|| {
            let head = match bytes[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            (bytes.clone(), Rc::new(serde_json::from_slice(&bytes[head..]).expect("the server speaks well")))
        });
        known.1.clone()
    }

    fn connect(&mut self, chosen: usize) -> bool {
        let device = &mut self.devices[chosen];
        if self.server.is_none() || self.time.load(Ordering::Relaxed) < device.retry_at.0 {
            return false;
        }
        device.link = Some(self.links.len());
        self.links.push(Link::new(chosen, device.token, device.hello(), &self.rare));
        true
    }

    /// A device whose session has ended signs in again.
    fn sign_in(&mut self, chosen: usize) -> bool {
        if let Some((answered, hash)) = self.signing_in.get(&chosen) {
            let (verdict, hash) = (answered.lock().unwrap().take(), *hash);
            // Nobody answers when the server went down meanwhile.
            let is_lost = verdict.is_none() && Arc::strong_count(answered) == 1;
            if let Some(Ok(Done::SignedIn { session, .. })) = verdict {
                self.devices[chosen].signed_in(session, hash);
            }
            if verdict.is_some() || is_lost {
                self.signing_in.remove(&chosen);
            }
            return true;
        }
        if self.server.is_none() {
            return false;
        }
        let user = self.devices[chosen].user;
        let token = self.fresh_token();
        let hash = token.hash;
        let prepared = Prepared { verified: Some(1), token: Some(token), ..Prepared::default() };
        let (device, door) = ("again".into(), String::new());
        let answered = self.ask(Request::SignIn { user, prepared, device, door });
        self.signing_in.insert(chosen, (answered, hash));
        true
    }

    /// A frame of a device goes into its connection.
    pub(crate) fn send(&mut self, chosen: usize, out: Vec<chinwag_protocol::ClientFrame>) {
        if let Some(index) = self.devices[chosen].link {
            self.links[index].from_client.extend(out);
        }
    }

    fn break_something(&mut self) {
        let now = self.now();
        let chosen = self.chance.below(self.devices.len());
        let ms = self.chance.between(10, 2_000) as i64;
        match self.chance.below(13) {
            0..=4 => self.cut(chosen),
            5 | 6 => self.devices[chosen].stalled_until = Millis(now.0 + ms),
            7 => self.crash(),
            8 => {
                let (most, reached) = (self.chance.between(1, 8), self.chance.one_in(2));
                self.note(|| format!("a commit fails; reached the disk: {reached}"));
                let recorded = self.disk.fail_to_commit(most, reached, now);
                self.record(&recorded);
            }
            9 => {
                self.disk.fill_up(true);
                self.full_until = Millis(now.0 + ms);
            }
            10 => self.restart(chosen),
            11 => self.repeat_elsewhere(chosen, ms),
            _ => self.connect_twice(chosen),
        }
    }

    /// A connection is cut; the server notices when it next writes, which may be never before the next one comes.
    fn cut(&mut self, chosen: usize) {
        let Some(index) = self.devices[chosen].link else { return };
        self.note(|| format!("device {chosen} is cut off"));
        let later = Millis(self.now().0 + self.chance.between(0, 500) as i64);
        self.devices[chosen].lost(later);
        // Half of the time the server does not notice yet: a duplicate connection.
        if self.chance.one_in(2)
            && let Some(server) = &self.server
        {
            self.links[index].cut(&server.hub);
            self.remove_link(index);
        }
    }

    fn connect_twice(&mut self, chosen: usize) {
        let later = self.now();
        if self.devices[chosen].link.is_some() {
            self.devices[chosen].lost(later);
        }
    }

    /// Somebody writes where he may not be a member, on a connection that is read late, and comes back on another one;
    /// when he is told there that he cannot, he joins. Then the first copy is read.
    fn repeat_elsewhere(&mut self, chosen: usize, ms: i64) {
        let Some(index) = self.devices[chosen].link.filter(|_| self.devices[chosen].online) else { return };
        self.note(|| format!("device {chosen} repeats on another connection what is still to be read"));
        let conversation = ConversationId(1 + self.chance.below(8) as u32);
        self.numbers += 1;
        let (number, now) = (self.numbers, self.now());
        let text = format!("said {number}");
        let device = &mut self.devices[chosen];
        device.post(Draft::new(number, conversation, text, (None, None)));
        device.wants_in = Some(conversation);
        let mut out = Vec::new();
        device.tick(now, &mut out);
        device.lost(now);
        // Nothing else keeps a connection from being read: the pause is to outlast the refusal and the joining.
        self.links[index].paused_until = Millis(now.0 + 4 * ms);
        self.links[index].from_client.extend(out);
    }

    fn restart(&mut self, chosen: usize) {
        if self.chance.one_in(2) {
            self.devices[chosen].keep();
            return;
        }
        self.note(|| format!("device {chosen} begins again"));
        let later = self.now();
        self.devices[chosen].lost(later);
        self.devices[chosen].restart();
    }

    /// Where everything had got to that is lost in a crash now.
    fn waits(&self, server: &Server) -> BTreeSet<Wait> {
        let mut waits: BTreeSet<Wait> = self.disk.waits().into_iter().collect();
        waits.extend(self.links.iter().flat_map(Link::waits));
        let is_told = server.batch <= server.handled;
        if !is_told {
            waits.insert(Wait::Published);
        }
        if !self.signing_in.is_empty() {
            waits.insert(Wait::SigningIn);
        }
        let said = |device: &Device| device.unanswered().any(|text| self.oracle.was_said(device.user, text));
        if !waits.contains(&Wait::Committed) && is_told && self.devices.iter().any(said) {
            waits.insert(Wait::Unanswered);
        }
        waits
    }

    /// The server is gone at once: hub, connections and everything uncommitted.
    fn crash(&mut self) {
        let Some(server) = self.server.take() else { return };
        let waits = self.waits(&server);
        self.crashed_at.extend(waits);
        self.note(|| "the server crashes".into());
        let now = self.now();
        self.down_until = Millis(now.0 + self.chance.between(0, 300) as i64);
        self.links.clear();
        for device in &mut self.devices {
            if device.link.is_some() {
                device.lost(Millis(now.0 + 100));
            }
        }
        self.disk.crash();
        let heads = self.heads();
        self.oracle.hold_against(&heads);
    }

    fn heads(&self) -> Vec<(LogId, Seq)> {
        let heads = self.disk.look(|reader| reader.all_heads()).unwrap();
        heads.into_iter().map(|(log, position)| (log, position.seq)).collect()
    }

    /// Faults are over: everybody has ten seconds of simulated time to have everything.
    pub(crate) fn heal(&mut self) {
        self.note(|| "everything heals".into());
        let began = self.now();
        self.disk.fill_up(false);
        self.full_until = Millis(0);
        self.down_until = began;
        if self.disk.is_stopped() {
            self.crash();
            self.down_until = began;
        }
        for device in &mut self.devices {
            device.stalled_until = Millis(0);
        }
        let mut quiet = 0;
        while self.now().0 - began.0 < 10_000 {
            if self.oracle.broken.is_some() {
                return;
            }
            self.pass(10);
            let moved = self.sweep();
            let is_settled = self.devices.iter().all(Device::is_settled) && self.disk.is_idle();
            quiet = if is_settled && !moved { quiet + 1 } else { 0 };
            // Cursors and presence are told once a tick: wait for more than one.
            if quiet > 45 {
                break;
            }
        }
        if quiet <= 45 {
            let waiting: Vec<usize> =
                (0..self.devices.len()).filter(|chosen| !self.devices[*chosen].is_settled()).collect();
            let online: Vec<bool> = self.devices.iter().map(|device| device.online).collect();
            let drafts: Vec<usize> = self.devices.iter().map(|device| device.drafts.len()).collect();
            self.oracle.blame(|| format!("L6: devices {waiting:?} have not settled after 10 s (online {online:?}, drafts {drafts:?})"));
        }
        let heads = self.heads();
        self.oracle.hold_against(&heads);
    }

    fn sweep(&mut self) -> bool {
        let mut moved = false;
        for _ in 0..4 {
            self.commit(16);
            self.publish();
        }
        while self.hub_step() || self.read_step() {
            moved = true;
        }
        for chosen in (0..self.links.len()).rev() {
            for _ in 0..8 {
                if chosen < self.links.len() {
                    moved |= self.link_step(chosen);
                }
            }
        }
        for chosen in 0..self.devices.len() {
            for _ in 0..4 {
                moved |= self.device_step(chosen);
            }
        }
        moved
    }

    pub(crate) fn fresh(&self, chosen: usize) -> chinwag_client::sync::State {
        let device = &self.devices[chosen];
        let actor = chinwag_domain::Actor { user: device.user, session: device.session, door: None };
        self.disk.look(|reader| chinwag_domain::reading::snapshot(reader, &actor)).unwrap().into()
    }

    pub(crate) fn session(&self, chosen: usize) -> SessionId {
        self.devices[chosen].session
    }
}
