//! The last entries of each log as encoded frames, so that a storm of reconnects does not read the store.
//!
//! A cache and nothing more: what is not here is in the store. Whoever takes from it has checked the right to it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chinwag_protocol::{LogId, Seq};

/// Entries kept of one log.
const ENTRIES_MAX: usize = 128;

/// All frames together.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Frames of the last entries of each log, without gaps.
pub(super) struct Recent {
    entries_max: usize,
    logs: HashMap<LogId, VecDeque<(Seq, Bytes)>>,
    /// In which order frames came, to drop the oldest first.
    order: VecDeque<LogId>,
    bytes: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::bounded(ENTRIES_MAX)
    }
}

impl Recent {
    /// Keeps another number of entries of each log than usual.
    pub(super) fn bounded(entries_max: usize) -> Self {
        Self { entries_max, logs: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// Keeps the frame of the newest entry of a log.
    pub(super) fn push(&mut self, log: LogId, seq: Seq, frame: Bytes) {
        let frames = self.logs.entry(log).or_default();
        if frames.back().is_some_and(|(last, _)| last.next() != seq) {
            self.bytes -= frames.drain(..).map(|(_, frame)| frame.len()).sum::<usize>();
        }
        self.bytes += frame.len();
        frames.push_back((seq, frame));
        if frames.len() > self.entries_max {
            self.bytes -= frames.pop_front().map_or(0, |(_, frame)| frame.len());
        } else {
            self.order.push_back(log);
        }
        while self.bytes > BYTES_MAX
            && let Some(log) = self.order.pop_front()
        {
            self.drop_oldest(log);
        }
    }

    /// Forgets a log: something in it was erased.
    pub(super) fn forget(&mut self, log: LogId) {
        if let Some(frames) = self.logs.remove(&log) {
            self.bytes -= frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
            self.order.retain(|other| *other != log);
        }
    }

    /// All entries after `seq`, if none of them is missing here.
    pub(super) fn after(&self, log: LogId, seq: Seq) -> Option<impl Iterator<Item = &(Seq, Bytes)>> {
        let frames = self.logs.get(&log)?;
        let first = frames.front()?.0;
        (first <= seq.next()).then(|| frames.iter().filter(move |(other, _)| *other > seq))
    }

    fn drop_oldest(&mut self, log: LogId) {
        let Some(frames) = self.logs.get_mut(&log) else { return };
        self.bytes -= frames.pop_front().map_or(0, |(_, frame)| frame.len());
        if frames.is_empty() {
            self.logs.remove(&log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(recent: &Recent, after: u32) -> Option<Vec<u32>> {
        Some(recent.after(LogId::Directory, Seq(after))?.map(|(seq, _)| seq.0).collect())
    }

    #[test]
    fn answers_only_without_gaps() {
        let mut recent = Recent::default();
        assert_eq!(seqs(&recent, 0), None);
        for seq in 5..=9 {
            recent.push(LogId::Directory, Seq(seq), Bytes::from_static(b"x"));
        }
        assert_eq!(seqs(&recent, 3), None);
        assert_eq!(seqs(&recent, 4), Some(vec![5, 6, 7, 8, 9]));
        assert_eq!(seqs(&recent, 8), Some(vec![9]));
        recent.push(LogId::Directory, Seq(20), Bytes::from_static(b"x"));
        assert_eq!((seqs(&recent, 8), seqs(&recent, 19)), (None, Some(vec![20])));
        recent.forget(LogId::Directory);
        assert_eq!((seqs(&recent, 19), recent.bytes), (None, 0));
    }

    #[test]
    fn stays_below_its_bounds() {
        let mut recent = Recent::default();
        let frame = Bytes::from(vec![0; 100 * 1024]);
        for seq in 1..=400 {
            recent.push(LogId::Directory, Seq(seq), frame.clone());
            assert!(recent.bytes <= BYTES_MAX);
        }
        assert!(recent.logs[&LogId::Directory].len() <= ENTRIES_MAX && recent.order.len() <= ENTRIES_MAX);
    }
}
