//! One connection as its task in the server lives it (`src/connection.rs`), from one wait to the next.
//!
//! The hub, its state and the outbox are the real ones; the socket is a pipe of a few bytes, and each step does what
//! the task does between two places where it can be interrupted.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use chinwag_domain::{Actor, Ask, Prepared, Reader, Request, Stop, Store, reading};
use chinwag_protocol::{
    ClientFrame, ClientSignal, Closing, ConversationId, CursorMoved, Hello, Kind, LogId, Millis, Query,
    Refused, Resumed, Seq, ServerFrame, SessionId, Snapshot, UserId, Welcome,
};
use chinwag_server::{
    behind::{Behind, Found, Step, Wanted},
    hub::{Hub, Identity, Key, Next, Opened, Outbox, frame},
    messenger::reply,
    sessions::{Known, Sessions},
};

use crate::{
    canary::Canary,
    chance::Chance,
    disk::{Disk, Slot, take},
    waits::Wait,
    world::Rare,
};

type Holding = Pin<Box<dyn Future<Output = ()>>>;
type Opening = Pin<Box<dyn Future<Output = Option<Opened>>>>;

/// What the connection waits for.
#[expect(clippy::large_enum_variant, reason = "there are few connections, and each has one")]
enum Phase {
    Hello,
    LookingUp {
        hello: Hello,
        asked: u64,
        known: Slot<Known>,
    },
    Opening {
        actor: Actor,
        opening: Opening,
        early: Option<Snapshot>,
    },
    /// Only in a connection that is broken on purpose: the snapshot before the hub.
    SnapshotFirst {
        known: Box<Known>,
        snapshot: Slot<Snapshot>,
    },
    Snapshot {
        snapshot: Slot<Snapshot>,
    },
    Talking,
    Holding {
        holding: Holding,
    },
    Over,
}

/// What is being read for the connection, which goes on meanwhile.
struct Reading {
    entries: bool,
    found: Slot<Found>,
}

/// What a connection works with.
pub(crate) struct Around<'w> {
    pub(crate) disk: &'w Arc<Disk>,
    pub(crate) hub: &'w Hub,
    pub(crate) sessions: &'w Arc<Sessions>,
    pub(crate) rare: &'w Rare,
    pub(crate) canary: Option<Canary>,
    pub(crate) now: Millis,
}

pub(crate) struct Link {
    pub(crate) device: usize,
    phase: Phase,
    pub(crate) outbox: Arc<Outbox>,
    sending: VecDeque<Bytes>,
    written: usize,
    /// Whole frames that the client has not taken yet, and how much of the pipe is used.
    pub(crate) to_client: VecDeque<(Bytes, usize)>,
    piped: usize,
    /// How much of a frame that is still being written the client has taken out of the pipe.
    drained: usize,
    pub(crate) from_client: VecDeque<ClientFrame>,
    /// Nothing is read from the client before this: who is too fast is kept waiting.
    pub(crate) paused_until: Millis,
    token: [u8; 32],
    actor: Option<Actor>,
    key: Option<Key>,
    behind: Behind,
    reading: Option<Reading>,
    /// Cursors as they were told by the hub on this connection.
    pub(crate) told: BTreeMap<(ConversationId, UserId), CursorMoved>,
    /// Conversations at the beginning, for the canary that never asks again.
    pub(crate) subscribed: Vec<ConversationId>,
}

