//! A look at the write-ahead log before SQLite does: was anything in it damaged that had been synced?
//!
//! SQLite takes the first frame that does not fit for the end of the log, because after a crash that is what the end
//! looks like. So a bit that turned over in the middle would silently take back everything after it. A killed process
//! leaves a log without gaps: where another transaction follows, what does not fit was damaged. Of the last one nobody
//! can say whether it was damaged or never finished. A power cut may leave a gap too, in what was not synced yet and
//! not acknowledged: several commits may be on their way to the disk. It cannot be told from damage here.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    time::Duration,
};

/// How often damage must be seen to be believed.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

const HEADER: usize = 32;
const FRAME: usize = 24;

/// SQLite's running checksum over words of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    fn over(mut self, bytes: &[u8], big_endian: bool) -> Self {
        let word = |bytes: &[u8]| {
            let bytes = bytes.try_into().unwrap_or_default();
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        for pair in bytes.chunks_exact(8) {
            let (first, second) = pair.split_at(4);
            self.0 = self.0.wrapping_add(word(first)).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(word(second)).wrapping_add(self.0);
        }
        self
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default()
}

/// As much as there is, up to the length of `into`.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What was damaged in the log beside a database, in words, if anything was for certain.
pub(super) fn damage(database: &Path) -> Option<String> {
    let file = database.with_extension("db-wal");
    let mut before = None;
    // A server that is writing at this moment may show a half-written frame. Damage stays.
    for _ in 0..LOOKS {
        let found = match File::open(&file).and_then(|opened| look(BufReader::with_capacity(1 << 20, opened)))
        {
            Ok(found) => found?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => format!("it cannot be read: {error}"),
        };
        if before.as_ref().is_some_and(|before| *before != found) {
            return None;
        }
        before = Some(found);
        std::thread::park_timeout(BETWEEN_LOOKS);
    }
    before.map(|why| format!("the write-ahead log: {why}"))
}

fn look(mut log: impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER];
    if fill(&mut log, &mut header)? < HEADER {
        // Nothing, or a header that was never finished.
        return Ok(None);
    }
    let page = number(&header, 8) as usize;
    let big_endian = match number(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        0 => return Ok(None),
        _ => return Ok(Some("its header is damaged".to_owned())),
    };
    let sum = Sum(0, 0).over(&header[..24], big_endian);
    if sum != Sum(number(&header, 24), number(&header, 28)) || !(512..=65_536).contains(&page) {
        return Ok(Some("its header is damaged".to_owned()));
    }
    let salt = &header[16..24];
    let (mut sum, mut frame) = (sum, vec![0; FRAME + page]);
    // The number of the first frame that does not fit, and whether a transaction ended there or after it.
    let (mut broken, mut ended, mut count) = (None, false, 0_u64);
    while fill(&mut log, &mut frame)? == frame.len() {
        count += 1;
        let ours = frame[8..16] == *salt;
        if broken.is_none() {
            let next = sum.over(&frame[..8], big_endian).over(&frame[FRAME..], big_endian);
            if ours && next == Sum(number(&frame, 16), number(&frame, 20)) {
                sum = next;
                continue;
            }
            broken = Some(count);
        } else if ours && ended {
            let broken = broken.unwrap_or_default();
            return Ok(Some(format!(
                "frame {broken} is damaged, or was lost in a power cut, with what follows"
            )));
        }
        // The salts of an earlier time say that this is not a frame of ours any more, unless they are what is damaged.
        ended |= ours && number(&frame, 4) != 0;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of three transactions, as a killed process leaves it.
    fn log() -> Vec<u8> {
        let folder = tempfile::TempDir::new().unwrap();
        let conn = rusqlite::Connection::open(folder.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a);")
            .unwrap();
        for _ in 0..2 {
            conn.execute("INSERT INTO t VALUES (randomblob(6000))", []).unwrap();
        }
        std::fs::read(folder.path().join("x.db-wal")).unwrap()
    }

    fn found(log: &[u8]) -> Option<String> {
        look(log).unwrap()
    }

    #[test]
    fn a_sound_log_and_an_unfinished_one_are_no_damage() {
        let log = log();
        assert_eq!(found(&log), None);
        for cut in [0, 7, HEADER, HEADER + 5, log.len() - 1, log.len() - 5_000] {
            assert_eq!(found(&log[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_bit_before_the_last_transaction_is_found() {
        let log = log();
        let frames = (log.len() - HEADER) / (FRAME + 4096);
        let last_begins = (1..frames)
            .rev()
            .find(|n| number(&log[HEADER + (n - 1) * (FRAME + 4096)..], 4) != 0)
            .map(|n| HEADER + n * (FRAME + 4096))
            .unwrap();
        for at in (0..last_begins).step_by(97) {
            let mut changed = log.clone();
            changed[at] ^= 1 << (at % 8);
            let commit_mark = at >= HEADER && (4..8).contains(&((at - HEADER) % (FRAME + 4096)));
            assert!(found(&changed).is_some() || commit_mark, "byte {at}");
        }
    }

    #[test]
    fn a_bit_in_the_last_transaction_may_be_an_unfinished_one() {
        let mut log = log();
        let last = log.len() - 10;
        log[last] ^= 1;
        assert_eq!(found(&log), None);
    }
}
