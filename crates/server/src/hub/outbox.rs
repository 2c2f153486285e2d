//! What waits to be written to one connection: a bounded queue of encoded frames.
//!
//! Entries are shared by all their receivers and may be dropped here, because the log has them: a full outbox is
//! *behind*, remembers the lowest number it dropped of each log, and the connection reads these from the store.
//! Answers are kept: a connection has a bounded number of open questions. Signals are dropped first.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chinwag_protocol::{Closing, LogId, Seq};

use crate::sync::{Mutex, MutexGuard, Notify, PoisonError};

/// Entries and signals that may wait for one connection. A stalled reader costs no more.
pub(super) const OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// Signals may use this part of the outbox.
const SIGNAL_PART: usize = 4;

/// Questions of one connection that may be open before nothing more is read from it.
pub(super) const QUESTIONS_PAUSE: usize = 256;

/// Questions of one connection that may be open at all: a pause takes effect after what was read already.
pub(super) const QUESTIONS_MAX: usize = 1_024;

/// The lowest number that is missing of each log.
pub type Missing = BTreeMap<LogId, Seq>;

/// The queue between the hub and one connection.
pub struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    bytes_max: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        #[cfg(feature = "canaries")]
        if chinwag_store::canary::is(chinwag_store::canary::Canary::OutboxUnbounded) {
            return Self::bounded(usize::MAX / 2);
        }
        Self::bounded(OUTBOX_BYTES_MAX)
    }
}

#[derive(Default)]
struct Inner {
    frames: VecDeque<Frame>,
    /// Of entries and signals; answers are bounded by the number of questions.
    bytes: usize,
    /// How many of the frames are answers.
    answers: usize,
    questions: usize,
    missing: Option<Box<Missing>>,
    closing: Option<Box<Closing>>,
    /// A signal was dropped.
    signals_lost: bool,
    /// Something came since [`Outbox::next`] was last asked: whoever put it first wakes the connection.
    stirred: bool,
}

struct Frame {
    what: What,
    bytes: Bytes,
}

#[derive(Clone, Copy)]
enum What {
    Entry(LogId, Seq),
    Answer,
    Signal,
}

/// What a connection is to do next.
pub enum Next {
    /// Write these frames, taken into the buffer given.
    Write,
    /// Read these entries from the store; what was queued of them is gone.
    CatchUp(Missing),
    /// Say this and close.
    Close(Box<Closing>),
    /// Nothing yet: wait for [`Outbox::changed`].
    Wait,
}

impl Outbox {
    /// An outbox of another size than usual.
    pub fn bounded(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), wake: Notify::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half done by a panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the connection know that something came.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Lets the connection know once, whatever else comes before it looks.
    fn stir(&self, mut inner: MutexGuard<'_, Inner>) {
        let first = !std::mem::replace(&mut inner.stirred, true);
        drop(inner);
        if first {
            self.wake();
        }
    }

