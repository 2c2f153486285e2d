//! Stands between clients and a server and makes the way long and uneven: for kernels that cannot do it themselves.
//!
//! What TCP promises is kept: each direction of a connection delivers the same bytes in the same order, however late
//! and in however small pieces, and a half that was closed is closed on the other side alone. Only a [`Lie`] breaks
//! more: it loses or swaps whole frames, which a test must notice or else it sees nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{network::peer::whole, process::Random};

/// Pieces that may be under way in one direction; then the sender is kept waiting, as by a full pipe.
const UNDER_WAY: usize = 4_096;

/// What is done to all connections.
#[derive(Clone, Copy, Default)]
pub(super) struct Treatment {
    /// How long a byte is under way, in each direction.
    pub(super) latency: Duration,
    /// Up to so much more, differently for each piece, and before a connection reaches the server.
    pub(super) jitter: Duration,
    /// Writes are cut into pieces of at most so many bytes, where this is not 0.
    pub(super) piece_bytes: usize,
    pub(super) lie: Option<Lie>,
}

/// What no network does to a connection: only to see whether a test notices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Each so many-th entry that the server sends is lost.
    Lose(u64),
    /// Each so many-th entry comes after the next frame.
    Swap(u64),
}

/// A running proxy; all its connections end with it.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    treatment: Treatment,
    seed: u64,
    connections: AtomicU64,
    end: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn keep(&self, stream: &TcpStream) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend(stream.try_clone());
    }
}

