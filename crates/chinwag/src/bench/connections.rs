//! The scenarios about connections: `idle`, `reconnect`, and `offline`, where messages wait.

use std::{io, sync::Arc, time::Duration};

use chinwag_protocol::{Command, ConversationId, LogId, Origin, Seq, ServerFrame};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    PATIENCE,
    accounts::{self, User},
    machine::{self, Usage},
    messages::{connect, conversation, http, lost, post, watch_over},
    report::{Report, times},
    socket::{Got, Incoming, Outgoing},
    target::Target,
};
use crate::{
    args::BenchCommon,
    exit::{Outcome, Stop, failed},
    show::Progress,
};

/// Users whom the connections of `idle` and `reconnect` belong to, at most.
const USERS_MAX: u32 = 256;
/// Connections that are opened at the same time while preparing.
const OPENING: usize = 64;
const PING_EVERY: Duration = Duration::from_secs(10);
/// Messages of `offline` on their way at the same time while they are written.
const WRITING: u32 = 256;

/// A connection that has caught up, and where it would go on.
struct Seat {
    user: User,
    incoming: Incoming,
    outgoing: Outgoing,
    origin: String,
}

/// `bench idle`.
pub(super) async fn idle(target: &Target, common: &BenchCommon, connections: u32) -> Outcome<Report> {
    let users = accounts::users(target, connections.min(USERS_MAX)).await?;
    let opening = Opening::of(target, connections);
    let own = machine::usage(Some(std::process::id()));
    let seats = seats(target, &users, connections).await?;
    let took = opening.took();
    let (opened, own_after) = (machine::usage(target.pid), machine::usage(Some(std::process::id())));
    let mut tasks = JoinSet::new();
    for seat in seats {
        tasks.spawn(stay(seat));
    }
    let mut report = Report::new();
    report.set("scenario", "idle");
    report.set("users", users.len());
    for (name, before, after) in [
        ("server_cpu_us_per_sign_in", opening.without, opened),
        ("generator_cpu_us_per_sign_in", own, own_after),
    ] {
        if let (Some(before), Some(after)) = (before, after) {
            report.figure(name, (after.cpu - before.cpu).as_secs_f64() * 1e6 / f64::from(connections));
        }
    }
    opening.rest(target, common, tasks, took, &mut report).await?;
    Ok(report)
}

/// Connections that are being opened, to be left alone then.
pub(super) struct Opening {
    connections: u32,
    began: Instant,
    without: Option<Usage>,
}

impl Opening {
    pub(super) fn of(target: &Target, connections: u32) -> Self {
        Self { connections, began: Instant::now(), without: machine::usage(target.pid) }
    }

    /// Since the beginning.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// Leaves them alone for as long as is asked for, and tells what they cost.
    pub(super) async fn rest(
        self,
        target: &Target,
        common: &BenchCommon,
        mut tasks: JoinSet<io::Result<()>>,
        took: Duration,
        report: &mut Report,
    ) -> Outcome {
        watch_over(&mut tasks, Instant::now() + Duration::from_secs(common.warm_up)).await?;
        let before = machine::usage(target.pid);
        watch_over(&mut tasks, Instant::now() + Duration::from_secs(common.duration)).await?;
        let after = machine::usage(target.pid);
        report.set("duration_s", common.duration);
        report.set("connections", self.connections);
        report.figure("opened_per_s", f64::from(self.connections) / took.as_secs_f64());
        if let (Some(without), Some(after)) = (self.without, after) {
            let bytes = after.rss.saturating_sub(without.rss) as f64 / f64::from(self.connections);
            report.figure("server_bytes_per_connection", bytes);
        }
        report.server(before, after, 0, Duration::from_secs(common.duration));
        tasks.shutdown().await;
        Ok(())
    }
}

/// Keeps a connection alive.
async fn stay(mut seat: Seat) -> io::Result<()> {
    loop {
        while let Some(got) = seat.incoming.take()? {
            match got {
                Got::Closed => return Ok(()),
                Got::Ping(payload) => {
                    seat.outgoing.pong(&payload);
                    seat.outgoing.flush().await?;
                }
                Got::Text(_) | Got::Other => {}
            }
        }
        match timeout(PING_EVERY, seat.incoming.more()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                seat.outgoing.text(br#"{"ping":{}}"#);
                seat.outgoing.flush().await?;
            }
        }
    }
}

