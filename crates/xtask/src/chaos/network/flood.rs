//! F25: one user, one conversation, one address that asks for more than anybody may.
//!
//! The limits are those of a fresh server. What is offered is as much as a connection takes: a stream is not refused
//! but read more slowly, so its sender waits.

use std::{
    io::{ErrorKind, Write},
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Findings,
    bystander::Bystanders,
    peer::{Peer, post_frame},
    seconds,
};
use crate::chaos::{
    Bed, Verdict,
    http::{Account, ask, device, people, post},
    place::Place,
};

/// `docs/protocol.md`, section 6, and `docs/operating.md`: a second, and at once.
const OF_ACCOUNT: (f64, f64) = (10.0, 100.0);
const OF_CONVERSATION: (f64, f64) = (50.0, 500.0);
const WRONG_PASSWORDS_OF_ADDRESS: (f64, f64) = (20.0 / 60.0, 20.0);

/// What a connection may bring at once before it is paused: as much as is read in one go.
const EARLY: f64 = 150.0;

/// Guesses under way at the same time. From loopback only failures count, which are known when they have happened.
const LANES: u32 = 8;

/// What a rate grants in so long, and a fifth; `early` came before anybody could pause it.
fn granted((per_s, burst): (f64, f64), time: Duration, early: f64) -> f64 {
    (burst + per_s * time.as_secs_f64()) * 1.2 + early
}

/// Posts as fast as the connection takes it; how many frames it took.
fn flood(mut peer: Peer, conversation: u64, name: u64, end: &AtomicBool) -> u64 {
    let (mut number, mut rest) = (name << 32, Vec::new());
    let mut piece = [0; 64 * 1024];
    if peer.stream.set_nonblocking(true).is_err() {
        return 0;
    }
    while !end.load(Ordering::Acquire) {
        // Who does not listen is not answered either: the answers are read and let go.
        let heard = std::io::Read::read(&mut peer.stream, &mut piece);
        if rest.is_empty() {
            for _ in 0..50 {
                number += 1;
                rest.extend(post_frame(number, conversation, "more of this"));
            }
        }
        match peer.stream.write(&rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if heard.is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Err(_) => break,
        }
    }
    number - (name << 32)
}

fn messages(address: SocketAddr, account: &Account, conversation: u64) -> Result<f64> {
    let query =
        serde_json::json!({"history": {"conversation": conversation, "anchor": "latest", "limit": 1}});
    let answer = post(address, "/api/query", Some(&account.token), &query)?;
    Ok(answer["history"]["items"][0]["entry"]["event"]["message"]["number"].as_f64().unwrap_or_default())
}

/// F25.
pub(super) fn all(bed: &Bed) -> Result<Verdict> {
    const TIME: Duration = Duration::from_secs(10);
    let time = TIME * bed.times.min(6);
    let place = Place::new(bed, "F25")?;
    let _server = place.start_with(&[], "")?;
    let address = place.address;
    let mut findings = Findings::default();
    // Each of them stays below what an account may say.
    let mut bystanders = Bystanders::start(address, "by", 6, Duration::from_millis(130))?;
    thread::sleep(Duration::from_secs(8));
    let before = bystanders.lap()?;

    let flooder = Account::register(address, "flooder")?;
    for connections in [1, 9] {
        let own = flooder.group(address, &format!("Flood-{connections}"), &[])?;
        bystanders.forget();
        let (offered, took) = run(address, std::slice::from_ref(&flooder), connections, own, time)?;
        let during = bystanders.lap()?;
        let accepted = messages(address, &flooder, own)?;
        let who = format!("one user over {connections} connections");
        findings
            .figure(&format!("{who}: {offered:.0} frames sent, {accepted} accepted in {}; ", seconds(took)));
        findings.check(
            accepted <= granted(OF_ACCOUNT, took, EARLY * connections as f64),
            format!("{who} may say {accepted}"),
        );
        findings.check(accepted > 0.0, "the limiter lets nothing through");
        findings.calm(&before, &during);
    }

    let crowd = people(address, "crowd", 20)?;
    let members: Vec<u64> = crowd.iter().map(|account| account.user).collect();
    let square = flooder.group(address, "Square", &members)?;
    bystanders.forget();
    let (offered, took) = run(address, &crowd, 1, square, time)?;
    let during = bystanders.lap()?;
    let accepted = messages(address, &flooder, square)?;
    findings.figure(&format!("one conversation: {offered:.0} sent, {accepted} accepted; "));
    findings.check(
        accepted <= granted(OF_CONVERSATION, took, EARLY * crowd.len() as f64),
        format!("one conversation takes {accepted}"),
    );
    findings.calm(&before, &during);

    bystanders.forget();
    let (asked, checked, took) = guess(address, time);
    let guesses = (WRONG_PASSWORDS_OF_ADDRESS.0 * f64::from(LANES), WRONG_PASSWORDS_OF_ADDRESS.1);
    let during = bystanders.lap()?;
    findings.figure(&format!("one address: {asked} wrong passwords, {checked} looked at; "));
    findings.check(
        checked as f64 <= granted(guesses, took, 20.0),
        format!("one address may try {checked} passwords"),
    );
    findings.calm(&before, &during);
    Ok(findings.verdict())
}

/// All of them flood one conversation over so many connections each: frames that were taken, and for how long.
fn run(
    address: SocketAddr,
    accounts: &[Account],
    connections: u64,
    conversation: u64,
    time: Duration,
) -> Result<(f64, Duration)> {
    let mut peers = Vec::new();
    for account in accounts {
        for _ in 0..connections {
            let mut peer = Peer::open(address, &account.token, None, None)?;
            peer.until("caught_up", Duration::from_secs(20))?;
            peers.push(peer);
        }
    }
    let (end, from) = (AtomicBool::new(false), Instant::now());
    let offered = thread::scope(|scope| {
        let flooding: Vec<_> = peers
            .into_iter()
            .zip(1..)
            .map(|(peer, name)| {
                let end = &end;
                scope.spawn(move || flood(peer, conversation, name, end))
            })
            .collect();
        thread::sleep(time);
        end.store(true, Ordering::Release);
        flooding.into_iter().map(|one| one.join().unwrap_or_default()).sum::<u64>()
    });
    // What was read before the end is still worked off.
    thread::sleep(Duration::from_secs(1));
    Ok((offered as f64, from.elapsed()))
}

/// Tries passwords of people who may exist: how many were asked, and how many looked at.
fn guess(address: SocketAddr, time: Duration) -> (u64, u64, Duration) {
    let (asked, checked) = (AtomicU64::new(0), AtomicU64::new(0));
    let from = Instant::now();
    thread::scope(|scope| {
        for lane in 0..LANES {
            let (asked, checked) = (&asked, &checked);
            scope.spawn(move || {
                let mut number = 0;
                while from.elapsed() < time {
                    number += 1;
                    let device = device(&format!("crowd-{}", (lane * 7 + number) % 20), "not the right one");
                    let answer = ask(address, "/api/sign-in", None, &device, Duration::from_secs(30));
                    asked.fetch_add(1, Ordering::Relaxed);
                    if matches!(answer, Ok((401 | 403, _))) {
                        checked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (asked.into_inner(), checked.into_inner(), from.elapsed())
}