    /// Queues an entry, or notes that it is missing. If it answers `true`, the caller has to call
    /// [`Outbox::wake`], after as many entries as he likes.
    #[must_use]
    pub fn entry(&self, log: LogId, seq: Seq, bytes: Bytes) -> bool {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return false;
        }
        if inner.missing.is_none() && inner.bytes + bytes.len() > self.bytes_max {
            inner.fall_behind();
        }
        match &mut inner.missing {
            Some(missing) => note(missing, log, seq),
            None => inner.push(What::Entry(log, seq), bytes),
        }
        !std::mem::replace(&mut inner.stirred, true)
    }

    /// Notes that entries from `seq` on are missing: a resuming client's gaps.
    pub fn missing(&self, log: LogId, seq: Seq) {
        let mut inner = self.lock();
        note(inner.missing.get_or_insert_default(), log, seq);
        self.stir(inner);
    }

    /// Queues the answer to a question.
    pub fn answer(&self, bytes: Bytes) {
        let mut inner = self.lock();
        inner.questions = inner.questions.saturating_sub(1);
        if inner.closing.is_none() {
            inner.push(What::Answer, bytes);
        }
        self.stir(inner);
    }

    /// Queues a frame that answers no question: a pong, a refusal of a frame that could not be read.
    pub fn reply(&self, bytes: Bytes) {
        let mut inner = self.lock();
        inner.questions += 1;
        drop(inner);
        self.answer(bytes);
    }

    /// Queues a signal, unless there is much waiting.
    pub fn signal(&self, bytes: Bytes) {
        let mut inner = self.lock();
        let is_full = inner.bytes + bytes.len() > self.bytes_max / SIGNAL_PART;
        if inner.closing.is_some() || inner.missing.is_some() || is_full {
            inner.signals_lost = true;
            return;
        }
        inner.push(What::Signal, bytes);
        self.stir(inner);
    }

    /// Notes that a signal was dropped before it came here.
    pub fn lose_signal(&self) {
        let mut inner = self.lock();
        inner.signals_lost = true;
        self.stir(inner);
    }

    /// Whether a signal was dropped since this was last asked: one's own cursors are in no log and have to be told again.
    pub fn signals_were_lost(&self) -> bool {
        std::mem::take(&mut self.lock().signals_lost)
    }

    /// Ends the connection: what waits is dropped, and nothing is queued any more.
    pub fn close(&self, closing: Closing) {
        let mut inner = self.lock();
        inner.frames.clear();
        (inner.bytes, inner.answers) = (0, 0);
        inner.missing = None;
        inner.closing.get_or_insert_with(|| Box::new(closing));
        drop(inner);
        self.wake();
    }

    /// Counts a question that is about to be asked; `false` if too many are open.
    pub fn ask(&self) -> bool {
        let mut inner = self.lock();
        if inner.questions >= QUESTIONS_MAX {
            return false;
        }
        inner.questions += 1;
        true
    }

    /// Whether more may be read.
    pub fn may_ask(&self) -> bool {
        self.lock().questions < QUESTIONS_PAUSE
    }

    /// Whether the connection is to end.
    pub fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// Says what to do next; frames to write are appended to `frames`, at most `count` of them or about `bytes`.
    pub fn next(&self, frames: &mut VecDeque<Bytes>, count: usize, bytes: usize) -> Next {
        let mut inner = self.lock();
        inner.stirred = false;
        if let Some(closing) = &inner.closing {
            return Next::Close(closing.clone());
        }
        if inner.frames.is_empty() {
            return match inner.missing.take() {
                Some(missing) => Next::CatchUp(*missing),
                None => Next::Wait,
            };
        }
        let mut taken = 0;
        while taken < bytes
            && frames.len() < count
            && let Some(frame) = inner.frames.pop_front()
        {
            match frame.what {
                What::Answer => inner.answers -= 1,
                What::Entry(..) | What::Signal => inner.bytes -= frame.bytes.len(),
            }
            taken += frame.bytes.len();
            frames.push_back(frame.bytes);
        }
        if inner.frames.is_empty() {
            // An idle connection keeps no buffer of a past burst.
            inner.frames = VecDeque::new();
        }
        Next::Write
    }

    /// The same, but takes only answers: everything else is to come after what is being read from the store.
    pub fn next_answers(&self, frames: &mut VecDeque<Bytes>, count: usize, bytes: usize) -> Next {
        let mut inner = self.lock();
        inner.stirred = false;
        if let Some(closing) = &inner.closing {
            return Next::Close(closing.clone());
        }
        if inner.answers == 0 {
            return Next::Wait;
        }
        let (room, mut taken, mut moved) = (count.saturating_sub(frames.len()), 0, 0);
        inner.frames.retain(|frame| {
            let stays = !matches!(frame.what, What::Answer) || taken >= bytes || moved >= room;
            if !stays {
                (taken, moved) = (taken + frame.bytes.len(), moved + 1);
                frames.push_back(frame.bytes.clone());
            }
            stays
        });
        inner.answers -= moved;
        Next::Write
    }

    /// Drops queued entries that a catch-up has just sent.
    pub fn sent(&self, log: LogId, up_to: Seq) {
        let mut inner = self.lock();
        let mut freed = 0;
        inner.frames.retain(|frame| match frame.what {
            What::Entry(other, seq) if other == log && seq <= up_to => {
                freed += frame.bytes.len();
                false
            }
            _ => true,
        });
        inner.bytes -= freed;
    }

    /// Returns when something was queued since it last returned.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Inner {
    fn push(&mut self, what: What, bytes: Bytes) {
        match what {
            What::Answer => self.answers += 1,
            What::Entry(..) | What::Signal => self.bytes += bytes.len(),
        }
        self.frames.push_back(Frame { what, bytes });
    }

    /// Drops everything but answers, and remembers which entries that were.
    fn fall_behind(&mut self) {
        let mut missing = Box::<Missing>::default();
        for frame in &self.frames {
            if let What::Entry(log, seq) = frame.what {
                note(&mut missing, log, seq);
            }
        }
        self.signals_lost |= self.frames.iter().any(|frame| matches!(frame.what, What::Signal));
        self.frames.retain(|frame| matches!(frame.what, What::Answer));
        self.bytes = 0;
        self.missing = Some(missing);
        metrics::counter!("chinwag_sessions_behind_total").increment(1);
    }
}