/// `bench reconnect`.
pub(super) async fn reconnect(target: &Target, connections: u32) -> Outcome<Report> {
    let users = accounts::users(target, connections.min(USERS_MAX)).await?;
    let seats = seats(target, &users, connections).await?;
    let back: Vec<(User, String)> = seats.into_iter().map(|seat| (seat.user, seat.origin)).collect();
    // All sockets are closed now. The server may take a moment to notice; coming back does not wait for that.
    let costs_before = costs(target).await?;
    let before = machine::usage(target.pid);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, (user, origin)) in back.into_iter().enumerate() {
        let (server, number) = (target.for_tasks(), u32::try_from(number).unwrap_or(u32::MAX));
        tasks.spawn(async move {
            let connection = connect(&server, &user, number, Some(&origin)).await?;
            Ok::<_, io::Error>((began.elapsed(), connection))
        });
    }
    let (mut all, mut open) = (times(), Vec::new());
    let mut progress = Progress::new("came back");
    let finish = async {
        while let Some(finished) = tasks.join_next().await {
            let (took, connection) = finished.map_err(|error| Stop::Failed(error.into()))?.map_err(lost)?;
            all.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
            open.push(connection);
            progress.step(open.len(), connections as usize);
        }
        Ok(())
    };
    timeout(PATIENCE, finish)
        .await
        .unwrap_or_else(|_| failed("not all connections came back within a minute"))?;
    drop(progress);
    let (took, after) = (began.elapsed(), machine::usage(target.pid));
    let costs_after = costs(target).await?;
    let resumed = open.iter().filter(|(_, _, welcome)| welcome.is_none()).count();
    let mut report = Report::new();
    report.set("scenario", "reconnect");
    report.set("connections", connections);
    report.set("users", users.len());
    report.set("resumed", resumed);
    report.figure("all_back_ms", took.as_secs_f64() * 1000.0);
    report.figure("resumes_per_s", f64::from(connections) / took.as_secs_f64());
    report.latency("back", &all);
    report.server(before, after, 0, took);
    if let (Some(before), Some(after)) = (costs_before, costs_after) {
        report.figure("store_reads_per_connection", (after.0 - before.0) as f64 / f64::from(connections));
        report.set("password_hashes", after.1 - before.1);
    }
    Ok(report)
}

/// How many reads of the store and how many password hashes there were.
async fn costs(target: &Target) -> Outcome<Option<(u64, u64)>> {
    let reads = target.counted("chinwag_store_reads_total").await?;
    Ok(reads.zip(target.counted("chinwag_password_hashes_total").await?))
}

/// `bench offline`.
pub(super) async fn offline(
    target: &Target,
    common: &BenchCommon,
    users: u32,
    waiting: u32,
) -> Outcome<Report> {
    let all = accounts::users(target, users + 1).await?;
    let Some((writer, readers)) = all.split_first() else { return failed("nobody was registered") };
    let mut chats = Vec::new();
    for reader in readers {
        let command = Command::OpenDirect { user: reader.id };
        chats.push(conversation(&http(target, writer).command(&command).await?)?);
    }
    // Everybody was there once, and goes.
    let gone: Vec<(User, String)> =
        seats(target, readers, users).await?.into_iter().map(|seat| (seat.user, seat.origin)).collect();
    let run = format!("{:x}", chinwag_client::now().0);
    let wrote = write(target, writer, &chats, waiting, &run, common.size as usize).await?;
    let before = machine::usage(target.pid);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, (user, origin)) in gone.into_iter().enumerate() {
        let (server, mark) = (target.for_tasks(), format!(r#""text":"{run}:{number}:"#));
        tasks.spawn(async move { catch_up(&server, &user, &origin, number, waiting, mark.as_bytes()).await });
    }
    let (mut all, mut doubled) = (times(), 0);
    while let Some(finished) = tasks.join_next().await {
        let caught = finished.map_err(|error| Stop::Failed(error.into()))?.map_err(lost)?;
        all.saturating_record(caught.took.as_micros().try_into().unwrap_or(u64::MAX));
        doubled += caught.doubled;
    }
    let (took, after) = (began.elapsed(), machine::usage(target.pid));
    let deliveries = u64::from(users) * u64::from(waiting);
    let mut report = Report::new();
    report.set("scenario", "offline");
    report.set("users", users);
    report.set("waiting", waiting);
    report.set("text_bytes", common.size);
    report.figure("written_per_s", deliveries as f64 / wrote.as_secs_f64());
    report.figure("all_delivered_ms", took.as_secs_f64() * 1000.0);
    report.figure("deliveries_per_s", deliveries as f64 / took.as_secs_f64());
    report.latency("caught_up", &all);
    report.set("lost", 0);
    report.set("doubled", doubled);
    report.server(before, after, deliveries, took);
    Ok(report)
}

/// Connects so many times, a few at once.
async fn seats(target: &Target, users: &[User], connections: u32) -> Outcome<Vec<Seat>> {
    let (room, mut tasks) = (Arc::new(Semaphore::new(OPENING)), JoinSet::new());
    for (number, user) in (0..connections).zip(users.iter().cycle()) {
        let (server, user, room) = (target.for_tasks(), user.clone(), room.clone());
        tasks.spawn(async move {
            let _turn = room.acquire().await;
            let opened = timeout(PATIENCE, connect(&server, &user, number, None)).await;
            let (incoming, outgoing, welcome) =
                opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let origin = origin(&welcome.unwrap_or_default())?;
            Ok::<_, io::Error>((number, Seat { user, incoming, outgoing, origin }))
        });
    }
    let mut progress = Progress::new("connected");
    let mut seats = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        seats.push(finished.map_err(|error| Stop::Failed(error.into()))?.map_err(lost)?);
        progress.step(seats.len(), connections as usize);
    }
    seats.sort_by_key(|(number, _)| *number);
    Ok(seats.into_iter().map(|(_, seat)| seat).collect())
}

