//! A TCP connection of a load generator: bytes that came, bytes that leave together.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

const READ_BYTES: usize = 4 * 1024;

/// One connection.
pub(super) struct Stream {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    input: Vec<u8>,
    from: usize,
    pub(super) output: Vec<u8>,
}

impl Stream {
    pub(super) async fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to).await?)
    }

    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self { read, write, input: Vec::new(), from: 0, output: Vec::new() })
    }

    /// What has come and was not taken.
    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.from..]
    }

    /// Takes so many bytes of what has come.
    pub(super) fn took(&mut self, count: usize) {
        self.from += count;
    }

    /// Reads more.
    pub(super) async fn more(&mut self) -> io::Result<()> {
        self.input.drain(..self.from);
        self.from = 0;
        // A wire without frames needs a whole message in one read.
        self.input.reserve(READ_BYTES);
        match self.read.read_buf(&mut self.input).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection")),
            _ => Ok(()),
        }
    }

    /// Sends what was collected.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.write.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Sends this now; for preparing.
    pub(super) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.output.extend_from_slice(text.as_bytes());
        self.flush().await
    }
}
