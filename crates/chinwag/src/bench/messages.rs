//! The scenarios `dm` and `group`: messages as fast as they are taken, or by a schedule.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chinwag_client::{Http, fresh_id};
use chinwag_protocol::{Command, ConversationId, ConversationKind, History, Reply};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    PATIENCE,
    accounts::{self, User},
    lanes::Board,
    machine,
    report::Report,
    socket::{self, Got, Incoming, Outgoing},
    target::Target,
};
use crate::{
    args::BenchCommon,
    exit::{Outcome, Stop, failed},
    show::Progress,
};

/// So many frames leave in one write at most.
const BATCH: usize = 64;
/// In the open loop so many messages of one lane may be on their way; more only if the server is far behind.
const OPEN_WINDOW: u32 = 8_192;
const PING_EVERY: Duration = Duration::from_secs(10);
/// Members that a conversation is made with; the others are added.
const MEMBERS_AT_ONCE: usize = 200;
/// Questions over HTTP at the same time while preparing.
const PREPARING: usize = 16;

/// One user's connection: which lanes it sends in.
struct Seat {
    user: User,
    sends: Vec<(usize, ConversationId)>,
}

/// `bench dm`.
pub(super) async fn dm(target: &Target, common: &BenchCommon, pairs: u32, inflight: u32) -> Outcome<Report> {
    let users = accounts::users(target, pairs * 2).await?;
    let mut progress = Progress::new("opened chats");
    let mut seats = Vec::new();
    let (pairs_of, mut opening) = (users.len() / 2, JoinSet::new());
    let mut chats = vec![ConversationId(0); pairs_of];
    for (number, pair) in users.chunks_exact(2).enumerate() {
        if opening.len() == PREPARING {
            let (number, chat) = joined(opening.join_next().await)?;
            chats[number] = chat;
            progress.step(number, pairs_of);
        }
        let (http, user) = (http(target, &pair[0]), pair[1].id);
        opening.spawn(async move {
            Ok((number, conversation(&http.command(&Command::OpenDirect { user }).await?)?))
        });
    }
    while !opening.is_empty() {
        let (number, chat) = joined(opening.join_next().await)?;
        chats[number] = chat;
    }
    drop(progress);
    for (number, pair) in users.chunks_exact(2).enumerate() {
        for (side, user) in pair.iter().enumerate() {
            seats.push(Seat { user: user.clone(), sends: vec![(number * 2 + side, chats[number])] });
        }
    }
    let mut report = run(target, common, seats, vec![1; pairs_of * 2], inflight).await?;
    report.set("pairs", pairs);
    report.title("dm", common, inflight);
    Ok(report)
}

/// `bench group`.
pub(super) async fn group(
    target: &Target,
    common: &BenchCommon,
    groups: u32,
    members: u32,
    inflight: u32,
) -> Outcome<Report> {
    let users = accounts::users(target, groups * members).await?;
    let mut progress = Progress::new("made groups");
    let mut seats = Vec::new();
    for (number, users) in users.chunks_exact(members as usize).enumerate() {
        let (owner, others) = users.split_first().expect("a group has at least two members");
        let (first, rest) = others.split_at(others.len().min(MEMBERS_AT_ONCE));
        let owners = http(target, owner);
        let command = Command::CreateConversation {
            client_id: fresh_id(),
            kind: ConversationKind::Group,
            name: format!("Load {number}"),
            handle: None,
            topic: String::new(),
            public: false,
            history: History::FromJoining,
            posting: None,
            members: first.iter().map(|user| user.id).collect(),
        };
        let place = conversation(&owners.command(&command).await?)?;
        for user in rest {
            owners.command(&Command::AddMember { conversation: place, user: user.id }).await?;
        }
        seats.push(Seat { user: owner.clone(), sends: vec![(number, place)] });
        seats.extend(others.iter().map(|user| Seat { user: user.clone(), sends: Vec::new() }));
        progress.step(number + 1, groups as usize);
    }
    drop(progress);
    let mut report = run(target, common, seats, vec![members - 1; groups as usize], inflight).await?;
    report.set("groups", groups);
    report.set("members", members);
    report.title("group", common, inflight);
    Ok(report)
}

fn joined<T>(finished: Option<Result<Outcome<T>, tokio::task::JoinError>>) -> Outcome<T> {
    match finished {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Stop::Failed(error.into())),
        None => failed("nothing was being prepared"),
    }
}