impl Proxy {
    pub(super) fn start(target: SocketAddr, seed: u64, treatment: Treatment) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            target,
            treatment,
            seed,
            connections: AtomicU64::new(0),
            end: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let for_thread = shared.clone();
        let thread = thread::spawn(move || {
            while !for_thread.end.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((client, _)) => {
                        let shared = for_thread.clone();
                        thread::spawn(move || connection(client, &shared));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// How many connections there have been.
    pub(super) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

fn connection(client: TcpStream, shared: &Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let mut random = Random(shared.seed.wrapping_add(number.wrapping_mul(0x1234_5677)));
    // Who connected first need not arrive first.
    thread::sleep(up_to(&mut random, shared.treatment.jitter));
    let Ok(server) = TcpStream::connect(shared.target) else {
        drop(client.shutdown(Shutdown::Both));
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_nonblocking(false);
        shared.keep(stream);
    }
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
    let truth = Treatment { lie: None, ..shared.treatment };
    let (there, back) = (random.below(u64::MAX), random.below(u64::MAX));
    let upward = thread::spawn(move || pump(client_in, server, truth, Random(there)));
    pump(server_in, client, shared.treatment, Random(back));
    let _ = upward.join();
}

fn up_to(random: &mut Random, most: Duration) -> Duration {
    Duration::from_micros(random.below(u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
}

/// One direction: reads here, writes in a thread of its own when the time has come.
fn pump(mut from: TcpStream, to: TcpStream, treatment: Treatment, mut random: Random) {
    let (late, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let seed = random.below(u64::MAX);
    let writer = thread::spawn(move || deliver(to, &due, treatment.piece_bytes, Random(seed)));
    let mut liar = treatment.lie.map(Liar::new);
    let mut last = Instant::now();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let bytes = match &mut liar {
            Some(liar) => liar.say(&buffer[..count]),
            None => buffer[..count].to_vec(),
        };
        // Later pieces do not overtake earlier ones: that would be another protocol than TCP.
        last = last.max(Instant::now() + treatment.latency + up_to(&mut random, treatment.jitter));
        if !bytes.is_empty() && send(&late, last, bytes).is_err() {
            break;
        }
    }
    drop(late);
    let _ = writer.join();
}

fn send(late: &SyncSender<(Instant, Vec<u8>)>, at: Instant, bytes: Vec<u8>) -> Result<(), ()> {
    late.send((at, bytes)).map_err(drop)
}

fn deliver(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>, piece_bytes: usize, mut random: Random) {
    for (at, bytes) in due {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let most =
                if piece_bytes == 0 { rest.len() as u64 } else { 1 + random.below(piece_bytes as u64) };
            let count = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
            if to.write_all(&rest[..count]).is_err() {
                // Whoever still reads from the other side is told by its end.
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            rest = &rest[count..];
        }
    }
    // The other half of the connection may go on.
    let _ = to.shutdown(Shutdown::Write);
}

/// Takes what a server sends apart into frames, and passes on not quite the same.
struct Liar {
    lie: Lie,
    held: Vec<u8>,
    /// After the answer to the upgrade.
    frames: bool,
    entries: u64,
    swapped: Option<Vec<u8>>,
}

impl Liar {
    fn new(lie: Lie) -> Self {
        Self { lie, held: Vec::new(), frames: false, entries: 0, swapped: None }
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if !self.frames {
            const UPGRADED: &[u8] = b"HTTP/1.1 101";
            let is_upgrade = self.held.starts_with(UPGRADED);
            if !is_upgrade && UPGRADED.starts_with(&self.held) {
                // Too little to tell.
                return Vec::new();
            }
            let head = self.held.windows(4).position(|window| window == b"\r\n\r\n");
            self.frames = is_upgrade && head.is_some();
            return match head {
                _ if !is_upgrade => std::mem::take(&mut self.held),
                None => Vec::new(),
                Some(head) => {
                    let rest = self.held.split_off(head + 4);
                    let mut said = std::mem::replace(&mut self.held, rest);
                    said.extend(self.pass());
                    said
                }
            };
        }
        self.pass()
    }

    fn pass(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some((start, end)) = whole(&self.held) {
            let frame: Vec<u8> = self.held.drain(..end).collect();
            let is_entry = frame[start..].starts_with(br#"{"entry""#);
            self.entries += u64::from(is_entry);
            match self.lie {
                Lie::Lose(every) if is_entry && self.entries.is_multiple_of(every) => {}
                Lie::Swap(every)
                    if is_entry && self.entries.is_multiple_of(every) && self.swapped.is_none() =>
                {
                    self.swapped = Some(frame);
                }
                _ => {
                    said.extend(frame);
                    said.extend(self.swapped.take().into_iter().flatten());
                }
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_bytes_in_pieces_are_the_same_bytes_and_a_closed_half_leaves_the_other_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            // The other half was closed by the client; this one is still good.
            stream.write_all(&heard).unwrap();
        });
        let treatment = Treatment {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(3),
            piece_bytes: 50,
            lie: None,
        };
        let proxy = Proxy::start(target, 7, treatment).unwrap();
        let mut client = TcpStream::connect(proxy.address).unwrap();
        let said: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
        client.write_all(&said).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        server.join().unwrap();
        assert!(answer == said);
    }

    fn frame(text: &str) -> Vec<u8> {
        let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn a_liar_loses_or_swaps_entries_and_nothing_else() {
        let texts = [r#"{"entry":1}"#, r#"{"entry":2}"#, r#"{"done":3}"#, r#"{"entry":4}"#, r#"{"entry":5}"#];
        let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let mut sent = head.to_vec();
        sent.extend(texts.iter().flat_map(|text| frame(text)));
        let heard = |lie| {
            let mut liar = Liar::new(lie);
            sent.chunks(7).flat_map(|piece| liar.say(piece)).collect::<Vec<u8>>()
        };
        let expected = |order: &[usize]| {
            let mut bytes = head.to_vec();
            bytes.extend(order.iter().flat_map(|at| frame(texts[*at])));
            bytes
        };
        assert_eq!(heard(Lie::Lose(2)), expected(&[0, 2, 3]));
        assert_eq!(heard(Lie::Swap(2)), expected(&[0, 2, 1, 3]));
        assert_eq!(heard(Lie::Swap(9)), expected(&[0, 1, 2, 3, 4]));
    }
}
