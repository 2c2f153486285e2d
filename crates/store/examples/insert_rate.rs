//! How many messages a second the SQLite engine takes, and what each costs: `cargo run --release --example
//! insert_rate [FOLDER]`.
//!
//! Many callers wait for their own commit each, as connections do. Rates on a shared machine say little; the CPU
//! time per row and the time of one `fdatasync` go with them.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chinwag_domain::{
    Ask, Committed, Facts, Known, Plan, Publish, Request, Store,
    port::Done,
    record::{Change, Conversation, Member, Sent, Session, Standing, Told, User},
};
use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Event, History, LogId, MessageBody, Millis, Position, Posted,
    Posting, Reply, Role, Seq, SessionId, Settings, UserId, UserKind,
};
use chinwag_store::sqlite;

/// Pairs of users, each with a direct conversation.
const PAIRS: u32 = 1_000;

struct Direct;

impl Publish for Direct {
    fn publish(&self, batch: Vec<Committed>) {
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

/// What a post costs the real rules in look-ups, without their checks.
fn decide(plan: &mut Plan<'_>, request: &Request) -> Known<Done> {
    let Request::Command { actor, command: Command::Post { conversation, client_id, text, .. }, .. } =
        request
    else {
        return prepare(plan);
    };
    let (conversation, user) = (*conversation, actor.user);
    plan.session(actor.session)?;
    plan.user(user)?;
    if let Some(sent) = plan.sent(user, client_id)? {
        let Told::Reply(reply) = &sent.told else { unreachable!("nothing is refused here") };
        return Ok(Done::Reply(reply.clone()));
    }
    let other = plan.conversation(conversation)?.and_then(|found| found.other(user)).unwrap_or_default();
    plan.member(conversation, user)?;
    plan.relation(other, user)?;
    let log = LogId::Conversation(conversation);
    let number = plan.head(log)?.position.messages + 1;
    let body = MessageBody { text: text.clone(), number, ..MessageBody::default() };
    let position = plan.record_as(log, user, Some(client_id.clone()), Event::Message(body))?;
    let reply = Reply::Posted(Posted { conversation, seq: position.seq, at: plan.at() });
    let body = u64::from(number);
    let sent = Sent { user, client_id: client_id.clone(), body, told: Told::Reply(reply.clone()) };
    plan.keep(Change::Sent(Arc::new(sent)));
    Ok(Done::Reply(reply))
}

/// Makes the users and their conversations.
fn prepare(plan: &mut Plan<'_>) -> Known<Done> {
    for id in 1..=2 * PAIRS {
        plan.keep(Change::User(Arc::new(User {
            id: UserId(id),
            handle: format!("user{id}"),
            name: String::new(),
            about: String::new(),
            hue: 0,
            avatar: None,
            kind: UserKind::Person,
            admin: false,
            suspended: false,
            deleted: false,
            created_at: Millis(0),
            settings: Settings::default(),
            conversations: 1,
        })));
        plan.keep(Change::Session(Arc::new(Session {
            id: SessionId(id),
            user: UserId(id),
            token: [0; 32],
            device: "bench".into(),
            door: String::new(),
            app_password: None,
            bound: false,
            started_at: Millis(0),
            confirmed_at: Millis(0),
            seen_at: Millis(0),
        })));
        plan.keep(Change::Member(Arc::new(Member {
            conversation: ConversationId(id.div_ceil(2)),
            user: UserId(id),
            role: Role::Member,
            standing: Standing::Active,
            since: Seq(1),
            entered: Position::default(),
            joined_at: Millis(0),
            until: None,
            muted_until: None,
        })));
    }
    for id in 1..=PAIRS {
        plan.keep(Change::Conversation(Arc::new(Conversation {
            id: ConversationId(id),
            kind: ConversationKind::Direct,
            handle: None,
            name: String::new(),
            topic: String::new(),
            avatar: None,
            public: false,
            history: History::All,
            open_from: Seq(1),
            posting: Posting::Everyone,
            direct: Some((UserId(2 * id - 1), UserId(2 * id))),
            members: 2,
            owner: None,
            pins: 0,
            closed: false,
            created_at: Millis(0),
        })));
    }
    Ok(Done::Reply(Reply::Done {}))
}

fn post(caller: u32, number: u64) -> Request {
    let user = 1 + caller % (2 * PAIRS);
    Request::Command {
        actor: chinwag_domain::Actor { user: UserId(user), session: SessionId(user), door: None },
        command: Command::Post {
            conversation: ConversationId(user.div_ceil(2)),
            client_id: format!("{caller:08x}-{number:016x}"),
            text: format!("message {number}: a sentence of usual length, as people write them to each other"),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
            sent_at: None,
        },
        prepared: chinwag_domain::Prepared::default(),
    }
}

/// CPU time of this process, and of its thread with this name.
fn cpu(thread: &str) -> (Duration, Duration) {
    let time = |stat: PathBuf| -> Option<Duration> {
        let text = std::fs::read_to_string(stat).ok()?;
        let mut fields = text.rsplit(')').next()?.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 10))
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
    let named = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread));
    (
        time("/proc/self/stat".into()).unwrap_or_default(),
        named.filter_map(|task| time(task.join("stat"))).sum(),
    )
}

