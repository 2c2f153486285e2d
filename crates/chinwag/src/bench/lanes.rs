//! Lanes: one sender, one conversation, and the messages of it that are on their way.
//!
//! Shared by the tasks that send and those that receive, without locks on the hot path: each message has a slot
//! that counts down what is still missing, the acknowledgement and one delivery for each receiver.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{sync::Semaphore, time::Instant};

/// Histograms are shared by many lanes, to bound memory with thousands of them.
const SHARDS: usize = 16;
/// Latencies above a minute count as a minute.
const MOST_US: u64 = 60_000_000;

/// One message on its way.
#[derive(Default)]
struct Slot {
    missing: AtomicU32,
    /// When it was to be sent, in microseconds since the test's zero.
    at_us: AtomicU64,
    number: AtomicU32,
}

/// One sender in one conversation.
pub(super) struct Lane {
    pub(super) number: usize,
    pub(super) receivers: u32,
    slots: Box<[Slot]>,
    /// How many more may be sent now.
    pub(super) free: Semaphore,
}

/// What the whole test has seen.
pub(super) struct Board {
    pub(super) lanes: Vec<Lane>,
    pub(super) zero: Instant,
    shards: Vec<Mutex<Histogram<u64>>>,
    pub(super) is_measuring: AtomicBool,
    pub(super) is_over: AtomicBool,
    pub(super) sent: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) done: AtomicU64,
    pub(super) doubled: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) first_refusal: Mutex<Option<String>>,
}

impl Board {
    /// `receivers` for each lane; `window` messages of a lane may be on their way.
    pub(super) fn new(receivers: &[u32], window: u32) -> Self {
        let lane = |(number, receivers): (usize, &u32)| Lane {
            number,
            receivers: *receivers,
            slots: (0..window.next_power_of_two()).map(|_| Slot::default()).collect(),
            free: Semaphore::new(window as usize),
        };
        let histogram = || Histogram::new_with_bounds(1, MOST_US, 3).expect("the bounds make sense");
        Self {
            lanes: receivers.iter().enumerate().map(lane).collect(),
            zero: Instant::now(),
            shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
            is_measuring: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            done: AtomicU64::new(0),
            doubled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            first_refusal: Mutex::new(None),
        }
    }

    fn now_us(&self) -> u64 {
        us(self.zero.elapsed())
    }

    /// A message leaves that was to leave at `due` after zero. The caller holds a permit of `free`.
    pub(super) fn leaves(&self, lane: usize, number: u32, due: Duration) {
        let lane = &self.lanes[lane];
        let slot = lane.slot(number);
        slot.at_us.store(us(due), Ordering::Relaxed);
        slot.number.store(number, Ordering::Relaxed);
        slot.missing.store(lane.receivers + 1, Ordering::Release);
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The sender has the acknowledgement.
    pub(super) fn acknowledged(&self, lane: usize, number: u32) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.arrives(lane, number);
    }

    /// A receiver has it.
    pub(super) fn delivered(&self, lane: usize, number: u32) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.arrives(lane, number);
    }

    /// The server did not take it.
    pub(super) fn refused(&self, lane: usize, number: u32, why: &[u8]) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| String::from_utf8_lossy(why).into_owned());
        let lane = &self.lanes[lane];
        if lane.slot(number).missing.swap(0, Ordering::AcqRel) > 0 {
            lane.free.add_permits(1);
        }
    }

    fn arrives(&self, lane: usize, number: u32) {
        let lane = &self.lanes[lane];
        let slot = lane.slot(number);
        let is_this = slot.number.load(Ordering::Relaxed) == number;
        let missing = slot.missing.load(Ordering::Acquire);
        if !is_this || missing == 0 {
            self.doubled.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if slot.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let latency = self.now_us().saturating_sub(slot.at_us.load(Ordering::Relaxed));
        lane.free.add_permits(1);
        if self.is_measuring.load(Ordering::Relaxed) {
            self.done.fetch_add(1, Ordering::Relaxed);
            let mut shard = self.shards[lane.number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
            shard.saturating_record(latency.max(1));
        }
    }

    /// Messages that are neither whole nor refused.
    pub(super) fn on_their_way(&self) -> u64 {
        let open =
            |lane: &Lane| lane.slots.iter().filter(|slot| slot.missing.load(Ordering::Acquire) > 0).count();
        self.lanes.iter().map(|lane| open(lane) as u64).sum()
    }

    /// All latencies that were measured, in microseconds.
    pub(super) fn latencies(&self) -> Histogram<u64> {
        let mut all = Histogram::new_with_bounds(1, MOST_US, 3).expect("the bounds make sense");
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&*shard).expect("the bounds are the same");
        }
        all
    }
}

impl Lane {
    fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_done_when_acknowledged_and_delivered_to_all() {
        let board = Board::new(&[2], 4);
        board.is_measuring.store(true, Ordering::Relaxed);
        board.leaves(0, 7, Duration::ZERO);
        board.delivered(0, 7);
        board.acknowledged(0, 7);
        assert_eq!((board.done.load(Ordering::Relaxed), board.on_their_way()), (0, 1));
        board.delivered(0, 7);
        assert_eq!((board.done.load(Ordering::Relaxed), board.on_their_way()), (1, 0));
        assert_eq!(board.latencies().len(), 1);
        board.delivered(0, 7);
        assert_eq!(board.doubled.load(Ordering::Relaxed), 1, "a second delivery is no second message");
        board.delivered(0, 3);
        assert_eq!(board.doubled.load(Ordering::Relaxed), 2, "nor is one of another number in the same slot");
    }

    #[test]
    fn a_refused_message_makes_room_and_is_not_done() {
        let board = Board::new(&[1], 1);
        board.lanes[0].free.try_acquire().unwrap().forget();
        board.leaves(0, 1, Duration::ZERO);
        board.refused(0, 1, b"no");
        assert_eq!(board.lanes[0].free.available_permits(), 1);
        assert_eq!((board.done.load(Ordering::Relaxed), board.on_their_way()), (0, 0));
        assert_eq!(board.first_refusal.lock().unwrap().as_deref(), Some("no"));
    }
}
