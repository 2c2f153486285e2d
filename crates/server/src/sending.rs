//! What is being written to a socket: pieces in order, written together, the first of them perhaps in part.
//!
//! Neither waits nor decides what to write next.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use tokio::net::TcpStream;

/// Pieces that one system call writes at most.
pub(crate) const PIECES_MAX: usize = 64;

/// See the module.
pub(crate) struct Sending<B> {
    pieces: VecDeque<B>,
    /// How much of the first piece is written.
    written: usize,
}

impl<B> Default for Sending<B> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), written: 0 }
    }
}

impl<B: AsRef<[u8]>> Sending<B> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn push(&mut self, piece: B) {
        self.pieces.push_back(piece);
    }

    /// Where more pieces are put; none may be taken out.
    pub(crate) fn pieces(&mut self) -> &mut VecDeque<B> {
        &mut self.pieces
    }

    /// Forgets everything but a piece that is written in part: without its end nobody can read what follows.
    pub(crate) fn forget_unbegun(&mut self) {
        self.pieces.truncate(usize::from(self.written > 0));
    }

    /// Writes what one system call takes; whether that was anything. There must be something to write.
    pub(crate) fn write_some(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut skip = self.written;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.as_ref()[std::mem::take(&mut skip)..]);
        }
        match stream.try_write_vectored(&slices[..self.pieces.len().min(PIECES_MAX)]) {
            Ok(count) => {
                self.advance(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(first) = self.pieces.front()
            && self.written >= first.as_ref().len()
        {
            self.written -= first.as_ref().len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            // An idle connection keeps no buffer of a past burst.
            self.pieces = VecDeque::new();
        }
    }
}
