//! The one shape of all doors: tell it what happened, ask it what to do, until it has nothing more to say.

use std::{net::SocketAddr, ops::Add, sync::Arc, time::Duration};

use chinwag_protocol::{
    Answer, ClientSignal, Command, Device, Entry, Query, Refused, Reply, ServerSignal, SignedIn,
};
use serde::{Deserialize, Serialize};

/// A translator of one wire format, for all links that speak it on one listener.
///
/// The listener calls [`handle`](Self::handle) once for each thing that happened, then [`poll`](Self::poll)
/// until it answers `None`, and does what it was told in that order.
pub trait Door: Send {
    /// Something happened.
    fn handle(&mut self, input: Input<'_>, now: Moment);
    /// What to do next; `None`: nothing more until the next input.
    fn poll(&mut self) -> Option<Output>;
}

/// A time by the listener's own steady clock, from its start. It never goes back and means nothing elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

/// One line of transport: a TCP or WebSocket connection, or one peer's address on a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// A question of the door's, numbered by the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A link that the door wants to have, numbered by the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialId(pub u32);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// There is a new link.
    Opened {
        /// Its name from now on; never used again for another one.
        link: LinkId,
        /// The other end.
        peer: SocketAddr,
        /// It is the answer to this [`Output::Dial`].
        dial: Option<DialId>,
    },
    /// A link that was asked for did not come about.
    DialFailed {
        /// Which.
        dial: DialId,
    },
    /// Bytes came in: any piece of a stream, a whole datagram, or a whole WebSocket message.
    Bytes {
        /// Where.
        link: LinkId,
        /// What.
        bytes: &'a [u8],
    },
    /// A link is gone, whoever closed it. The last input that names it.
    Closed {
        /// Which.
        link: LinkId,
    },
    /// An earlier question was answered. There is exactly one for each, unless its link closed before.
    Answered {
        /// The question.
        ask: AskId,
        /// What came of it.
        result: Result<Given, Refused>,
    },
    /// Something happened that the user signed in on this link may know; in the order of each log.
    Entry {
        /// For whom.
        link: LinkId,
        /// What.
        entry: &'a Arc<Entry>,
    },
    /// Something passing.
    Signal {
        /// For whom.
        link: LinkId,
        /// What.
        signal: &'a ServerSignal,
    },
    /// The time of the last [`Output::WakeAt`] has come.
    Woken,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send bytes; on a datagram link they are one datagram, on a WebSocket one message.
    Send {
        /// Where.
        link: LinkId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Ask on behalf of whoever is signed in on a link.
    Ask {
        /// The door's number for it; the answer comes as [`Input::Answered`].
        ask: AskId,
        /// On whose behalf.
        link: LinkId,
        /// What.
        question: Box<Question>,
    },
    /// Pass something on for whoever is signed in on a link: a cursor, presence, typing.
    Signal {
        /// For whom.
        link: LinkId,
        /// What.
        signal: ClientSignal,
    },
    /// Open a link to an address. The listener refuses all but the address of a peer.
    Dial {
        /// The door's number for it.
        dial: DialId,
        /// Where to.
        to: SocketAddr,
    },
    /// Call back at this time; replaces the wish before.
    WakeAt(Moment),
    /// Close a link once all that was sent is on its way.
    Close {
        /// Which.
        link: LinkId,
    },
}

/// What a door can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Make an account and sign the link in.
    Register(Device),
    /// Sign the link in.
    SignIn(Device),
    /// Sign the link out; it stays open.
    SignOut {},
    /// Change something.
    Command(Command),
    /// Read something.
    Query(Query),
}

/// What a question was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// The link is signed in: entries follow. The token stays with the listener.
    SignedIn(SignedIn),
    /// The link is signed out.
    SignedOut {},
    /// A command was done.
    Reply(Reply),
    /// A query was answered.
    Answer(Answer),
}