/// One `fdatasync` after a small write, the middle of a hundred.
fn sync_time(folder: &Path) -> Duration {
    let mut file = std::fs::File::create(folder.join("sync")).expect("the folder can be written");
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            file.write_all(&[1; 4096]).expect("the folder can be written");
            let began = Instant::now();
            file.sync_data().expect("the disk works");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[50]
}

/// So many callers, each asking again when it is answered, for a while.
fn measure(store: &dyn Store, callers: u32, round: u64) {
    let (tell, told) = mpsc::channel::<(u32, Instant, bool)>();
    let ask = |caller: u32, number: u64| {
        let (tell, began) = (tell.clone(), Instant::now());
        let ticket = Box::new(move |verdict: Result<Done, _>| {
            // The measurement may be over before the last answers come.
            let _ = tell.send((caller, began, verdict.is_ok()));
        });
        store.transact(Ask { request: post(caller, number), ticket });
    };
    let (began, (process, writer)) = (Instant::now(), cpu("writer"));
    let mut number = round << 40;
    for caller in 0..callers {
        number += 1;
        ask(caller, number);
    }
    let (mut waits, mut running) = (Vec::new(), callers);
    while running > 0 {
        let (caller, asked, done) = told.recv().expect("each is answered");
        assert!(done, "a post was refused");
        waits.push(asked.elapsed());
        if began.elapsed() < Duration::from_secs(4) {
            number += 1;
            ask(caller, number);
        } else {
            running -= 1;
        }
    }
    let (took, rows) = (began.elapsed(), waits.len());
    let (process, writer) = {
        let now = cpu("writer");
        (now.0 - process, now.1 - writer)
    };
    waits.sort_unstable();
    let per_row = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
    println!(
        "{callers:>6} callers: {:>8.0} rows/s, writer {:>5.1} us CPU/row, process {:>5.1} us CPU/row, p50 {:.2} ms, p99 {:.2} ms",
        rows as f64 / took.as_secs_f64(),
        per_row(writer),
        per_row(process),
        waits[rows / 2].as_secs_f64() * 1e3,
        waits[rows * 99 / 100].as_secs_f64() * 1e3,
    );
}

fn options(folder: &Path) -> sqlite::Options {
    let clock = Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(now.as_millis()).unwrap_or(0))
    });
    sqlite::Options::new(folder, Arc::new(decide), clock, Arc::new(Direct))
}

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("chinwag-insert-rate"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&folder);
    let store = sqlite::open(options(&folder)).expect("the folder can be used");
    let (tell, told) = mpsc::channel();
    let ticket = Box::new(move |verdict: Result<Done, _>| {
        let _ = tell.send(verdict.is_ok());
    });
    store.transact(Ask { request: Request::Seen { session: SessionId(0) }, ticket });
    assert_eq!(told.recv(), Ok(true), "the users are made");
    println!("one fdatasync: {:.2} ms", sync_time(&folder).as_secs_f64() * 1e3);
    for (round, callers) in [1, 16, 64, 256, 1_024, 2_000].into_iter().enumerate() {
        measure(&store, callers, 1 + round as u64);
    }
    let began = Instant::now();
    drop(store);
    println!("closed in {:.2} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let store = sqlite::open(options(&folder)).expect("it was open before");
    let (tell, told) = mpsc::channel();
    store.read(Box::new(move |reader| {
        let heads = reader.map(|reader| reader.all_heads().map(|heads| heads.len()).unwrap_or_default());
        let _ = tell.send(heads.unwrap_or_default());
    }));
    let logs = told.recv().unwrap_or_default();
    println!(
        "open again, the heads of {logs} logs read, after {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    drop(store);
    let size = std::fs::metadata(folder.join("chinwag.db")).map_or(0, |meta| meta.len());
    println!("the file has {} MiB", size / 1024 / 1024);
    let _ = std::fs::remove_dir_all(&folder);
}
