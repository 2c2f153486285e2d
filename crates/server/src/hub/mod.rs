//! The hub: tells every connection what concerns it, from one thread, in commit order.
//!
//! [`State`] is the machine, [`Outbox`] the bounded queue of one connection; this file is the thread between them
//! and the store. The thread never waits for a connection and never reads the store itself.

mod outbox;
mod recent;
mod state;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chinwag_domain::{Committed, Failed, Publish, Store, facts::Stop, limits::Limits, record::Cursor};
use chinwag_protocol::{
    ClientSignal, ConversationId, LogId, Millis, Position, PresenceOf, Refused, Seq, SessionId, UserId,
};

use crate::sync::{
    AtomicUsize, Instant,
    channel::{self, Receiver, RecvTimeoutError, Sender},
    oneshot, thread,
};
pub use outbox::{Missing, Next, Outbox};
pub use state::{Identity, Key, Opened, State, WATCHED_MAX, frame};

/// How often gathered presence and cursors are told.
const TICK: Duration = Duration::from_millis(200);

/// So many commits are published before anybody is woken: few enough that nobody waits long.
const AT_ONCE: usize = 64;

/// Signals that may wait for the hub; beyond, new ones are dropped.
const SIGNALS_MAX: usize = 16_384;

/// Tells the time, for "last seen".
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

enum Input {
    Committed(Vec<Committed>),
    Open {
        identity: Identity,
        outbox: Arc<Outbox>,
        resume: Option<Vec<(LogId, Seq)>>,
        opened: oneshot::Sender<Opened>,
    },
    Close(Key),
    Signal(Key, UserId, ClientSignal),
    MoveCursor(ConversationId, UserId, Cursor),
    HoldCursors(Key, oneshot::Sender<()>),
    ReleaseCursors(Key),
    Online(Option<ConversationId>, oneshot::Sender<Vec<PresenceOf>>),
    Connected(UserId, Vec<SessionId>, oneshot::Sender<Vec<bool>>),
    CloseAll(Refused),
    Stop,
}

/// The way to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    // Commits and answers are bounded by the questions that connections may have open, opens and closes by the
    // number of connections; signals are counted, because nothing else bounds them.
    inputs: Sender<Input>,
    signals: Arc<AtomicUsize>,
}

/// What waits for the hub's thread until it is started.
pub struct Inbox {
    inputs: Receiver<Input>,
    hub: Hub,
}

/// The two ends of the hub's queue: the store is opened with the first, the thread runs on the second.
pub fn channel() -> (Hub, Inbox) {
    let (sender, inputs) = channel::unbounded();
    let hub = Hub { inputs: sender, signals: Arc::default() };
    (hub.clone(), Inbox { inputs, hub })
}

impl Publish for Hub {
    fn publish(&self, batch: Vec<Committed>) {
        self.send(Input::Committed(batch));
    }
}

impl Hub {
    fn send(&self, input: Input) {
        // The hub's thread ends last; what comes after it has nobody to go to.
        let _ = self.inputs.send(input);
    }

    /// Adds a connection, with where its client left off. It hears of no cursor before [`Hub::release_cursors`].
    pub async fn open(
        &self,
        identity: Identity,
        outbox: Arc<Outbox>,
        resume: Option<Vec<(LogId, Seq)>>,
    ) -> Option<Opened> {
        let (opened, answer) = oneshot::channel();
        self.send(Input::Open { identity, outbox, resume, opened });
        answer.await.ok()
    }

    /// Removes a connection.
    pub fn close(&self, key: Key) {
        self.send(Input::Close(key));
    }

    /// Passes on what a client signals; dropped when too much is waiting.
    pub fn signal(&self, key: Key, user: UserId, signal: ClientSignal) {
        if self.signals.fetch_add(1, Ordering::Relaxed) >= SIGNALS_MAX {
            self.signals.fetch_sub(1, Ordering::Relaxed);
            metrics::counter!("chinwag_signals_dropped_total").increment(1);
            return;
        }
        self.send(Input::Signal(key, user, signal));
    }

