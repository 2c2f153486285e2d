//! The task of one WebSocket connection: bytes to frames, frames to requests, the outbox to bytes.
//!
//! One task and no buffer of its own while idle: reading goes through a buffer of the thread, and what waits to be
//! written is shared with the hub. Decides nothing but when to pause, and when to give up on a silent peer.

mod frames;
mod sign_in;

use std::{collections::VecDeque, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use chinwag_protocol::{Closing, Kind, Refused, ServerFrame};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    behind::{Behind, Found, PAGE, Step},
    hub::{Next, Outbox, frame},
    limit::Pace,
    messenger::Messenger,
    sending::{PIECES_MAX, Sending},
    signed_in::{Held, SignedIn},
    ws::{CloseCode, Decoder, Sizes, encode_close},
};

/// How often a client is expected to show that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// A silent peer is given up after this, and a reader that takes nothing too.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Bytes gathered for one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What the kernel may hold for a peer that takes nothing; it takes the double, for its own needs. Left alone it would
/// hold some MiB for each, without anybody noticing.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Why a connection ends.
enum End {
    /// The peer is gone: nothing more can be said.
    Gone,
    /// The peer broke the WebSocket protocol, or closed.
    Close(CloseCode),
    /// The peer is told why, and when to come back.
    Tell(Box<Closing>),
}

impl From<io::Error> for End {
    fn from(_lost: io::Error) -> Self {
        Self::Gone
    }
}

impl From<Refused> for End {
    fn from(reason: Refused) -> Self {
        let retry_after_ms = reason.retry_after_ms.or((reason.kind == Kind::Unavailable).then_some(1_000));
        Self::Tell(Box::new(Closing { reason, retry_after_ms }))
    }
}

impl From<CloseCode> for End {
    fn from(code: CloseCode) -> Self {
        Self::Close(code)
    }
}

/// Runs a connection from after its upgrade to its end.
///
/// `credential` is the token that came with the upgrade request, in a cookie or a header; `leftover` are bytes
/// that came after that request.
pub async fn run(
    stream: TcpStream,
    leftover: Bytes,
    peer: SocketAddr,
    credential: Option<String>,
    messenger: Messenger,
) {
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES) {
        tracing::debug!(%peer, %error, "connection lost at its start");
        return;
    }
    let mut link = Link::new(stream, messenger);
    let end = match link.serve(&leftover, credential).await {
        Ok(()) => End::Gone,
        Err(end) => end,
    };
    if let End::Tell(closing) = &end {
        tracing::debug!(%peer, code = closing.reason.code, "connection closed");
    }
    link.end(end).await;
}

/// A reading of the store that is under way.
type Reading<'s> = Pin<Box<dyn Future<Output = Result<Found, Refused>> + Send + 's>>;

struct Link {
    stream: TcpStream,
    messenger: Messenger,
    decoder: Decoder,
    outbox: Arc<Outbox>,
    sending: Sending<Bytes>,
    strikes: u8,
    pace: Pace,
    heard_at: Instant,
    /// When something was last written, or began to wait.
    wrote_at: Instant,
    paused_until: Option<Instant>,
}

impl Link {
    fn new(stream: TcpStream, messenger: Messenger) -> Self {
        let now = Instant::now();
        Self {
            stream,
            decoder: Decoder::new(Sizes::default()),
            outbox: Arc::default(),
            sending: Sending::default(),
            strikes: 0,
            pace: messenger.limiter().pace(),
            messenger,
            heard_at: now,
            wrote_at: now,
            paused_until: None,
        }
    }

    async fn serve(&mut self, leftover: &[u8], credential: Option<String>) -> Result<(), End> {
        let mut early = VecDeque::new();
        let hello = self.hello(leftover, &mut early).await?;
        let (signed_in, behind, held) = self.sign_in(hello, credential).await?;
        for frame in early {
            self.frame(&signed_in, &frame)?;
        }
        self.talk(&signed_in, behind, held).await
    }

