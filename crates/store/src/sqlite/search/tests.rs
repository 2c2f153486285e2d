//! What the index promises: whatever it holds, a search answers as if everything had been looked at.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    time::Duration,
};

use chinwag_domain::{
    Ask, Committed, Facts, Known, Plan, Publish, Reader, Request, Store,
    port::Done,
    reading::{
        fold,
        search::{Found, Readable, Wanted},
    },
};
use chinwag_protocol::{ConversationId, Event, LogId, MessageBody, Millis, Reply, Seq, SessionId, UserId};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    scan::scan,
    sqlite::{Options, SqliteStore, open},
};

/// Longer than any machine needs.
const LONG: Duration = Duration::from_secs(60);

type Script = Box<dyn FnMut(&mut Plan<'_>) -> Known<()> + Send>;

struct Quiet;

impl Publish for Quiet {
    fn publish(&self, batch: Vec<Committed>) {
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

/// A store with an index.
struct Shelf {
    folder: TempDir,
    scripts: Arc<Mutex<VecDeque<Script>>>,
    now: Arc<AtomicI64>,
    store: Option<SqliteStore>,
}

impl Shelf {
    fn new() -> Self {
        let mut shelf = Self {
            folder: TempDir::new().unwrap(),
            scripts: Arc::default(),
            now: Arc::default(),
            store: None,
        };
        shelf.now.store(1_000, Ordering::SeqCst);
        shelf.open();
        shelf
    }

    fn open(&mut self) {
        let (scripts, now) = (self.scripts.clone(), self.now.clone());
        let decide = move |plan: &mut Plan<'_>, _: &Request| {
            let mut script = scripts.lock().unwrap().pop_front().expect("a script for a request");
            script(plan).map(|()| Done::Reply(Reply::Done {}))
        };
        let clock = move || Millis(now.load(Ordering::SeqCst));
        let mut options =
            Options::new(self.folder.path(), Arc::new(decide), Arc::new(clock), Arc::new(Quiet));
        options.readers = 2;
        options.ballast_bytes = 64 * 1024;
        self.store = Some(open(options).unwrap());
    }

    fn close(&mut self) {
        self.store = None;
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    fn settle(&self) {
        assert!(self.store().wait_for_index(LONG), "the index does not settle");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("search.db")
    }

    fn index(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        self.index().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn does(&self, script: impl FnMut(&mut Plan<'_>) -> Known<()> + Send + 'static) {
        self.scripts.lock().unwrap().push_back(Box::new(script));
        let (tell, told) = mpsc::channel();
        let ticket = Box::new(move |verdict| tell.send(verdict).unwrap());
        self.store().transact(Ask { request: Request::Seen { session: SessionId(1) }, ticket });
        assert_eq!(told.recv().unwrap(), Ok(Done::Reply(Reply::Done {})));
    }

    fn post_all(&self, conversation: u32, by: u32, texts: Vec<String>) {
        let log = LogId::Conversation(ConversationId(conversation));
        self.does(move |plan| {
            for text in &texts {
                let number = plan.head(log)?.position.messages + 1;
                let body = MessageBody { number, text: text.clone(), ..MessageBody::default() };
                plan.record(log, UserId(by), Event::Message(body))?;
            }
            Ok(())
        });
    }

    fn post(&self, conversation: u32, text: &str) -> Seq {
        self.post_all(conversation, 1, vec![text.to_owned()]);
        let log = LogId::Conversation(ConversationId(conversation));
        self.read(move |reader| reader.head(log).unwrap().position.seq)
    }

    fn change(&self, conversation: u32, event: Event) {
        let log = LogId::Conversation(ConversationId(conversation));
        self.does(move |plan| plan.record(log, UserId(1), event.clone()).map(drop));
    }

    fn read<T: Send + 'static>(&self, reading: impl FnOnce(&dyn Reader) -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        self.store().read(Box::new(move |reader| tell.send(reading(reader.unwrap())).unwrap()));
        told.recv().unwrap()
    }

    fn search(&self, wanted: &Wanted) -> Found {
        let wanted = wanted.clone();
        self.read(move |reader| reader.search(&wanted).unwrap())
    }

    fn hits(&self, word: &str) -> Vec<(u32, u32)> {
        let wanted =
            Wanted { words: vec![fold(word)], readable: everywhere(), limit: 50, ..Wanted::default() };
        self.search(&wanted).hits.into_iter().map(|(conversation, seq)| (conversation.0, seq.0)).collect()
    }
}

fn everywhere() -> Vec<Readable> {
    (1..=3).map(|id| Readable { conversation: ConversationId(id), since: Seq(1) }).collect()
}

/// Whether a text stands anywhere in the files of the index.
fn holds(folder: &Path, text: &str) -> bool {
    ["search.db", "search.db-wal"].iter().any(|name| {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[derive(Clone, Debug)]
enum Step {
    Post { conversation: u32, by: u32, later: i64, texts: Vec<String> },
    Edit { conversation: u32, message: u32, text: String },
    Delete { conversation: u32, message: u32 },
    Settle,
    Reopen,
    Forget,
}

fn text() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "Café",
        "cafe",
        "naïve",
        "Straße",
        "東京",
        "京",
        "日本語テキスト",
        "안녕하세요",
        "👍🏽",
        "NEAR",
        "AND",
        "OR",
        "\"",
        "*",
        "(",
        ")",
        ":",
        "-",
        "^",
        "a",
        "ab",
        "Abc",
        "bcd",
        "c#",
        "http://x.y",
        "https://",
        "e\u{301}",
        "สวัสดี",
        "\u{e028}",
        "within1",
        "from2",
        "link",
        "1",
        "23",
        "\u{0}",
    ]);
    let between = prop::sample::select(vec!["", "", " ", "\n", "\u{3000}"]);
    prop::collection::vec((parts, between), 0..7)
        .prop_map(|parts| parts.into_iter().flat_map(|(part, between)| [part, between]).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let (c, m) = (|| 1..4_u32, || 1..12_u32);
    prop_oneof![
        6 => (c(), 1..4_u32, 0..2_i64, prop::collection::vec(text(), 1..6))
            .prop_map(|(conversation, by, later, texts)| Step::Post { conversation, by, later, texts }),
        3 => (c(), m(), text()).prop_map(|(conversation, message, text)| Step::Edit { conversation, message, text }),
        2 => (c(), m()).prop_map(|(conversation, message)| Step::Delete { conversation, message }),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
        1 => Just(Step::Forget),
    ]
}

fn terms() -> impl Strategy<Value = Vec<String>> {
    let term = (text(), 0..12_usize, 1..9_usize)
        .prop_map(|(text, from, length)| fold(&text.chars().skip(from).take(length).collect::<String>()));
    prop::collection::vec(term, 0..3)
        .prop_map(|terms| terms.into_iter().filter(|term| !term.trim().is_empty()).collect())
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let readable = prop::collection::vec((1..5_u32, 1..8_u32), 0..4);
    let time = || prop::option::of((998..1_012_i64).prop_map(Millis));
    let from = prop::option::weighted(0.2, (1..4_u32).prop_map(UserId));
    (terms(), terms(), from, time(), time(), prop::bool::weighted(0.2), readable, 1..6_usize).prop_map(
        |(words, phrases, from, before, after, has_link, readable, limit)| Wanted {
            words,
            phrases,
            from,
            before,
            after,
            has_link,
            readable: readable
                .into_iter()
                .map(|(id, since)| Readable { conversation: ConversationId(id), since: Seq(since) })
                .collect(),
            below: None,
            limit,
        },
    )
}

fn act(shelf: &mut Shelf, step: Step) {
    let change = |conversation: u32, message: u32, event: Event| {
        let (id, seq) = (ConversationId(conversation), Seq(message));
        let found = shelf.read(move |reader| reader.message(id, seq).unwrap());
        if found.is_some_and(|message| !message.overlay.state.deleted) {
            shelf.change(conversation, event);
        }
    };
    match step {
        Step::Post { conversation, by, later, texts } => {
            shelf.now.fetch_add(later, Ordering::SeqCst);
            shelf.post_all(conversation, by, texts);
        }
        Step::Edit { conversation, message, text } => {
            change(conversation, message, Event::Edited { message: Seq(message), text });
        }
        Step::Delete { conversation, message } => {
            change(conversation, message, Event::Deleted { message: Seq(message) });
        }
        Step::Settle => shelf.settle(),
        Step::Reopen => shelf.reopen(),
        Step::Forget => {
            shelf.close();
            fs::remove_file(shelf.file()).unwrap();
            shelf.open();
        }
    }
}

/// All pages of a search, by the index and by looking at everything.
fn both(shelf: &Shelf, wanted: &Wanted) -> (Vec<Found>, Vec<Found>) {
    let wanted = wanted.clone();
    shelf.read(move |reader| {
        let pages = |search: &dyn Fn(&Wanted) -> Found| {
            let (mut wanted, mut pages) = (wanted.clone(), Vec::new());
            loop {
                let found = search(&wanted);
                wanted.below = found.next;
                pages.push(found);
                if wanted.below.is_none() {
                    return pages;
                }
            }
        };
        (pages(&|wanted| reader.search(wanted).unwrap()), pages(&|wanted| scan(reader, wanted).unwrap()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_search_answers_as_if_everything_were_looked_at(
        steps in prop::collection::vec(step(), 1..30),
        asked in prop::collection::vec(wanted(), 1..40),
    ) {
        let mut shelf = Shelf::new();
        for step in steps {
            act(&mut shelf, step);
        }
        for wanted in &asked {
            let (found, expected) = both(&shelf, wanted);
            prop_assert_eq!(found, expected, "before everything is indexed: {:?}", wanted);
        }
        shelf.settle();
        for wanted in &asked {
            let (found, expected) = both(&shelf, wanted);
            prop_assert_eq!(found, expected, "when everything is indexed: {:?}", wanted);
        }
        let said: String =
            shelf.index().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        prop_assert_eq!(said, "ok");
    }
}

#[test]
fn indexing_goes_on_where_it_stopped() {
    let mut shelf = Shelf::new();
    shelf.post_all(1, 1, (0..30_000).map(|number| format!("needle{number} straw")).collect());
    while shelf.count("SELECT count(*) FROM doc") == 0 {
        std::thread::yield_now();
    }
    // Closing does not wait for the rest.
    shelf.close();
    let some = shelf.count("SELECT count(*) FROM doc");
    assert!(some < 30_000, "it was too quick to be stopped half way");
    let mark = shelf.count("SELECT coalesce(max(seq), 0) FROM mark");
    assert_eq!(mark, some, "the mark is as far as the documents");
    shelf.open();
    shelf.post(2, "needle after");
    shelf.settle();
    assert_eq!(shelf.count("SELECT count(*) FROM doc"), 30_001);
    assert_eq!(shelf.count("SELECT count(DISTINCT key) FROM doc"), 30_001);
    assert_eq!(shelf.hits("needle29999"), [(1, 30_000)]);
    assert_eq!(shelf.hits("after"), [(2, 1)]);
}

#[test]
fn what_is_indexed_is_not_read_again_at_the_next_start() {
    let mut shelf = Shelf::new();
    shelf.post(1, "the first");
    shelf.settle();
    let first: i64 = shelf.count("SELECT id FROM doc");
    shelf.reopen();
    shelf.post(1, "the second");
    shelf.settle();
    assert_eq!(shelf.count("SELECT min(id) FROM doc"), first);
    assert_eq!(shelf.count("SELECT count(*) FROM doc"), 2);
    assert_eq!(shelf.hits("the"), [(1, 2), (1, 1)]);
}

#[test]
fn a_missing_index_is_made_anew() {
    let mut shelf = Shelf::new();
    shelf.post(1, "words to find");
    shelf.settle();
    shelf.close();
    fs::remove_file(shelf.file()).unwrap();
    shelf.open();
    assert_eq!(shelf.hits("words"), [(1, 1)], "while it is made");
    shelf.settle();
    assert_eq!(shelf.hits("words"), [(1, 1)]);
    assert_eq!(shelf.count("SELECT count(*) FROM doc"), 1);
}

#[test]
fn an_index_of_another_store_or_version_is_made_anew() {
    for name in ["epoch", "version"] {
        let mut shelf = Shelf::new();
        shelf.post(1, "words to find");
        shelf.settle();
        shelf.close();
        let index = shelf.index();
        index.execute("UPDATE meta SET value = 'another' WHERE name = ?", [name]).unwrap();
        // A document that no log knows of.
        index.execute("INSERT INTO doc VALUES (99, 4294967297, 1, 1, 'foreign')", []).unwrap();
        drop(index);
        shelf.open();
        shelf.settle();
        assert_eq!(shelf.count("SELECT count(*) FROM doc"), 1, "{name}");
        assert_eq!(shelf.count("SELECT count(*) FROM meta WHERE value = 'another'"), 0);
        assert_eq!(shelf.hits("words"), [(1, 1)]);
    }
}

#[test]
fn an_index_that_knows_more_than_the_store_is_made_anew() {
    let mut shelf = Shelf::new();
    shelf.post(1, "words to find");
    shelf.settle();
    shelf.close();
    shelf.index().execute("UPDATE mark SET seq = 7", []).unwrap();
    shelf.open();
    shelf.settle();
    assert_eq!(shelf.count("SELECT seq FROM mark"), 1);
    assert_eq!(shelf.hits("words"), [(1, 1)]);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let texts: Vec<String> = (0..3_000).map(|number| format!("word{number} and more of the same")).collect();
    let whole = {
        let mut shelf = Shelf::new();
        shelf.post_all(1, 1, texts.clone());
        shelf.settle();
        shelf.close();
        fs::read(shelf.file()).unwrap()
    };
    let noise = |from: usize| {
        let mut bytes = whole.clone();
        let mut state = 1_u32;
        for byte in bytes.iter_mut().skip(from) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        bytes
    };
    for (what, bytes) in [
        ("nothing in it", Vec::new()),
        ("cut off in the first page", whole[..1_000].to_vec()),
        ("cut off in the middle", whole[..whole.len() / 2].to_vec()),
        ("noise from the beginning", noise(0)),
        ("noise after the header", noise(100)),
        ("noise after the first page", noise(4_096)),
        ("noise in the second half", noise(whole.len() / 2)),
    ] {
        let mut shelf = Shelf::new();
        shelf.post_all(1, 1, texts.clone());
        shelf.settle();
        shelf.close();
        fs::write(shelf.file(), bytes).unwrap();
        shelf.open();
        assert_eq!(shelf.hits("word2999"), [(1, 3_000)], "at once: {what}");
        shelf.settle();
        assert_eq!(
            shelf.hits("word77"),
            (770..780).rev().chain([77]).map(|n| (1, n + 1)).collect::<Vec<_>>(),
            "{what}"
        );
        let said: String = shelf.index().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok", "{what}");
    }
}

#[test]
fn removed_words_are_gone_from_the_files() {
    let shelf = Shelf::new();
    let (deleted, edited, later) = ("zweihänderq deleted", "xylophonq edited", "quixoticz later");
    let first = shelf.post(1, deleted);
    let second = shelf.post(1, edited);
    shelf.post_all(1, 1, (0..500).map(|number| format!("other words {number}")).collect());
    shelf.settle();
    assert!(holds(shelf.folder.path(), &fold(deleted)) && holds(shelf.folder.path(), &fold(edited)));
    shelf.change(1, Event::Deleted { message: first });
    shelf.change(1, Event::Edited { message: second, text: later.to_owned() });
    shelf.settle();
    assert!(holds(shelf.folder.path(), &fold(later)));
    for gone in [deleted, edited, "zweihanderq", "xylophonq"] {
        assert!(!holds(shelf.folder.path(), &fold(gone)), "{gone}");
    }
    assert_eq!((shelf.hits("zweihänderq"), shelf.hits("xylophonq")), (vec![], vec![]));
    assert_eq!(shelf.hits("quixot"), [(1, second.0)]);
    // Nor can they be put together again from the parts by which they were found.
    let index = shelf.index();
    index.execute_batch("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'gram', 'row')").unwrap();
    let known = |gram: &str| -> bool {
        index.query_row("SELECT count(*) > 0 FROM words WHERE term = ?", [gram], |row| row.get(0)).unwrap()
    };
    assert!(known("qui") && known("oth"), "the test looks in the right place");
    for gram in ["zwe", "hän", "han", "erq", "xyl", "onq", "dit"] {
        assert!(!known(gram), "{gram}");
    }
}

#[test]
fn nothing_is_found_outside_of_what_may_be_read() {
    let shelf = Shelf::new();
    for conversation in [1, 2, 3] {
        shelf.post(conversation, "secret words before");
        shelf.post(conversation, "secret words after");
    }
    let found = |parts: &[(u32, u32)]| {
        let readable = parts
            .iter()
            .map(|(id, since)| Readable { conversation: ConversationId(*id), since: Seq(*since) })
            .collect();
        let wanted = Wanted { words: vec!["secret".into()], readable, limit: 50, ..Wanted::default() };
        let mut hits: Vec<_> =
            shelf.search(&wanted).hits.into_iter().map(|(id, seq)| (id.0, seq.0)).collect();
        hits.sort_unstable();
        hits
    };
    for settled in [false, true] {
        if settled {
            shelf.settle();
        }
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[(2, 1)]), [(2, 1), (2, 2)]);
        assert_eq!(found(&[(2, 2), (3, 3)]), [(2, 2)]);
        assert_eq!(found(&[(9, 1)]), []);
        // So many that the index is not asked for each of them.
        let many: Vec<(u32, u32)> = (10..100).map(|id| (id, 1)).chain([(1, 2)]).collect();
        assert_eq!(found(&many), [(1, 2)]);
    }
}

#[test]
fn a_search_sees_what_was_published_before_it() {
    let shelf = Shelf::new();
    for number in 0..50 {
        let seq = shelf.post(1, &format!("fresh{number}x"));
        assert_eq!(shelf.hits(&format!("fresh{number}x")), [(1, seq.0)]);
    }
}
