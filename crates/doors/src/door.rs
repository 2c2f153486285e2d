//! The one shape of all doors: tell it what happened, ask it what to do, until it has nothing more to say.

use std::{net::SocketAddr, ops::Add, time::Duration};

use chinwag_protocol::{
    Answer, Attachment, ClientSignal, Command, ConversationId, Device, Entry, FileId, Portrayed, Profile,
    ProfileChange, Query, Refused, Reply, Seq, ServerSignal, SignedIn, Snapshot,
};
use serde::{Deserialize, Serialize};

/// A translator of one wire format, for all links that speak it at one door of the server.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A question of the door's, numbered by the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A link that the door wants to have, numbered by the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Bytes came in: any piece of a stream, a whole datagram, or a whole message of a transport that has such.
    Bytes {
        /// Where.
        link: LinkId,
        /// What.
        bytes: &'a [u8],
    },
    /// All that the door sent on a link has left for the other end. Told once after each burst.
    Drained {
        /// Where.
        link: LinkId,
    },
    /// The listener is about to close a link: its session was ended, or the server stops. What the door says to
    /// this is still sent; [`Input::Closed`] follows.
    Ended {
        /// Which.
        link: LinkId,
        /// Why.
        reason: &'a Refused,
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
    /// Who somebody is, or is now. Told before anything that names them by number: an entry, a snapshot, an
    /// answer, a signal.
    Profile {
        /// Who.
        profile: &'a Profile,
    },
    /// Something happened that the user signed in on this link may know; in the order of each log, each once.
    ///
    /// After a sign-in these are first, of each conversation, the entries after what was delivered to him
    /// before; then, after [`Input::CaughtUp`], what happens from now on.
    Entry {
        /// For whom.
        link: LinkId,
        /// What.
        entry: &'a Entry,
    },
    /// What waited for the user who signed in has been told.
    CaughtUp {
        /// For whom.
        link: LinkId,
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
    /// Send bytes; on a datagram link they are one datagram, on a transport of messages one message.
    Send {
        /// Where.
        link: LinkId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Ask on behalf of whoever is signed in on a link.
    Ask {
        /// The door's number for it, used once; the answer comes as [`Input::Answered`].
        ask: AskId,
        /// On whose behalf.
        link: LinkId,
        /// What.
        question: Box<Question>,
    },
    /// Pass something on for whoever is signed in on a link: a cursor, presence, typing, whom to watch.
    Signal {
        /// For whom.
        link: LinkId,
        /// What.
        signal: ClientSignal,
    },
    /// Tell no entries and signals on a link, or go on telling them. The listener, and behind it the log, keeps
    /// what waits: a door never has to.
    Hold {
        /// Which.
        link: LinkId,
        /// Whether to hold.
        hold: bool,
    },
    /// Read nothing more on a link, or go on reading: so that the door has to keep no more than it has when requests
    /// come faster than they are done. What was read already may still come; on a stream what the other end sends
    /// meanwhile waits in its own socket, on Socket.IO in the engine up to a bound, and datagrams are lost.
    Pause {
        /// Which.
        link: LinkId,
        /// Whether to pause.
        pause: bool,
    },
    /// What was asked on a link was refused, because it named somebody else than who is signed in there. The listener
    /// notes it for whoever watches over the server.
    ForeignName {
        /// Which.
        link: LinkId,
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
    /// Make an account. Nobody is signed in by it.
    Register {
        /// The name, and with which password.
        device: Device,
        /// What else is known of its owner.
        profile: ProfileChange,
    },
    /// Sign the link in, for as long as it lives.
    SignIn(Device),
    /// Sign the link in as a guest of this handle, who is known by the address of the link's peer.
    Guest {
        /// The name.
        handle: String,
    },
    /// Start a session that outlives the link, for whoever knows the password. The link is not signed in.
    Token(Device),
    /// Sign the link in with the token of such a session.
    Enter {
        /// The token.
        token: String,
    },
    /// Sign the link out; it stays open. A session from [`Question::SignIn`] or [`Question::Guest`] ends, one
    /// from [`Question::Token`] too.
    SignOut {},
    /// Change something.
    Command(Command),
    /// Read something.
    Query(Query),
    /// Take a file in, for a message that names it.
    Upload {
        /// What it is called.
        name: String,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// Give out a file of a message.
    Fetch {
        /// Where.
        conversation: ConversationId,
        /// Which message.
        message: Seq,
        /// Which of its files, from 0.
        index: u16,
        /// A longer one is refused (`too_large`).
        bytes_max: u64,
    },
    /// Give out the picture of a user or a conversation.
    Avatar {
        /// Whose.
        of: Portrayed,
        /// Which, as the profile or the conversation says.
        file: FileId,
        /// A longer one is refused (`too_large`).
        bytes_max: u64,
    },
    /// What the built-in bot says to `/time`, without saying it in a conversation.
    Time {},
    /// What the built-in bot says to `/poem`.
    Poem {
        /// Which, from 1.
        number: u32,
    },
}

/// What a question was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// It was done, and there is nothing to tell.
    Done {},
    /// The link is signed in: entries follow. The state as of now, in which `positions` are where the user's own
    /// log and the directory go on; conversations go on after what was delivered before.
    SignedIn(Box<Snapshot>),
    /// A session was started; this names it.
    Token(SignedIn),
    /// A command was done.
    Reply(Reply),
    /// A query was answered.
    Answer(Answer),
    /// What the bot says.
    Text(String),
    /// A file was taken in.
    Uploaded(Attachment),
    /// What a file holds.
    File(Vec<u8>),
}
