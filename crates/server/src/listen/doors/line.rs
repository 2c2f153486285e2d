//! The listener's side of one link: what waits to be written, and who is signed in.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use chinwag_doors::{AskId, Given, LinkId};
use chinwag_protocol::{Command, LogId, Refused, Seq};
use tokio::{sync::Notify, time::Instant};

use crate::{
    limit::{Limiter, Pace},
    messenger::Messenger,
    signed_in::SignedIn,
};

/// A link that has more than this to write is told no entries, and nothing more is read from it.
pub(super) const WAITING_BYTES_HIGH: usize = 64 * 1024;

/// A link for which a door itself says more than this, while the other end takes nothing, is closed.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Questions without an answer before nothing more is read, so that a flood waits in its own socket.
const QUESTIONS_PAUSE: u32 = 64;

/// One link.
pub(super) struct Line {
    pub(super) id: LinkId,
    pub(super) peer: SocketAddr,
    /// Something happened that the link's task has to look at.
    pub(super) stirred: Notify,
    outgoing: Mutex<Outgoing>,
    answers: Mutex<VecDeque<(AskId, Result<Given, Refused>)>>,
    seat: Mutex<Option<Arc<Seat>>>,
    /// The door knows who is signed in: entries may come.
    begun: AtomicBool,
    held: AtomicBool,
    /// The door wants to read nothing more for now.
    paused: AtomicBool,
    questions: AtomicU32,
    pace: Mutex<Paced>,
}

/// Who is signed in on a link.
pub(super) struct Seat {
    pub(super) signed_in: SignedIn,
    /// The session lives on after the link.
    pub(super) keeps: bool,
    /// How far the door's client is: its own log and the directory from the snapshot on, conversations from what
    /// was delivered.
    pub(super) told: Vec<(LogId, Seq)>,
    /// Those of the conversations that have more.
    pub(super) behind: Vec<(LogId, Seq)>,
}

impl std::ops::Deref for Seat {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.signed_in
    }
}

#[derive(Default)]
struct Outgoing {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
    closing: bool,
    overflown: bool,
}

struct Paced {
    pace: Pace,
    until: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    pub(super) fn new(id: LinkId, peer: SocketAddr, limiter: &Limiter) -> Self {
        Self {
            id,
            peer,
            stirred: Notify::new(),
            outgoing: Mutex::default(),
            answers: Mutex::default(),
            seat: Mutex::default(),
            begun: AtomicBool::new(false),
            held: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            questions: AtomicU32::new(0),
            pace: Mutex::new(Paced { pace: limiter.pace(), until: None }),
        }
    }

