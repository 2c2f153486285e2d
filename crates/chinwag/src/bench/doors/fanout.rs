//! One message to a group that is spread over the native protocol and all doors: how long until each has it.
//!
//! The group is the server-wide `Everyone`, of which each account and guest is a member. One native member writes;
//! the next message leaves when everybody who is connected has the one before.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use chinwag_protocol::ConversationId;
use hdrhistogram::Histogram;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        PATIENCE, accounts, machine,
        messages::lost,
        report::{Report, times},
        target::Target,
    },
    DOORS, Wire,
    drive::{Link, Marks, Seen},
    native::Native,
    people, used,
};
use crate::{
    args::BenchCommon,
    exit::{Outcome, failed},
};

const EVERYONE: ConversationId = ConversationId(1);
/// Between two messages, so that the acknowledgements of one do not meet the next.
const PAUSE: Duration = Duration::from_millis(100);

/// The message that is on its way.
struct Round {
    zero: Instant,
    number: AtomicU32,
    sent_us: AtomicU64,
    missing: AtomicU32,
    all: Notify,
    is_measuring: AtomicBool,
    doubled: AtomicU64,
    /// For each wire, how long until its members had a message.
    times: Vec<(Wire, Mutex<Histogram<u64>>)>,
}

/// `bench doors --fanout`.
pub(in super::super) async fn fanout(target: &Target, common: &BenchCommon, members: u32) -> Outcome<Report> {
    let wires: Vec<Wire> = std::iter::once(Wire::Native).chain(DOORS.iter().copied()).collect();
    let each = (members / u32::try_from(wires.len()).unwrap_or(1)).max(1);
    let round = Arc::new(Round {
        zero: Instant::now(),
        number: AtomicU32::new(u32::MAX),
        sent_us: AtomicU64::new(0),
        missing: AtomicU32::new(0),
        all: Notify::new(),
        is_measuring: AtomicBool::new(false),
        doubled: AtomicU64::new(0),
        times: wires.iter().map(|wire| (*wire, Mutex::new(times()))).collect(),
    });
    let users = accounts::users(target, each + 1).await?;
    let Some((writer, readers)) = users.split_first() else { return failed("nobody was registered") };
    let run = format!("{:x}", chinwag_client::now().0);
    let mut tasks = JoinSet::new();
    for wire in &wires {
        let links = if *wire == Wire::Native {
            let mut links = Vec::new();
            for user in readers {
                links.push(Link::Native(Native::sign_in(target, user, String::new()).await.map_err(lost)?));
            }
            links
        } else {
            if wire.has_accounts() {
                people::register(target, *wire, each).await?;
            }
            people::sign_in(target.door(wire.name())?, *wire, each).await?
        };
        for link in links {
            tasks.spawn(listen(link, *wire, Marks::new(&run, usize::MAX), Arc::clone(&round)));
        }
    }
    let of = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    let mut native = Native::sign_in(target, writer, run.clone()).await.map_err(lost)?;
    native.write_to(EVERYONE);
    let marks = Marks::new(&run, 0);
    let warm_up = Instant::now() + Duration::from_secs(common.warm_up);
    let mut until = warm_up + Duration::from_secs(common.duration);
    let (mut number, mut measured, mut before) = (0, 0, machine::usage(target.pid));
    while number == 0 || measured == 0 || Instant::now() < until {
        if !round.is_measuring.load(Ordering::Relaxed) && number > 0 && Instant::now() >= warm_up {
            round.is_measuring.store(true, Ordering::Relaxed);
            before = machine::usage(target.pid);
            until = Instant::now() + Duration::from_secs(common.duration);
        }
        round.begin(number, of);
        native.post(&marks.text(number, common.size as usize), number);
        native.flush().await.map_err(lost)?;
        let everybody = async {
            while round.missing.load(Ordering::Acquire) > 0 {
                tokio::select! {
                    () = round.all.notified() => {}
                    more = native.more() => {
                        more?;
                        native.take(&marks, |_seen| {})?;
                        native.flush().await?;
                    }
                }
            }
            Ok::<_, io::Error>(())
        };
        match timeout(PATIENCE, everybody).await {
            Ok(outcome) => outcome.map_err(lost)?,
            Err(_) => {
                let missing = round.missing.load(Ordering::Relaxed);
                return failed(format!("{missing} of {of} members did not get message {number}"));
            }
        }
        number += 1;
        measured += u32::from(round.is_measuring.load(Ordering::Relaxed));
        sleep(PAUSE).await;
    }
    let cpu = used(before, machine::usage(target.pid));
    tasks.shutdown().await;
    let mut report = Report::new();
    report.set("scenario", "doors, fan-out");
    report.set("duration_s", common.duration);
    report.set("text_bytes", common.size);
    report.set("members", of + 1);
    report.set("messages", measured);
    let mut p99 = Vec::new();
    for (wire, times) in &round.times {
        let times = times.lock().unwrap_or_else(PoisonError::into_inner);
        for (suffix, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let ms = times.value_at_quantile(quantile) as f64 / 1000.0;
            report.figure(&format!("{}_{suffix}_ms", wire.name()), ms);
        }
        p99.push(times.value_at_quantile(0.99) as f64);
    }
    let slowest = p99.iter().skip(1).copied().fold(0.0, f64::max);
    report.figure("slowest_door_of_native_p99", slowest / p99[0].max(1.0));
    report.figure("server_cpu_us_per_delivery", cpu.as_secs_f64() * 1e6 / f64::from(measured * of).max(1.0));
    report.set("doubled", round.doubled.load(Ordering::Relaxed));
    Ok(report)
}

impl Round {
    fn now_us(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn begin(&self, number: u32, of: u32) {
        self.number.store(number, Ordering::Release);
        self.missing.store(of, Ordering::Release);
        self.sent_us.store(self.now_us(), Ordering::Release);
    }

    /// A member has a message.
    fn has(&self, wire: Wire, number: u32, last: &mut Option<u32>) {
        if self.number.load(Ordering::Acquire) != number {
            return;
        }
        if last.replace(number) == Some(number) {
            self.doubled.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let took = self.now_us().saturating_sub(self.sent_us.load(Ordering::Acquire)).max(1);
        if self.is_measuring.load(Ordering::Relaxed)
            && let Some((_, times)) = self.times.iter().find(|(of, _)| *of == wire)
        {
            times.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
        }
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }
}

async fn listen(mut link: Link, wire: Wire, marks: Marks, round: Arc<Round>) -> io::Result<()> {
    let mut last = None;
    loop {
        link.more().await?;
        link.take(&marks, |seen| {
            if let Seen::Other(_, number) = seen {
                round.has(wire, number, &mut last);
            }
        })?;
        link.flush().await?;
    }
}
