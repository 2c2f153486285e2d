//! F16 and F20: sockets that take their time, and a line that does.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Findings,
    bystander::{Bystanders, Times},
    gauge,
    peer::{Came, Peer, post_frame, upgrade},
    seconds,
    wire::{ADDRESSES_LIFTED, SETTINGS, Side, Wire},
    within,
};
use crate::chaos::{
    Bed, Verdict,
    http::{Account, PASSWORD, connect, device, post},
    place::Place,
    process::{Checker, LIFTED},
};

/// In which way a socket is slow.
#[derive(Clone, Copy)]
enum Slow {
    /// A head, byte by byte.
    Head,
    /// A body, byte by byte.
    Body,
    /// Reads an answer that is larger than all buffers, byte by byte.
    Read,
    /// Half a handshake: becomes a WebSocket and never says who it is.
    Silent,
}

struct Socket {
    stream: TcpStream,
    way: Slow,
}

impl Socket {
    fn open(address: SocketAddr, way: Slow, large: &str) -> Result<Self> {
        let mut stream = connect(address, Some(4_096))?;
        let start = match way {
            Slow::Head => format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Slow: ").into_bytes(),
            Slow::Body => {
                let kind = "Content-Type: application/json\r\nContent-Length: 100000";
                format!("POST /api/sign-in HTTP/1.1\r\nHost: {address}\r\n{kind}\r\n\r\n{{").into_bytes()
            }
            Slow::Read => format!("GET {large} HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(8).into_bytes(),
            Slow::Silent => upgrade(address),
        };
        stream.write_all(&start)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, way })
    }

    /// One more byte. An error only means that the server has had enough.
    fn dawdle(&mut self) {
        let _ = match self.way {
            Slow::Head | Slow::Body => self.stream.write(b"x"),
            Slow::Read => self.stream.read(&mut [0]),
            Slow::Silent => Ok(0),
        };
    }
}

/// The largest file that the page names.
fn large_file(address: SocketAddr) -> Result<String> {
    let mut stream = connect(address, None)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let script = page.split('"').find(|word| word.ends_with(".js") && word.contains("/assets/"));
    Ok(script.unwrap_or("/").trim_start_matches('.').to_owned())
}

