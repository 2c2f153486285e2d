//! One connection under load, whatever its wire: it sends when a message of its lane may leave, and counts what
//! comes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};

use super::{
    super::lanes::Board, native::Native, pipe_line::PipeLine, socket_io::SocketIo, tag_json::TagJson,
    tcp_json::TcpJson, udp_ack::UdpAck,
};

/// So many messages leave in one write at most.
const BATCH: usize = 64;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Another's message: of which lane, and its number.
    Other(usize, u32),
    /// One's own.
    Own(u32),
    /// An acknowledgement: of this message, or of the only one that is on its way.
    Done(Option<u32>),
    /// A message was not taken.
    Refused,
}

/// How a message of this run is known in any frame, without reading the frame: `~run:lane:number:`.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    mark: Vec<u8>,
    own: usize,
}

impl Marks {
    /// The marks as the sender of a lane looks at them.
    pub(super) fn new(run: &str, own: usize) -> Self {
        Self { mark: format!("~{run}:").into_bytes(), own }
    }

    /// The text of a message, filled up to its size.
    pub(super) fn text(&self, number: u32, size: usize) -> String {
        let name = format!("{}{}:{number}:", String::from_utf8_lossy(&self.mark), self.own);
        let filling = "the quick brown fox jumps over the lazy dog.";
        name.chars().chain(filling.chars().cycle()).take(size.max(name.len())).collect()
    }

    /// Tells of the message in a frame, if there is one.
    pub(super) fn find(&self, frame: &[u8], mut see: impl FnMut(Seen)) {
        let Some(at) = find(frame, &self.mark) else { return };
        let (lane, rest) = number(&frame[at + self.mark.len()..]);
        let (number, _) = number(rest.get(1..).unwrap_or_default());
        see(if lane as usize == self.own { Seen::Own(number) } else { Seen::Other(lane as usize, number) });
    }
}

/// Where something is.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, mut from) = (*wanted.first()?, 0);
    loop {
        from += text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

/// The decimal number at the beginning, and what follows.
pub(super) fn number(text: &[u8]) -> (u32, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = text[..end]
        .iter()
        .fold(0_u32, |value, digit| value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    (value, &text[end..])
}

/// A connection.
pub(super) enum Link {
    Native(Native),
    TcpJson(TcpJson),
    TagJson(TagJson),
    SocketIo(SocketIo),
    PipeLine(PipeLine),
    UdpAck(UdpAck),
}

impl Link {
    /// Whether the wire tells the sender that his message was taken.
    fn acknowledges(&self) -> bool {
        !matches!(self, Self::TagJson(_))
    }

    /// Whether messages come from now on.
    pub(super) fn is_here(&self) -> bool {
        !matches!(self, Self::SocketIo(link) if !link.is_here())
    }

    /// Puts a message into the buffer.
    fn post(&mut self, text: &str, number: u32) {
        match self {
            Self::Native(link) => link.post(text, number),
            Self::TcpJson(link) => link.post(text),
            Self::TagJson(link) => link.post(text, number),
            Self::SocketIo(link) => link.post(text),
            Self::PipeLine(link) => link.post(text),
            Self::UdpAck(link) => link.post(text),
        }
    }

    /// Takes what has come.
    pub(super) fn take(&mut self, marks: &Marks, see: impl FnMut(Seen)) -> io::Result<()> {
        match self {
            Self::Native(link) => link.take(marks, see)?,
            Self::TcpJson(link) => link.take(marks, see),
            Self::TagJson(link) => link.take(marks, see),
            Self::SocketIo(link) => link.take(marks, see)?,
            Self::PipeLine(link) => link.take(marks, see),
            Self::UdpAck(link) => link.take(marks, see),
        }
        Ok(())
    }

    /// Waits for more. May be dropped at any time.
    pub(super) async fn more(&mut self) -> io::Result<()> {
        match self {
            Self::Native(link) => link.more().await,
            Self::TcpJson(link) => link.more().await,
            Self::TagJson(link) => link.more().await,
            Self::SocketIo(link) => link.more().await,
            Self::PipeLine(link) => link.more().await,
            Self::UdpAck(link) => link.more().await,
        }
    }

    /// Keeps the connection alive until it is told otherwise, and nothing of what comes.
    pub(super) async fn stay(&mut self, until: impl Fn(&Self) -> bool) -> io::Result<()> {
        let marks = Marks::new("", 0);
        while !until(self) {
            self.more().await?;
            self.take(&marks, |_seen| {})?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what was collected.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Native(link) => link.flush().await,
            Self::TcpJson(link) => link.flush().await,
            Self::TagJson(link) => link.flush().await,
            Self::SocketIo(link) => link.flush().await,
            Self::PipeLine(link) => link.flush().await,
            Self::UdpAck(link) => link.flush().await,
        }
    }
}

/// One connection's part of a run.
pub(super) struct Driver {
    pub(super) board: Arc<Board>,
    pub(super) marks: Marks,
    pub(super) lane: usize,
    pub(super) size: usize,
    /// Whether messages may leave.
    pub(super) go: watch::Receiver<bool>,
}

impl Driver {
    /// Sends and counts until the run ends.
    pub(super) async fn run(mut self, mut link: Link) -> io::Result<()> {
        let (next, acknowledges) = (AtomicU32::new(0), link.acknowledges());
        loop {
            let may_send = *self.go.borrow_and_update();
            let lane = &self.board.lanes[self.lane];
            tokio::select! {
                changed = self.go.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                more = link.more() => {
                    more?;
                    link.take(&self.marks, |seen| self.count(seen, &next))?;
                }
                // Only waited for here; taken below.
                _ = lane.free.acquire(), if may_send => {}
            }
            if may_send {
                // What was seen made room, mostly; one write for all of it.
                for _ in 0..BATCH {
                    let Ok(permit) = lane.free.try_acquire() else { break };
                    permit.forget();
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let now = Instant::now().saturating_duration_since(self.board.zero);
                    self.board.leaves(self.lane, number, now);
                    link.post(&self.marks.text(number, self.size), number);
                    if !acknowledges {
                        self.board.acknowledged(self.lane, number);
                    }
                }
            }
            link.flush().await?;
        }
    }

    fn count(&self, seen: Seen, next: &AtomicU32) {
        let last = || next.load(Ordering::Relaxed).wrapping_sub(1);
        match seen {
            Seen::Other(lane, number) if lane < self.board.lanes.len() => self.board.delivered(lane, number),
            Seen::Other(..) => {}
            Seen::Own(number) => self.board.acknowledged(self.lane, number),
            Seen::Done(number) => self.board.acknowledged(self.lane, number.unwrap_or_else(last)),
            Seen::Refused => self.board.refused(self.lane, last(), b"refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_in_any_frame() {
        let (mine, other) = (Marks::new("1a", 3), Marks::new("1a", 4));
        let text = mine.text(17, 200);
        assert_eq!(text.len(), 200);
        for frame in [format!(r#"{{"a~1": "~1", "TEXT": "{text}"}}"#), format!("R|~|1|{text}"), text] {
            let mut seen = Vec::new();
            mine.find(frame.as_bytes(), |one| seen.push(one));
            other.find(frame.as_bytes(), |one| seen.push(one));
            assert_eq!(seen, [Seen::Own(17), Seen::Other(3, 17)]);
        }
        mine.find(b"~1b:3:17: another run", |seen| panic!("{seen:?}"));
    }
}