impl Link {
    pub(crate) fn new(device: usize, token: [u8; 32], hello: Hello, rare: &Rare) -> Self {
        Self {
            device,
            phase: Phase::Hello,
            outbox: Arc::new(Outbox::bounded(rare.outbox_bytes)),
            sending: VecDeque::new(),
            written: 0,
            to_client: VecDeque::new(),
            piped: 0,
            drained: 0,
            from_client: VecDeque::from([ClientFrame::Hello(hello)]),
            paused_until: Millis(0),
            token,
            actor: None,
            key: None,
            behind: Behind::default(),
            reading: None,
            told: BTreeMap::new(),
            subscribed: Vec::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// What this connection is waiting with.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let phase = match &self.phase {
            Phase::Hello => Some(Wait::Hello),
            Phase::LookingUp { .. } => Some(Wait::LookingUp),
            Phase::Opening { .. } => Some(Wait::Opening),
            Phase::SnapshotFirst { .. } | Phase::Snapshot { .. } => Some(Wait::Snapshot),
            Phase::Holding { .. } => Some(Wait::Holding),
            Phase::Talking | Phase::Over => None,
        };
        let reads = |entries| self.reading.as_ref().is_some_and(|reading| reading.entries == entries);
        let others = [
            (Wait::CatchingUp, reads(true)),
            (Wait::Cursors, reads(false)),
            (Wait::PushingMissed, self.behind.is_catching_up() && self.reading.is_none()),
            (Wait::Writing, !self.sending.is_empty()),
            (Wait::HalfWritten, self.written > 0),
            (Wait::Written, !self.to_client.is_empty()),
            (Wait::Unread, self.from_client.iter().any(|frame| matches!(frame, ClientFrame::Command { .. }))),
        ];
        phase.into_iter().chain(others.into_iter().filter_map(|(wait, is)| is.then_some(wait))).collect()
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        self.actor.as_ref().map(|actor| actor.user)
    }

