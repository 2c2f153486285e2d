//! Doors: translators between a foreign wire and the language of Chinwag.
//!
//! A [`Door`] is a machine without sockets, clock or chance. The listener in the server owns the sockets, tells
//! the door what happened and does what it says; so a whole conversation in a foreign wire can be tested in no
//! time, from a transcript (`tests/transcripts/<door>/*.txt`). No wire is built yet: this crate holds the face
//! that all of them have, and their bench.
//!
//! Invariant: a door never says for whom it asks. It names a link; who is signed in there, the listener knows.

mod door;

pub use door::{AskId, DialId, Door, Given, Input, LinkId, Moment, Output, Question};
