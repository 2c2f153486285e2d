//! F17, F18 and F19: a way between clients and server that breaks, loses, or takes long.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Findings, gauge,
    peer::{Peer, post_frame},
    seconds,
    wire::{ADDRESSES_LIFTED, SETTINGS, Side, Wire},
    within,
};
use crate::chaos::{
    Bed, Verdict,
    http::{Account, PASSWORD},
    place::Place,
    process::{Checker, LIFTED, Server},
    proxy::{Proxy, Treatment},
};

/// A server at one end of a cable.
struct Far {
    wire: Wire,
    server: Server,
    /// The server for those at its own end, and for those at the other.
    near: SocketAddr,
    far: SocketAddr,
    place: Place,
}

fn far(wire: Wire, mut place: Place) -> Result<Far> {
    let port = place.address.port();
    place.address = ([0, 0, 0, 0], port).into();
    let tool = wire.tool(Side::Server);
    let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
    let server = place.start_with(&tool, &format!("{SETTINGS}{LIFTED}{ADDRESSES_LIFTED}"))?;
    Ok(Far { wire, server, near: ([127, 0, 0, 1], port).into(), far: Wire::address(port), place })
}

impl Far {
    fn checker(&self, bed: &Bed, address: SocketAddr, rate: u32, more: &[&str]) -> Result<Checker> {
        let tool = self.wire.tool(Side::Clients);
        let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
        Checker::start_with(bed, &tool, address, bed.seed, rate, more)
    }
}