    /// The client takes a frame out of the pipe, or the part of one that is there.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let Some((bytes, piped)) = self.to_client.pop_front() else {
            self.piped -= self.written - self.drained;
            self.drained = self.written;
            return None;
        };
        self.piped -= piped;
        Some(bytes)
    }

    /// The peer is gone.
    pub(crate) fn cut(&mut self, hub: &Hub) {
        if let Some(key) = self.key.take() {
            hub.close(key);
        }
        self.sending.clear();
        (self.written, self.drained) = (0, 0);
        self.reading = None;
        self.phase = Phase::Over;
    }

    /// Does what can be done before the next wait; whether that was anything.
    pub(crate) fn step(&mut self, around: &Around<'_>, chance: &mut Chance) -> bool {
        match self.proceed(around, chance) {
            Ok(moved) => moved,
            Err(reason) => {
                let retry_after_ms =
                    reason.retry_after_ms.or((reason.kind == Kind::Unavailable).then_some(1_000));
                self.end(Closing { reason, retry_after_ms }, around.hub);
                true
            }
        }
    }

    fn end(&mut self, closing: Closing, hub: &Hub) {
        // What is half written is finished first, if the peer takes it; else it hears nothing.
        self.sending.truncate(usize::from(self.written > 0));
        self.sending.push_back(frame(&ServerFrame::Closing(closing)));
        let last = std::mem::take(&mut self.sending);
        for bytes in last {
            self.piped += bytes.len() - std::mem::take(&mut self.written);
            let piped = bytes.len() - std::mem::take(&mut self.drained);
            self.to_client.push_back((bytes, piped));
        }
        self.cut(hub);
    }

    fn proceed(&mut self, around: &Around<'_>, chance: &mut Chance) -> Result<bool, Refused> {
        match std::mem::replace(&mut self.phase, Phase::Talking) {
            Phase::Over => {
                self.phase = Phase::Over;
                Ok(false)
            }
            Phase::Hello => self.hello(around),
            Phase::LookingUp { hello, asked, known } => match take(&known) {
                None => {
                    self.phase = Phase::LookingUp { hello, asked, known };
                    Ok(false)
                }
                Some(found) => {
                    let known = found?;
                    around.sessions.remember(self.token, &known, asked);
                    self.open(around, hello, known);
                    Ok(true)
                }
            },
            Phase::SnapshotFirst { known, snapshot } => match take(&snapshot) {
                None => {
                    self.phase = Phase::SnapshotFirst { known, snapshot };
                    Ok(false)
                }
                Some(found) => {
                    let early = Some(found?);
                    self.ask_hub(around, *known, None, early);
                    Ok(true)
                }
            },
            Phase::Opening { actor, mut opening, early } => {
                match opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => {
                        self.phase = Phase::Opening { actor, opening, early };
                        Ok(false)
                    }
                    Poll::Ready(opened) => self.opened(around, actor, opened.as_ref(), early),
                }
            }
            Phase::Snapshot { snapshot } => match take(&snapshot) {
                None => {
                    self.phase = Phase::Snapshot { snapshot };
                    Ok(false)
                }
                Some(found) => {
                    let found = found?;
                    self.release_cursors(around);
                    self.welcome(around, found);
                    Ok(true)
                }
            },
            Phase::Holding { mut holding } => {
                match holding.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => {
                        self.phase = Phase::Holding { holding };
                        Ok(false)
                    }
                    Poll::Ready(()) => {
                        self.behind.held();
                        Ok(true)
                    }
                }
            }
            Phase::Talking => self.talk(around, chance),
        }
    }

    fn hello(&mut self, around: &Around<'_>) -> Result<bool, Refused> {
        let Some(ClientFrame::Hello(hello)) = self.from_client.pop_front() else {
            self.phase = Phase::Hello;
            return Ok(false);
        };
        match around.sessions.find(&self.token) {
            Ok(known) => self.open(around, hello, known),
            Err(asked) => {
                let token = self.token;
                let known = around.disk.ask(move |reader| known(reader, &token));
                self.phase = Phase::LookingUp { hello, asked, known };
            }
        }
        Ok(true)
    }

    fn open(&mut self, around: &Around<'_>, hello: Hello, known: Known) {
        let skipped = u32::from(around.canary == Some(Canary::ResumeSkipsOne));
        let resume: Option<Vec<(LogId, Seq)>> = hello
            .resume
            .map(|origin| origin.positions.iter().map(|(log, seq)| (*log, Seq(seq.0 + skipped))).collect());
        if around.canary == Some(Canary::SnapshotThenSubscribe) {
            let actor = actor(&known);
            let snapshot = around.disk.ask(move |reader| reading::snapshot(reader, &actor));
            self.phase = Phase::SnapshotFirst { known: Box::new(known), snapshot };
            return;
        }
        self.ask_hub(around, known, resume, None);
    }

    fn ask_hub(
        &mut self,
        around: &Around<'_>,
        known: Known,
        resume: Option<Vec<(LogId, Seq)>>,
        early: Option<Snapshot>,
    ) {
        let (hub, outbox, actor) = (around.hub.clone(), Arc::clone(&self.outbox), actor(&known));
        let mut opening: Opening =
            Box::pin(async move { hub.open(known.identity.clone(), outbox, resume).await });
        // The first poll sends the question; the answer cannot be there yet.
        let _ = opening.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.phase = Phase::Opening { actor, opening, early };
    }

    fn opened(
        &mut self,
        around: &Around<'_>,
        actor: Actor,
        opened: Option<&Opened>,
        early: Option<Snapshot>,
    ) -> Result<bool, Refused> {
        let session = actor.session;
        match opened {
            Some(Opened::Fresh(key)) => {
                self.key = Some(*key);
                self.actor = Some(actor.clone());
                if around.canary == Some(Canary::CursorsNotHeld) || early.is_some() {
                    self.release_cursors(around);
                }
                match early {
                    Some(snapshot) => self.welcome(around, snapshot),
                    None => {
                        let snapshot = around.disk.ask(move |reader| reading::snapshot(reader, &actor));
                        self.phase = Phase::Snapshot { snapshot };
                    }
                }
            }
            Some(Opened::Resumed(key)) => {
                self.key = Some(*key);
                self.subscribe(around, actor.user);
                self.actor = Some(actor);
                if around.canary == Some(Canary::CursorsNotHeld) {
                    self.release_cursors(around);
                }
                self.behind = Behind::resumed();
                self.sending
                    .push_back(frame(&ServerFrame::Resumed(Resumed { session, heartbeat_ms: 20_000 })));
            }
            Some(Opened::TooMany) => {
                return Err(Refused::too_many(
                    "too_many_connections",
                    "too many connections at once",
                    30_000,
                ));
            }
            Some(Opened::Ended) | None => return Err(Refused::not_signed_in()),
        }
        Ok(true)
    }

    fn welcome(&mut self, around: &Around<'_>, snapshot: Snapshot) {
        self.subscribe(around, snapshot.me.id);
        self.behind = Behind::fresh();
        let welcome = Welcome { epoch: around.disk.epoch(), heartbeat_ms: 20_000, snapshot };
        self.sending.push_back(frame(&ServerFrame::Welcome(Box::new(welcome))));
    }

    fn subscribe(&mut self, around: &Around<'_>, user: UserId) {
        if around.canary == Some(Canary::MembershipAtSubscribeOnly) {
            let mine = around.disk.look(|reader| reader.memberships(user)).unwrap_or_default();
            self.subscribed = mine.iter().map(|member| member.conversation).collect();
        }
    }

    fn talk(&mut self, around: &Around<'_>, chance: &mut Chance) -> Result<bool, Refused> {
        let mut moved = false;
        if self.sending.is_empty() {
            match self.behind.next(&self.outbox, &mut self.sending, around.rare.write_frames, 64 * 1024) {
                Step::Write => moved = true,
                Step::Read(wanted) => {
                    self.read(around, wanted);
                    return Ok(true);
                }
                Step::Hold => {
                    self.hold_cursors(around);
                    return Ok(true);
                }
                Step::Close(closing) => {
                    self.end(*closing, around.hub);
                    return Ok(true);
                }
                Step::Wait => {}
            }
        }
        moved |= self.write(around, chance);
        if self.outbox.is_closing() {
            if let Next::Close(closing) = self.outbox.next(&mut VecDeque::new(), 0, 0) {
                self.end(*closing, around.hub);
            }
            return Ok(true);
        }
        if self.outbox.may_ask()
            && around.now >= self.paused_until
            && let Some(frame) = self.from_client.pop_front()
        {
            self.frame(around, frame);
            moved = true;
        }
        if self.sending.is_empty()
            && let Some(found) = self.reading.as_ref().and_then(|reading| take(&reading.found))
        {
            self.reading = None;
            if self.behind.found(found?, &self.outbox, &mut self.sending) {
                self.release_cursors(around);
            }
            moved = true;
        }
        Ok(moved)
    }

    fn hold_cursors(&mut self, around: &Around<'_>) {
        let (hub, key) = (around.hub.clone(), self.key.expect("signed in"));
        if around.canary == Some(Canary::CursorsNotHeld) {
            self.behind.held();
            return;
        }
        let mut holding: Holding = Box::pin(async move { hub.hold_cursors(key).await });
        let _ = holding.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.phase = Phase::Holding { holding };
    }

    fn release_cursors(&self, around: &Around<'_>) {
        around.hub.release_cursors(self.key.expect("signed in"));
    }

    fn read(&mut self, around: &Around<'_>, wanted: Wanted) {
        let (actor, page, canary) = (self.actor.clone().expect("signed in"), around.rare.page, around.canary);
        let entries = !wanted.logs.is_empty();
        let found = around.disk.ask(move |reader| match canary {
            Some(Canary::MissingForgotten) if entries => Ok(forget(&wanted)),
            Some(Canary::CatchUpWithoutRight) if entries => read_all(reader, &actor, &wanted, page),
            _ => wanted.read(reader, &actor, page),
        });
        self.reading = Some(Reading { entries, found });
    }

    /// Writes as much as the pipe takes, or a part of it.
    fn write(&mut self, around: &Around<'_>, chance: &mut Chance) -> bool {
        let mut room = around.rare.pipe_bytes.saturating_sub(self.piped);
        if chance.one_in(3) {
            room = chance.below(room + 1);
        }
        let moved = room > 0 && !self.sending.is_empty();
        while room > 0
            && let Some(first) = self.sending.front()
        {
            let part = room.min(first.len() - self.written);
            self.written += part;
            self.piped += part;
            room -= part;
            if self.written == first.len() {
                let piped = self.written - std::mem::take(&mut self.drained);
                self.written = 0;
                self.to_client.extend(self.sending.pop_front().map(|bytes| (bytes, piped)));
            }
        }
        moved
    }

    fn frame(&mut self, around: &Around<'_>, asked: ClientFrame) {
        let (Some(actor), Some(key)) = (self.actor.clone(), self.key) else { return };
        let outbox = Arc::clone(&self.outbox);
        match asked {
            ClientFrame::Command { id, command } => {
                if !self.may_ask(id) {
                    return;
                }
                let request = Request::Command { actor, command, prepared: Prepared::default() };
                let ticket = Box::new(move |verdict| {
                    outbox.answer(frame(&match reply(verdict) {
                        Ok(reply) => ServerFrame::Done { id, reply },
                        Err(refused) => ServerFrame::Refused { id: Some(id), refused },
                    }));
                });
                around.disk.transact(Ask { request, ticket });
            }
            ClientFrame::Query { id, get } => {
                if self.may_ask(id) {
                    query(around, actor, outbox, id, get);
                }
            }
            ClientFrame::Signal(ClientSignal::Watch { users }) => {
                let hub = around.hub.clone();
                around.disk.read(Box::new(move |reader| {
                    let reader = reader.expect("the simulated disk reads");
                    if let Ok(users) = reading::watchable(reader, &actor, &users) {
                        hub.signal(key, actor.user, ClientSignal::Watch { users });
                    }
                }));
            }
            ClientFrame::Signal(signal) => around.hub.signal(key, actor.user, signal),
            ClientFrame::Ping {} => self.outbox.reply(frame(&ServerFrame::Pong {})),
            ClientFrame::Hello(_) => {}
        }
    }

    fn may_ask(&self, id: u64) -> bool {
        let may = self.outbox.ask();
        if !may {
            let refused = Refused::too_many("busy", "too many open questions", 1_000);
            self.outbox.reply(frame(&ServerFrame::Refused { id: Some(id), refused }));
        }
        may
    }
}