/// Where a connection would go on, from its welcome.
fn origin(welcome: &[u8]) -> io::Result<String> {
    let Ok(ServerFrame::Welcome(welcome)) = serde_json::from_slice(welcome) else {
        return Err(io::Error::other("the server's welcome makes no sense to this version"));
    };
    let snapshot = welcome.snapshot;
    let mut positions: Vec<(LogId, Seq)> = snapshot.positions;
    positions.extend(snapshot.conversations.iter().map(|view| (LogId::Conversation(view.id), view.head.seq)));
    Ok(serde_json::to_string(&Origin { epoch: welcome.epoch, positions })?)
}

/// Writes so many messages into each chat and waits for all acknowledgements.
async fn write(
    target: &Target,
    writer: &User,
    chats: &[ConversationId],
    waiting: u32,
    run: &str,
    size: usize,
) -> Outcome<Duration> {
    let (mut incoming, mut outgoing, _) = connect(target, writer, 0, None).await.map_err(lost)?;
    let mut progress = Progress::new("written");
    let (began, of) = (Instant::now(), waiting as usize * chats.len());
    let (mut sent, mut acknowledged) = (0_u32, 0_usize);
    let mut all = (0..waiting)
        .flat_map(|number| chats.iter().enumerate().map(move |(lane, chat)| (lane, number, *chat)));
    while acknowledged < of {
        while u64::from(sent) < acknowledged as u64 + u64::from(WRITING) {
            let Some((lane, number, chat)) = all.next() else { break };
            outgoing.text(post(run, lane, number, chat, size).as_bytes());
            sent += 1;
        }
        outgoing.flush().await.map_err(lost)?;
        let text = timeout(PATIENCE, incoming.next_text()).await;
        let text = text.map_err(|_| lost(io::ErrorKind::TimedOut.into()))?.map_err(lost)?;
        if text.starts_with(br#"{"done""#) {
            acknowledged += 1;
            progress.step(acknowledged, of);
        } else if text.starts_with(br#"{"refused""#) || text.starts_with(br#"{"closing""#) {
            return failed(format!("the server refused a message: {}", String::from_utf8_lossy(&text)));
        }
    }
    Ok(began.elapsed())
}

struct CaughtUp {
    took: Duration,
    doubled: u64,
}

/// Comes back and takes what has waited: each message once, in order.
async fn catch_up(
    target: &Target,
    user: &User,
    origin: &str,
    number: usize,
    waiting: u32,
    mark: &[u8],
) -> io::Result<CaughtUp> {
    let began = Instant::now();
    let (mut incoming, mut outgoing) =
        super::socket::open(&target.server, u32::try_from(number).unwrap_or(u32::MAX)).await?;
    outgoing.text(super::messages::hello(user, Some(origin)).as_bytes());
    outgoing.flush().await?;
    let (mut next, mut doubled) = (0_u32, 0);
    while next < waiting {
        let text = timeout(PATIENCE, incoming.next_text())
            .await
            .map_err(|_| io::Error::other(format!("only {next} of {waiting} waiting messages came")))??;
        let Some(place) = text.windows(mark.len()).position(|window| window == mark) else { continue };
        let digits = text[place + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let found =
            digits.fold(0_u32, |value, digit| value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
        match found {
            found if found == next => next += 1,
            found if found < next => doubled += 1,
            found => return Err(io::Error::other(format!("message {found} came where {next} was expected"))),
        }
    }
    Ok(CaughtUp { took: began.elapsed(), doubled })
}
