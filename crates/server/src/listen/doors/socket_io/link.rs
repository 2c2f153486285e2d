//! One connection of the engine as a link of the door: what it says waits here until the door takes it, and what the
//! door says waits until the engine takes it.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chinwag_doors::Input;
use chinwag_protocol::Refused;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use socketioxide::{
    AckError, SendError, SocketError, TransportType,
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{FromMessageParts, MessageHandler},
    socket::Socket,
};
use socketioxide_core::{Sid, Value};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Links, Own};
use crate::listen::doors::{
    gate::Gate,
    line::Line,
    pump::{Pump, Pumped},
};

/// What a client may send ahead: packets, their bytes, and events whose answer it waits for.
const AHEAD_MAX: usize = 4_096;
const AHEAD_BYTES_MAX: usize = 1024 * 1024;

/// How long somebody may stay without joining a room.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(10 * 60);

/// A reader that takes nothing for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(40);

/// How soon an engine that was full is tried again: it does not say when it has room.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Packets taken from the line at once: the last of them is acknowledged for all.
const BURST_MAX: usize = 64;

/// Acknowledgements waited for; a client that gives none is asked no more than this.
const UNACKNOWLEDGED_MAX: usize = 256;

/// How long after a poll its client may come back with another. Clients do so at once; a poll that broke off says
/// that its client is gone, and after one that was answered the network may be slow.
const POLL_AGAIN_WITHIN: Duration = Duration::from_secs(6);
const BROKEN_POLL_AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// What the engine's side knows of a link.
pub(super) struct Handle {
    pub(super) peer: SocketAddr,
    sid: Sid,
    links: Links,
    /// The connection is gone, or is to go.
    pub(super) gone: CancellationToken,
    say: mpsc::Sender<Vec<u8>>,
    /// What is said, for the link.
    said: Mutex<Option<mpsc::Receiver<Vec<u8>>>>,
    waiting_bytes: AtomicUsize,
    /// Who waits for an answer to an event, by a number of ours: clients may use the same number twice.
    answers: Mutex<BTreeMap<u64, AckSender>>,
    numbers: AtomicU64,
    polls: AtomicU64,
    poll_broke: AtomicBool,
    poll_over: Notify,
}

impl Handle {
    pub(super) fn new(peer: SocketAddr, sid: Sid, links: Links) -> Arc<Self> {
        let (say, said) = mpsc::channel(AHEAD_MAX);
        Arc::new(Self {
            peer,
            sid,
            links,
            gone: CancellationToken::new(),
            say,
            said: Mutex::new(Some(said)),
            waiting_bytes: AtomicUsize::new(0),
            answers: Mutex::default(),
            numbers: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            poll_broke: AtomicBool::new(false),
            poll_over: Notify::new(),
        })
    }

    /// What is said, once.
    pub(super) fn said(&self) -> Option<mpsc::Receiver<Vec<u8>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<u64, AckSender>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A poll has come and waits for packets.
    pub(super) fn poll(self: Arc<Self>) -> Poll {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Poll { handle: self, answered: false }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut links = self.links.lock();
        // A client may leave and join again on one connection: then the place is another handle's.
        if links.get(&self.sid).is_some_and(|handle| handle.strong_count() == 0) {
            links.remove(&self.sid);
        }
    }
}

/// A poll that waits. "A lost connection is noticed only by the heartbeat, up to 18 s later": a client that is gone
/// takes its poll with it, or sends no other.
pub(super) struct Poll {
    handle: Arc<Handle>,
    answered: bool,
}

impl Poll {
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.handle.poll_broke.store(!self.answered, Ordering::Relaxed);
        self.handle.poll_over.notify_one();
    }
}

/// Takes what a client says, in its order.
pub(super) struct Events(Arc<Handle>);

impl Events {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self(handle)
    }
}

impl MessageHandler<LocalAdapter, Own> for Events {
    fn call(&self, socket: Arc<Socket>, mut value: Value, ack: Option<i64>) {
        let handle = &self.0;
        let answer = ack.map(|_| AckSender::from_message_parts(&socket, &mut value, &ack));
        let Value::Str(args, _) = value else { return handle.gone.cancel() };
        let mut said = Vec::with_capacity(args.len() + 8);
        said.push(b'2');
        if let Some(Ok(answer)) = answer {
            let number = handle.numbers.fetch_add(1, Ordering::Relaxed);
            let mut answers = handle.answers();
            if answers.len() >= AHEAD_MAX {
                return handle.gone.cancel();
            }
            answers.insert(number, answer);
            said.extend_from_slice(number.to_string().as_bytes());
        }
        said.extend_from_slice(args.as_bytes());
        let bytes = said.len();
        if handle.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > AHEAD_BYTES_MAX
            || handle.say.try_send(said).is_err()
        {
            handle.gone.cancel();
        }
    }
}

/// Runs a link to its end.
pub(super) async fn run(gate: &Gate, socket: Arc<Socket>, handle: &Handle, said: mpsc::Receiver<Vec<u8>>) {
    let line = gate.open(handle.peer, None);
    let mut link = Link {
        gate,
        line: &line,
        socket: Arc::clone(&socket),
        handle,
        said,
        burst: VecDeque::new(),
        acknowledged: FuturesUnordered::new(),
    };
    if let Some(reason) = link.serve().await {
        gate.tell(line.id, Input::Ended { link: line.id, reason: &reason });
        link.write();
    }
    let _ = socket.disconnect();
    // They keep the socket, which keeps the handle, which keeps them.
    handle.answers().clear();
    gate.closed(&line);
}

/// A number of ours, and whether the client has acknowledged it.
type Acknowledged = Pin<Box<dyn Future<Output = (u64, bool)> + Send>>;