fn sign_ins(address: SocketAddr, handle: &str, count: u32) -> Result<Times> {
    let mut all = Vec::new();
    for _ in 0..count {
        let from = Instant::now();
        post(address, "/api/sign-in", None, &device(handle, PASSWORD))?;
        all.push(from.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    Ok(Times::of(all))
}

/// Opens so many sockets that are slow in these ways, some at a time.
fn open(address: SocketAddr, count: usize, ways: &[Slow], large: &str) -> Result<Vec<Socket>> {
    let some = |from: usize| -> Result<Vec<Socket>> {
        (from..count).step_by(8).map(|at| Socket::open(address, ways[at % ways.len()], large)).collect()
    };
    let parts: Vec<Result<Vec<Socket>>> = thread::scope(|scope| {
        let parts: Vec<_> = (0..8).map(|from| scope.spawn(move || some(from))).collect();
        parts.into_iter().map(|part| part.join().expect("connecting does not panic")).collect()
    });
    parts.into_iter().collect::<Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
}

/// Dawdles until the server has given all up; how long that took.
fn given_up(slow: &mut [Socket], pid: u32, at_rest: usize, most: Duration) -> Option<Duration> {
    let from = Instant::now();
    while from.elapsed() < most {
        slow.iter_mut().for_each(Socket::dawdle);
        let is_gone = || gauge::sockets(pid) <= at_rest + 2;
        if within(Duration::from_secs(1), is_gone).is_some() {
            return Some(from.elapsed());
        }
    }
    None
}

/// F16.
pub(super) fn sockets(bed: &Bed) -> Result<Verdict> {
    const SENDING: usize = 3_750;
    const READING: usize = 1_250;
    const GONE: Duration = Duration::from_secs(15);
    // Their answers fit into what the kernel keeps for a socket, so to the server they are at rest, for a minute.
    const AT_REST_GONE: Duration = Duration::from_secs(65);
    let place = Place::new(bed, "F16")?;
    let server = place.start(&[])?;
    let (address, pid) = (place.address, server.pid());
    let guest = Account::register(address, "guest")?;
    let large = large_file(address)?;
    let mut bystanders = Bystanders::start(address, "by", 2, Duration::from_millis(25))?;
    let before_sign_in = sign_ins(address, &guest.handle, 20)?;
    thread::sleep(Duration::from_secs(2));
    let before = bystanders.lap()?;

    let mut findings = Findings::default();
    let at_rest = gauge::sockets(pid);
    let kinds: [(&str, usize, &[Slow], Duration); 2] = [
        ("sending slowly", SENDING, &[Slow::Head, Slow::Body, Slow::Silent], GONE),
        ("reading slowly", READING, &[Slow::Read], AT_REST_GONE),
    ];
    for (what, count, ways, most) in kinds {
        let opening = Instant::now();
        let mut slow = open(address, count, ways, &large)?;
        let (opened, held) = (opening.elapsed(), gauge::sockets(pid).saturating_sub(at_rest));
        let (gone, signing_in) = thread::scope(|scope| {
            let signing_in = scope.spawn(|| sign_ins(address, &guest.handle, 20));
            let gone = given_up(&mut slow, pid, at_rest, most + Duration::from_secs(5));
            (gone, signing_in.join().expect("signing in does not panic"))
        });
        let left = gauge::sockets(pid).saturating_sub(at_rest);
        let signing_in = signing_in?;
        let last = gone.map_or("never".to_owned(), seconds);
        findings.figure(&format!(
            "{count} {what}: opened in {}, {held} held then, the last gone {last} later, sign-in p50/p99 ms {before_sign_in} before, {signing_in} during; ",
            seconds(opened)
        ));
        findings.check(
            gone.is_some_and(|time| time <= most),
            format!("{left} {what} stay longer than {}", seconds(most)),
        );
        let allowed = Duration::from_millis(200).max(before_sign_in.p50 * 2);
        findings.check(signing_in.p50 <= allowed, "new sign-ins have to wait");
    }
    let during = bystanders.lap()?;
    findings.calm(&before, &during);
    Ok(findings.verdict())
}

/// F20.
pub(super) fn modem(bed: &Bed) -> Result<Verdict> {
    const BITS: u32 = 56_000;
    const TEXT_WITHIN: Duration = Duration::from_secs(3);
    let wire = match Wire::new("F20") {
        Ok(wire) => wire,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}"))),
    };
    let mut place = Place::new(bed, "F20")?;
    let port = place.address.port();
    place.address = ([0, 0, 0, 0], port).into();
    let tool = wire.tool(Side::Server);
    let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
    let _server = place.start_with(&tool, &format!("{SETTINGS}{LIFTED}{ADDRESSES_LIFTED}"))?;
    let (near, far) = (SocketAddr::from(([127, 0, 0, 1], port)), Wire::address(port));
    let (anna, ben, group, mut here) = wire.inside(Side::Server, || {
        let (anna, ben) = (Account::register(near, "anna")?, Account::register(near, "ben")?);
        let group = anna.group(near, "Slow", &[ben.user])?;
        let mut here = Peer::open(near, &anna.token, None, None)?;
        here.until("caught_up", Duration::from_secs(20))?;
        Ok((anna, ben, group, here))
    })?;
    wire.narrow(BITS)?;
    let dialled = Instant::now();
    let mut there = wire.inside(Side::Clients, || Peer::open(far, &ben.token, None, None))?;
    there.until("caught_up", Duration::from_secs(60))?;
    let signed_in = dialled.elapsed();

    // Each way, in turn, as fast as the line lets them.
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut findings = Findings::default();
    for number in 0..10 * u64::from(bed.times) {
        let text = format!("{number} {}", "wag ".repeat(50));
        let text = text.trim_end();
        let from = Instant::now();
        there.stream.write_all(&post_frame(2 * number, group, text))?;
        there.until("done", Duration::from_secs(60))?;
        up.push(from.elapsed());
        let from = Instant::now();
        here.stream.write_all(&post_frame(2 * number + 1, group, text))?;
        while !heard(&mut there, &anna)? {}
        down.push(from.elapsed());
    }
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    findings.figure(&format!(
        "{BITS} bit/s: signed in after {}, text up at most {}, down at most {}; ",
        seconds(signed_in),
        seconds(slowest(&up)),
        seconds(slowest(&down))
    ));
    findings.check(slowest(&up).max(slowest(&down)) < TEXT_WITHIN, "a text takes 3 s or more");
    // Otherwise there is no need to look closer.
    if findings.wrong.is_empty() {
        let tool = wire.tool(Side::Clients);
        let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
        let few = ["--users", "3", "--devices", "1", "--conversations", "3", "--within", "10"];
        let checker = Checker::start_with(bed, &tool, far, bed.seed, 3, &few)?;
        thread::sleep(Duration::from_secs(15));
        findings.found(&checker.heal()?);
    }
    Ok(findings.verdict())
}

/// Whether the next frame is a message of somebody.
fn heard(peer: &mut Peer, from: &Account) -> Result<bool> {
    match peer.next(Duration::from_secs(60)) {
        Came::Frame(frame) => {
            let entry = &frame["entry"];
            Ok(entry["by"] == from.user && entry["event"].get("message").is_some())
        }
        Came::Nothing => anyhow::bail!("a text does not come within a minute"),
        Came::End => anyhow::bail!("the slow line's connection ended"),
    }
}