fn query(around: &Around<'_>, actor: Actor, outbox: Arc<Outbox>, id: u64, get: Query) {
    let (now, page) = (around.now, around.rare.page);
    around.disk.read(Box::new(move |reader| {
        let get = match get {
            Query::Entries { log, after, limit } => {
                Query::Entries { log, after, limit: limit.min(page as u16) }
            }
            other => other,
        };
        let answer = reader.map_err(Stop::from).and_then(|reader| reading::answer(reader, &actor, &get, now));
        outbox.answer(frame(&match answer {
            Ok(answer) => ServerFrame::Answer { id, answer },
            Err(Stop::Refused(refused)) => ServerFrame::Refused { id: Some(id), refused },
            Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
        }));
    }));
}

/// Takes what is missing for read.
fn forget(wanted: &Wanted) -> Found {
    let pages = wanted.logs.iter().map(|(log, _)| (*log, Vec::new(), false)).collect();
    Found { pages, cursors: None }
}

/// Reads what is missing of the first log, whoever asks.
fn read_all(
    reader: &dyn Reader,
    actor: &Actor,
    wanted: &Wanted,
    page: usize,
) -> chinwag_domain::Known<Found> {
    reading::own_cursors(reader, actor)?;
    let mut found = Found::default();
    if let Some((log, after)) = wanted.logs.first() {
        let entries = reader.entries(*log, *after, Seq(u32::MAX), page)?;
        let more = entries.len() == page;
        found.pages.push((*log, entries, more));
    }
    Ok(found)
}

fn actor(known: &Known) -> Actor {
    Actor { user: known.identity.user, session: known.identity.session, door: None }
}

fn known(reader: &dyn Reader, token: &[u8; 32]) -> chinwag_domain::Known<Known> {
    let session = reader.session_by_token(token)?.ok_or_else(Refused::not_signed_in)?;
    let user =
        reader.user(session.user)?.filter(|user| user.is_active()).ok_or_else(Refused::not_signed_in)?;
    let identity = Identity {
        user: user.id,
        session: SessionId(session.id.0),
        directory: true,
        invisible: user.settings.invisible,
        hide_read: user.settings.hide_read,
    };
    Ok(Known { identity, door: None, seen_at: session.seen_at })
}
