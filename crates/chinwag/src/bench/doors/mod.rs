//! The scenario `doors`: the same private messages through the native protocol and through each door, in one run
//! against one server, so that the ratios mean something on a machine that is not quiet.
//!
//! Everybody is signed in from the beginning; then the wires take turns, several times each. A door is set against
//! native pairs with as many messages in flight.

mod drive;
mod fanout;
mod idle;
mod native;
mod people;
mod pipe_line;
mod socket_io;
mod stream;
mod tag_json;
mod tcp_json;
mod udp_ack;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chinwag_protocol::Command;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use self::drive::{Driver, Link, Marks};
pub(super) use self::{fanout::fanout, idle::idle};
use super::{
    accounts,
    lanes::Board,
    machine::{self, Usage},
    messages::{conversation, http, lost, watch_over},
    report::Report,
    target::Target,
};
use crate::{
    args::{Bench, BenchCommon},
    exit::{Outcome, failed},
};

/// How often each wire has its turn, at most; a turn takes at least a second.
const TURNS_MAX: u64 = 5;
/// Before each turn but the first, which has the warm-up that was asked for.
const SETTLE: Duration = Duration::from_millis(300);
/// How long a turn may take to come to rest.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// A wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    /// The native protocol, with as many messages in flight as were asked for.
    Native,
    /// The same with one in flight, for the wires that have no more.
    NativeSingle,
    TcpJson,
    TagJson,
    SocketIo,
    PipeLine,
    UdpAck,
}

/// The doors, `socket_io` over WebSocket.
pub(super) const DOORS: &[Wire] =
    &[Wire::TcpJson, Wire::TagJson, Wire::SocketIo, Wire::PipeLine, Wire::UdpAck];

impl Wire {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::NativeSingle => "native_single",
            Self::TcpJson => "tcp_json",
            Self::TagJson => "tag_json",
            Self::SocketIo => "socket_io",
            Self::PipeLine => "pipe_line",
            Self::UdpAck => "udp_ack",
        }
    }

    fn by_name(name: &str) -> Outcome<Self> {
        let found = DOORS.iter().copied().find(|wire| wire.name() == name);
        found.map_or_else(|| failed(format!("there is no door {name:?} to be measured")), Ok)
    }

    /// "Strict request/answer", or acknowledgements without a number: one message on its way.
    fn is_single(self) -> bool {
        matches!(self, Self::NativeSingle | Self::PipeLine | Self::UdpAck)
    }

    /// What a door is set against.
    fn measure(self) -> Self {
        if self.is_single() { Self::NativeSingle } else { Self::Native }
    }

    fn has_accounts(self) -> bool {
        self != Self::UdpAck
    }
}

/// The doors that a scenario needs to be open.
pub(super) fn wanted(scenario: &Bench) -> Vec<&str> {
    match scenario {
        Bench::Doors { .. } => DOORS.iter().map(|wire| wire.name()).collect(),
        Bench::Idle { door: Some(door), .. } => vec![door],
        _ => Vec::new(),
    }
}

/// The pairs of one wire.
struct Group {
    wire: Wire,
    board: Arc<Board>,
    go: watch::Sender<bool>,
    /// Measured so far.
    took: Duration,
    cpu: Duration,
}

/// `bench doors`.
pub(super) async fn pairs(
    target: &Target,
    common: &BenchCommon,
    pairs: u32,
    inflight: u32,
) -> Outcome<Report> {
    let mut tasks = JoinSet::new();
    let mut groups = Vec::new();
    for wire in [Wire::Native, Wire::NativeSingle].iter().chain(DOORS) {
        let links = connect(target, *wire, pairs).await?;
        groups.push(start(*wire, links, inflight, common, &mut tasks));
    }
    let turns = common.duration.clamp(1, TURNS_MAX);
    let length = Duration::from_secs(common.duration) / u32::try_from(turns).unwrap_or(1);
    for turn in 0..turns {
        let warm_up = if turn == 0 { Duration::from_secs(common.warm_up) } else { SETTLE };
        for group in &mut groups {
            group.turn(target, warm_up, length, &mut tasks).await?;
        }
    }
    tasks.shutdown().await;
    let mut report = Report::new();
    report.set("scenario", "doors");
    report.set("pairs", pairs);
    report.set("duration_s", common.duration);
    report.set("text_bytes", common.size);
    report.set("inflight", inflight);
    report.set("turns", turns);
    for group in &groups {
        let native = groups.iter().find(|other| other.wire == group.wire.measure());
        group.show(&mut report, native.unwrap_or(group), if group.wire.is_single() { 1 } else { inflight });
    }
    let sum = |count: fn(&Board) -> u64| groups.iter().map(|group| count(&group.board)).sum::<u64>();
    report.set("lost", sum(Board::on_their_way));
    report.set("doubled", sum(|board| board.doubled.load(Ordering::Relaxed)));
    report.set("refused", sum(|board| board.refused.load(Ordering::Relaxed)));
    Ok(report)
}

