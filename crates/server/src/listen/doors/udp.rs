//! Links over UDP: one socket for each address of a door, a link for each peer's address that sends to it.
//!
//! A source address can be forged, so nobody's first datagram may cost more than a row of a bounded table. Whether
//! an address has proved that it receives, and what may be sent to it before, is the door's business.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chinwag_doors::Input;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use super::{
    gate::Gate,
    line::Line,
    pump::{Pump, Pumped},
};

/// Links on which nobody is signed in; beyond, the oldest goes.
const UNSIGNED_MAX: usize = 4_096;

/// A link on which nobody is signed in and nothing is heard is forgotten after this.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// The longest datagram that is read; longer ones are told cut, so that the door can refuse them.
const DATAGRAM_MAX: usize = 64 * 1024;

/// Ports of services that answer anything: talking to them is talking to an echo.
const REFLECTORS: [u16; 6] = [0, 7, 13, 17, 19, 53];

/// The links of one socket.
#[derive(Default)]
struct Peers {
    links: HashMap<SocketAddr, Arc<Peer>>,
    /// In the order in which they came.
    order: VecDeque<SocketAddr>,
}

struct Peer {
    line: Arc<Line>,
    heard_at: Mutex<Instant>,
}

/// Reads datagrams until the door is closed.
pub(super) async fn listen(gate: Arc<Gate>, socket: Arc<UdpSocket>) {
    let peers = Arc::<Mutex<Peers>>::default();
    let mut buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
    loop {
        let received = tokio::select! {
            () = gate.shutdown.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((count, from)) if may_answer(from, &socket) => {
                let line = link(&gate, &socket, &peers, from);
                if line.pause(Instant::now()).is_some() {
                    metrics::counter!("chinwag_datagrams_dropped_total").increment(1);
                    continue;
                }
                gate.hear(&line, &buffer[..count]);
            }
            Ok(_) => metrics::counter!("chinwag_datagrams_dropped_total").increment(1),
            // An earlier datagram of ours came back as unreachable: that peer's own business.
            Err(error) => tracing::debug!(door = gate.name, %error, "a datagram could not be read"),
        }
    }
}

/// Whether an answer to this address can reach a client.
fn may_answer(from: SocketAddr, socket: &UdpSocket) -> bool {
    let ip = from.ip().to_canonical();
    let is_host = !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255]);
    let is_own = socket.local_addr().is_ok_and(|own| own == from);
    is_host && !is_own && from.port() >= 1024 && !REFLECTORS.contains(&from.port())
}

fn link(gate: &Arc<Gate>, socket: &Arc<UdpSocket>, peers: &Arc<Mutex<Peers>>, from: SocketAddr) -> Arc<Line> {
    let mut table = peers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(peer) = table.links.get(&from) {
        *peer.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        return Arc::clone(&peer.line);
    }
    let unsigned = table.links.len();
    if unsigned >= UNSIGNED_MAX
        && let Some(at) =
            table.order.iter().position(|old| table.links.get(old).is_some_and(|p| p.line.seat().is_none()))
        && let Some(oldest) = table.order.remove(at)
        && let Some(peer) = table.links.get(&oldest)
    {
        peer.line.close();
    }
    let line = gate.open(from, None);
    let peer = Arc::new(Peer { line: Arc::clone(&line), heard_at: Mutex::new(Instant::now()) });
    table.links.insert(from, Arc::clone(&peer));
    table.order.push_back(from);
    drop(table);
    let (gate, socket, peers) = (Arc::clone(gate), Arc::clone(socket), Arc::clone(peers));
    gate.tasks.clone().spawn(async move {
        serve(&gate, &socket, &peer).await;
        let mut table = peers.lock().unwrap_or_else(PoisonError::into_inner);
        table.links.remove(&from);
        table.order.retain(|other| *other != from);
        drop(table);
        gate.closed(&peer.line);
    });
    line
}

async fn serve(gate: &Gate, socket: &UdpSocket, peer: &Peer) {
    let line = &peer.line;
    let mut pump = Pump::default();
    let mut must_end = false;
    loop {
        while let Some((ask, result)) = line.next_answer() {
            gate.answer(line.id, ask, result);
        }
        let ended = match pump.run(gate, line).await {
            Pumped::Ended(reason) => Some(reason),
            Pumped::Idle if must_end => Some(crate::messenger::restarting()),
            Pumped::Idle => None,
        };
        if let Some(reason) = &ended {
            gate.tell(line.id, Input::Ended { link: line.id, reason });
        }
        let mut sent = false;
        while let Some(datagram) = line.next() {
            // A datagram that is lost here is as lost as on the way: the door sends again what must arrive.
            let _ = socket.send_to(&datagram, line.peer).await;
            sent = true;
        }
        if ended.is_some() || line.is_over() {
            return;
        }
        if sent {
            gate.tell(line.id, Input::Drained { link: line.id });
            continue;
        }
        let seat = line.seat();
        let heard_at = *peer.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        let forget_at = heard_at + SILENT_FOR;
        if seat.is_none() && forget_at <= Instant::now() {
            return;
        }
        tokio::select! {
            () = gate.ends(seat.is_some()) => must_end = true,
            () = line.stirred.notified() => {}
            () = async { if let Some(seat) = &seat { seat.outbox.changed().await } }, if seat.is_some() => {}
            () = sleep_until(forget_at), if seat.is_none() => {}
        }
    }
}
