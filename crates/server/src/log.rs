//! Log lines: structured fields and a short phrase, never a message's text, a token or a password.
//!
//! Whoever logs never waits: a thread of its own writes to standard error, and what it has not written yet is bounded.
//! When the reader of a pipe stops or a disk is full, lines are dropped and counted, in the log itself as soon as it can
//! be written again and in `chinwag_log_lines_dropped_total`.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{LogConfig, LogFormat};

/// How many lines may wait to be written, and how many bytes they may have together.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 1024 * 1024;

static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// If the filter of the configuration cannot be understood.
pub fn start(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| format!("log.filter: {error}"))?;
    if LINES.get().is_some() {
        return Ok(());
    }
    // Not through the library's handle: its lock would be held for as long as a write takes.
    let out =
        io::stderr().as_fd().try_clone_to_owned().map_err(|error| format!("standard error: {error}"))?;
    let lines = Lines::to(File::from(out)).map_err(|error| format!("the thread of the log: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let writer = lines.clone();
    // Already started: by a test, or by whoever embeds us.
    let started = match config.format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).try_init(),
        LogFormat::Text => {
            let colour = io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(colour).with_writer(writer)).try_init()
        }
    };
    if started.is_ok() {
        let _ = LINES.set(lines);
        // The usual hook would wait for standard error in whichever thread it was.
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or_default();
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or_default();
            tracing::error!(thread, place, message, "a thread panicked");
        }));
    }
    Ok(())
}

/// Waits until everything logged so far is written, but not for long: before the process ends.
pub fn flush(at_most: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush(at_most);
    }
}

/// What the thread is told.
enum Work {
    Line(Vec<u8>),
    /// Everything before this is written.
    Flush(Sender<()>),
}

/// The way to the thread that writes; cheap to clone.
#[derive(Clone)]
struct Lines {
    queue: Sender<Work>,
    bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, waiting) = bounded(LINES_MAX);
        let lines = Self { queue, bytes: Arc::default(), dropped: Arc::default() };
        let (bytes, dropped) = (lines.bytes.clone(), lines.dropped.clone());
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || write(out, &waiting, &bytes, &dropped))?;
        Ok(lines)
    }

    fn add(&self, line: &[u8]) {
        #[cfg(feature = "canaries")]
        if chinwag_store::canary::is(chinwag_store::canary::Canary::LogWaits) {
            let until = Instant::now() + Duration::from_secs(2);
            let _ = self.queue.send_deadline(Work::Line(line.to_vec()), until);
            return;
        }
        let fits = self.bytes.fetch_add(line.len(), Ordering::AcqRel) + line.len() <= BYTES_MAX;
        if !fits || self.queue.try_send(Work::Line(line.to_vec())).is_err() {
            self.bytes.fetch_sub(line.len(), Ordering::AcqRel);
            drop_line(&self.dropped);
        }
    }

    fn flush(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let (tell, told) = bounded(1);
        if self.queue.send_deadline(Work::Flush(tell), until).is_ok() {
            let _ = told.recv_deadline(until);
        }
    }
}

fn drop_line(dropped: &AtomicU64) {
    dropped.fetch_add(1, Ordering::AcqRel);
    metrics::counter!("chinwag_log_lines_dropped_total").increment(1);
}

/// Writes what comes until nobody can log any more.
fn write(mut out: impl Write, waiting: &Receiver<Work>, bytes: &AtomicUsize, dropped: &AtomicU64) {
    let mut told = 0;
    for work in waiting {
        match work {
            Work::Line(line) => {
                let now = dropped.load(Ordering::Acquire);
                if now > told && writeln!(out, "{} lines of the log were dropped here", now - told).is_ok() {
                    told = now;
                }
                if out.write_all(&line).is_err() {
                    drop_line(dropped);
                }
                bytes.fetch_sub(line.len(), Ordering::AcqRel);
            }
            Work::Flush(tell) => {
                let _ = out.flush();
                // Whoever asked may have stopped waiting.
                let _ = tell.send(());
            }
        }
    }
}

/// One event on its way; it comes in one piece.
struct Line(Lines);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Keeps what is written; each write waits until it is allowed.
    struct Slow {
        kept: Arc<Mutex<Vec<u8>>>,
        allowed: mpsc::Receiver<io::Result<()>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once nobody is there to forbid anything, everything is allowed.
            self.allowed.recv().unwrap_or(Ok(()))?;
            self.kept.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Allow = mpsc::Sender<io::Result<()>>;

    fn slow() -> (Lines, Arc<Mutex<Vec<u8>>>, Allow) {
        let (allow, allowed) = mpsc::channel();
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Slow { kept: kept.clone(), allowed }).unwrap();
        (lines, kept, allow)
    }

    fn settled(lines: &Lines, kept: &Mutex<Vec<u8>>) -> String {
        lines.flush(Duration::from_secs(60));
        String::from_utf8(kept.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_reader_that_has_stopped_holds_up_nobody_and_what_was_dropped_is_told() {
        let (lines, kept, allow) = slow();
        for number in 0..LINES_MAX + 1_000 {
            lines.make_writer().write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let dropped = lines.dropped.load(Ordering::Acquire);
        assert!((998..=1_000).contains(&dropped), "{dropped}");
        drop(allow);
        let before = settled(&lines, &kept);
        assert!(before.contains("line 0\n") && before.contains(&format!("line {}\n", LINES_MAX - 1)));
        assert!(before.contains(&format!("{dropped} lines of the log were dropped here\n")), "told");
        lines.make_writer().write_all(b"after\n").unwrap();
        assert!(settled(&lines, &kept).ends_with("after\n"), "and it goes on");
        assert_eq!(lines.bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn long_lines_count_by_their_length() {
        let (lines, _kept, _allow) = slow();
        let long = vec![b'x'; BYTES_MAX / 4];
        (0..6).for_each(|_| lines.add(&long));
        assert_eq!(lines.dropped.load(Ordering::Acquire), 2);
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let (lines, kept, allow) = slow();
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        lines.add(b"lost\n");
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.dropped.load(Ordering::Acquire), 1);
        drop(allow);
        lines.add(b"kept\n");
        assert_eq!(settled(&lines, &kept), "1 lines of the log were dropped here\nkept\n");
    }
}
