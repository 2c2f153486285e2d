//! Links over TCP: a listener for each address of a door, and a task for each link.

use std::{cell::RefCell, io, net::SocketAddr, sync::Arc, time::Duration};

use chinwag_doors::{DialId, Input};
use rustix::net::sockopt;
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

use super::{
    gate::Gate,
    line::Line,
    pump::{Pump, Pumped},
};
use crate::{
    listen::Budget,
    sending::{PIECES_MAX, Sending},
};

/// How long somebody may look at a sign-in form: old clients connect before their user has typed a name.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(10 * 60);

/// A reader that takes nothing for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(40);

/// How long the last words may take.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

/// Accepts links until the door is closed.
pub(super) async fn listen(gate: Arc<Gate>, listener: TcpListener, budget: Budget) {
    loop {
        let accepted = tokio::select! {
            () = gate.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(permit) = budget.open(peer.ip()) else {
                    metrics::counter!("chinwag_connections_refused_total").increment(1);
                    continue;
                };
                let gate = Arc::clone(&gate);
                gate.tasks.clone().spawn(async move {
                    run(gate, stream, peer, None).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(door = gate.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Runs a link to its end.
pub(super) async fn run(gate: Arc<Gate>, stream: TcpStream, peer: SocketAddr, dial: Option<DialId>) {
    if prepare(&stream).is_err() {
        return;
    }
    let line = gate.open(peer, dial);
    let mut link = Link { gate: &gate, line: &line, stream, sending: Sending::default() };
    if let Err(error) = link.serve(dial.is_some()).await {
        tracing::debug!(door = gate.name, %peer, %error, "link ended");
    }
    gate.closed(&line);
}

/// Old clients say nothing for hours, so the system has to notice who is gone.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(20))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

struct Link<'g> {
    gate: &'g Gate,
    line: &'g Arc<Line>,
    stream: TcpStream,
    sending: Sending<Vec<u8>>,
}

impl Link<'_> {
    async fn serve(&mut self, dialled: bool) -> io::Result<()> {
        let (gate, line) = (self.gate, self.line);
        let mut pump = Pump::default();
        // Not since something was said: a byte now and then would keep a link for ever.
        let mut signed_out_at = Instant::now();
        let mut wrote_at = signed_out_at;
        loop {
            while let Some((ask, result)) = line.next_answer() {
                gate.answer(line.id, ask, result);
            }
            if let Pumped::Ended(reason) = pump.run(gate, line).await {
                gate.tell(line.id, Input::Ended { link: line.id, reason: &reason });
                return self.say_goodbye().await;
            }
            let was_writing = !self.sending.is_empty();
            let wrote = self.write()?;
            let now = Instant::now();
            if wrote || !was_writing {
                wrote_at = now;
            }
            if wrote && self.sending.is_empty() {
                gate.tell(line.id, Input::Drained { link: line.id });
                // What the door says to that is written at once.
                continue;
            }
            if line.is_over() {
                return self.say_goodbye().await;
            }
            if dialled || line.seat().is_some() {
                signed_out_at = now;
            }
            let pause = line.pause(now);
            let mut deadline = now + Duration::from_secs(3_600);
            deadline = deadline.min(signed_out_at + SIGN_IN_WITHIN);
            if !self.sending.is_empty() {
                deadline = deadline.min(wrote_at + WRITE_WITHIN);
            }
            if deadline <= now {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Some(Some(until)) = pause {
                deadline = deadline.min(until);
            }
            let interest = match (pause.is_none(), !self.sending.is_empty()) {
                (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
                (true, false) => Some(Interest::READABLE),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let seat = line.seat();
            tokio::select! {
                () = gate.ends(seat.is_some() || dialled) => {
                    let reason = crate::messenger::restarting();
                    gate.tell(line.id, Input::Ended { link: line.id, reason: &reason });
                    return self.say_goodbye().await;
                }
                ready = self.stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                    if ready?.is_readable() && pause.is_none() {
                        self.read()?;
                    }
                }
                () = line.stirred.notified() => {}
                () = async { if let Some(seat) = &seat { seat.outbox.changed().await } }, if seat.is_some() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn read(&self) -> io::Result<()> {
        READ_BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.gate.hear(self.line, &buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Writes as much as the socket takes; whether anything was written.
    fn write(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            while self.sending.len() < PIECES_MAX
                && let Some(piece) = self.line.next()
            {
                self.sending.push(piece);
            }
            if self.sending.is_empty() || !self.sending.write_some(&self.stream)? {
                return Ok(wrote);
            }
            wrote = true;
        }
    }

    /// Sends what the door still wants said, as far as the peer takes it at once, and closes.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        let said = async {
            loop {
                self.write()?;
                if self.sending.is_empty() {
                    return Ok::<(), io::Error>(());
                }
                self.stream.writable().await?;
            }
        };
        tokio::time::timeout(GOODBYE_WITHIN, said).await.unwrap_or(Ok(()))?;
        tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await
    }
}
