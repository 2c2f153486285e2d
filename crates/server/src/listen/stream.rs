//! A TCP stream that shows the HTTP library only heads that [`super::head`] found good.
//!
//! A fault is turned into a request of our own for [`FAULT_PATH`]: so the last answer of a bad connection goes
//! through the same service, with the same headers, as every other. Also the place of the two deadlines that a
//! library cannot know: a head that does not arrive, and a client that never reads its answer.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::head::{Fault, HeadSizes, read_head};

/// Where our own request for the answer to a fault goes. Asking for it without a fault is like any unknown path.
pub const FAULT_PATH: &str = "/.fault";

const FAULT_REQUEST: &[u8] = b"GET /.fault HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The deadlines of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first byte of a head (for the first one: from the connection) to its end.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Without progress while writing.
    pub write: Duration,
}

/// Tells the service what was wrong. Set at most once, before the last request of the connection.
pub type FaultCell = Arc<OnceLock<Fault>>;

#[derive(Clone, Copy)]
enum Phase {
    /// Waiting for, or in the middle of, a head.
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// Another protocol may follow: pass everything on.
    Raw,
    /// Our own request was sent; nothing more is read.
    Faulty,
}

/// See the module.
pub struct GuardedStream {
    inner: TcpStream,
    sizes: HeadSizes,
    deadlines: Deadlines,
    fault: FaultCell,
    phase: Phase,
    /// Read, not yet judged.
    unread: BytesMut,
    /// Judged good, not yet passed on.
    good: Bytes,
    /// For the head. Not armed within a body, where the service has its own deadline.
    reading: Pin<Box<Sleep>>,
    armed: bool,
    first: bool,
    writing: Option<Pin<Box<Sleep>>>,
}

impl GuardedStream {
    /// Guards a fresh connection.
    pub fn new(inner: TcpStream, sizes: HeadSizes, deadlines: Deadlines, fault: FaultCell) -> Self {
        Self {
            inner,
            sizes,
            deadlines,
            fault,
            phase: Phase::Head,
            unread: BytesMut::new(),
            good: Bytes::new(),
            reading: Box::pin(sleep(deadlines.head)),
            armed: true,
            first: true,
            writing: None,
        }
    }

    /// The stream itself and what was read of it but not passed on: for what follows an upgrade.
    pub fn into_parts(self) -> (TcpStream, Bytes) {
        let mut rest = BytesMut::from(self.good);
        rest.extend_from_slice(&self.unread);
        (self.inner, rest.freeze())
    }

    /// Moves what can be passed on from `unread` to `good`.
    fn sort(&mut self) -> Result<(), Fault> {
        while self.good.is_empty() && !self.unread.is_empty() {
            match self.phase {
                Phase::Head => match read_head(&self.unread, &self.sizes)? {
                    None => break,
                    Some(head) => {
                        self.good = self.unread.split_to(head.len).freeze();
                        self.armed = false;
                        self.first = false;
                        self.phase = match head {
                            _ if head.upgrade => Phase::Raw,
                            _ if head.body > 0 => Phase::Body(head.body),
                            _ => Phase::Head,
                        };
                    }
                },
                Phase::Body(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
                    self.good = self.unread.split_to(take).freeze();
                    self.phase = match left - take as u64 {
                        0 => Phase::Head,
                        left => Phase::Body(left),
                    };
                }
                Phase::Raw => self.good = self.unread.split().freeze(),
                Phase::Faulty => self.unread.clear(),
            }
        }
        Ok(())
    }

    /// Answers a fault instead of whatever the client still sends.
    pub fn fail(&mut self, fault: Fault) {
        // The cell is empty: a stream fails once.
        let _ = self.fault.set(fault);
        self.phase = Phase::Faulty;
        self.unread = BytesMut::new();
        self.good = Bytes::from_static(FAULT_REQUEST);
    }

    /// Arms the deadline for the head that is being waited for, and answers whether it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.phase, Phase::Head) {
            return Poll::Pending;
        }
        if !self.armed {
            self.armed = true;
            let wait = if self.unread.is_empty() { self.deadlines.idle } else { self.deadlines.head };
            self.reading.as_mut().reset(Instant::now() + wait);
        }
        self.reading.as_mut().poll(cx)
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Err(fault) = this.sort() {
                this.fail(fault);
            }
            if !this.good.is_empty() {
                let take = this.good.len().min(out.remaining());
                out.put_slice(&this.good[..take]);
                this.good.advance(take);
                return Poll::Ready(Ok(()));
            }
            if matches!(this.phase, Phase::Faulty) {
                // Not the end of the stream: the library would take that for a client that is gone, and not answer.
                // It closes by itself after the answer.
                return Poll::Pending;
            }
            let mut piece = [0; 4096];
            let mut piece = ReadBuf::new(&mut piece);
            let was_idle = this.unread.is_empty();
            match Pin::new(&mut this.inner).poll_read(cx, &mut piece) {
                Poll::Ready(result) => {
                    result?;
                    if piece.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    if was_idle && !this.first {
                        // The clock of a head starts with its first byte.
                        this.armed = false;
                    }
                    this.unread.extend_from_slice(piece.filled());
                }
                Poll::Pending => {
                    ready!(this.poll_deadline(cx));
                    // Nobody waits for an answer between two requests.
                    if this.unread.is_empty() && !this.first {
                        return Poll::Ready(Ok(()));
                    }
                    this.fail(Fault::HeadTimeout);
                }
            }
        }
    }
}

impl GuardedStream {
    /// Lets a write through, or ends it when the client has read nothing for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let wait = self.deadlines.write;
        let deadline = self.writing.get_or_insert_with(|| Box::pin(sleep(wait)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
