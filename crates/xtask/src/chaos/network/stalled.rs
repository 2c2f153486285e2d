//! F14 and F15: clients that take nothing, or next to nothing, while much is told to them.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    Findings,
    bystander::Bystanders,
    gauge,
    peer::{Came, Peer, head, later, origin, post_frame},
};
use crate::chaos::{
    Bed, Verdict,
    http::{Account, people},
    place::Place,
    process::Checker,
};

/// What the kernel keeps for a stalled reader: little, so that the rest is the server's.
const RECEIVE_BYTES: usize = 4_096;
/// What the server may keep for one connection: its outbox, and what is being written.
const OUTBOX_BYTES: u64 = (256 + 64) * 1024;
/// What may become resident for other reasons while a row runs.
const ELSEWHERE: u64 = 32 << 20;

/// Somebody who says much to many, at a steady pace.
struct Talker {
    peer: Peer,
    places: Vec<u64>,
    said: u64,
    pad: String,
}

impl Talker {
    fn new(address: SocketAddr, handle: &str, listeners: &[Account], bytes: usize) -> Result<Self> {
        let account = Account::register(address, handle)?;
        let places =
            listeners.iter().map(|listener| account.direct(address, listener)).collect::<Result<Vec<_>>>()?;
        let mut peer = Peer::open(address, &account.token, None, None)?;
        peer.until("caught_up", Duration::from_secs(20))?;
        Ok(Self { peer, places, said: 0, pad: "wag ".repeat(bytes / 4) })
    }

    /// A message to each, so many times; returns when all are acknowledged.
    fn say(&mut self, rounds: u32, every: Duration) -> Result<()> {
        let last = self.said + u64::from(rounds) * self.places.len() as u64;
        let mut hearing = self.peer.stream.try_clone()?;
        let mut writer = Peer::over(self.peer.stream.try_clone()?);
        let (places, pad, mut said) = (&self.places, &self.pad, self.said);
        let failed = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = Instant::now();
                for _ in 0..rounds {
                    for place in places {
                        said += 1;
                        let text = format!("{said} {pad}");
                        if writer.stream.write_all(&post_frame(said, *place, text.trim_end())).is_err() {
                            failed.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                    next += every;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
            heard_answer(&mut hearing, last)
        })?;
        if failed.load(Ordering::Relaxed) {
            bail!("what was said could not be sent");
        }
        self.said = last;
        Ok(())
    }
}

/// Reads until the answer to a question has come, without taking the rest apart.
fn heard_answer(stream: &mut std::net::TcpStream, id: u64) -> Result<()> {
    let wanted = format!("{{\"done\":{{\"id\":{id},");
    let (mut held, mut piece) = (Vec::new(), vec![0; 256 * 1024]);
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            bail!("the connection of somebody who only talks ended");
        }
        held.extend_from_slice(&piece[..count]);
        if held.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
            return Ok(());
        }
        held.drain(..held.len().saturating_sub(wanted.len()));
    }
}

/// Takes whatever has come and lets it go; returns when it was quiet for a moment.
fn let_go(peers: &mut [Peer], done: &AtomicBool) -> Result<()> {
    let mut piece = vec![0; 64 * 1024];
    let mut heard_at = Instant::now();
    peers.iter().try_for_each(|peer| peer.stream.set_nonblocking(true))?;
    let mut pinged_at = Instant::now();
    while !done.load(Ordering::Acquire) || heard_at.elapsed() < Duration::from_secs(1) {
        let ping = pinged_at.elapsed() > Duration::from_secs(10);
        if ping {
            pinged_at = Instant::now();
        }
        for peer in &mut *peers {
            if ping {
                peer.send(&json!({"ping": {}}))?;
            }
            match peer.stream.read(&mut piece) {
                Ok(0) => bail!("a connection ended though it was read"),
                Ok(_) => heard_at = Instant::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    peers.iter().try_for_each(|peer| peer.stream.set_nonblocking(false))?;
    Ok(())
}

/// While others read: what a talker's load costs without any fault.
fn with_readers(talker: &mut Talker, peers: &mut [Peer], rounds: u32, every: Duration) -> Result<()> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| let_go(peers, &done));
        let said = talker.say(rounds, every);
        done.store(true, Ordering::Release);
        reading.join().expect("reading does not panic")?;
        said
    })
}

/// A connection that has caught up, and where it would go on.
fn seat(address: SocketAddr, account: &Account) -> Result<(Peer, Value)> {
    let mut peer = Peer::open(address, &account.token, None, Some(RECEIVE_BYTES))?;
    let welcome = peer.until("welcome", Duration::from_secs(20))?;
    peer.until("caught_up", Duration::from_secs(20))?;
    Ok((peer, origin(&welcome)))
}