    /// Tells a connection of no cursor until [`Hub::release_cursors`]. Whoever reads where cursors are and passes it
    /// on has to do so in between: otherwise what the hub told while he was reading would come after what he read.
    pub async fn hold_cursors(&self, key: Key) {
        let (sender, answer) = oneshot::channel();
        self.send(Input::HoldCursors(key, sender));
        // No answer: the hub has ended, and tells nothing any more.
        let _ = answer.await;
    }

    /// The connection has read where cursors are, and passes it on before it looks into its outbox again.
    pub fn release_cursors(&self, key: Key) {
        self.send(Input::ReleaseCursors(key));
    }

    /// Who of a conversation, or of the whole server, is there now.
    pub async fn online(&self, conversation: Option<ConversationId>) -> Vec<PresenceOf> {
        let (sender, answer) = oneshot::channel();
        self.send(Input::Online(conversation, sender));
        answer.await.unwrap_or_default()
    }

    /// Which of a user's sessions have a connection.
    pub async fn connected(&self, user: UserId, sessions: Vec<SessionId>) -> Vec<bool> {
        let (sender, answer) = oneshot::channel();
        self.send(Input::Connected(user, sessions, sender));
        answer.await.unwrap_or_default()
    }

    /// Tells every connection to go, and when to come back.
    pub fn close_all(&self, reason: Refused) {
        self.send(Input::CloseAll(reason));
    }

    /// Ends the thread after everything that was sent before.
    pub fn stop(&self) {
        self.send(Input::Stop);
    }
}

impl Inbox {
    /// Reads what the hub must know, and starts its thread.
    pub fn start(
        self,
        store: Arc<dyn Store>,
        clock: Clock,
        limits: &Limits,
    ) -> Result<thread::JoinHandle<()>, Failed> {
        let mut state = Self::load(&*store)?;
        state.bound_connections(limits.connections_per_session, limits.connections_per_user);
        thread::Builder::new()
            .name("hub".to_owned())
            .spawn(move || self.run(state, &store, &clock))
            .map_err(|cause| Failed::new("cannot start the hub's thread", cause))
    }

    /// The thread's work, until it is told to stop.
    pub fn run(self, state: State, store: &Arc<dyn Store>, clock: &Clock) {
        run(state, &self, store, clock);
    }

    /// Reads what the hub must know.
    pub fn load(store: &dyn Store) -> Result<State, Failed> {
        let (sender, loaded) = channel::bounded(1);
        store.read(Box::new(move |reader| {
            let load = || -> Result<State, Stop> {
                let reader = reader?;
                let members = reader.all_memberships()?;
                let mut ids: Vec<ConversationId> = members.iter().map(|member| member.conversation).collect();
                ids.sort_unstable();
                ids.dedup();
                let mut closed = Vec::new();
                for id in ids {
                    if reader.conversation(id)?.is_some_and(|conversation| conversation.closed) {
                        closed.push(id);
                    }
                }
                let mut state = State::new(&members, reader.all_heads()?);
                state.closed(&closed);
                Ok(state)
            };
            let _ = sender.send(load());
        }));
        match loaded.recv() {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(Stop::Failed(failed))) => Err(failed),
            Ok(Err(Stop::Refused(refused))) => Err(Failed::new("cannot load memberships", refused)),
            Err(gone) => Err(Failed::new("cannot load memberships", gone)),
        }
    }

    /// Tells what has gathered since the last tick.
    pub fn tick(&self, state: &mut State, store: &Arc<dyn Store>) {
        state.refresh_cursors(|conversation, user, to| store.move_cursor(conversation, user, to));
        state.tick();
    }

    /// How many inputs wait.
    pub fn waiting(&self) -> usize {
        self.inputs.len()
    }

    /// Handles one of the inputs that wait, and never waits itself: the thread's work by hand. Whether there was one.
    pub fn step(&self, state: &mut State, store: &Arc<dyn Store>, clock: &Clock) -> bool {
        let input = self.inputs.try_recv();
        input.map(|input| handle(state, input, self, store, clock)).is_ok()
    }
}

