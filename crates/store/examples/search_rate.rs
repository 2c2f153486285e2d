//! How fast messages are indexed, how large the index is, and how long a search takes: `cargo run --release
//! --example search_rate [MESSAGES]`.
//!
//! The store is filled first, so that the index is made from the logs as after its loss; CPU times are of the whole
//! process, which does nothing else meanwhile.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use chinwag_domain::{
    Ask, Committed, Facts, Known, Plan, Publish, Request, Store,
    port::Done,
    reading::search::{Readable, Wanted},
};
use chinwag_protocol::{ConversationId, Event, LogId, MessageBody, Millis, Reply, Seq, SessionId, UserId};
use chinwag_store::sqlite;

const CONVERSATIONS: u32 = 200;
const WORDS: usize = 20_000;
const HOUR: Duration = Duration::from_secs(3_600);

struct Quiet;

impl Publish for Quiet {
    fn publish(&self, batch: Vec<Committed>) {
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

/// A simple generator: the same text on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    /// A word, the frequent ones more often, as in a language.
    fn word(&mut self) -> String {
        let rank = (self.below(WORDS) * self.below(WORDS)) / WORDS;
        word(rank * self.below(WORDS) / WORDS)
    }

    fn text(&mut self) -> String {
        let length = 3 + self.below(15);
        (0..length).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

fn word(rank: usize) -> String {
    const PARTS: [&str; 16] = [
        "an", "be", "con", "da", "er", "fu", "gle", "hi", "ist", "ko", "lu", "mer", "no", "pri", "sta", "ung",
    ];
    let mut number = rank + 5;
    let mut word = String::new();
    while number > 0 {
        word.push_str(PARTS[number % 16]);
        number /= 16;
    }
    word
}

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let messages: usize = std::env::args().nth(1).map_or(Ok(100_000), |number| number.parse())?;
    let folder = std::env::temp_dir().join(format!("chinwag-search-rate-{}", std::process::id()));
    let chance = Mutex::new((Chance(7), 0_u32));
    let decide = move |plan: &mut Plan<'_>, _: &Request| -> Known<Done> {
        let mut chance = chance.lock().expect("nobody panicked");
        for _ in 0..20 {
            chance.1 += 1;
            let conversation = ConversationId(1 + chance.1 % CONVERSATIONS);
            let log = LogId::Conversation(conversation);
            let number = plan.head(log)?.position.messages + 1;
            let body = MessageBody { number, text: chance.0.text(), ..MessageBody::default() };
            plan.record(log, UserId(1 + chance.1 % 50), Event::Message(body))?;
        }
        Ok(Done::Reply(Reply::Done {}))
    };
    let decide: chinwag_store::Decide = Arc::new(decide);
    let open = || {
        let time = AtomicI64::new(1_800_000_000_000);
        // Twenty messages at a time.
        let clock = Arc::new(move || Millis(time.fetch_add(100, Ordering::Relaxed)));
        sqlite::open(sqlite::Options::new(&folder, decide.clone(), clock, Arc::new(Quiet)))
    };
    let store = open()?;
    for _ in 0..messages.div_ceil(20) {
        let (tell, told) = mpsc::channel();
        let ticket = Box::new(move |verdict| drop(tell.send(verdict)));
        store.transact(Ask { request: Request::Seen { session: SessionId(1) }, ticket });
        told.recv()??;
    }
    drop(store);
    fs::remove_file(folder.join("search.db"))?;
    println!("{messages} messages in {CONVERSATIONS} conversations");

    let (began, before) = (Instant::now(), cpu());
    let store = open()?;
    store.wait_for_index(HOUR);
    let (took, used) = (began.elapsed(), cpu() - before);
    let each = |seconds: f64| seconds * 1e6 / messages as f64;
    println!(
        "indexed: {:.0} messages/s, {:.1} us CPU each",
        messages as f64 / took.as_secs_f64(),
        each(used)
    );
    drop(store);
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    let bytes = |name: &str| size(name) / messages as u64;
    println!("bytes per message: index {}, store {}", bytes("search.db"), bytes("chinwag.db"));

    let began = Instant::now();
    let store = open()?;
    println!("opened in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    store.wait_for_index(HOUR);
    println!("looked through and ready after {:.0} ms", began.elapsed().as_secs_f64() * 1e3);

    for (what, words) in [
        ("two frequent words", vec![word(3), word(30)]),
        ("two rare words", vec![word(2_000), word(400)]),
        ("a rare word", vec![word(3_000)]),
        ("part of a word", vec!["uspri".to_owned()]),
        ("one letter", vec!["g".to_owned()]),
        ("what is not there", vec!["xyzzy".to_owned()]),
    ] {
        for (of, conversations) in [("all", CONVERSATIONS), ("ten", 10)] {
            let readable = (1..=conversations).map(ConversationId);
            let readable = readable.map(|conversation| Readable { conversation, since: Seq(1) }).collect();
            let wanted = Wanted { words: words.clone(), readable, limit: 20, ..Wanted::default() };
            let (mut times, mut hits) = (Vec::new(), 0);
            for _ in 0..21 {
                let (tell, told) = mpsc::channel();
                let wanted = wanted.clone();
                store.read(Box::new(move |reader| {
                    let began = Instant::now();
                    let found = reader.map(|reader| reader.search(&wanted));
                    let hits = found.map(|found| found.map(|found| found.hits.len()));
                    let _ = tell.send((began.elapsed(), hits));
                }));
                let (took, found) = told.recv()?;
                times.push(took);
                hits = found?.map_err(|stop| stop.to_string()).unwrap_or_else(|why| {
                    println!("refused: {why}");
                    0
                });
            }
            times.sort_unstable();
            let median = times[times.len() / 2].as_secs_f64() * 1e3;
            println!("{what} in {of}: {hits} hits, median {median:.2} ms");
        }
    }
    drop(store);
    fs::remove_dir_all(&folder)?;
    Ok(())
}
