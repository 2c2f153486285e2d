//! People who have nothing to do with a fault: how long their messages take, before it and during it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::peer::{Came, Peer, post_frame};
use crate::chaos::http::Account;

/// The promise is ten in a hundred. The generator shares its cores with the server and with whatever else the
/// machine does, so a row fails only beyond this, and the figures are printed.
const TIMES_WORSE: u32 = 2;
const SLACK_P50: Duration = Duration::from_millis(20);
/// One compiler on the same cores is enough to hold a thread up for so long.
const SLACK_P99: Duration = Duration::from_millis(500);

/// What waits longer counts as this long.
const GIVEN_UP: Duration = Duration::from_secs(30);

struct Sample {
    sent: Instant,
    answered: Option<Duration>,
    delivered: Option<Duration>,
}

type Samples = Arc<Mutex<Vec<Sample>>>;

fn lock(samples: &Samples) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pairs of people who write to each other at a steady pace, whether or not they are answered.
pub(super) struct Bystanders {
    pairs: Vec<Samples>,
    from: Vec<usize>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Bystanders {
    /// `name` keeps the handles of several apart.
    pub(super) fn start(address: SocketAddr, name: &str, pairs: usize, every: Duration) -> Result<Self> {
        let mut all =
            Self { pairs: Vec::new(), from: vec![0; pairs], end: Arc::default(), threads: Vec::new() };
        for number in 0..pairs {
            let anna = Account::register(address, &format!("{name}-anna-{number}"))?;
            let ben = Account::register(address, &format!("{name}-ben-{number}"))?;
            let place = anna.direct(address, &ben)?;
            let mut writer = Peer::open(address, &anna.token, None, None)?;
            let mut reader = Peer::open(address, &ben.token, None, None)?;
            writer.until("caught_up", GIVEN_UP)?;
            reader.until("caught_up", GIVEN_UP)?;
            let samples = Samples::default();
            let (end, notes) = (all.end.clone(), samples.clone());
            all.threads.push(thread::spawn(move || write(writer, place, every, &notes, &end)));
            let (end, notes) = (all.end.clone(), samples.clone());
            all.threads.push(thread::spawn(move || read(reader, &notes, &end)));
            all.pairs.push(samples);
        }
        Ok(all)
    }

    /// Leaves out what was measured since the last time.
    pub(super) fn forget(&mut self) {
        self.from = self.pairs.iter().map(|samples| lock(samples).len()).collect();
    }

    /// What was measured since the last time.
    pub(super) fn lap(&mut self) -> Result<Lap> {
        let (mut answers, mut deliveries) = (Vec::new(), Vec::new());
        for (samples, from) in self.pairs.iter().zip(&mut self.from) {
            let samples = lock(samples);
            for sample in &samples[*from..] {
                let waited = sample.sent.elapsed();
                // What was sent just now says nothing yet.
                if waited < Duration::from_secs(1) && sample.delivered.is_none() {
                    continue;
                }
                answers.push(sample.answered.unwrap_or(waited.min(GIVEN_UP)));
                deliveries.push(sample.delivered.unwrap_or(waited.min(GIVEN_UP)));
            }
            *from = samples.len();
        }
        if answers.is_empty() {
            bail!("the bystanders sent nothing: their connection is lost");
        }
        Ok(Lap { count: answers.len(), answer: Times::of(answers), delivery: Times::of(deliveries) })
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn write(mut peer: Peer, place: u64, every: Duration, samples: &Samples, end: &AtomicBool) {
    use std::io::Write as _;
    let mut next = Instant::now();
    while !end.load(Ordering::Acquire) {
        let number = {
            let mut samples = lock(samples);
            samples.push(Sample { sent: Instant::now(), answered: None, delivered: None });
            samples.len() - 1
        };
        if peer.stream.write_all(&post_frame(number as u64, place, &format!("n {number}"))).is_err() {
            return;
        }
        next += every;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            match peer.next(wait) {
                Came::Frame(frame) => note_answer(&frame, samples),
                Came::Nothing => break,
                Came::End => return,
            }
        }
    }
}

fn note_answer(frame: &Value, samples: &Samples) {
    let number = frame["done"]["id"].as_u64().and_then(|id| usize::try_from(id).ok());
    let mut samples = lock(samples);
    if let Some(sample) = number.and_then(|number| samples.get_mut(number)) {
        sample.answered.get_or_insert(sample.sent.elapsed());
    }
}

fn read(mut peer: Peer, samples: &Samples, end: &AtomicBool) {
    let mut pinged = Instant::now();
    while !end.load(Ordering::Acquire) {
        if pinged.elapsed() > Duration::from_secs(10) {
            pinged = Instant::now();
            if peer.send(&serde_json::json!({"ping": {}})).is_err() {
                return;
            }
        }
        match peer.next(Duration::from_millis(200)) {
            Came::Frame(frame) => {
                let text = frame["entry"]["event"]["message"]["text"].as_str().unwrap_or_default();
                let number = text.strip_prefix("n ").and_then(|number| number.parse::<usize>().ok());
                let mut samples = lock(samples);
                if let Some(sample) = number.and_then(|number| samples.get_mut(number)) {
                    sample.delivered.get_or_insert(sample.sent.elapsed());
                }
            }
            Came::Nothing => {}
            Came::End => return,
        }
    }
}

/// Half of all, and 99 in 100, took no longer.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Times {
    pub(super) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: usize| all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }

    /// Whether this is more than the row allows.
    pub(super) fn worse(self, before: Self) -> bool {
        self.p50 > before.p50 * TIMES_WORSE + SLACK_P50 || self.p99 > before.p99 * TIMES_WORSE + SLACK_P99
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, "{:.1}/{:.1}", ms(self.p50), ms(self.p99))
    }
}

/// What was measured for a while.
pub(super) struct Lap {
    pub(super) count: usize,
    pub(super) answer: Times,
    pub(super) delivery: Times,
}

impl Lap {
    /// Both laps in figures, and whether this one is too much worse.
    pub(super) fn against(&self, before: &Self) -> (String, bool) {
        let figures = format!(
            "bystanders p50/p99 ms: answer {} before, {} during; delivery {} before, {} during ({} and {} messages); ",
            before.answer, self.answer, before.delivery, self.delivery, before.count, self.count
        );
        (figures, self.answer.worse(before.answer) || self.delivery.worse(before.delivery))
    }
}
