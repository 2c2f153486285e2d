//! F23 and F24: everybody at once, with a token after a crash, and with a password.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    Findings,
    bystander::{Bystanders, Times},
    gauge,
    peer::{Came, Peer, head, later, origin, post_frame},
    seconds,
};
use crate::chaos::{
    Bed, Verdict,
    http::{Account, PASSWORD, ask, device, people},
    place::Place,
    process::Random,
};

/// A password takes some 50 ms of a processor, a token next to nothing.
const CPU_OF_EACH_MS: f64 = 8.0;

/// A connection that follows one conversation through whatever happens to the server.
struct Seat {
    account: Account,
    peer: Peer,
    origin: Value,
    log: String,
    at: u64,
}

/// How one came back.
struct Back {
    after: Duration,
    resumed: bool,
    attempts: u32,
}

impl Seat {
    fn new(address: SocketAddr, account: &Account, log: &str) -> Result<Self> {
        let mut peer = Peer::open(address, &account.token, None, Some(16 * 1024))?;
        let welcome = peer.until("welcome", Duration::from_secs(30))?;
        let origin = origin(&welcome);
        let at = head(&origin, log);
        Ok(Self { account: account.clone(), peer, origin, log: log.to_owned(), at })
    }

    /// Follows its log; false when the connection has ended.
    fn listen(&mut self, until: impl Fn(u64) -> bool, patience: Duration) -> Result<bool> {
        while !until(self.at) {
            match self.peer.next(patience) {
                Came::Frame(frame) => {
                    let entry = &frame["entry"];
                    let seq = entry["seq"].as_u64().unwrap_or_default();
                    if entry["log"] != self.log || seq <= self.at {
                        continue;
                    }
                    if seq != self.at + 1 {
                        bail!("{}: after {} comes {seq}", self.log, self.at);
                    }
                    self.at = seq;
                }
                Came::Nothing => bail!("{}: nothing comes after {}", self.log, self.at),
                Came::End => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Comes back and hears everything up to `to`.
    fn return_to(mut self, address: SocketAddr, to: u64, killed: Instant, seed: u64) -> Result<Back> {
        let (mut random, mut attempts) = (Random(seed), 0);
        let mut pause = 250;
        loop {
            attempts += 1;
            if killed.elapsed() > GIVEN_UP {
                bail!("did not come back within {}", seconds(GIVEN_UP));
            }
            let resume = later(&self.origin, &self.log, self.at);
            if let Ok(mut peer) = Peer::open(address, &self.account.token, Some(&resume), Some(16 * 1024)) {
                let first = peer.next(Duration::from_secs(30));
                let resumed = matches!(&first, Came::Frame(frame) if frame.get("resumed").is_some());
                let welcome = matches!(&first, Came::Frame(frame) if frame.get("welcome").is_some());
                self.peer = peer;
                if welcome || resumed && self.listen(|at| at >= to, Duration::from_secs(30))? {
                    return Ok(Back { after: killed.elapsed(), resumed, attempts });
                }
            }
            // As the protocol asks of a client: at random, and longer each time.
            random.pause_ms(pause / 4, pause);
            pause = (pause * 2).min(4_000);
        }
    }
}

const GIVEN_UP: Duration = Duration::from_secs(90);

/// F23.
pub(super) fn cold(bed: &Bed) -> Result<Verdict> {
    const USERS: usize = 50;
    const ALL_BACK: Duration = Duration::from_secs(45);
    // Twenty connections of a user are allowed, ten of a session.
    let of_each = 20;
    let place = Place::new(bed, "F23")?;
    let mut server = place.start(&[])?;
    let address = place.address;
    let users = people(address, "storm", USERS)?;
    let talker = Account::register(address, "talker")?;
    let members: Vec<u64> = users.iter().map(|user| user.user).collect();
    let group = talker.group(address, "Storm", &members)?;
    let log = format!("c{group}");
    let mut findings = Findings::default();
    let rounds = bed.times.min(5);
    let mut sessions = Vec::new();
    for user in &users {
        sessions.push((user.clone(), Account::sign_in(address, &user.handle)?));
    }
    let (mut slowest, mut all, mut attempts, mut cpu) = (Duration::ZERO, Vec::new(), 0, 0.0_f64);
    let mut ready = 0;
    for round in 0..rounds {
        let mut seats = Vec::new();
        for (first, second) in &sessions {
            for number in 0..of_each {
                seats.push(Seat::new(address, if number % 2 == 0 { first } else { second }, &log)?);
            }
        }
        let count = seats.len();
        let acknowledged = AtomicU64::new(0);
        let killed = Mutex::new(Instant::now());
        let down = AtomicBool::new(false);
        let seed = bed.seed + u64::from(round);
        let backs: Vec<Result<Back>> = thread::scope(|scope| {
            let (acknowledged, killed, down) = (&acknowledged, &killed, &down);
            let talking = talk(address, &talker, group, round);
            let talking = scope.spawn(move || talking.map(|talking| talking(acknowledged, down)));
            let back: Vec<_> = seats
                .into_iter()
                .enumerate()
                .map(|(number, mut seat)| {
                    let come_back = move || {
                        // Until the server is killed.
                        seat.listen(|_| false, Duration::from_secs(60))?;
                        let at = *killed.lock().unwrap_or_else(PoisonError::into_inner);
                        let to = acknowledged.load(Ordering::Acquire);
                        seat.return_to(address, to, at, seed ^ number as u64)
                    };
                    let thread = thread::Builder::new().stack_size(256 * 1024);
                    thread.spawn_scoped(scope, come_back).expect("there is room for a thread")
                })
                .collect();
            thread::sleep(Duration::from_secs(3));
            *killed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            server.signal("KILL");
            down.store(true, Ordering::Release);
            let started = server.ended_within(Duration::from_secs(10)).map(|_| place.start(&[]));
            match started {
                Some(Ok(fresh)) => {
                    ready = fresh.ready_ms;
                    server = fresh;
                }
                Some(Err(error)) => findings.check(false, format!("{error:#}")),
                None => findings.check(false, "it survives a kill"),
            }
            let backs = back.into_iter().map(|one| one.join().expect("coming back does not panic")).collect();
            if !matches!(talking.join(), Ok(Ok(()))) {
                findings.check(false, "nobody could talk before the kill");
            }
            backs
        });
        let mut returned = 0;
        for back in backs {
            match back {
                Ok(back) => {
                    returned += 1;
                    slowest = slowest.max(back.after);
                    attempts += back.attempts;
                    all.push(back.after);
                    findings.check(back.resumed, "somebody was not resumed but sent everything anew");
                }
                Err(error) => findings.check(false, format!("{error:#}")),
            }
        }
        findings.check(returned == count, format!("{returned} of {count} came back"));
        cpu = cpu.max(gauge::cpu_ms(server.pid()) as f64 / count as f64);
        findings.check(server.ended_within(Duration::ZERO).is_none(), "the server ended");
    }
    findings.wrong.dedup();
    findings.wrong.truncate(5);
    let count = all.len();
    findings.figure(&format!(
        "{rounds} times {} clients after kill -9: ready in {ready} ms, {count} back, p50/p99 ms {}, the last after {}; {attempts} attempts; {cpu:.1} ms of processor each, start included; ",
        USERS * of_each, Times::of(all), seconds(slowest)
    ));
    findings.check(slowest <= ALL_BACK, "coming back takes more than 45 s");
    findings.check(
        cpu <= CPU_OF_EACH_MS,
        format!("coming back costs {cpu:.1} ms of processor: as much as a password"),
    );
    Ok(findings.verdict())
}

/// Somebody who talks until the server goes, and notes the last number that was acknowledged.
fn talk(
    address: SocketAddr,
    talker: &Account,
    group: u64,
    round: u32,
) -> Result<impl FnOnce(&AtomicU64, &AtomicBool) + Send + 'static> {
    let mut peer = Peer::open(address, &talker.token, None, None)?;
    peer.until("caught_up", Duration::from_secs(20))?;
    Ok(move |acknowledged: &AtomicU64, down: &AtomicBool| {
        let mut number = u64::from(round) * 1_000_000;
        while !down.load(Ordering::Acquire) {
            number += 1;
            if peer.stream.write_all(&post_frame(number, group, "still here")).is_err() {
                return;
            }
            let Ok(done) = peer.until("done", Duration::from_secs(10)) else { return };
            let seq = done["reply"]["posted"]["seq"].as_u64().unwrap_or_default();
            acknowledged.fetch_max(seq, Ordering::AcqRel);
            thread::sleep(Duration::from_millis(20));
        }
    })
}

/// F24.
pub(super) fn passwords(bed: &Bed) -> Result<Verdict> {
    const USERS: usize = 40;
    const EACH: u64 = 64 << 20;
    let place = Place::new(bed, "F24")?;
    let server = place.start(&[])?;
    let address = place.address;
    let users = people(address, "crowd", USERS)?;
    let mut bystanders = Bystanders::start(address, "by", 4, Duration::from_millis(25))?;
    thread::sleep(Duration::from_secs(6));
    let before = bystanders.lap()?;

    // A server without permits would take all memory of this machine for more.
    let count = if bed.wrong { 40 } else { 2_000 * bed.times.min(3) as usize };
    let permits = thread::available_parallelism().map_or(1, usize::from) as u64;
    let resident = gauge::resident(server.pid());
    let may_peak = gauge::forget_peak(server.pid());
    let (from, end) = (Instant::now(), AtomicBool::new(false));
    let (answers, sampled) = thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut most = 0;
            while !end.load(Ordering::Acquire) {
                most = most.max(gauge::resident(server.pid()));
                thread::sleep(Duration::from_millis(10));
            }
            most
        });
        let asking: Vec<_> = (0..count)
            .map(|number| {
                let handle = &users[number % USERS].handle;
                let asking = move || {
                    let from = Instant::now();
                    let answer = ask(address, "/api/sign-in", None, &device(handle, PASSWORD), GIVEN_UP);
                    (answer, from.elapsed())
                };
                let thread = thread::Builder::new().stack_size(256 * 1024);
                thread.spawn_scoped(scope, asking).expect("there is room for a thread")
            })
            .collect();
        let answers: Vec<_> =
            asking.into_iter().map(|one| one.join().expect("asking does not panic")).collect();
        end.store(true, Ordering::Release);
        (answers, sampling.join().unwrap_or_default())
    });
    let took = from.elapsed();
    let during = bystanders.lap()?;
    let most = if may_peak { gauge::peak(server.pid()).max(sampled) } else { sampled };

    let mut findings = Findings::default();
    let (mut in_now, mut busy, mut busy_times) = (0, 0, Vec::new());
    for (answer, took) in &answers {
        match answer {
            Ok((200, _)) => in_now += 1,
            Ok((429, refused)) if refused["code"] == "busy" => {
                busy += 1;
                busy_times.push(*took);
            }
            Ok((status, other)) => findings.check(false, format!("answered {status} {other}")),
            Err(error) => findings.check(false, format!("not answered: {error:#}")),
        }
    }
    findings.wrong.dedup();
    findings.wrong.truncate(3);
    let grown = most.saturating_sub(resident);
    findings.figure(&format!(
        "{count} at once: {in_now} signed in, {busy} told to wait (p50/p99 ms {}), all answered in {}; resident +{} with {permits} permits; ",
        Times::of(busy_times), seconds(took), gauge::mib(grown)
    ));
    findings.check(grown < EACH * permits, format!("resident +{}", gauge::mib(grown)));
    findings.check(in_now > 0, "nobody got in");
    // All processors hash at once, so chat has to share them: slower, but not starved.
    let (figures, _) = during.against(&before);
    findings.figure(&figures);
    findings.check(during.delivery.p99 < Duration::from_secs(1), "chat is starved");
    // Who was told to wait gets in afterwards.
    let later = ask(address, "/api/sign-in", None, &device(&users[0].handle, PASSWORD), GIVEN_UP)?;
    findings.check(later.0 == 200, "nobody gets in after the storm");
    Ok(findings.verdict())
}
