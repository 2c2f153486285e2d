//! F16 and F25 at the doors of the older systems: half-open, silent and slow connections, noise and floods, all at
//! every door at once, and how long everybody else waits: at the same doors, and on the native protocol.
//!
//! Each wire is spoken as little as that takes; what its documents say in full is not looked at here.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{
    Findings,
    bystander::{Bystanders, Times},
    seconds, within,
};
use crate::chaos::{
    Bed, Verdict,
    http::{PASSWORD, connect},
    place::Place,
    process::address,
};

/// How long an answer to a datagram is waited for before it is sent again, and how often it is.
const RETRY: Duration = Duration::from_millis(500);
const RETRIES: u32 = 10;

/// Less often than an account may say something.
const PACE: Duration = Duration::from_millis(150);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    TcpJson,
    TagJson,
    PipeLine,
    UdpAck,
    SocketIo,
}

const WIRES: [Wire; 5] = [Wire::TcpJson, Wire::TagJson, Wire::PipeLine, Wire::UdpAck, Wire::SocketIo];

impl Wire {
    fn name(self) -> &'static str {
        match self {
            Self::TcpJson => "tcp_json",
            Self::TagJson => "tag_json",
            Self::PipeLine => "pipe_line",
            Self::UdpAck => "udp_ack",
            Self::SocketIo => "socket_io",
        }
    }

    /// A request that is good until somebody asks who says it.
    fn noise(self, number: u64) -> Vec<u8> {
        match self {
            Self::TcpJson => sized(&json!({"action": "time", "send_from": "nobody"})),
            Self::TagJson => tag(&json!({"ACTION": "DATA", "ID": format!("n{number}"), "TYPE": "CONTACT"})),
            Self::PipeLine => format!("MSG|nobody|noone|{number}\n").into_bytes(),
            Self::UdpAck => format!("send_all {number} nobody{}", number % 1_000).into_bytes(),
            Self::SocketIo => get("/get_contacts_list/nobody"),
        }
    }

    /// What makes an account and signs it in, each with what its answer holds. A group is where it will speak.
    fn arrival(self, who: &str) -> Vec<(Vec<u8>, &'static str)> {
        match self {
            Self::TcpJson => {
                let account = |action| json!({"action": action, "username": who, "password": PASSWORD});
                let group =
                    |action| json!({"action": action, "send_from": who, "group_name": format!("{who}s")});
                vec![
                    (sized(&account("register")), "\"register\""),
                    (sized(&account("login")), "\"login\""),
                    (sized(&json!({"action": "load_history", "send_from": who})), "\"load_history\""),
                    (sized(&group("create_group")), "\"create_group\""),
                    (sized(&group("join_group")), "\"group_id\""),
                ]
            }
            Self::TagJson => {
                let account = |action| json!({"ACTION": action, "ID": who, "NAME": who, "KEY": PASSWORD});
                vec![
                    (tag(&account("SIGNUP")), "SUCCESSFUL"),
                    (tag(&account("LOGIN")), "SUCCESSFUL"),
                    (tag(&json!({"ACTION": "DATA", "ID": who, "TYPE": "CONTACT"})), "SUCCESSFUL"),
                ]
            }
            Self::PipeLine => vec![
                (format!("ADD|{who}|{PASSWORD}|{who}@x\n").into_bytes(), "0|SUCCESS"),
                (format!("LOGIN|{who}|{PASSWORD}\n").into_bytes(), "0|OK"),
            ],
            Self::UdpAck => vec![(format!("register {who}").into_bytes(), "registered")],
            Self::SocketIo => Vec::new(),
        }
    }

    /// Something that costs the server a commit or a reading, and what its answer holds. `group` is told by the
    /// answer to `join_group`.
    fn request(self, who: &str, group: &str, number: u64) -> (Vec<u8>, String) {
        match self {
            Self::TcpJson => {
                let group: u64 = group.parse().unwrap_or_default();
                let text = json!({"action": "send_chat", "send_from": who, "send_to": group,
                    "message": format!("text {number} end\n")});
                (sized(&text), format!("text {number} end"))
            }
            Self::TagJson => {
                let id = format!("q{number}q");
                (tag(&json!({"ACTION": "ADD", "TYPE": "CONTACT", "user_id": "chinwag", "ID": id})), id)
            }
            Self::PipeLine => (format!("MSG|{who}|chinwag|text {number}\n").into_bytes(), "0|".to_owned()),
            // Not to all: a conversation that everybody floods is slow for all who speak there.
            Self::UdpAck => (format!("send chinwag text {number} {who}").into_bytes(), "ack_on".to_owned()),
            Self::SocketIo => (get(&format!("/get_contacts_list/{who}")), "currently_online".to_owned()),
        }
    }
}