pub(super) fn http(target: &Target, user: &User) -> Http {
    Http { server: target.server.clone(), token: Some(user.token.clone()) }
}

pub(super) fn conversation(reply: &Reply) -> Outcome<ConversationId> {
    match reply {
        Reply::Conversation { conversation } => Ok(*conversation),
        _ => failed("the server's answer makes no sense to this version"),
    }
}

/// Connects everybody, runs, drains, and counts.
async fn run(
    target: &Target,
    common: &BenchCommon,
    seats: Vec<Seat>,
    receivers: Vec<u32>,
    inflight: u32,
) -> Outcome<Report> {
    let window = if common.rate.is_some() { OPEN_WINDOW } else { inflight };
    let lanes = receivers.len();
    let board = Arc::new(Board::new(&receivers, window));
    let run = format!("{:x}", chinwag_client::now().0);
    let mut progress = Progress::new("connected");
    let mut tasks = JoinSet::new();
    let mut outlets = Vec::new();
    let of = seats.len();
    for (number, seat) in seats.into_iter().enumerate() {
        let opened = connect(target, &seat.user, u32::try_from(number).unwrap_or(u32::MAX), None);
        let Ok(opened) = timeout(PATIENCE, opened).await else {
            return failed("the server does not answer the hello");
        };
        let (incoming, outgoing, _) = opened.map_err(lost)?;
        let (tell, told) = mpsc::channel(16);
        let sends: Arc<[usize]> = seat.sends.iter().map(|(lane, _)| *lane).collect();
        tasks.spawn(receive(board.clone(), run.clone(), incoming, sends, tell));
        outlets.push((outgoing, told, seat.sends));
        progress.step(number + 1, of);
    }
    drop(progress);
    let begin = Instant::now() + Duration::from_millis(50);
    for (outgoing, told, sends) in outlets {
        let every = common.rate.map(|rate| Duration::from_secs_f64(lanes as f64 / f64::from(rate)));
        let sender = Sender {
            board: board.clone(),
            run: run.clone(),
            size: common.size as usize,
            begin,
            every,
            lanes,
        };
        tasks.spawn(sender.run(outgoing, told, sends));
    }
    let (warm_up, duration) = (Duration::from_secs(common.warm_up), Duration::from_secs(common.duration));
    watch_over(&mut tasks, begin + warm_up).await?;
    let (before, own) = (machine::usage(target.pid), machine::usage(Some(std::process::id())));
    let (delivered_before, began) = (board.delivered.load(Ordering::Relaxed), Instant::now());
    board.is_measuring.store(true, Ordering::Relaxed);
    watch_over(&mut tasks, began + duration).await?;
    board.is_measuring.store(false, Ordering::Relaxed);
    let took = began.elapsed();
    let deliveries = board.delivered.load(Ordering::Relaxed) - delivered_before;
    let (after, own_after) = (machine::usage(target.pid), machine::usage(Some(std::process::id())));
    board.is_over.store(true, Ordering::Relaxed);
    drain(&board).await;

    let mut report = Report::new();
    report.rates(&board, took, deliveries);
    report.latency("latency", &board.latencies());
    report.server(before, after, deliveries, took);
    if let (Some(own), Some(own_after), true) = (own, own_after, deliveries > 0) {
        let cpu = own_after.cpu.saturating_sub(own.cpu).as_secs_f64();
        report.figure("generator_cpu_us_per_delivery", cpu * 1e6 / deliveries as f64);
    }
    report.set("connections", of);
    tasks.shutdown().await;
    Ok(report)
}

/// Waits until a moment; a connection that ends before is a failure of the run.
pub(super) async fn watch_over(tasks: &mut JoinSet<io::Result<()>>, until: Instant) -> Outcome {
    tokio::select! {
        () = sleep_until(until) => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(error)) => Err(lost(error)),
            Ok(Ok(())) => failed("the server closed a connection"),
            Err(error) => Err(Stop::Failed(error.into())),
        },
    }
}

/// Gives what is on its way some time to arrive.
async fn drain(board: &Board) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while board.on_their_way() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn lost(error: io::Error) -> Stop {
    Stop::Failed(anyhow::Error::new(error).context("a connection of the load generator failed"))
}

