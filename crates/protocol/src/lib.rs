//! The language of Chinwag: what a client may ask, what it is answered, and what it is told.
//!
//! Plain data, and nothing that decides: rules are in `chinwag-domain`, bytes on a socket in the server and
//! the client. Every type here is part of the documented wire (`docs/protocol.md`); a snapshot test shows each
//! change of it in review.
//!
//! Invariant: no type of this crate holds a secret that the server would broadcast. Passwords and tokens appear
//! only in what a client sends or in the single answer that hands a token over.

mod call;
mod command;
mod door;
mod event;
mod file;
mod frame;
mod ids;
mod query;
mod refused;
mod signal;
mod view;

pub use call::{CallEnd, CallMedia, CallView};
pub use command::{Command, ConversationChange, Posted, ProfileChange, Reply, ServerChange, Settings};
pub use door::{DoorView, SetDoor};
pub use event::{Entry, Event, JoinedBy, MessageBody};
pub use file::{Attach, Attachment, FileId, NewAvatar, NotAFile, Portrayed};
pub use frame::{
    ClientFrame, Closing, Device, Hello, Origin, PROTOCOL_VERSION, Resumed, ServerFrame, SignedIn, Welcome,
};
pub use ids::{AppPasswordId, ConversationId, InviteId, LogId, Millis, Seq, SessionId, UserId};
pub use query::{
    Anchor, Answer, AppPasswordView, HistoryPage, InviteInfo, MemberView, MessageInfo, Query, SearchHit,
    SearchPage, SessionView,
};
pub use refused::{Kind, Refused};
pub use signal::{ClientSignal, CursorMoved, Presence, PresenceOf, ServerSignal};
pub use view::{
    ConversationKind, ConversationView, History, Item, MessageState, MyMembership, Position, Posting,
    Profile, Reaction, Registration, Role, ServerInfo, Snapshot, UserKind,
};