fn sized(value: &serde_json::Value) -> Vec<u8> {
    let text = value.to_string();
    format!("{:05}{text}", text.len()).into_bytes()
}

fn tag(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}<TAG>").into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A connection to a door, or a socket of datagrams.
enum Line {
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

impl Line {
    fn open(wire: Wire, door: SocketAddr) -> Result<Self> {
        if wire == Wire::UdpAck {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(door)?;
            socket.set_read_timeout(Some(RETRY))?;
            return Ok(Self::Datagrams(socket));
        }
        Ok(Self::Stream(connect(door, None)?))
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::Datagrams(socket) => socket.send(bytes),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(piece),
            Self::Datagrams(socket) => socket.recv(piece),
        }
    }

    fn is_lossy(&self) -> bool {
        matches!(self, Self::Datagrams(_))
    }

    fn write_whole(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.write(bytes)?;
        if sent != bytes.len() {
            bail!("only {sent} bytes were taken");
        }
        Ok(())
    }

    /// Says something and waits until this is answered; all that came until then.
    fn ask(&mut self, bytes: &[u8], answer: &str) -> Result<String> {
        let (mut said, mut piece, mut tries) = (String::new(), vec![0; 64 * 1024], 0);
        self.write_whole(bytes)?;
        while !said.contains(answer) {
            match self.read(&mut piece) {
                Ok(0) => bail!("hung up instead of {answer}: {said}"),
                Ok(count) => said.push_str(&String::from_utf8_lossy(&piece[..count])),
                // A datagram may be lost, and the old clients send it again.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_lossy() && tries < RETRIES => {
                    tries += 1;
                    self.write_whole(bytes)?;
                }
                Err(error) => return Err(error).with_context(|| format!("no {answer}: {said}")),
            }
        }
        Ok(said)
    }
}

/// Somebody signed in at a door.
struct Guest {
    wire: Wire,
    name: String,
    group: String,
    line: Line,
}

impl Guest {
    fn come(wire: Wire, door: SocketAddr, name: String) -> Result<Self> {
        let mut line = Line::open(wire, door)?;
        let mut last = String::new();
        for (request, answer) in wire.arrival(&name) {
            last = line.ask(&request, answer).with_context(|| format!("{} of {name}", wire.name()))?;
        }
        let group = last.split("\"group_id\"").nth(1).unwrap_or_default();
        let group =
            group.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        Ok(Self { wire, name, group, line })
    }
}