/// Opens a connection and waits until it has caught up. Answers the welcome, if there was one.
pub(super) async fn connect(
    target: &Target,
    user: &User,
    number: u32,
    resume: Option<&str>,
) -> io::Result<(Incoming, Outgoing, Option<Vec<u8>>)> {
    let (mut incoming, mut outgoing) = socket::open(&target.server, number).await?;
    outgoing.text(hello(user, resume).as_bytes());
    outgoing.flush().await?;
    let mut welcome = None;
    loop {
        let text = incoming.next_text().await?;
        if text.starts_with(br#"{"welcome""#) {
            welcome = Some(text);
        } else if text.starts_with(br#"{"caught_up""#) {
            return Ok((incoming, outgoing, welcome));
        } else if text.starts_with(br#"{"closing""#) || text.starts_with(br#"{"refused""#) {
            return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned()));
        }
    }
}

/// The first frame; `resume` is the JSON of where to go on.
pub(super) fn hello(user: &User, resume: Option<&str>) -> String {
    let version = chinwag_protocol::PROTOCOL_VERSION;
    let resume = resume.map_or(String::new(), |resume| format!(r#","resume":{resume}"#));
    format!(r#"{{"hello":{{"version":{version},"token":"{}"{resume}}}}}"#, user.token)
}

/// Reads what comes for one user, and counts it.
async fn receive(
    board: Arc<Board>,
    run: String,
    mut incoming: Incoming,
    own: Arc<[usize]>,
    tell: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mark = format!(r#""text":"{run}:"#);
    loop {
        while let Some(got) = incoming.take()? {
            match got {
                Got::Text(place) => count(&board, incoming.text(place), mark.as_bytes(), &own),
                // If the sender is busy it sends frames anyway, which are signs of life too.
                Got::Ping(payload) => drop(tell.try_send(payload)),
                Got::Other => {}
                Got::Closed => return Ok(()),
            }
        }
        if !incoming.more().await? {
            return Ok(());
        }
    }
}

fn count(board: &Board, frame: &[u8], mark: &[u8], own: &[usize]) {
    if let Some(rest) = frame.strip_prefix(br#"{"done":{"id":"#) {
        let (id, _) = number(rest);
        if let Some(lane) = own.first() {
            board.acknowledged(*lane, id);
        }
    } else if frame.starts_with(br#"{"entry""#) {
        let Some(from) = find(frame, mark) else { return };
        let (lane, rest) = number(&frame[from + mark.len()..]);
        let (id, _) = number(rest.get(1..).unwrap_or_default());
        if !own.contains(&(lane as usize)) && (lane as usize) < board.lanes.len() {
            board.delivered(lane as usize, id);
        }
    } else if let Some(rest) = frame.strip_prefix(br#"{"refused":{"id":"#) {
        let (id, why) = number(rest);
        if let Some(lane) = own.first() {
            board.refused(*lane, id, why);
        }
    }
}

/// The decimal number at the beginning, and what follows.
fn number(text: &[u8]) -> (u32, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = text[..end]
        .iter()
        .fold(0_u32, |value, digit| value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    (value, &text[end..])
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// What one connection sends.
struct Sender {
    board: Arc<Board>,
    run: String,
    size: usize,
    begin: Instant,
    /// The schedule of the open loop.
    every: Option<Duration>,
    lanes: usize,
}

impl Sender {
    async fn run(
        self,
        mut outgoing: Outgoing,
        mut pongs: mpsc::Receiver<Vec<u8>>,
        sends: Vec<(usize, ConversationId)>,
    ) -> io::Result<()> {
        sleep_until(self.begin).await;
        // A seat sends in one lane at most.
        let lane = sends.first().copied();
        let mut next = 0_u32;
        let mut ping_at = Instant::now() + PING_EVERY;
        loop {
            let is_sending = lane.filter(|_| !self.board.is_over.load(Ordering::Relaxed));
            tokio::select! {
                pong = pongs.recv() => match pong {
                    Some(payload) => outgoing.pong(&payload),
                    None => return Ok(()),
                },
                () = sleep_until(ping_at) => {
                    outgoing.text(br#"{"ping":{}}"#);
                    ping_at = Instant::now() + PING_EVERY;
                }
                () = self.turn(is_sending.map(|(lane, _)| lane), next) => {
                    let Some((lane, conversation)) = is_sending else { continue };
                    self.batch(&mut outgoing, lane, conversation, &mut next);
                }
            }
            outgoing.flush().await?;
        }
    }

    /// Waits until the next message may leave.
    async fn turn(&self, lane: Option<usize>, next: u32) {
        let Some(lane) = lane else { return std::future::pending().await };
        if let Some(due) = self.due(lane, next) {
            sleep_until(due).await;
        }
        // Only waited for here; taken in the batch.
        drop(self.board.lanes[lane].free.acquire().await);
    }

    /// When a message of a lane is to leave; the lanes are spread over the first interval.
    fn due(&self, lane: usize, next: u32) -> Option<Instant> {
        let every = self.every?;
        let offset = every.mul_f64(lane as f64 / self.lanes as f64);
        Some(self.begin + offset + every.mul_f64(f64::from(next)))
    }

    /// Puts everything that may leave now into the buffer.
    fn batch(&self, outgoing: &mut Outgoing, lane: usize, conversation: ConversationId, next: &mut u32) {
        for _ in 0..BATCH {
            let now = Instant::now();
            let due = self.due(lane, *next).unwrap_or(now);
            if due > now {
                return;
            }
            let Ok(permit) = self.board.lanes[lane].free.try_acquire() else { return };
            permit.forget();
            let number = *next;
            *next += 1;
            self.board.leaves(lane, number, due.saturating_duration_since(self.board.zero));
            outgoing.text(post(&self.run, lane, number, conversation, self.size).as_bytes());
        }
    }
}

/// The frame of a message: its text says which it is, and is filled up to its size.
pub(super) fn post(run: &str, lane: usize, number: u32, conversation: ConversationId, size: usize) -> String {
    let name = format!("{run}:{lane}:{number}:");
    let filling = "the quick brown fox jumps over the lazy dog ";
    let text: String = name.chars().chain(filling.chars().cycle()).take(size.max(name.len())).collect();
    format!(
        r#"{{"command":{{"id":{number},"do":{{"post":{{"conversation":{conversation},"client_id":"{run}-{lane}-{number}","text":"{text}"}}}}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::ClientFrame;

    use super::*;

    #[test]
    fn what_is_sent_is_the_language() {
        let frame: ClientFrame = serde_json::from_str(&post("1a", 3, 7, ConversationId(9), 200)).unwrap();
        let ClientFrame::Command { id: 7, command: Command::Post { text, client_id, .. } } = frame else {
            panic!("another")
        };
        assert_eq!((text.len(), client_id.as_str()), (200, "1a-3-7"));
        let user = User { id: chinwag_protocol::UserId(1), token: "ses_x".into() };
        let resume = r#"{"epoch":"e","positions":[["c1",2]]}"#;
        let frame: ClientFrame = serde_json::from_str(&hello(&user, Some(resume))).unwrap();
        assert!(matches!(frame, ClientFrame::Hello(hello) if hello.resume.is_some()));
        assert!(serde_json::from_str::<ClientFrame>(&hello(&user, None)).is_ok());
        assert!(serde_json::from_str::<ClientFrame>(r#"{"ping":{}}"#).is_ok());
    }

    #[test]
    fn frames_of_the_server_are_counted_without_a_parser() {
        use chinwag_protocol::{
            Entry, Event, LogId, MessageBody, Millis, Posted, Refused, Seq, ServerFrame, UserId,
        };
        let board = Board::new(&[1, 1], 8);
        board.leaves(0, 5, Duration::ZERO);
        board.leaves(1, 6, Duration::ZERO);
        let mark = br#""text":"1a:"#;
        let see = |frame: &ServerFrame| count(&board, &serde_json::to_vec(frame).unwrap(), mark, &[0]);
        let conversation = ConversationId(2);
        see(&ServerFrame::Done {
            id: 5,
            reply: Reply::Posted(Posted { conversation, seq: Seq(1), at: Millis(1) }),
        });
        let entry = |lane: usize, number| {
            let command: ClientFrame =
                serde_json::from_str(&post("1a", lane, number, conversation, 64)).unwrap();
            let ClientFrame::Command { command: Command::Post { text, client_id, .. }, .. } = command else {
                panic!()
            };
            let event = Event::Message(MessageBody { text, number: 1, ..MessageBody::default() });
            let (log, client_id) = (LogId::Conversation(conversation), Some(client_id));
            ServerFrame::Entry(Entry { log, seq: Seq(3), at: Millis(1), by: UserId(1), client_id, event })
        };
        see(&entry(0, 5));
        assert_eq!(board.delivered.load(Ordering::Relaxed), 0, "one's own message is not a delivery");
        see(&entry(1, 6));
        see(&ServerFrame::Refused { id: Some(5), refused: Refused::not_found() });
        let counts = [&board.acknowledged, &board.delivered, &board.refused, &board.doubled];
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1, 1, 1, 0]);
    }
}