async fn connect(target: &Target, wire: Wire, pairs: u32) -> Outcome<Vec<Link>> {
    let count = pairs * 2;
    if !DOORS.contains(&wire) {
        // Two sets of native users: those with more in flight, and the others.
        let users = accounts::users(target, count * 2).await?;
        let (more, single) = users.split_at(count as usize);
        let users = if wire == Wire::Native { more } else { single };
        let mut links = Vec::new();
        for (number, pair) in users.chunks_exact(2).enumerate() {
            let command = Command::OpenDirect { user: pair[1].id };
            let chat = conversation(&http(target, &pair[0]).command(&command).await?)?;
            for (side, user) in pair.iter().enumerate() {
                let name = format!("{:x}-{}-{number}-{side}", chinwag_client::now().0, wire.name());
                let mut link = native::Native::sign_in(target, user, name).await.map_err(lost)?;
                link.write_to(chat);
                links.push(Link::Native(link));
            }
        }
        return Ok(links);
    }
    if wire.has_accounts() {
        people::register(target, wire, count).await?;
    }
    let mut links = people::sign_in(target.door(wire.name())?, wire, count).await?;
    people::introduce(wire, &mut links).await.map_err(lost)?;
    Ok(links)
}

fn start(
    wire: Wire,
    links: Vec<Link>,
    inflight: u32,
    common: &BenchCommon,
    tasks: &mut JoinSet<std::io::Result<()>>,
) -> Group {
    let board = Arc::new(Board::new(&vec![1; links.len()], if wire.is_single() { 1 } else { inflight }));
    let (go, may_go) = watch::channel(false);
    let run = format!("{:x}", chinwag_client::now().0);
    for (lane, link) in links.into_iter().enumerate() {
        let (board, go) = (Arc::clone(&board), may_go.clone());
        let driver = Driver { board, marks: Marks::new(&run, lane), lane, size: common.size as usize, go };
        tasks.spawn(driver.run(link));
    }
    Group { wire, board, go, took: Duration::ZERO, cpu: Duration::ZERO }
}

impl Group {
    /// Lets the pairs of this wire write for a while, and measures them.
    async fn turn(
        &mut self,
        target: &Target,
        warm_up: Duration,
        length: Duration,
        tasks: &mut JoinSet<std::io::Result<()>>,
    ) -> Outcome {
        self.go.send_replace(true);
        watch_over(tasks, Instant::now() + warm_up).await?;
        let (before, began) = (machine::usage(target.pid), Instant::now());
        self.board.is_measuring.store(true, Ordering::Relaxed);
        watch_over(tasks, began + length).await?;
        self.board.is_measuring.store(false, Ordering::Relaxed);
        self.took += began.elapsed();
        let after = machine::usage(target.pid);
        self.cpu += used(before, after);
        self.go.send_replace(false);
        let deadline = Instant::now() + DRAIN_WITHIN;
        while self.board.on_their_way() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn done(&self) -> f64 {
        self.board.done.load(Ordering::Relaxed) as f64
    }

    fn per_s(&self) -> f64 {
        self.done() / self.took.as_secs_f64()
    }

    /// The server's processor time for each message, in microseconds.
    fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done().max(1.0)
    }

    fn show(&self, report: &mut Report, native: &Self, inflight: u32) {
        let name = |figure: &str| format!("{}_{figure}", self.wire.name());
        report.set(&name("inflight"), inflight);
        report.figure(&name("messages_per_s"), self.per_s());
        report.figure(&name("server_cpu_us"), self.cost());
        let times = self.board.latencies();
        report.figure(&name("p50_ms"), times.value_at_quantile(0.5) as f64 / 1000.0);
        report.figure(&name("p99_ms"), times.value_at_quantile(0.99) as f64 / 1000.0);
        if self.wire != native.wire {
            report.figure(&name("of_native"), self.per_s() / native.per_s().max(1.0));
            report.figure(&name("cpu_of_native"), self.cost() / native.cost().max(0.001));
        }
    }
}

fn used(before: Option<Usage>, after: Option<Usage>) -> Duration {
    match (before, after) {
        (Some(before), Some(after)) => after.cpu.saturating_sub(before.cpu),
        _ => Duration::ZERO,
    }
}