    /// Queues bytes for the other end.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.closing || outgoing.overflown {
            return;
        }
        outgoing.bytes += bytes.len();
        outgoing.queue.push_back(bytes);
        outgoing.overflown = outgoing.bytes > WAITING_BYTES_MAX;
        drop(outgoing);
        self.stirred.notify_one();
    }

    /// Closes the link once what was sent is on its way.
    pub(super) fn close(&self) {
        lock(&self.outgoing).closing = true;
        self.stirred.notify_one();
    }

    /// The next bytes to write.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let mut outgoing = lock(&self.outgoing);
        let next = outgoing.queue.pop_front();
        outgoing.bytes -= next.as_ref().map_or(0, Vec::len);
        if outgoing.queue.is_empty() {
            // An idle link keeps no buffer of a past burst.
            outgoing.queue = VecDeque::new();
        }
        next
    }

    /// Whether the door is done with this link, or has said more than its other end takes.
    pub(super) fn is_over(&self) -> bool {
        let outgoing = lock(&self.outgoing);
        outgoing.overflown || outgoing.closing && outgoing.queue.is_empty()
    }

    /// Whether entries may be told now.
    pub(super) fn takes_entries(&self) -> bool {
        self.begun.load(Ordering::Acquire)
            && !self.held.load(Ordering::Acquire)
            && lock(&self.outgoing).bytes < WAITING_BYTES_HIGH
    }

    /// Stops or goes on telling entries.
    pub(super) fn hold(&self, hold: bool) {
        self.held.store(hold, Ordering::Release);
        self.stirred.notify_one();
    }

    /// Stops or goes on reading.
    pub(super) fn pause_reading(&self, pause: bool) {
        self.paused.store(pause, Ordering::Release);
        self.stirred.notify_one();
    }

    /// Who is signed in.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        lock(&self.seat).clone()
    }

    /// Signs somebody in, who may ask from now on.
    pub(super) fn sit(&self, seat: Seat) {
        self.begun.store(false, Ordering::Release);
        *lock(&self.seat) = Some(Arc::new(seat));
    }

    /// Entries follow.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.stirred.notify_one();
    }

    /// Signs out and ends the session, unless it is one that lives on.
    pub(super) fn leave(&self, messenger: &Messenger) {
        let seat = lock(&self.seat).take();
        if let Some(seat) = seat.filter(|seat| !seat.keeps) {
            end_session(messenger, &seat.signed_in);
        }
    }

    /// Signs out and ends the session.
    pub(super) fn sign_out(&self, messenger: &Messenger) {
        let seat = lock(&self.seat).take();
        self.hold(false);
        if let Some(seat) = seat {
            end_session(messenger, &seat.signed_in);
        }
    }

    /// Counts a question.
    pub(super) fn asked(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// Queues the answer to a question for the link's task.
    pub(super) fn answered(&self, ask: AskId, result: Result<Given, Refused>) {
        lock(&self.answers).push_back((ask, result));
        self.stirred.notify_one();
    }

    /// Notes that an answer was told without waiting in the queue.
    pub(super) fn settled(&self) {
        self.questions.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next answer to tell.
    pub(super) fn next_answer(&self) -> Option<(AskId, Result<Given, Refused>)> {
        let next = lock(&self.answers).pop_front();
        if next.is_some() {
            self.settled();
        }
        next
    }

    /// Reads nothing more for so long.
    pub(super) fn slow_down(&self, pause: Duration) {
        if !pause.is_zero() {
            let mut paced = lock(&self.pace);
            let now = Instant::now();
            paced.until = paced.until.max(Some(now + pause));
        }
    }

    /// Pays for so many frames that came in.
    pub(super) fn pay(&self, frames: u32) {
        let pause = lock(&self.pace).pace.frames(frames);
        self.slow_down(pause);
    }

    /// Until when nothing is read, if something stands against reading now; without a time, until the door goes on, an
    /// answer came, or the other end took some of what waits for it.
    pub(super) fn pause(&self, now: Instant) -> Option<Option<Instant>> {
        let mut paced = lock(&self.pace);
        if paced.until.is_some_and(|until| until <= now) {
            paced.until = None;
        }
        match paced.until {
            Some(until) => Some(Some(until)),
            None => self.must_wait().then_some(None),
        }
    }

    /// Whether what was read has to be dealt with first. Whoever sends and takes nothing is slowed down by this, and
    /// not cut off for all that would have to be said to him.
    fn must_wait(&self) -> bool {
        self.paused.load(Ordering::Acquire)
            || self.questions.load(Ordering::Relaxed) >= QUESTIONS_PAUSE
            || lock(&self.outgoing).bytes >= WAITING_BYTES_HIGH
    }
}

fn end_session(messenger: &Messenger, signed_in: &SignedIn) {
    let command = Command::EndSession { session: signed_in.actor.session };
    let prepared = chinwag_domain::Prepared::of(&command);
    let request = chinwag_domain::Request::Command { actor: signed_in.actor.clone(), command, prepared };
    messenger.transact(request, |_verdict| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_while_something_has_to_be_dealt_with_first() {
        let limiter = Limiter::new(&chinwag_domain::limits::Limits::default());
        let line = Line::new(LinkId(1), "127.0.0.1:4000".parse().expect("an address"), &limiter);
        let is_read = || line.pause(Instant::now()).is_none();
        assert!(is_read());

        line.pause_reading(true);
        assert!(!is_read(), "the door wants a pause");
        line.pause_reading(false);
        assert!(is_read());

        (0..QUESTIONS_PAUSE).for_each(|_| line.asked());
        assert!(!is_read(), "so many questions are open");
        line.settled();
        assert!(is_read());

        line.send(vec![0; WAITING_BYTES_HIGH - 1]);
        assert!(is_read());
        line.send(vec![0]);
        assert!(!is_read(), "the other end takes nothing");
        line.next();
        assert!(is_read() && !line.is_over());
    }
}