struct Link<'g> {
    gate: &'g Gate,
    line: &'g Arc<Line>,
    socket: Arc<Socket>,
    handle: &'g Handle,
    said: mpsc::Receiver<Vec<u8>>,
    /// Taken from the line, not yet by the engine.
    burst: VecDeque<Vec<u8>>,
    acknowledged: FuturesUnordered<Acknowledged>,
}

impl Link<'_> {
    /// Until the link ends; answers why, if its client can be told.
    async fn serve(&mut self) -> Option<Refused> {
        let (gate, line, handle) = (self.gate, self.line, self.handle);
        let mut pump = Pump::default();
        let mut heard_at = Instant::now();
        let mut stuck_since = None;
        let mut missed: Option<(u64, Instant)> = None;
        loop {
            while let Some((ask, result)) = line.next_answer() {
                gate.answer(line.id, ask, result);
            }
            if let Pumped::Ended(reason) = pump.run(gate, line).await {
                return Some(reason);
            }
            let wrote = self.write();
            let now = Instant::now();
            let is_stuck = !self.burst.is_empty();
            if wrote || !is_stuck {
                stuck_since = None;
            }
            if wrote && !is_stuck {
                gate.tell(line.id, Input::Drained { link: line.id });
                continue;
            }
            if handle.gone.is_cancelled() || line.is_over() && !is_stuck {
                return None;
            }
            let pause = line.pause(now);
            let mut deadline = now + Duration::from_secs(3_600);
            if line.seat().is_none() {
                deadline = deadline.min(heard_at + SIGN_IN_WITHIN);
            }
            if is_stuck {
                deadline = deadline.min(*stuck_since.get_or_insert(now) + WRITE_WITHIN);
            }
            // Polled again, or no longer polling at all: it was upgraded.
            let is_polling = self.socket.transport_type() == TransportType::Polling;
            missed = missed.filter(|(polls, _)| *polls == handle.polls.load(Ordering::Relaxed) && is_polling);
            if let Some((_, until)) = missed {
                deadline = deadline.min(until);
            }
            if deadline <= now {
                return None;
            }
            if let Some(Some(until)) = pause {
                deadline = deadline.min(until);
            }
            let seat = line.seat();
            tokio::select! {
                () = gate.shutdown.cancelled() => return Some(crate::messenger::restarting()),
                () = handle.gone.cancelled() => return None,
                said = self.said.recv(), if pause.is_none() => {
                    let said = said?;
                    handle.waiting_bytes.fetch_sub(said.len(), Ordering::Relaxed);
                    heard_at = Instant::now();
                    gate.hear(line, &said);
                }
                Some((number, arrived)) = self.acknowledged.next() => {
                    if arrived {
                        let told = format!("3{number}[]");
                        gate.tell(line.id, Input::Bytes { link: line.id, bytes: told.as_bytes() });
                    }
                }
                () = handle.poll_over.notified() => {
                    let broke = handle.poll_broke.load(Ordering::Relaxed);
                    let within = if broke { BROKEN_POLL_AGAIN_WITHIN } else { POLL_AGAIN_WITHIN };
                    missed = Some((handle.polls.load(Ordering::Relaxed), Instant::now() + within));
                }
                () = line.stirred.notified() => {}
                () = async { if let Some(seat) = &seat { seat.outbox.changed().await } }, if seat.is_some() => {}
                () = sleep(AGAIN_AFTER), if is_stuck => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Gives the engine as much as it takes; whether that was anything.
    fn write(&mut self) -> bool {
        let mut wrote = false;
        loop {
            if self.burst.is_empty() {
                self.burst.extend(std::iter::from_fn(|| self.line.next()).take(BURST_MAX));
            }
            let Some(packet) = self.burst.pop_front() else { return wrote };
            match self.emit(&packet) {
                Ok(()) => wrote = true,
                Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                    self.burst.push_front(packet);
                    return wrote;
                }
                Err(error) => {
                    tracing::debug!(door = self.gate.name, %error, "a connection takes nothing any more");
                    self.handle.gone.cancel();
                    return wrote;
                }
            }
        }
    }

    fn emit(&mut self, packet: &[u8]) -> Result<(), SendError> {
        let Some(Packet { is_event, number, name, data }) = Packet::read(packet) else {
            tracing::error!(door = self.gate.name, "a packet of our own cannot be read");
            return Ok(());
        };
        if !is_event {
            let answer = self.handle.answers().remove(&number.unwrap_or(u64::MAX));
            return answer.map_or(Ok(()), |answer| answer.send(data));
        }
        let is_last = self.burst.is_empty() && self.acknowledged.len() < UNACKNOWLEDGED_MAX;
        match number.filter(|_| is_last) {
            Some(number) => {
                let acknowledged = self.socket.emit_with_ack::<_, IgnoredAny>(name, data)?;
                self.acknowledged.push(Box::pin(async move {
                    // What the client says with it does not matter.
                    (number, matches!(acknowledged.await, Ok(_) | Err(AckError::Decode(_))))
                }));
                Ok(())
            }
            None => self.socket.emit(name, data),
        }
    }
}

/// A packet of the door: `2["name",data]`, `25["name",data]` or `35[data]`.
struct Packet<'a> {
    is_event: bool,
    number: Option<u64>,
    name: &'a str,
    data: &'a RawValue,
}

impl<'a> Packet<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (head, args) = str::from_utf8(packet).ok()?.split_once('[')?;
        let args = args.strip_suffix(']')?;
        let is_event = head.starts_with('2');
        let number = head.get(1..)?;
        let number = if number.is_empty() { None } else { Some(number.parse().ok()?) };
        let (name, data) = if is_event { args.strip_prefix('"')?.split_once("\",")? } else { ("", args) };
        Some(Self { is_event, number, name, data: serde_json::from_str(data).ok()? })
    }
}
