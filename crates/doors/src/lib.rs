//! Doors: translators between a foreign wire and the language of Chinwag.
//!
//! A [`Door`] is a machine without sockets, clock or chance. The listener in the server owns the sockets, tells
//! the door what happened and does what it says; so a whole conversation in a foreign wire can be tested in no
//! time, from a transcript (`tests/transcripts/<door>/*.txt`). What all doors need to know of the server stands
//! once: who people are ([`People`]), what one signed-in link may see ([`Seat`]), how an entry reads on a
//! wire that has no word for it ([`words`]), and, at the desk of each door, which questions are open and whom to wake when.
//!
//! Invariant: a door never says for whom it asks. It names a link; who is signed in there, the listener knows.

mod desk;
mod door;
mod people;
mod pipe_line;
mod seat;
mod settings;
mod socket_io;
mod tag_json;
mod tcp_json;
mod timers;
mod udp_ack;
pub mod words;

pub use door::{AskId, DialId, Door, Given, Input, LinkId, Moment, Output, Question};
pub use people::People;
pub use pipe_line::PipeLine;
pub use seat::{Room, Seat};
pub use settings::{Mode, Network, Settings};
pub use socket_io::SocketIo;
pub use tag_json::TagJson;
pub use tcp_json::TcpJson;
pub use udp_ack::UdpAck;