fn run(mut state: State, inbox: &Inbox, store: &Arc<dyn Store>, clock: &Clock) {
    let mut tick = Instant::now() + TICK;
    loop {
        match inbox.inputs.recv_deadline(tick) {
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(input) => handle(&mut state, input, inbox, store, clock),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= tick {
            inbox.tick(&mut state, store);
            metrics::gauge!("chinwag_connections").set(state.connections() as f64);
            metrics::gauge!("chinwag_hub_waiting").set(inbox.waiting() as f64);
            tick = Instant::now() + TICK;
        }
    }
}

fn handle(state: &mut State, input: Input, inbox: &Inbox, store: &Arc<dyn Store>, clock: &Clock) {
    match input {
        Input::Committed(batch) => {
            let mut batch = batch.into_iter().peekable();
            while batch.peek().is_some() {
                publish(state, batch.by_ref().take(AT_ONCE));
            }
        }
        Input::Open { identity, outbox, resume, opened } => {
            let answer = state.open(identity, outbox, resume.as_deref());
            if let Err(Opened::Fresh(key) | Opened::Resumed(key)) = opened.send(answer) {
                state.close(key, clock());
            }
        }
        Input::Close(key) => state.close(key, clock()),
        Input::Signal(key, user, signal) => {
            inbox.hub.signals.fetch_sub(1, Ordering::Relaxed);
            if !state.is_of(key, user) {
                return;
            }
            match signal {
                ClientSignal::Typing { conversation } => state.typing(key, conversation),
                ClientSignal::Presence { presence } => state.look(key, presence),
                ClientSignal::Watch { users } => state.watch(key, users),
                ClientSignal::Cursor { conversation, delivered, read } => {
                    move_cursor(state, inbox, store, conversation, user, delivered, read);
                }
            }
        }
        Input::MoveCursor(conversation, user, to) => {
            // It came by way of a reader, and a later one may have come before it: what is told is where it is now.
            let now = store.move_cursor(conversation, user, to);
            state.cursor_moved(conversation, user, now);
        }
        Input::HoldCursors(key, done) => {
            state.hold_cursors(key);
            let _ = done.send(());
        }
        Input::ReleaseCursors(key) => {
            state.release_cursors(key, |conversation, user, to| store.move_cursor(conversation, user, to));
        }
        Input::Online(conversation, answer) => {
            let _ = answer.send(state.online(conversation));
        }
        Input::Connected(user, sessions, answer) => {
            let _ = answer.send(sessions.iter().map(|session| state.is_connected(user, *session)).collect());
        }
        Input::CloseAll(reason) => state.close_all(&reason, || rand::random_range(500..3_000)),
        Input::Stop => {}
    }
}

/// Publishes what was committed, answers, and lets everybody know once: an author finds his own entry and the
/// answer in one go.
fn publish(state: &mut State, batch: impl Iterator<Item = Committed>) {
    let mut answers = Vec::with_capacity(AT_ONCE);
    for committed in batch {
        for entry in &committed.entries {
            state.publish(entry);
        }
        answers.push((committed.ticket, committed.verdict));
    }
    for (ticket, verdict) in answers {
        ticket(verdict);
    }
    state.wake();
}

fn move_cursor(
    state: &mut State,
    inbox: &Inbox,
    store: &Arc<dyn Store>,
    conversation: ConversationId,
    user: UserId,
    delivered: Seq,
    read: Seq,
) {
    if !state.is_member(conversation, user) {
        return;
    }
    let head = state.head(LogId::Conversation(conversation));
    let (delivered, read) = (delivered.max(read).min(head.seq), read.min(head.seq));
    if read == head.seq || read == Seq::ZERO {
        let read = if read == head.seq { head } else { Position::default() };
        let moved = store.move_cursor(conversation, user, Cursor { delivered, read });
        state.cursor_moved(conversation, user, moved);
        return;
    }
    // How many messages there are up to the middle of a log only the store knows.
    let hub = inbox.hub.clone();
    store.read(Box::new(move |reader| {
        if let Ok(reader) = reader
            && let Ok(read) = reader.position(conversation, read)
        {
            hub.send(Input::MoveCursor(conversation, user, Cursor { delivered, read }));
        }
    }));
}
