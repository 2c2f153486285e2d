//! A lean WebSocket client: just enough of the protocol to put load on a server and to cost little itself.
//!
//! It does not check what a client should (the accept key, UTF-8): that is the business of the tests.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use chinwag_client::Address;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream, lookup_host,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// So many connections leave from one address: its ports must not run out, and a closed connection keeps its own for
/// a minute.
const PER_ADDRESS: u32 = 2_000;
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Opens a connection of the native protocol; `number` spreads many of them over the addresses of the loopback
/// network.
pub(super) async fn open(server: &Address, number: u32) -> io::Result<(Incoming, Outgoing)> {
    let Some(address) = lookup_host((server.host.as_str(), server.port)).await?.next() else {
        return Err(io::Error::other("the server's name has no address"));
    };
    open_at(address, &server.authority(), "/api/ws", number).await
}

/// Opens a connection at an address and a path.
pub(super) async fn open_at(
    address: SocketAddr,
    host: &str,
    path: &str,
    number: u32,
) -> io::Result<(Incoming, Outgoing)> {
    let mut stream = connect(address, number).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2hpbndhZyBiZW5jaC4uLg==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut read, write) = stream.into_split();
    let mut buffer = Vec::new();
    let from = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > 8192 {
            return Err(io::Error::other("the answer to the upgrade does not end"));
        }
        if read.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 101") {
        let line = String::from_utf8_lossy(&buffer).lines().next().unwrap_or_default().to_owned();
        return Err(io::Error::other(format!("the server did not upgrade: {line}")));
    }
    // What came behind the head is the first frames.
    Ok((Incoming { read, buffer, from }, Outgoing { write, buffer: Vec::new() }))
}

async fn connect(address: SocketAddr, number: u32) -> io::Result<TcpStream> {
    if !matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    socket.connect(address).await
}

/// What came.
pub(super) enum Got {
    /// A text frame: its place in [`Incoming::text`].
    Text(std::ops::Range<usize>),
    /// The server wants to hear a pong with this.
    Ping(Vec<u8>),
    /// Nothing of interest.
    Other,
    /// The server closed.
    Closed,
}

/// The reading half.
pub(super) struct Incoming {
    read: OwnedReadHalf,
    buffer: Vec<u8>,
    from: usize,
}

impl Incoming {
    /// The next frame that is in the buffer already.
    pub(super) fn take(&mut self) -> io::Result<Option<Got>> {
        let Some(frame) = parse(&self.buffer[self.from..])? else { return Ok(None) };
        let payload = self.from + frame.payload.start..self.from + frame.payload.end;
        self.from = payload.end;
        Ok(Some(match frame.opcode {
            1 => Got::Text(payload),
            8 => Got::Closed,
            9 => Got::Ping(self.buffer[payload].to_vec()),
            _ => Got::Other,
        }))
    }

    /// The bytes of a text frame, good until more is read.
    pub(super) fn text(&self, place: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[place]
    }

    /// Reads more; `false` at the end.
    pub(super) async fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.from);
        self.from = 0;
        Ok(self.read.read_buf(&mut self.buffer).await? > 0)
    }

    /// Waits for the next text frame; for preparing, where speed does not matter.
    pub(super) async fn next_text(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.take()? {
                Some(Got::Text(place)) => return Ok(self.text(place).to_vec()),
                Some(Got::Closed) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Some(_) => {}
                None => {
                    if !self.more().await? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }
}

struct Frame {
    opcode: u8,
    payload: std::ops::Range<usize>,
}

/// The frame at the beginning, if all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<Frame>> {
    let [first, second, ..] = bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(io::Error::other("the server sent a frame that this load generator does not understand"));
    }
    let (length, start) = match (second, bytes.get(2..4), bytes.get(2..10)) {
        (126, Some(short), _) => (usize::from(u16::from_be_bytes([short[0], short[1]])), 4),
        (127, _, Some(long)) => {
            let long: [u8; 8] = long.try_into().expect("a slice of eight");
            (usize::try_from(u64::from_be_bytes(long)).unwrap_or(usize::MAX), 10)
        }
        (126 | 127, ..) => return Ok(None),
        (short, ..) => (usize::from(*short), 2),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("the server sent a frame that is too large"));
    }
    Ok((bytes.len() >= start + length)
        .then_some(Frame { opcode: first & 0x0f, payload: start..start + length }))
}

/// The writing half; frames are collected and leave together.
pub(super) struct Outgoing {
    write: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Outgoing {
    /// Puts a text frame into the buffer.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.frame(1, text);
    }

    /// Puts an answer to a ping into the buffer.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.frame(10, payload);
    }

    /// Clients must mask; a mask of zeros is one, and costs nothing.
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.buffer.push(0x80 | opcode);
        match u16::try_from(payload.len()) {
            Ok(short) if short < 126 => self.buffer.push(0x80 | short as u8),
            Ok(length) => {
                self.buffer.push(0x80 | 126);
                self.buffer.extend(length.to_be_bytes());
            }
            Err(_) => {
                self.buffer.push(0x80 | 127);
                self.buffer.extend((payload.len() as u64).to_be_bytes());
            }
        }
        self.buffer.extend([0; 4]);
        self.buffer.extend(payload);
    }

    /// Sends what was collected.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.write.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_whole_at_every_length() {
        for length in [0_usize, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..126 => bytes.push(length as u8),
                126..65_536 => {
                    bytes.push(126);
                    bytes.extend((length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            }
            let start = bytes.len();
            bytes.extend(vec![b'x'; length]);
            for cut in [0, 1, start - 1, bytes.len() - 1] {
                if cut < bytes.len() && !(length == 0 && cut >= start) {
                    assert!(parse(&bytes[..cut]).unwrap().is_none(), "{length} cut at {cut}");
                }
            }
            let frame = parse(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload), (1, start..start + length));
        }
        assert!(parse(&[0x81, 0x80]).is_err(), "a masked frame");
        assert!(parse(&[0x01, 0x00]).is_err(), "a fragment");
        assert!(
            parse(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).is_err(),
            "a lie about the length"
        );
    }
}