/// So many connections of each of these people, some at a time.
fn crowd(address: SocketAddr, users: &[Account], of_each: usize) -> Result<Vec<((Peer, Value), Account)>> {
    let some = |users: &[Account]| -> Result<Vec<_>> {
        let mut seats = Vec::new();
        for user in users {
            // Ten connections of a session are allowed.
            let other = Account::sign_in(address, &user.handle)?;
            for number in 0..of_each {
                let account = if number % 2 == 0 { user } else { &other };
                seats.push((seat(address, account)?, account.clone()));
            }
        }
        Ok(seats)
    };
    let parts: Vec<Result<Vec<_>>> = thread::scope(|scope| {
        let parts: Vec<_> =
            users.chunks(users.len().div_ceil(8)).map(|users| scope.spawn(move || some(users))).collect();
        parts.into_iter().map(|part| part.join().expect("connecting does not panic")).collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    // Who was seated first must not be given up before the last one is.
    all.iter_mut().try_for_each(|((peer, _), _)| peer.send(&json!({"ping": {}})))?;
    Ok(all)
}

/// Hears a conversation from `from` on without a gap up to `to`, coming back if the server gave the connection up.
/// Answers whether it did. `one_more`: what this connection was saying itself follows, if it was not given up.
fn hear_all(
    address: SocketAddr,
    token: &str,
    mut peer: Peer,
    log: &str,
    (from, to): (u64, u64),
    origin: &Value,
    one_more: bool,
) -> Result<bool> {
    let (mut at, mut came_back) = (from, false);
    let until = Instant::now() + Duration::from_secs(60);
    while at < to || one_more && !came_back && at == to {
        if Instant::now() > until {
            bail!("{log} is at {at} of {to} after a minute");
        }
        match peer.next(Duration::from_secs(20)) {
            Came::Frame(frame) => {
                let entry = &frame["entry"];
                let seq = entry["seq"].as_u64().unwrap_or_default();
                if entry["log"] != *log || seq <= at {
                    continue;
                }
                if seq != at + 1 {
                    bail!("{log}: after {at} comes {seq}");
                }
                at = seq;
            }
            Came::Nothing => bail!("{log}: nothing comes after {at} of {to}"),
            Came::End => {
                came_back = true;
                let resume = later(origin, log, at);
                peer = Peer::open(address, token, Some(&resume), None)?;
            }
        }
    }
    Ok(came_back)
}

/// F14.
pub(super) fn stopped(bed: &Bed) -> Result<Verdict> {
    const STALLED: usize = 40;
    const ROUNDS: u32 = 350;
    let every = Duration::from_millis(100);
    let mut place = Place::new(bed, "F14")?;
    let server = place.start(&[])?;
    let address = place.address;
    let listeners = people(address, "stalled", STALLED)?;
    let mut talker = Talker::new(address, "talker", &listeners, 8_000 - 24)?;
    let (mut peers, origins): (Vec<_>, Vec<_>) = listeners
        .iter()
        .map(|listener| seat(address, listener))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let checker = Checker::start(bed, address, bed.seed, 100)?;
    let mut bystanders = Bystanders::start(address, "by", 2, Duration::from_millis(25))?;
    with_readers(&mut talker, &mut peers, ROUNDS / 4, every)?;
    bystanders.forget();
    with_readers(&mut talker, &mut peers, ROUNDS, every)?;
    let before = bystanders.lap()?;

    // From here on they are in the middle of a frame, and the checker's clients wherever they happen to be.
    let halves: Vec<Vec<u8>> = talker
        .places
        .iter()
        .map(|place| post_frame(1, *place, &"half of this is late ".repeat(20)))
        .collect();
    for (peer, frame) in peers.iter_mut().zip(&halves) {
        peer.stream.write_all(&frame[..frame.len() / 2])?;
    }
    let resident = gauge::resident(server.pid());
    let stops = 3 * bed.times.min(5);
    let (mut grown, mut during) = (0, None);
    thread::scope(|scope| -> Result<()> {
        let talking = scope.spawn(|| talker.say(ROUNDS, every));
        for _ in 0..stops {
            place.random.pause_ms(200, 800);
            checker.signal("STOP");
            place.random.pause_ms(2_000, 4_500);
            grown = grown.max(gauge::resident(server.pid()).saturating_sub(resident));
            checker.signal("CONT");
        }
        talking.join().expect("talking does not panic")?;
        grown = grown.max(gauge::resident(server.pid()).saturating_sub(resident));
        during = Some(bystanders.lap()?);
        Ok(())
    })?;

    let mut findings = Findings::default();
    // The halves that were missing. Where the server has given a connection up, nobody takes them.
    for (peer, frame) in peers.iter_mut().zip(&halves) {
        let _ = peer.stream.write_all(&frame[frame.len() / 2..]);
    }
    let heard: Vec<Result<bool>> = thread::scope(|scope| {
        let everybody = peers.into_iter().zip(&origins).zip(&talker.places).zip(&listeners);
        let hearing: Vec<_> = everybody
            .map(|(((peer, origin), place), account)| {
                scope.spawn(move || {
                    let log = format!("c{place}");
                    let from = head(origin, &log) + u64::from(ROUNDS / 4 + ROUNDS);
                    let span = (from, from + u64::from(ROUNDS));
                    hear_all(address, &account.token, peer, &log, span, origin, true)
                })
            })
            .collect();
        hearing.into_iter().map(|one| one.join().expect("hearing does not panic")).collect()
    });
    for (heard, account) in heard.into_iter().zip(&listeners) {
        if let Err(error) = heard {
            findings.check(false, format!("{}: {error:#}", account.handle));
        }
    }
    findings.wrong.truncate(5);
    let found = checker.heal()?;
    let allowed = STALLED as u64 * OUTBOX_BYTES + ELSEWHERE;
    findings.figure(&format!(
        "{STALLED} stopped in a frame while {} were said to them, {stops} stops of 12 clients; resident +{}; ",
        gauge::mib(STALLED as u64 * u64::from(ROUNDS) * 8_000),
        gauge::mib(grown)
    ));
    findings.check(
        grown <= allowed,
        format!("{} more resident, allowed {}", gauge::mib(grown), gauge::mib(allowed)),
    );
    if let Some(during) = during {
        findings.calm(&before, &during);
    }
    findings.found(&found);
    Ok(findings.verdict())
}

/// F15.
pub(super) fn slow_readers(bed: &Bed) -> Result<Verdict> {
    const USERS: usize = 50;
    const OF_EACH: usize = 20;
    const ROUNDS: u32 = 320;
    // What the promise allows is 400 MiB for readers who hear nothing in common. Here twenty share each text.
    const ALLOWED: u64 = 64 << 20;
    let every = Duration::from_millis(90);
    let place = Place::new(bed, "F15")?;
    let server = place.start(&[])?;
    let address = place.address;
    let users = people(address, "slow", USERS)?;
    let mut talker = Talker::new(address, "talker", &users, 8_000 - 24)?;
    let seats = crowd(address, &users, OF_EACH)?;
    let (seats, accounts): (Vec<_>, Vec<_>) = seats.into_iter().unzip();
    let (mut peers, origins): (Vec<Peer>, Vec<Value>) = seats.into_iter().unzip();
    let mut bystanders = Bystanders::start(address, "by", 2, Duration::from_millis(25))?;
    with_readers(&mut talker, &mut peers, ROUNDS / 8, every)?;
    bystanders.forget();
    with_readers(&mut talker, &mut peers, ROUNDS / 4, every)?;
    let before = bystanders.lap()?;

    let resident = gauge::resident(server.pid());
    let mut grown = 0;
    let finished = AtomicBool::new(false);
    let during = thread::scope(|scope| -> Result<_> {
        let talking = scope.spawn(|| {
            let said = (0..bed.times.min(4)).try_for_each(|_| talker.say(ROUNDS, every));
            finished.store(true, Ordering::Release);
            said
        });
        let mut round = 0_u32;
        while !finished.load(Ordering::Acquire) {
            for peer in &mut peers {
                peer.stream.set_nonblocking(true)?;
                // Whose connection was given up is seen at the end.
                let _ = peer.sip(1);
                if round.is_multiple_of(15) {
                    let _ = peer.send(&json!({"ping": {}}));
                }
            }
            round += 1;
            thread::sleep(Duration::from_secs(1));
            grown = grown.max(gauge::resident(server.pid()).saturating_sub(resident));
        }
        talking.join().expect("talking does not panic")?;
        bystanders.lap()
    })?;

    let mut findings = Findings::default();
    let from = u64::from(ROUNDS / 8 + ROUNDS / 4);
    let to = from + u64::from(ROUNDS * bed.times.min(4));
    let (mut whole, mut back) = (0, 0);
    let everybody = peers.into_iter().zip(&origins).zip(&accounts).enumerate();
    for (number, ((peer, origin), account)) in everybody {
        // The others of the same user are told the same; to take it all apart would take minutes.
        if number % OF_EACH != 0 {
            continue;
        }
        peer.stream.set_nonblocking(false)?;
        let log = format!("c{}", talker.places[number / OF_EACH]);
        let first = head(origin, &log);
        match hear_all(address, &account.token, peer, &log, (first + from, first + to), origin, false) {
            Ok(came_back) => {
                whole += 1;
                back += u32::from(came_back);
            }
            Err(error) => findings.check(false, format!("{}: {error:#}", account.handle)),
        }
    }
    findings.figure(&format!(
        "{} readers of 1 byte/s while {} were said to them; resident +{}; {whole} of {USERS} heard to their end, {back} of them on a new connection; ",
        USERS * OF_EACH,
        gauge::mib((USERS * OF_EACH) as u64 * u64::from(ROUNDS * bed.times.min(4)) * 8_000),
        gauge::mib(grown)
    ));
    findings.check(
        grown <= ALLOWED,
        format!("{} more resident, allowed {}", gauge::mib(grown), gauge::mib(ALLOWED)),
    );
    findings.calm(&before, &during);
    Ok(findings.verdict())
}
