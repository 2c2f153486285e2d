//! Where a signed-in connection is: its rooms, whom it knows to be there, and what it was sent that may not have
//! arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_protocol::{ConversationId, Seq, UserId};

use super::{ADMIN, DOOR, GroupName, PINGED_WITHIN, Shared, directory::Directory, group_name, notices, pair};
use crate::{LinkId, Moment, Seat};

/// Messages sent and not acknowledged that are remembered one by one; beyond, those of one conversation are
/// remembered as the last of them.
const SENT_MAX: usize = 1_024;

/// Somebody who is signed in on a connection.
pub(super) struct Place {
    pub(super) link: LinkId,
    pub(super) seat: Seat,
    /// His name as he writes it himself.
    pub(super) name: String,
    /// Nothing for those who came by their name alone.
    pub(super) token: Option<String>,
    pub(super) directory: Directory,
    /// Whom he may see is known, so rooms can be joined.
    pub(super) ready: bool,
    pub(super) joined: BTreeSet<Target>,
    /// Of whom his client was told that they are there, or asked by itself.
    pub(super) online: BTreeSet<UserId>,
    /// Who has appeared while this client could not be told yet.
    pub(super) missed: BTreeSet<UserId>,
    pub(super) appeared: bool,
    pub(super) caught_up: bool,
    pub(super) heard_at: Moment,
    pub(super) posts: u64,
    /// The conversations that were opened by writing here, before their entries arrive.
    pub(super) opened: BTreeMap<UserId, ConversationId>,
    sent: VecDeque<Sent>,
    numbers: u64,
}

/// What a room stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Direct(UserId),
    Conversation(ConversationId),
    /// The server's own notices.
    Notices,
}

struct Sent {
    number: u64,
    conversation: ConversationId,
    seq: Seq,
    at: Moment,
}

impl Place {
    pub(super) fn new(link: LinkId, seat: Seat, name: String, token: Option<String>, now: Moment) -> Self {
        Self {
            link,
            seat,
            name,
            token,
            directory: Directory::default(),
            ready: false,
            joined: BTreeSet::new(),
            online: BTreeSet::new(),
            missed: BTreeSet::new(),
            appeared: false,
            caught_up: false,
            heard_at: now,
            posts: 0,
            opened: BTreeMap::new(),
            sent: VecDeque::new(),
            numbers: 0,
        }
    }

    /// What a room of this name is for this user; nothing for one that is not, or that is not his.
    pub(super) fn room(&self, name: &str, shared: &Shared) -> Option<Target> {
        match group_name(name) {
            Some(GroupName::Handle(handle)) => {
                let room = self.seat.by_handle(handle).filter(|room| room.handle.as_deref() == Some(handle));
                return room.map(|room| Target::Conversation(room.id));
            }
            Some(GroupName::Number(id)) => {
                let room = self.seat.room(id).filter(|room| room.handle.is_none() && room.peer.is_none());
                return room.map(|room| Target::Conversation(room.id));
            }
            None => {}
        }
        let (one, other) = name.split_once('&').filter(|(_, other)| !other.contains('&'))?;
        let peer = if one == self.name { other } else { Some(one).filter(|_| other == self.name)? };
        // "Compare names exactly."
        let found = shared.desk.people.by_handle(peer).filter(|profile| profile.handle == peer);
        let found = found.filter(|profile| profile.id != self.seat.me && self.directory.contains(profile.id));
        // "Room names: exactly the pair in code-point order."
        let is_pair = name == pair(&self.name, peer);
        match found {
            Some(profile) => is_pair.then_some(Target::Direct(profile.id)),
            None => (peer == ADMIN && (is_pair || name == notices(&self.name))).then_some(Target::Notices),
        }
    }

    /// The conversation behind a room, if there is one yet.
    pub(super) fn conversation(&self, place: Target) -> Option<ConversationId> {
        match place {
            Target::Conversation(id) => Some(id),
            Target::Direct(peer) => {
                let opened = self.opened.get(&peer).copied();
                self.seat.direct(peer).map(|room| room.id).or(opened)
            }
            Target::Notices => None,
        }
    }

    /// How the client calls a conversation.
    pub(super) fn room_name(&self, conversation: ConversationId, shared: &Shared) -> String {
        let Some(room) = self.seat.room(conversation) else { return format!("#:{conversation}") };
        match room.peer {
            Some(peer) => pair(&self.name, &shared.desk.people.handle(peer)),
            None => super::group(room),
        }
    }

    /// Notes a message that is about to be sent; answers its number.
    pub(super) fn sending(&mut self, conversation: ConversationId, seq: Seq, now: Moment) -> u64 {
        self.numbers += 1;
        self.sent.push_back(Sent { number: self.numbers, conversation, seq, at: now });
        if self.sent.len() > SENT_MAX {
            self.merge();
        }
        self.numbers
    }

    /// Notes an entry for which nothing is sent: it has arrived when what was sent before it has.
    pub(super) fn passing(&mut self, conversation: ConversationId, seq: Seq, shared: &mut Shared) {
        match self.sent.back().map(|last| (last.number, last.at)) {
            Some((number, at)) => {
                self.sent.push_back(Sent { number, conversation, seq, at });
                if self.sent.len() > SENT_MAX {
                    self.merge();
                }
            }
            None => self.delivered(BTreeMap::from([(conversation, seq)]), shared),
        }
    }

    /// Of each conversation only the last is remembered.
    fn merge(&mut self) {
        let mut seen = BTreeSet::new();
        let mut kept: Vec<Sent> = Vec::new();
        for sent in self.sent.drain(..).rev() {
            if seen.insert(sent.conversation) {
                kept.push(sent);
            }
        }
        self.sent.extend(kept.into_iter().rev());
    }

    /// Everything up to a number has arrived. "Cached messages deleted after emit without knowing whether they
    /// arrived" were lost; here they stay until then.
    pub(super) fn acknowledged(&mut self, number: u64, shared: &mut Shared) {
        self.arrived(|sent| sent.number <= number, shared);
    }

    /// Some time has passed on a living connection.
    pub(super) fn pinged(&mut self, now: Moment, shared: &mut Shared) {
        self.arrived(|sent| sent.at + PINGED_WITHIN <= now, shared);
    }

    fn arrived(&mut self, has: impl Fn(&Sent) -> bool, shared: &mut Shared) {
        let mut cursors = BTreeMap::new();
        while let Some(sent) = self.sent.front().filter(|sent| has(sent)) {
            cursors.insert(sent.conversation, sent.seq);
            self.sent.pop_front();
        }
        self.delivered(cursors, shared);
    }

    fn delivered(&self, cursors: BTreeMap<ConversationId, Seq>, shared: &mut Shared) {
        for (conversation, delivered) in cursors {
            shared.desk.delivered(self.link, conversation, delivered);
        }
    }

    /// Used once: a session outlives its connections and the server's start, so its number alone says too little.
    pub(super) fn client_id(&mut self, shared: &Shared) -> String {
        self.posts += 1;
        let started = shared.desk.settings.started_at;
        format!("{DOOR}-{}-{}-{}-{}", self.seat.session, started.0, self.link.0, self.posts)
    }
}
