//! Stands between clients and a server and makes the way long and uneven: for kernels that cannot do it themselves.
//!
//! What TCP promises is kept: each direction of a connection delivers the same bytes in the same order, however late
//! and in however small pieces, and a half that was closed is closed on the other side alone. It can also cut a
//! connection when so many bytes have gone up.

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

use super::process::Random;

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
    /// A connection is cut when a client has sent so many bytes over it, where this is not 0.
    pub(super) cut_bytes: usize,
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
    let (there, back) = (random.below(u64::MAX), random.below(u64::MAX));
    let (up, down) = (shared.treatment, Treatment { cut_bytes: 0, ..shared.treatment });
    let upward = thread::spawn(move || pump(client_in, server, up, Random(there)));
    pump(server_in, client, down, Random(back));
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
    let mut left = if treatment.cut_bytes == 0 { usize::MAX } else { treatment.cut_bytes };
    let mut last = Instant::now();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let bytes = buffer[..count.min(left)].to_vec();
        left -= bytes.len();
        // Later pieces do not overtake earlier ones: that would be another protocol than TCP.
        last = last.max(Instant::now() + treatment.latency + up_to(&mut random, treatment.jitter));
        if send(&late, last, bytes).is_err() || left == 0 {
            break;
        }
    }
    drop(late);
    let _ = writer.join();
    if left == 0 {
        // In both directions, at once.
        let _ = from.shutdown(Shutdown::Both);
    }
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
            cut_bytes: 0,
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
    #[test]
    fn a_cut_connection_has_brought_so_many_bytes_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut heard = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
            heard
        });
        let treatment = Treatment { cut_bytes: 100_001, ..Treatment::default() };
        let proxy = Proxy::start(target, 7, treatment).unwrap();
        let mut client = TcpStream::connect(proxy.address).unwrap();
        // What is behind the cut may find nobody who takes it.
        let _ = client.write_all(&[7; 150_000]);
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{ended:?}");
        assert_eq!(server.join().unwrap(), vec![7; 100_001]);
    }
}
