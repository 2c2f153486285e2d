//! The task of one WebSocket connection: bytes to frames, frames to requests, the outbox to bytes.
//!
//! One task and no buffer of its own while idle: reading goes through a buffer of the thread, and what waits to be
//! written is shared with the hub. Decides nothing but when to pause, and when to give up on a silent peer.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chinwag_domain::Actor;
use chinwag_protocol::{
    ClientFrame, Closing, Command, Hello, Kind, LogId, PROTOCOL_VERSION, Query, Refused, Resumed, Seq,
    ServerFrame, ServerSignal, Welcome,
};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    http::json,
    hub::{Hub, Key, Missing, Next, Opened, Outbox, frame},
    limit::Pace,
    messenger::{Messenger, actor},
    signed_in::SignedIn,
    ws::{CloseCode, Decoder, Message, Sizes, encode_close, encode_pong},
};

/// How long a connection may take to sign in.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How often a client is expected to show that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// A silent peer is given up after this, and a reader that takes nothing too.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Frames that cannot be understood before the connection ends.
const STRIKES_MAX: u8 = 3;

/// Frames and bytes gathered for one write.
const WRITE_FRAMES_MAX: usize = 64;
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What the kernel may hold for a peer that takes nothing; it takes the double, for its own needs. Left alone it would
/// hold some MiB for each, without anybody noticing.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

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

/// What a client is to be told once it has everything that was in its outbox.
#[derive(Clone, Copy)]
enum Due {
    /// That it is up to date. It began with the snapshot in its welcome.
    CaughtUp,
    /// Its own cursors, and that it is up to date. It goes on from where it was.
    CursorsAndCaughtUp,
    /// Its own cursors: signals were lost.
    Cursors,
}

