//! Programs of other wires, each as small as an old one, written from the documents in `docs/doors` alone; and a
//! person who uses the command line. They keep no state of messages: they say things, note what they are told, and
//! acknowledge it where their wire does. What it all means is for the judge (`judge/door.rs`).
//!
//! A [`Wire`] signs in and gives a [`Line`]. Whatever comes on a line is noted at once by the [`Ear`], before it is
//! acknowledged: threads of the line call it, so that the order of notes is the order in which things came.

mod command_line;
mod ear;
mod person;
mod pipe_line;
mod places;
pub mod run;
mod socket_io;
mod tag_json;
mod tcp_json;
mod udp_ack;

use std::{
    io::{self, ErrorKind},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use ear::Ear;
use places::Place;

/// For an answer on any wire; a server that is killed closes the connection long before.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of every account here: one that all wires can carry.
const PASSWORD: &str = "correct-horse-battery";

/// How a program comes in.
trait Wire: Send {
    /// As the judge knows it.
    fn name(&self) -> &'static str;

    /// Connects and signs in. Everything that is told from then on goes to the ear.
    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>>;

    /// Whether this wire has a way of saying something there.
    fn reaches(&self, place: &Place) -> bool {
        let _ = place;
        true
    }

    /// Whether the wire knows a copy of what is said so for ever.
    fn named(&self, call: u64, place: &Place) -> bool {
        let _ = (call, place);
        false
    }

    /// Whether a program says again, after it was cut off, what it said last.
    fn says_again(&self) -> bool {
        false
    }

    /// Whether a server that was killed has forgotten a program that says nothing: then its user starts it again.
    fn forgets(&self) -> bool {
        false
    }

    /// The line was left with a word.
    fn left(&mut self) {}
}

/// How something that was said was answered.
enum Said {
    /// The wire acknowledged it.
    Done {
        seq: Option<u32>,
    },
    Refused(String),
    /// No answer, and none is to be expected.
    Unknown,
    /// Its answer goes to the ear, or it has none.
    Later,
}

/// A signed-in connection.
trait Line {
    /// Says something; `call` also names it on wires that have names.
    fn say(&mut self, call: u64, place: &Place, text: &str) -> Said;

    /// Takes leave with a word and reads to the end. False if the connection broke before.
    fn leave(self: Box<Self>) -> bool;

    /// A look at what the program itself does; dropping a line is being gone without a word.
    fn is_over(&mut self) -> bool {
        false
    }
}

fn strange(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Where a door is, and who comes to it.
struct Way {
    address: SocketAddr,
    name: String,
}

/// A signed-in stream.
struct Stream {
    /// Of this stream, or of the one on which the server tells.
    reader: Reader,
    stream: TcpStream,
    name: String,
    ear: Arc<Ear>,
}

/// A thread that reads a connection to its end, and the connection.
struct Reader {
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(stream: &TcpStream, read: impl FnOnce(TcpStream) + Send + 'static) -> io::Result<Self> {
        let (own, theirs) = (stream.try_clone()?, stream.try_clone()?);
        let thread = std::thread::Builder::new().spawn(move || read(theirs))?;
        Ok(Self { stream: own, thread: Some(thread) })
    }

    /// Waits until the other end has closed.
    fn wait(mut self) {
        // A server that is stopped for long must not hold this up for ever.
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.stream.shutdown(Shutdown::Both);
            self.join();
        }
    }
}