    /// The life of a signed-in connection.
    async fn talk(
        &mut self,
        signed_in: &SignedIn,
        mut behind: Behind,
        mut held: Option<Held>,
    ) -> Result<(), End> {
        let mut reading: Option<Reading<'_>> = None;
        // What was read and is not taken yet, because the client is ahead of its rate.
        let mut texts: VecDeque<String> = VecDeque::new();
        let mut timer = Box::pin(sleep_until(self.heard_at + SILENCE_MAX));
        let outbox = Arc::clone(&self.outbox);
        loop {
            if self.sending.is_empty() {
                match behind.next(&outbox, self.sending.pieces(), PIECES_MAX, WRITE_BYTES_MAX) {
                    Step::Write => self.wrote_at = Instant::now(),
                    Step::Read(wanted) => {
                        reading = Some(Box::pin(
                            signed_in.read(move |reader, actor| wanted.read(reader, actor, PAGE)),
                        ));
                    }
                    Step::Hold => {
                        held = Some(signed_in.hold_cursors().await);
                        behind.held();
                        continue;
                    }
                    Step::Close(closing) => return Err(End::Tell(closing)),
                    Step::Wait => {}
                }
            }
            if !self.sending.is_empty() && self.write()? {
                continue;
            }
            let mut now = Instant::now();
            while self.may_read(now)
                && let Some(text) = texts.pop_front()
            {
                self.frame(signed_in, &text)?;
                now = Instant::now();
            }
            if behind.is_catching_up() {
                // Somebody who takes in so much is there, even if he had no time to say so.
                self.heard_at = now;
            }
            let deadline = self.deadline(now)?;
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            let interest = self.interest(now, texts.is_empty());
            tokio::select! {
                ready = self.stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                    if ready?.is_readable() && self.may_read(now) && texts.is_empty() {
                        let mut read = Vec::new();
                        let outcome = self.read(&mut read);
                        #[cfg(feature = "canaries")]
                        if chinwag_store::canary::is(chinwag_store::canary::Canary::SwapsPipelined) {
                            read.reverse();
                        }
                        texts.extend(read);
                        if let Err(end) = outcome {
                            // What came before a close in the same segment still counts.
                            for text in texts.drain(..) {
                                self.frame(signed_in, &text)?;
                            }
                            return Err(end);
                        }
                    }
                }
                found = done(&mut reading), if reading.is_some() && self.sending.is_empty() => {
                    reading = None;
                    self.wrote_at = Instant::now();
                    if behind.found(found?, &outbox, self.sending.pieces()) {
                        drop(held.take());
                    }
                }
                () = outbox.changed() => {
                    // A reader that takes nothing must not keep its session from being ended.
                    if let Next::Close(closing) = closing_of(&outbox) {
                        return Err(End::Tell(closing));
                    }
                }
                () = &mut timer => {}
            }
        }
    }

    /// When this connection has to be looked at again, or that it has been silent for too long.
    fn deadline(&mut self, now: Instant) -> Result<Instant, End> {
        #[cfg(feature = "canaries")]
        if chinwag_store::canary::is(chinwag_store::canary::Canary::NoHeartbeat) {
            self.heard_at = now;
            self.wrote_at = now;
        }
        let mut deadline = self.heard_at + SILENCE_MAX;
        if let Some(until) = self.paused_until {
            if until <= now {
                self.paused_until = None;
            } else {
                // Who is kept waiting is not silent.
                return Ok(until);
            }
        }
        if !self.outbox.may_ask() {
            self.heard_at = now;
            deadline = now + SILENCE_MAX;
        }
        if !self.sending.is_empty() {
            deadline = deadline.min(self.wrote_at + SILENCE_MAX);
        }
        if deadline <= now { Err(End::Gone) } else { Ok(deadline) }
    }

    fn may_read(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.outbox.may_ask()
    }

    fn interest(&self, now: Instant, all_taken: bool) -> Option<Interest> {
        match (self.may_read(now) && all_taken, !self.sending.is_empty()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        }
    }

    fn send(&mut self, bytes: Bytes) {
        if self.sending.is_empty() {
            self.wrote_at = Instant::now();
        }
        self.sending.push(bytes);
    }

    /// Writes as much as the socket takes; whether that was all.
    fn write(&mut self) -> Result<bool, End> {
        while !self.sending.is_empty() {
            if !self.sending.write_some(&self.stream)? {
                return Ok(false);
            }
            self.wrote_at = Instant::now();
        }
        Ok(true)
    }

    /// Says why, as far as the peer still listens, and closes.
    async fn end(&mut self, end: End) {
        let code = match end {
            End::Gone => return,
            End::Close(code) => code,
            End::Tell(closing) => {
                let code = match closing.reason.kind {
                    Kind::Unavailable => CloseCode::GOING_AWAY,
                    Kind::TooMany => CloseCode::TRY_LATER,
                    _ => CloseCode::POLICY,
                };
                // A frame that is half written has to be finished, or the peer cannot read what follows.
                self.sending.forget_unbegun();
                self.send(frame(&ServerFrame::Closing(*closing)));
                code
            }
        };
        self.send(encode_close(code, ""));
        let said = async {
            while !matches!(self.write(), Ok(true) | Err(_)) {
                if self.stream.writable().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(Duration::from_secs(1), said).await;
        let _ = timeout(Duration::from_secs(1), tokio::io::AsyncWriteExt::shutdown(&mut self.stream)).await;
    }
}

/// Waits for a reading; for ever, if there is none.
async fn done(reading: &mut Option<Reading<'_>>) -> Result<Found, Refused> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

fn closing_of(outbox: &Outbox) -> Next {
    if outbox.is_closing() { outbox.next(&mut VecDeque::new(), 0, 0) } else { Next::Wait }
}