fn note(missing: &mut Missing, log: LogId, seq: Seq) {
    missing.entry(log).and_modify(|lowest| *lowest = seq.min(*lowest)).or_insert(seq);
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use chinwag_protocol::{ConversationId, Refused};

    use super::*;

    const LOG: LogId = LogId::Conversation(ConversationId(1));

    fn frame(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    fn drain(outbox: &Outbox) -> (Vec<usize>, Option<Missing>) {
        let (mut lengths, mut frames) = (Vec::new(), VecDeque::new());
        loop {
            match outbox.next(&mut frames, 64, 64 * 1024) {
                Next::Write => lengths.extend(frames.drain(..).map(|frame| frame.len())),
                Next::CatchUp(missing) => return (lengths, Some(missing)),
                Next::Close(_) | Next::Wait => return (lengths, None),
            }
        }
    }

    #[test]
    fn a_full_outbox_keeps_answers_and_remembers_the_lowest_dropped_number() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(7), frame(OUTBOX_BYTES_MAX));
        assert!(outbox.ask());
        outbox.answer(frame(3));
        let _ = outbox.entry(LOG, Seq(8), frame(1));
        let _ = outbox.entry(LogId::Directory, Seq(2), frame(1));
        outbox.signal(frame(1));
        assert_eq!(
            drain(&outbox),
            (vec![3], Some(Missing::from([(LOG, Seq(7)), (LogId::Directory, Seq(2))])))
        );
        let _ = outbox.entry(LOG, Seq(9), frame(5));
        assert_eq!(drain(&outbox), (vec![5], None));
    }

    #[test]
    fn answers_pass_what_waits_for_a_reading() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(7), frame(1));
        for length in 2..=4 {
            assert!(outbox.ask());
            outbox.answer(frame(length));
        }
        outbox.signal(frame(5));
        let mut frames = VecDeque::new();
        assert!(matches!(outbox.next_answers(&mut frames, 2, 1024), Next::Write));
        assert_eq!(frames.drain(..).map(|frame| frame.len()).collect::<Vec<_>>(), [2, 3]);
        assert!(matches!(outbox.next_answers(&mut frames, 2, 1024), Next::Write));
        assert_eq!(frames.drain(..).map(|frame| frame.len()).collect::<Vec<_>>(), [4]);
        assert!(matches!(outbox.next_answers(&mut frames, 2, 1024), Next::Wait));
        assert_eq!(drain(&outbox), (vec![1, 5], None), "the others are there, in their order");
    }

    #[test]
    fn b1_an_outbox_holds_exactly_its_bound() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(1), frame(OUTBOX_BYTES_MAX - 1));
        let _ = outbox.entry(LOG, Seq(2), frame(1));
        assert_eq!(drain(&outbox), (vec![OUTBOX_BYTES_MAX - 1, 1], None));
    }

    /// Bytes that are counted as long as somebody holds them.
    struct Counted(Vec<u8>, Arc<AtomicUsize>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
        }
    }

    #[test]
    fn b2_a_thousand_stalled_readers_hold_no_more_than_their_bounds() {
        const READERS: usize = 1_000;
        const BOUND: usize = 16 * 1024;
        let held = Arc::new(AtomicUsize::new(0));
        let readers: Vec<Outbox> = (0..READERS).map(|_| Outbox::bounded(BOUND)).collect();
        let mut most = 0;
        for seq in 1..=40 {
            for (number, reader) in readers.iter().enumerate() {
                // Each is told something else, as in private conversations.
                let log = LogId::Conversation(ConversationId(number as u32));
                held.fetch_add(1_024, Ordering::Relaxed);
                let bytes = Bytes::from_owner(Counted(vec![0; 1_024], held.clone()));
                let _ = reader.entry(log, Seq(seq), bytes);
            }
            most = most.max(held.load(Ordering::Relaxed));
            assert!(held.load(Ordering::Relaxed) <= READERS * BOUND, "entry {seq}");
        }
        assert_eq!(most, READERS * BOUND, "as much as they may");
        for (number, reader) in readers.iter().enumerate() {
            let log = LogId::Conversation(ConversationId(number as u32));
            assert_eq!(drain(reader), (vec![], Some(Missing::from([(log, Seq(1))]))), "told to catch up");
        }
    }

    #[test]
    fn signals_give_way_to_entries() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(1), frame(OUTBOX_BYTES_MAX / SIGNAL_PART));
        outbox.signal(frame(1));
        assert_eq!(drain(&outbox), (vec![OUTBOX_BYTES_MAX / SIGNAL_PART], None));
    }

    #[test]
    fn b3_questions_are_bounded() {
        let outbox = Outbox::default();
        for _ in 0..QUESTIONS_MAX {
            assert!(outbox.ask());
        }
        assert!(!outbox.ask() && !outbox.may_ask());
        for _ in QUESTIONS_PAUSE..=QUESTIONS_MAX {
            outbox.answer(frame(1));
        }
        assert!(outbox.may_ask() && outbox.ask());
    }

    #[test]
    fn nothing_follows_the_closing() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(1), frame(1));
        outbox.close(Closing { reason: Refused::not_signed_in(), retry_after_ms: None });
        let _ = outbox.entry(LOG, Seq(2), frame(1));
        outbox.answer(frame(1));
        assert!(matches!(outbox.next(&mut VecDeque::new(), 1, 1), Next::Close(_)));
    }

    #[test]
    fn what_a_catch_up_sent_is_not_sent_again() {
        let outbox = Outbox::default();
        let _ = outbox.entry(LOG, Seq(4), frame(1));
        let _ = outbox.entry(LOG, Seq(5), frame(2));
        outbox.sent(LOG, Seq(4));
        assert_eq!(drain(&outbox), (vec![2], None));
    }

    #[test]
    fn a_connection_is_woken_once_until_it_looks() {
        let outbox = Outbox::default();
        assert!(outbox.entry(LOG, Seq(1), frame(1)), "the first one wakes");
        assert!(!outbox.entry(LOG, Seq(2), frame(1)), "the second finds it woken");
        assert_eq!(drain(&outbox), (vec![1, 1], None));
        assert!(outbox.entry(LOG, Seq(3), frame(1)), "it has looked since");
    }
}