struct Link {
    stream: TcpStream,
    messenger: Messenger,
    decoder: Decoder,
    outbox: Arc<Outbox>,
    sending: VecDeque<Bytes>,
    /// How much of the first of `sending` is written.
    written: usize,
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
            sending: VecDeque::new(),
            written: 0,
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
        let deadline = Instant::now() + HELLO_WITHIN;
        let hello = match timeout_at(deadline, self.hello(leftover, &mut early)).await {
            Ok(hello) => hello?,
            Err(_elapsed) => {
                return Err(
                    Refused::new(Kind::NotSignedIn, "too_slow", "the first frame must come in time").into()
                );
            }
        };
        let (signed_in, due) = self.sign_in(hello, credential).await?;
        for frame in early {
            self.frame(&signed_in, &frame)?;
        }
        self.talk(&signed_in, due).await
    }

    /// Waits for the first frame; what comes in the same segment after it is left in `early`.
    async fn hello(&mut self, leftover: &[u8], early: &mut VecDeque<String>) -> Result<Hello, End> {
        let mut texts = Vec::new();
        self.take(leftover, &mut texts)?;
        loop {
            let mut texts_now = std::mem::take(&mut texts).into_iter();
            while let Some(text) = texts_now.next() {
                match json::decode::<ClientFrame>(text.as_bytes()) {
                    Ok(ClientFrame::Hello(hello)) => {
                        early.extend(texts_now);
                        return Ok(hello);
                    }
                    Ok(other) => self.strike(question_of(&other), Refused::not_signed_in())?,
                    Err(refused) => self.strike(None, refused)?,
                }
            }
            self.push_outbox().await?;
            self.stream.readable().await?;
            self.read(&mut texts)?;
        }
    }

    async fn sign_in(&mut self, hello: Hello, credential: Option<String>) -> Result<(SignedIn, Due), End> {
        if hello.version != PROTOCOL_VERSION {
            let message = format!("this server speaks version {PROTOCOL_VERSION}");
            return Err(Refused::invalid("hello.version", "unsupported_version", message).into());
        }
        let token = hello.token.or(credential).ok_or_else(Refused::not_signed_in)?;
        let known = self.messenger.session(&token).await?;
        let actor = actor(&known);
        if hello.resume.is_some() {
            self.messenger.limiter().resume(actor.session)?;
        }
        let epoch = self.messenger.epoch();
        let resume = hello.resume.filter(|origin| origin.epoch == epoch).map(|origin| origin.positions);
        #[cfg(feature = "canaries")]
        let resume =
            resume.filter(|_| !chinwag_store::canary::is(chinwag_store::canary::Canary::NeverResumes));
        let hub = self.messenger.hub().clone();
        #[cfg(feature = "canaries")]
        let early = match chinwag_store::canary::is(chinwag_store::canary::Canary::SnapshotThenSubscribe) {
            true => {
                let early = self.messenger.snapshot(&actor).await?;
                // As long as a busy machine would take in between.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(early)
            }
            false => None,
        };
        let opened = hub.open(known.identity.clone(), Arc::clone(&self.outbox), resume).await;
        let heartbeat_ms = u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX);
        match opened {
            Some(Opened::Fresh(key)) => {
                let signed_in = self.seat(actor, key, hub);
                let snapshot = self.messenger.snapshot(&signed_in.actor).await?;
                signed_in.hub.release_cursors(key);
                #[cfg(feature = "canaries")]
                let snapshot = early.unwrap_or(snapshot);
                self.send(frame(&ServerFrame::Welcome(Box::new(Welcome { epoch, heartbeat_ms, snapshot }))));
                Ok((signed_in, Due::CaughtUp))
            }
            Some(Opened::Resumed(key)) => {
                self.send(frame(&ServerFrame::Resumed(Resumed { session: actor.session, heartbeat_ms })));
                Ok((self.seat(actor, key, hub), Due::CursorsAndCaughtUp))
            }
            Some(Opened::TooMany) => {
                Err(Refused::too_many("too_many_connections", "too many connections at once", 30_000).into())
            }
            Some(Opened::Ended) | None => Err(Refused::not_signed_in().into()),
        }
    }

    fn seat(&self, actor: Actor, key: Key, hub: Hub) -> SignedIn {
        SignedIn { actor, key, hub, outbox: Arc::clone(&self.outbox), messenger: self.messenger.clone() }
    }

    /// Everything that was missed has been sent. What another device has read meanwhile is in no log, so it is told
    /// now, when the client knows the entries it is about.
    async fn caught_up(&mut self, signed_in: &SignedIn, due: Due) -> Result<(), End> {
        if let Due::CursorsAndCaughtUp | Due::Cursors = due {
            self.tell_cursors(signed_in).await?;
        }
        if let Due::CaughtUp | Due::CursorsAndCaughtUp = due {
            self.send(frame(&ServerFrame::CaughtUp {}));
        }
        Ok(())
    }

    /// The hub holds cursors back since before the last one was written, so what is read here is none the older.
    async fn tell_cursors(&mut self, signed_in: &SignedIn) -> Result<(), End> {
        // All of them are told now.
        self.outbox.signals_were_lost();
        for moved in self.messenger.cursors(&signed_in.actor).await? {
            self.send(frame(&ServerFrame::Signal(ServerSignal::Cursor(moved))));
        }
        signed_in.hub.release_cursors(signed_in.key);
        Ok(())
    }

    /// The life of a signed-in connection.
    async fn talk(&mut self, signed_in: &SignedIn, due: Due) -> Result<(), End> {
        let mut due = Some(due);
        // What was read and is not taken yet, because the client is ahead of its rate.
        let mut texts: VecDeque<String> = VecDeque::new();
        let mut timer = Box::pin(sleep_until(self.heard_at + SILENCE_MAX));
        let outbox = Arc::clone(&self.outbox);
        loop {
            if self.sending.is_empty() {
                match outbox.next(&mut self.sending, WRITE_FRAMES_MAX, WRITE_BYTES_MAX) {
                    Next::Write => self.wrote_at = Instant::now(),
                    Next::CatchUp(missing) => {
                        self.catch_up(signed_in, missing).await?;
                        continue;
                    }
                    Next::Close(closing) => return Err(End::Tell(closing)),
                    Next::Wait => {
                        if let Some(due) = due.take() {
                            self.caught_up(signed_in, due).await?;
                        } else if outbox.signals_were_lost() {
                            signed_in.hub.hold_cursors(signed_in.key).await;
                            // Cursors that were told before that are written first.
                            due = Some(Due::Cursors);
                            continue;
                        }
                    }
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

    /// Reads what there is, once, and appends the texts that are complete.
    fn read(&mut self, texts: &mut Vec<String>) -> Result<(), End> {
        READ_BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Err(End::Gone),
            Ok(count) => {
                self.heard_at = Instant::now();
                self.take(&buffer[..count], texts)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        })
    }

    fn take(&mut self, mut input: &[u8], texts: &mut Vec<String>) -> Result<(), End> {
        while let Some(message) = self.decoder.feed(&mut input)? {
            match message {
                Message::Text(text) => texts.push(text),
                Message::Binary(_) => return Err(CloseCode::UNSUPPORTED.into()),
                Message::Ping(payload) => {
                    let pause = self.pace.ping();
                    self.slow_down(pause);
                    self.outbox.reply(encode_pong(&payload));
                }
                Message::Pong(_) => {}
                Message::Close(_) => return Err(CloseCode::NORMAL.into()),
            }
        }
        Ok(())
    }

    /// One frame of a signed-in client.
    fn frame(&mut self, signed_in: &SignedIn, text: &str) -> Result<(), End> {
        let pause = self.pace.frame();
        self.slow_down(pause);
        match json::decode::<ClientFrame>(text.as_bytes()) {
            Ok(ClientFrame::Command { id, command }) => self.command(signed_in, id, command),
            Ok(ClientFrame::Query { id, get }) => self.query(signed_in, id, get),
            Ok(ClientFrame::Signal(signal)) => {
                if let Err(refused) = signed_in.signal(signal) {
                    self.strike(None, refused)?;
                }
            }
            Ok(ClientFrame::Ping {}) => self.outbox.reply(frame(&ServerFrame::Pong {})),
            Ok(ClientFrame::Hello(_)) => {
                let message = "this connection is signed in already";
                self.strike(None, Refused::conflict("already_signed_in", message))?;
            }
            Err(refused) => self.strike(None, refused)?,
        }
        Ok(())
    }

    fn command(&mut self, signed_in: &SignedIn, id: u64, command: Command) {
        if let Err(refused) = signed_in.may_ask() {
            self.outbox.reply(frame(&ServerFrame::Refused { id: Some(id), refused }));
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        let pause = signed_in.command(command, move |reply| outbox.answer(answered(id, reply)));
        self.slow_down(pause);
    }

    fn query(&mut self, signed_in: &SignedIn, id: u64, query: Query) {
        if let Err(refused) = signed_in.may_ask() {
            self.outbox.reply(frame(&ServerFrame::Refused { id: Some(id), refused }));
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        signed_in.query(query, move |answer| {
            outbox.answer(match answer {
                Ok(answer) => frame(&ServerFrame::Answer { id, answer }),
                Err(refused) => frame(&ServerFrame::Refused { id: Some(id), refused }),
            });
        });
    }

    /// Answers a frame that makes no sense; the third ends the connection.
    fn strike(&mut self, id: Option<u64>, refused: Refused) -> Result<(), End> {
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            return Err(refused.into());
        }
        self.outbox.reply(frame(&ServerFrame::Refused { id, refused }));
        Ok(())
    }

    /// Takes nothing more for so long.
    fn slow_down(&mut self, pause: Duration) {
        if !pause.is_zero() {
            self.paused_until = self.paused_until.max(Some(Instant::now() + pause));
        }
    }

    fn send(&mut self, bytes: Bytes) {
        if self.sending.is_empty() {
            self.wrote_at = Instant::now();
        }
        self.sending.push_back(bytes);
    }

    /// Writes as much as the socket takes; whether that was all.
    fn write(&mut self) -> Result<bool, End> {
        while let Some(first) = self.sending.front() {
            let mut slices = [IoSlice::new(&[]); WRITE_FRAMES_MAX];
            slices[0] = IoSlice::new(&first[self.written..]);
            let count = self.sending.len().min(WRITE_FRAMES_MAX);
            for (slice, bytes) in slices[1..count].iter_mut().zip(self.sending.iter().skip(1)) {
                *slice = IoSlice::new(bytes);
            }
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    self.wrote_at = Instant::now();
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        // An idle connection keeps no buffer of a past burst.
        self.sending = VecDeque::new();
        Ok(true)
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(first) = self.sending.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.sending.pop_front();
        }
    }

    /// Writes everything in `sending`, unless the session ends or the reader takes nothing.
    async fn push(&mut self) -> Result<(), End> {
        let outbox = Arc::clone(&self.outbox);
        while !self.write()? {
            tokio::select! {
                ready = timeout(SILENCE_MAX, self.stream.writable()) => match ready {
                    Ok(ready) => ready?,
                    Err(_elapsed) => return Err(End::Gone),
                },
                () = outbox.changed() => {}
            }
            if let Next::Close(closing) = closing_of(&outbox) {
                return Err(End::Tell(closing));
            }
        }
        Ok(())
    }

    /// Writes what little waits before the connection is signed in.
    async fn push_outbox(&mut self) -> Result<(), End> {
        while let Next::Write = self.outbox.next(&mut self.sending, WRITE_FRAMES_MAX, WRITE_BYTES_MAX) {
            self.push().await?;
        }
        Ok(())
    }

    /// Sends from the store what the outbox could not hold, or what a resuming client has missed.
    async fn catch_up(&mut self, signed_in: &SignedIn, missing: Missing) -> Result<(), End> {
        let mut rest: Vec<(LogId, Seq)> =
            missing.into_iter().map(|(log, first)| (log, first.prev())).collect();
        while !rest.is_empty() {
            let pages = self.messenger.missed_of(&signed_in.actor, &rest).await?;
            let later = rest.split_off(pages.len());
            rest.clear();
            for (log, entries, more) in pages {
                let Some(last) = entries.last().map(|entry| entry.seq) else { continue };
                for entry in entries {
                    self.send(frame(&ServerFrame::Entry(entry)));
                }
                self.push().await?;
                self.outbox.sent(log, last);
                if more {
                    rest.push((log, last));
                }
            }
            rest.extend(later);
        }
        // Somebody who takes in so much is there, even if he had no time to say so.
        self.heard_at = Instant::now();
        Ok(())
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
                self.sending.truncate(usize::from(self.written > 0));
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

fn closing_of(outbox: &Outbox) -> Next {
    if outbox.is_closing() { outbox.next(&mut VecDeque::new(), 0, 0) } else { Next::Wait }
}

fn answered(id: u64, reply: Result<chinwag_protocol::Reply, Refused>) -> Bytes {
    match reply {
        Ok(reply) => frame(&ServerFrame::Done { id, reply }),
        Err(refused) => frame(&ServerFrame::Refused { id: Some(id), refused }),
    }
}

fn question_of(frame: &ClientFrame) -> Option<u64> {
    match frame {
        ClientFrame::Command { id, .. } | ClientFrame::Query { id, .. } => Some(*id),
        ClientFrame::Hello(_) | ClientFrame::Signal(_) | ClientFrame::Ping {} => None,
    }
}
