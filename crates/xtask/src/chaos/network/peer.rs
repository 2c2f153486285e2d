//! The smallest client of the documented protocol that can misbehave: one WebSocket, blocking.
//!
//! It shares no code with the server. What it sends can be cut in the middle, and what it reads can be as little as one
//! byte, which is why it is not the checker's client.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::chaos::http::{PATIENCE, connect};

/// A text frame of a client.
pub(super) fn frame(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or_default()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    // A mask of zeros is a mask.
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

pub(super) fn post_frame(id: u64, conversation: u64, text: &str) -> Vec<u8> {
    let post = json!({"post": {"conversation": conversation, "client_id": format!("c{id}"), "text": text}});
    frame(&json!({"command": {"id": id, "do": post}}))
}

/// Length of the first whole frame in what a server sent, and where its payload begins.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let short = usize::from(*bytes.get(1)? & 0x7f);
    let (start, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, length),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

/// What reading led to.
pub(super) enum Came {
    Frame(Value),
    Nothing,
    End,
}

/// One WebSocket.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    held: Vec<u8>,
    at: usize,
}

impl Peer {
    /// Goes on over a connection that is there.
    pub(super) fn over(stream: TcpStream) -> Self {
        Self { stream, held: Vec::new(), at: 0 }
    }

    /// Connects and says hello; what the server says to that is the first frame.
    pub(super) fn open(
        address: SocketAddr,
        token: &str,
        resume: Option<&Value>,
        receive_bytes: Option<usize>,
    ) -> Result<Self> {
        let mut stream = connect(address, receive_bytes)?;
        stream.write_all(&upgrade(address))?;
        let mut peer = Self::over(stream);
        let head = loop {
            if let Some(end) = peer.held.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if peer.fill(PATIENCE)? == 0 {
                bail!("no upgrade: {}", String::from_utf8_lossy(&peer.held));
            }
        };
        if !peer.held.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade: {}", String::from_utf8_lossy(&peer.held));
        }
        peer.at = head;
        let mut hello = json!({"version": 1, "token": token});
        if let Some(resume) = resume {
            hello["resume"] = resume.clone();
        }
        peer.send(&json!({"hello": hello}))?;
        Ok(peer)
    }

    pub(super) fn send(&mut self, value: &Value) -> io::Result<()> {
        self.stream.write_all(&frame(value))
    }

    fn fill(&mut self, within: Duration) -> io::Result<usize> {
        if self.at > 0 && self.at == self.held.len() {
            self.held.clear();
            self.at = 0;
        }
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.held.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Reads so many bytes at most, and keeps them for later.
    pub(super) fn sip(&mut self, bytes: usize) -> io::Result<usize> {
        let mut piece = vec![0; bytes];
        let count = self.stream.read(&mut piece)?;
        self.held.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// The next frame.
    pub(super) fn next(&mut self, within: Duration) -> Came {
        let until = Instant::now() + within;
        loop {
            if let Some((start, end)) = whole(&self.held[self.at..]) {
                let (first, payload) = (self.held[self.at], self.at + start..self.at + end);
                let value = serde_json::from_slice(&self.held[payload]);
                self.at += end;
                if self.at > 256 * 1024 {
                    self.held.drain(..self.at);
                    self.at = 0;
                }
                match first & 0x0f {
                    1 => return value.map_or(Came::End, Came::Frame),
                    8 => return Came::End,
                    _ => continue,
                }
            }
            match self.fill(until.saturating_duration_since(Instant::now())) {
                Ok(0) => return Came::End,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Came::Nothing;
                }
                Err(_) => return Came::End,
            }
        }
    }

    /// The next frame of this name; others are let go.
    pub(super) fn until(&mut self, name: &str, within: Duration) -> Result<Value> {
        let until = Instant::now() + within;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Came::Frame(mut frame) => {
                    if let Some(found) = frame.get_mut(name) {
                        return Ok(found.take());
                    }
                    if frame.get("closing").is_some() {
                        bail!("no {name}: {frame}");
                    }
                }
                Came::Nothing => bail!("no {name} within {} s", within.as_secs()),
                Came::End => bail!("no {name}: the connection ended"),
            }
        }
    }
}

/// The request that becomes a WebSocket.
pub(super) fn upgrade(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET /api/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Where a client goes on that has just got this welcome.
pub(super) fn origin(welcome: &Value) -> Value {
    let snapshot = &welcome["snapshot"];
    let mut positions = snapshot["positions"].as_array().cloned().unwrap_or_default();
    for view in snapshot["conversations"].as_array().into_iter().flatten() {
        positions.push(json!([format!("c{}", view["id"]), view["head"]["seq"]]));
    }
    json!({"epoch": welcome["epoch"], "positions": positions})
}

/// The number of a log's last entry in there.
pub(super) fn head(origin: &Value, log: &str) -> u64 {
    let positions = origin["positions"].as_array().into_iter().flatten();
    positions
        .filter(|position| position[0] == *log)
        .find_map(|position| position[1].as_u64())
        .unwrap_or_default()
}

/// Where a client goes on that has heard one log up to `at` since.
pub(super) fn later(origin: &Value, log: &str, at: u64) -> Value {
    let mut later = origin.clone();
    for position in later["positions"].as_array_mut().into_iter().flatten() {
        if position[0] == *log {
            position[1] = json!(at);
        }
    }
    later
}