/// Our own client for the terminal, at the far end: what it prints, and when.
struct Watcher {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watcher {
    fn start(far: &Far, binary: &Path, home: &Path, handle: &str) -> Result<Self> {
        let run = |arguments: &[&str]| {
            let tool = far.wire.tool(Side::Clients);
            let mut command = Command::new(&tool[0]);
            command.args(&tool[1..]).arg(binary).args(arguments);
            command.env("CHINWAG_SERVER", format!("http://{}", far.far)).env("CHINWAG_PASSWORD", PASSWORD);
            for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
                command.env(variable, home.join(variable));
            }
            command.stdin(Stdio::null());
            command
        };
        let signed_in = run(&["login", handle]).output()?;
        anyhow::ensure!(signed_in.status.success(), "{}", String::from_utf8_lossy(&signed_in.stderr));
        let mut child = run(&["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for pipe in pipes.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send((Instant::now(), line));
                }
            });
        }
        let watcher = Self { child, lines };
        watcher.until("Connected", Duration::from_secs(30)).context("the client does not connect")?;
        Ok(watcher)
    }

    /// When a line with these words came.
    fn until(&self, words: &str, within: Duration) -> Option<Instant> {
        let until = Instant::now() + within;
        loop {
            let (at, line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            if line.contains(words) {
                return Some(at);
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// F17.
pub(super) fn half_open(bed: &Bed) -> Result<Verdict> {
    const DOWN: Duration = Duration::from_secs(60);
    const NOTICED: Duration = Duration::from_secs(45);
    const LOST: u64 = 20;
    let wire = match Wire::new("F17") {
        Ok(wire) => wire,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}"))),
    };
    let far = far(wire, Place::new(bed, "F17")?)?;
    let (ben, group, mut anna) = far.wire.inside(Side::Server, || {
        let (anna, ben) = (Account::register(far.near, "anna")?, Account::register(far.near, "ben")?);
        let group = anna.group(far.near, "Cable", &[ben.user])?;
        let mut peer = Peer::open(far.near, &anna.token, None, None)?;
        peer.until("caught_up", Duration::from_secs(20))?;
        peer.send(&json!({"signal": {"watch": {"users": [ben.user]}}}))?;
        Ok((ben, group, peer))
    })?;
    let at_rest = gauge::sockets(far.server.pid());
    let home = far.place.data.with_extension("home");
    let watcher = Watcher::start(&far, &bed.server, &home, &ben.handle)?;
    let checker = far.checker(bed, far.far, 100, &["--within", "10"])?;
    let presence = |anna: &mut Peer, wanted: &str, most: Duration| {
        let from = Instant::now();
        while from.elapsed() < most {
            // Who waits is there, and says so.
            anna.send(&json!({"ping": {}})).ok()?;
            let Ok(signal) = anna.until("signal", Duration::from_secs(5)) else { continue };
            let told = signal["presence"].as_array().cloned().unwrap_or_default();
            if told.iter().any(|one| one["user"] == ben.user && one["presence"] == *wanted) {
                return Some(from.elapsed());
            }
        }
        None
    };
    let online = presence(&mut anna, "online", Duration::from_secs(20));
    online.context("who is connected is not online")?;
    thread::sleep(Duration::from_secs(3));

    far.wire.pull()?;
    let pulled = Instant::now();
    for number in 0..LOST {
        anna.stream.write_all(&post_frame(number, group, &format!("while you were away {number}")))?;
    }
    let mut findings = Findings::default();
    let ghost = presence(&mut anna, "offline", NOTICED + Duration::from_secs(3)).map(|_| pulled.elapsed());
    let left = NOTICED.saturating_sub(pulled.elapsed());
    let freed = within(left, || gauge::sockets(far.server.pid()) <= at_rest).map(|_| pulled.elapsed());
    let held = gauge::sockets(far.server.pid()).saturating_sub(at_rest);
    let noticed = watcher.until("Not connected", DOWN.saturating_sub(pulled.elapsed()));
    let noticed = noticed.map(|at| at.saturating_duration_since(pulled));
    thread::sleep(DOWN.saturating_sub(pulled.elapsed()));
    far.wire.plug_in()?;
    let plugged = Instant::now();
    let found = checker.heal()?;
    let last = format!("while you were away {}", LOST - 1);
    let heard = watcher.until(&last, Duration::from_secs(45)).map(|at| at.saturating_duration_since(plugged));

    let said = |time: Option<Duration>| time.map_or("never".to_owned(), seconds);
    findings.figure(&format!(
        "cable pulled for {}: offline after {}, sockets freed after {}, our client noticed after {}, heard what it missed {} after; ",
        seconds(DOWN), said(ghost), said(freed), said(noticed), said(heard)
    ));
    findings.check(ghost.is_some_and(|time| time <= NOTICED), "a ghost stays online");
    findings.check(freed.is_some(), format!("{held} sockets of nobody stay open"));
    // The line is written by the next second's tick.
    findings.check(
        noticed.is_some_and(|time| time <= Duration::from_secs(32)),
        "the client does not notice in 30 s",
    );
    findings.check(heard.is_some(), "the client does not hear what it missed");
    findings.found(&found);
    Ok(findings.verdict())
}

/// F18.
pub(super) fn lossy(bed: &Bed) -> Result<Verdict> {
    let wire = match Wire::new("F18") {
        Ok(wire) => wire,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}"))),
    };
    let far = far(wire, Place::new(bed, "F18")?)?;
    let checker = far.checker(bed, far.far, 300, &["--within", "10"])?;
    let port = far.far.port();
    let lose = "numgen random mod 100 < 30 drop\n";
    let reset = format!("tcp dport {port} numgen random mod 1000 < 5 reject with tcp reset\n");
    for _ in 0..bed.times {
        thread::sleep(Duration::from_secs(1));
        far.wire.rules(Side::Server, lose)?;
        far.wire.rules(Side::Clients, lose)?;
        thread::sleep(Duration::from_secs(12));
        far.wire.heal(Side::Server)?;
        thread::sleep(Duration::from_secs(6));
        far.wire.rules(Side::Clients, "drop\n")?;
        thread::sleep(Duration::from_secs(6));
        far.wire.heal(Side::Clients)?;
        far.wire.rules(Side::Server, "drop\n")?;
        thread::sleep(Duration::from_secs(6));
        far.wire.rules(Side::Server, &reset)?;
        thread::sleep(Duration::from_secs(8));
        far.wire.heal(Side::Server)?;
    }
    let healed = Instant::now();
    let found = checker.heal()?;
    let mut findings = Findings::default();
    findings.figure(&format!(
        "{} times 30 % lost both ways 12 s, towards clients 6 s, all lost one way and the other 6 s each, 0.5 % reset 8 s; judged {} after; ",
        bed.times, seconds(healed.elapsed())
    ));
    findings.found(&found);
    Ok(findings.verdict())
}

/// F19.
pub(super) fn uneven(bed: &Bed) -> Result<Verdict> {
    let place = Place::new(bed, "F19")?;
    let _server = place.start(&[])?;
    let treatment = Treatment {
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(400),
        piece_bytes: 700,
        cut_bytes: 0,
    };
    let proxy = Proxy::start(place.address, bed.seed, treatment)?;
    let checker = Checker::start_with(bed, &[], proxy.address, bed.seed, 100, &["--within", "10"])?;
    thread::sleep(Duration::from_secs(20) * bed.times);
    let found = checker.heal()?;
    let mut findings = Findings::default();
    findings.figure(&format!(
        "100 to 500 ms each way, in pieces, {} connections overtaking each other; ",
        proxy.connections()
    ));
    findings.found(&found);
    Ok(findings.verdict())
}