/// Those who ask at a steady pace, one at each door: how long each answer took.
struct Regulars {
    times: Vec<(Wire, Arc<Mutex<Vec<Duration>>>)>,
    lost: Arc<Mutex<Vec<String>>>,
    end: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Regulars {
    fn start(doors: &[(Wire, SocketAddr)]) -> Result<Self> {
        let mut all =
            Self { times: Vec::new(), lost: Arc::default(), end: Arc::default(), threads: Vec::new() };
        for (wire, door) in doors {
            let mut guest = Guest::come(*wire, *door, format!("regular-{}", wire.name()))?;
            let (times, end, lost) =
                (Arc::<Mutex<Vec<Duration>>>::default(), all.end.clone(), all.lost.clone());
            all.times.push((*wire, times.clone()));
            all.threads.push(thread::spawn(move || {
                let mut number = 0;
                while !end.load(Ordering::Acquire) {
                    number += 1;
                    let from = Instant::now();
                    let (request, answer) = guest.wire.request(&guest.name, &guest.group, number);
                    if let Err(error) = guest.line.ask(&request, &answer) {
                        let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                        lost.push(format!("{} is lost after {number}: {error:#}", guest.name));
                        return;
                    }
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(from.elapsed());
                    thread::sleep(PACE.saturating_sub(from.elapsed()));
                }
            }));
        }
        Ok(all)
    }

    /// What was measured since the last time.
    fn lap(&self) -> Vec<(Wire, usize, Times)> {
        let take = |times: &Mutex<Vec<Duration>>| {
            let all = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
            (all.len(), Times::of(all))
        };
        let times = self.times.iter().map(|(wire, times)| (*wire, take(times)));
        times.map(|(wire, (count, times))| (wire, count, times)).collect()
    }
}

impl Drop for Regulars {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A connection that says nothing, or half of something.
struct Idler {
    stream: TcpStream,
    /// It has to go within ten seconds. Where nothing shows that a request was begun, somebody may be looking at a
    /// form and has ten minutes.
    must_go: bool,
    /// It goes on, a byte at a time.
    is_slow: bool,
}

impl Idler {
    fn is_gone(&mut self) -> bool {
        loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

fn idlers(doors: &[(Wire, SocketAddr)], each: usize) -> Result<Vec<Idler>> {
    let mut held = Vec::new();
    for (wire, door) in doors.iter().filter(|(wire, _)| *wire != Wire::UdpAck) {
        for number in 0..each {
            let mut stream = connect(*door, None)?;
            let request = wire.noise(0);
            // Every third is silent, every third stops in the middle, every third goes on a byte at a time.
            let is_begun = number % 3 != 0;
            if is_begun {
                stream.write_all(&request[..request.len() / 2])?;
            }
            stream.set_nonblocking(true)?;
            let must_go = *wire == Wire::SocketIo || *wire == Wire::TcpJson && is_begun;
            held.push(Idler { stream, must_go, is_slow: number % 3 == 2 });
        }
    }
    Ok(held)
}

/// Writes as fast as it is taken, reads nothing of what is said to it, and comes again when it is thrown out.
fn flood(
    wire: Wire,
    door: SocketAddr,
    mut line: Option<Line>,
    mut next: impl FnMut(u64) -> Vec<u8>,
    taken: &AtomicU64,
    end: &AtomicBool,
) {
    let (mut number, mut rest) = (0, Vec::new());
    while !end.load(Ordering::Acquire) {
        let Some(open) = line.as_mut() else {
            // Loopback has no limit of connections for an address: this keeps it to what one could do from afar.
            thread::sleep(Duration::from_millis(100));
            line = Line::open(wire, door).ok();
            if let Some(Line::Stream(stream)) = &line {
                let _ = stream.set_nonblocking(true);
            }
            rest.clear();
            continue;
        };
        if rest.is_empty() {
            let many = if wire == Wire::UdpAck { 1 } else { 50 };
            for _ in 0..many {
                number += 1;
                rest.extend(next(number));
            }
        }
        match open.write(&rest) {
            Ok(0) => line = None,
            Ok(count) => {
                rest.drain(..count);
                taken.fetch_add(count as u64, Ordering::Relaxed);
                if wire == Wire::UdpAck {
                    // Loopback takes all; this is about ten thousand in a second.
                    thread::sleep(Duration::from_micros(100));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(_) => line = None,
        }
    }
}

/// Asks at `tcp_json` as fast as it is taken, and counts the answers; for how long.
fn count(door: SocketAddr, answers: &AtomicU64, end: &AtomicBool) -> Result<Duration> {
    let (mut stream, from) = (connect(door, None)?, Instant::now());
    stream.set_nonblocking(true)?;
    let many = Wire::TcpJson.noise(0).repeat(50);
    let (mut written, mut piece) = (0, vec![0; 64 * 1024]);
    while !end.load(Ordering::Acquire) {
        let wrote = stream.write(&many[written..]);
        written = (written + wrote.as_ref().unwrap_or(&0)) % many.len();
        if let Ok(count) = stream.read(&mut piece) {
            if count == 0 {
                bail!("whoever asks too fast is hung up on");
            }
            // Each answer begins with the only brace of its kind.
            let begun = piece[..count].iter().filter(|byte| **byte == b'{').count();
            answers.fetch_add(begun as u64, Ordering::Relaxed);
        } else if wrote.is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(from.elapsed())
}

/// What the frames of a connection may be, and a fifth, and what one read brings before anybody can pause it.
fn granted(time: Duration) -> f64 {
    let (per_s, burst) = (50.0, 200.0);
    let one_read = 16.0 * 1024.0 / Wire::TcpJson.noise(0).len() as f64;
    (burst + per_s * time.as_secs_f64()) * 1.2 + one_read
}

/// The row.
pub(super) fn all(bed: &Bed) -> Result<Verdict> {
    const IDLERS: usize = 150;
    const NOISY: u64 = 4;
    const GONE: Duration = Duration::from_secs(20);
    let time = Duration::from_secs(8) * bed.times.min(6);
    let mut place = Place::new(bed, "F25D")?;
    let doors: Vec<(Wire, SocketAddr)> =
        WIRES.iter().map(|wire| (*wire, address(&mut place.random))).collect();
    let mut settings = String::new();
    for (wire, door) in &doors {
        write!(settings, "[doors.{}]\nlisten = \"{door}\"\nopen = true\nregister = true\n", wire.name())?;
    }
    let _server = place.start_with(&[], &settings)?;
    let mut bystanders = Bystanders::start(place.address, "by", 3, Duration::from_millis(130))?;
    let regulars = Regulars::start(&doors)?;
    thread::sleep(Duration::from_secs(5));
    let (before, before_at) = (bystanders.lap()?, regulars.lap());

    let mut findings = Findings::default();
    let opened = Instant::now();
    let mut held = idlers(&doors, IDLERS)?;
    let mut loud = Vec::new();
    for (wire, door) in &doors {
        let guest = Guest::come(*wire, *door, format!("loud-{}", wire.name()))?;
        if let Line::Stream(stream) = &guest.line {
            stream.set_nonblocking(true)?;
        }
        loud.push((*door, guest));
    }
    let (end, taken, answers) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut took = Duration::ZERO;
    bystanders.forget();
    regulars.lap();
    thread::scope(|scope| {
        for (door, Guest { wire, name, group, line }) in loud {
            let (end, taken) = (&end, &taken);
            let next = move |number| wire.request(&name, &group, number).0;
            scope.spawn(move || flood(wire, door, Some(line), next, taken, end));
        }
        for (wire, door) in &doors {
            for _ in 0..NOISY {
                let (end, taken) = (&end, &taken);
                scope.spawn(move || flood(*wire, *door, None, |number| wire.noise(number), taken, end));
            }
        }
        let counting = scope.spawn(|| count(doors[0].1, &answers, &end));
        let until = Instant::now() + time;
        while Instant::now() < until {
            for idler in held.iter_mut().filter(|idler| idler.is_slow) {
                let _ = idler.stream.write(b" ");
            }
            thread::sleep(Duration::from_millis(200));
        }
        end.store(true, Ordering::Release);
        took = counting.join().expect("counting does not panic")?;
        anyhow::Ok(())
    })?;
    let (during, during_at) = (bystanders.lap()?, regulars.lap());
    findings.figure(&format!("{} idle connections, {} MiB taken; ", held.len(), taken.into_inner() >> 20));
    findings.calm(&before, &during);
    for ((wire, _, was), (_, count, is)) in before_at.iter().zip(&during_at) {
        findings.figure(&format!("{} p50/p99 ms {was} before, {is} during ({count}); ", wire.name()));
        findings.check(!is.worse(*was), format!("others at {} have to wait", wire.name()));
    }
    for lost in regulars.lost.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        findings.check(false, lost);
    }
    let asked = answers.into_inner();
    findings.figure(&format!("{asked} answers to one connection in {}; ", seconds(took)));
    findings.check(asked as f64 <= granted(took), "a connection is answered more than is granted");
    let mut left = || {
        held.iter_mut()
            .filter(|idler| idler.must_go)
            .filter_map(|idler| (!idler.is_gone()).then_some(()))
            .count()
    };
    let gone = within(GONE.saturating_sub(opened.elapsed()), || left() == 0);
    findings
        .figure(&format!("idle ones gone {}", gone.map_or("never".into(), |_| seconds(opened.elapsed()))));
    findings.check(gone.is_some(), format!("{} connections stay in the middle of a request", left()));
    Ok(findings.verdict())
}
