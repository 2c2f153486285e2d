//! Who is connected, who is in which conversation, and who must hear of what: a pure machine.
//!
//! It is fed with entries in commit order, so a membership is always exactly as of the entry being told: whoever
//! was removed by an entry hears of that entry and of nothing after it. It writes into outboxes and does nothing
//! else: no clock (the time comes in), no store, no socket.

mod cursors;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use chinwag_domain::{
    reading::{CATCH_UP_MAX, Followed, Returning, hide, resume},
    record::{Cursor, Member},
};
use chinwag_protocol::{
    Closing, ConversationId, Entry, Event, LogId, Millis, Position, Presence, PresenceOf, Refused, Seq,
    ServerFrame, ServerSignal, SessionId, UserId,
};
use slab::Slab;

#[cfg(test)]
pub(super) use cursors::HELD_MAX;

use super::{outbox::Outbox, recent::Recent};
use crate::ws::encode_text;

/// Users that one connection may watch.
pub const WATCHED_MAX: usize = 500;

/// Numbers a connection while it is open.
pub type Key = usize;

/// Who is behind a connection, as far as the hub needs it.
#[derive(Clone)]
pub struct Identity {
    /// Who.
    pub user: UserId,
    /// Which session.
    pub session: SessionId,
    /// May see the directory: everybody but guests.
    pub directory: bool,
    /// Looks offline to others.
    pub invisible: bool,
    /// Does not tell how far he has read.
    pub hide_read: bool,
}

/// How a new connection starts.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// From a snapshot that is read now; everything after this call is in the outbox.
    Fresh(Key),
    /// From where it was; what it missed is in the outbox or noted there as missing.
    Resumed(Key),
    /// Its session has ended.
    Ended,
    /// The session, or its user, has as many connections as it may.
    TooMany,
}

struct Connection {
    identity: Identity,
    outbox: Arc<Outbox>,
    away: bool,
    watching: Vec<UserId>,
    /// Cursors that moved while the connection reads from the store where they are; `None`: told as they move.
    held: Option<BTreeMap<(ConversationId, UserId), Cursor>>,
}

#[derive(Clone, Copy)]
struct Membership {
    conversation: ConversationId,
    since: Seq,
    entered: Position,
}

#[derive(Default)]
struct Conversation {
    members: u32,
    /// It has had its last entry.
    closed: bool,
    /// The connections of its members, each with the first entry it may see.
    online: Vec<(Key, Seq)>,
}

#[derive(Default)]
struct User {
    memberships: Vec<Membership>,
    connections: Vec<Key>,
    watchers: Vec<Key>,
    told: Presence,
    seen_at: Option<Millis>,
}

/// The hub.
#[derive(Default)]
pub struct State {
    connections: Slab<Connection>,
    conversations: HashMap<ConversationId, Conversation>,
    users: HashMap<UserId, User>,
    heads: HashMap<LogId, Position>,
    recent: Recent,
    ended: HashSet<SessionId>,
    // In order, so that the same is told in the same order at each run of a simulation.
    presence_changed: BTreeSet<UserId>,
    cursors_moved: BTreeMap<(ConversationId, UserId), Cursor>,
    /// Connections that got entries and do not know it yet.
    stirred: Vec<Key>,
    /// Connections of one session and of one user, if bounded.
    connections_max: Option<(usize, usize)>,
    /// Instead of the usual [`CATCH_UP_MAX`].
    catch_up_max: Option<u64>,
}

impl State {
    /// The hub of a store as it stands, before its first publication.
    pub fn new(members: &[Arc<Member>], heads: Vec<(LogId, Position)>) -> Self {
        let mut state = Self { heads: heads.into_iter().collect(), ..Self::default() };
        for member in members {
            state.enter(member.conversation, member.user, member.since, member.entered);
        }
        state
    }

    /// Knows that these conversations have had their last entry.
    pub fn closed(&mut self, conversations: &[ConversationId]) {
        for id in conversations {
            self.conversations.entry(*id).or_default().closed = true;
        }
    }

    /// Refuses more connections of one session, or of one user, than this.
    pub fn bound_connections(&mut self, per_session: u32, per_user: u32) {
        self.connections_max = Some((per_session as usize, per_user as usize));
    }

    /// Keeps so many entries of each log at hand, and sends no client more than so many that it missed.
    pub fn bound_catching_up(&mut self, recent: usize, missed: u64) {
        self.recent = Recent::bounded(recent);
        self.catch_up_max = Some(missed);
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Users with at least one connection.
    pub fn users_online(&self) -> usize {
        self.users.values().filter(|user| !user.connections.is_empty()).count()
    }

    /// The end of a log.
    pub fn head(&self, log: LogId) -> Position {
        self.heads.get(&log).copied().unwrap_or_default()
    }

    /// Whether a user is a member now.
    pub fn is_member(&self, conversation: ConversationId, user: UserId) -> bool {
        self.membership(conversation, user).is_some()
    }

    fn membership(&self, conversation: ConversationId, user: UserId) -> Option<Membership> {
        self.users.get(&user)?.memberships.iter().find(|m| m.conversation == conversation).copied()
    }

    /// Adds a connection. `resume` is where its client left off. It hears of no cursor before
    /// [`State::release_cursors`], because it is about to read where they are.
    pub fn open(
        &mut self,
        identity: Identity,
        outbox: Arc<Outbox>,
        resume: Option<&[(LogId, Seq)]>,
    ) -> Opened {
        if self.ended.contains(&identity.session) {
            return Opened::Ended;
        }
        let keys = self.users.get(&identity.user).map_or(&[][..], |user| &user.connections);
        let same =
            keys.iter().filter(|key| self.connections[**key].identity.session == identity.session).count();
        if self.connections_max.is_some_and(|(session, user)| keys.len() >= user || same >= session) {
            return Opened::TooMany;
        }
        let plan = resume.and_then(|positions| self.plan_resume(&identity, positions));
        let id = identity.user;
        let (watching, held) = (Vec::new(), Some(BTreeMap::new()));
        let key = self.connections.insert(Connection { identity, outbox, away: false, watching, held });
        let user = self.users.entry(id).or_default();
        user.connections.push(key);
        for membership in &user.memberships {
            let conversation = self.conversations.entry(membership.conversation).or_default();
            conversation.online.push((key, membership.since));
        }
        self.presence_changed.insert(id);
        let Some(plan) = plan else { return Opened::Fresh(key) };
        for (log, after) in plan {
            #[cfg(feature = "canaries")]
            let after = match chinwag_store::canary::is(chinwag_store::canary::Canary::ResumeSkipsOne) {
                true => after.next(),
                false => after,
            };
            self.send_missed(key, log, after);
        }
        Opened::Resumed(key)
    }

    /// The logs that may have grown since the client left, each with the last number it has; `None`: it starts afresh.
    fn plan_resume(&self, identity: &Identity, positions: &[(LogId, Seq)]) -> Option<Vec<(LogId, Seq)>> {
        let most = self.catch_up_max.unwrap_or(CATCH_UP_MAX.into());
        let returning = Returning { user: identity.user, directory: identity.directory, positions, most };
        let memberships = self.users.get(&identity.user).map_or(&[][..], |user| &user.memberships);
        let followed = |membership: &Membership| Followed {
            conversation: membership.conversation,
            entered: membership.entered.seq,
            closed: self.conversations.get(&membership.conversation).is_some_and(|found| found.closed),
        };
        let followed: Vec<Followed> = memberships.iter().map(followed).collect();
        resume(&returning, &followed, |log| self.head(log).seq)
    }

    fn send_missed(&self, key: Key, log: LogId, after: Seq) {
        let Connection { identity, outbox, .. } = &self.connections[key];
        // A member from the first entry on sees every entry as it is; others need the store to look closer.
        let sees_all = match log {
            LogId::Directory | LogId::User(_) => true,
            LogId::Conversation(id) => self.membership(id, identity.user).is_some_and(|m| m.since <= Seq(1)),
        };
        match self.recent.after(log, after).filter(|_| sees_all) {
            Some(frames) => {
                for (seq, frame) in frames {
                    if outbox.entry(log, *seq, frame.clone()) {
                        outbox.wake();
                    }
                }
            }
            None => outbox.missing(log, after.next()),
        }
    }

    /// Removes a connection.
    pub fn close(&mut self, key: Key, at: Millis) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        for watched in &connection.watching {
            if let Some(user) = self.users.get_mut(watched) {
                user.watchers.retain(|other| *other != key);
            }
        }
        let Some(user) = self.users.get_mut(&connection.identity.user) else { return };
        user.connections.retain(|other| *other != key);
        user.seen_at = Some(at);
        for membership in &user.memberships {
            if let Some(conversation) = self.conversations.get_mut(&membership.conversation)
                && let Some(place) = conversation.online.iter().position(|(other, _)| *other == key)
            {
                conversation.online.swap_remove(place);
            }
        }
        self.presence_changed.insert(connection.identity.user);
    }

    /// Wakes the connections that got entries. Not done for each entry, so that what is committed together is
    /// also written together.
    pub fn wake(&mut self) {
        for key in self.stirred.drain(..) {
            if let Some(connection) = self.connections.get(key) {
                connection.outbox.wake();
            }
        }
    }

    /// Puts an entry into the outboxes of everybody concerned; [`State::wake`] lets them know.
    pub fn publish(&mut self, entry: &Entry) {
        let messages = self.head(entry.log).messages + u32::from(matches!(entry.event, Event::Message(_)));
        self.heads.insert(entry.log, Position { seq: entry.seq, messages });
        let frame = encode(entry);
        match entry.log {
            LogId::Conversation(conversation) => self.publish_in(conversation, entry, &frame),
            LogId::User(user) => {
                for key in self.users.get(&user).map_or(&[][..], |user| &user.connections) {
                    if self.connections[*key].outbox.entry(entry.log, entry.seq, frame.clone()) {
                        self.stirred.push(*key);
                    }
                }
                self.follow_user(user, &entry.event);
            }
            LogId::Directory => {
                for (key, connection) in self.connections.iter().filter(|(_, c)| c.identity.directory) {
                    if connection.outbox.entry(entry.log, entry.seq, frame.clone()) {
                        self.stirred.push(key);
                    }
                }
            }
        }
        self.recent.push(entry.log, entry.seq, frame);
    }

    fn publish_in(&mut self, id: ConversationId, entry: &Entry, frame: &Bytes) {
        if let Event::Joined { user, since, .. } = &entry.event {
            self.enter(id, *user, *since, self.head(entry.log));
        }
        let target = entry.event.target();
        let mut hidden = None;
        for (key, since) in self.conversations.get(&id).map_or(&[][..], |conversation| &conversation.online) {
            let bytes = match target {
                Some(target) if target < *since => hidden.get_or_insert_with(|| encode_hidden(entry)),
                _ => frame,
            };
            if self.connections[*key].outbox.entry(entry.log, entry.seq, bytes.clone()) {
                self.stirred.push(*key);
            }
        }
        match &entry.event {
            Event::Left { user } | Event::Removed { user, .. } => self.leave(id, *user),
            Event::Closed {} => self.conversations.entry(id).or_default().closed = true,
            // What is erased in the store must not live on here.
            Event::Deleted { .. } => self.recent.forget(entry.log),
            _ => {}
        }
    }

    fn follow_user(&mut self, user: UserId, event: &Event) {
        match event {
            Event::SessionEnded { session } => self.end_session(user, *session),
            Event::SettingsChanged { settings } => {
                let keys = self.users.get(&user).map(|user| user.connections.clone()).unwrap_or_default();
                for key in keys {
                    let identity = &mut self.connections[key].identity;
                    identity.invisible = settings.invisible;
                    identity.hide_read = settings.hide_read;
                }
                self.presence_changed.insert(user);
            }
            _ => {}
        }
    }

    fn end_session(&mut self, user: UserId, session: SessionId) {
        self.ended.insert(session);
        for key in self.users.get(&user).map_or(&[][..], |user| &user.connections) {
            let connection = &self.connections[*key];
            if connection.identity.session == session {
                let reason = Refused::new(
                    chinwag_protocol::Kind::NotSignedIn,
                    "session_ended",
                    "this session was ended: sign in again",
                );
                connection.outbox.close(Closing { reason, retry_after_ms: None });
            }
        }
    }

    /// Closes every connection, each with its own moment to come back.
    pub fn close_all(&self, reason: &Refused, mut retry_after_ms: impl FnMut() -> u32) {
        for (_, connection) in &self.connections {
            let retry_after_ms = Some(retry_after_ms());
            connection.outbox.close(Closing { reason: reason.clone(), retry_after_ms });
        }
    }

    fn enter(&mut self, id: ConversationId, user: UserId, since: Seq, entered: Position) {
        self.leave(id, user);
        let conversation = self.conversations.entry(id).or_default();
        conversation.members += 1;
        let user = self.users.entry(user).or_default();
        user.memberships.push(Membership { conversation: id, since, entered });
        conversation.online.extend(user.connections.iter().map(|key| (*key, since)));
    }

    fn leave(&mut self, id: ConversationId, user: UserId) {
        let Some(user) = self.users.get_mut(&user) else { return };
        let Some(place) = user.memberships.iter().position(|m| m.conversation == id) else { return };
        user.memberships.swap_remove(place);
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.members -= 1;
            #[cfg(feature = "canaries")]
            if chinwag_store::canary::is(chinwag_store::canary::Canary::MembershipAtSubscribe) {
                return;
            }
            conversation.online.retain(|(key, _)| !user.connections.contains(key));
        }
    }

    /// Tells the other members that somebody is writing.
    pub fn typing(&self, key: Key, id: ConversationId) {
        let Some(user) = self.connections.get(key).map(|connection| connection.identity.user) else { return };
        if !self.is_member(id, user) {
            return;
        }
        let Some(conversation) = self.conversations.get(&id) else { return };
        let frame = frame(&ServerFrame::Signal(ServerSignal::Typing { conversation: id, user }));
        for (other, _) in &conversation.online {
            let connection = &self.connections[*other];
            if connection.identity.user != user {
                connection.outbox.signal(frame.clone());
            }
        }
    }

    /// A connection's user looks, or looks away.
    pub fn look(&mut self, key: Key, presence: Presence) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.away = presence != Presence::Online;
            self.presence_changed.insert(connection.identity.user);
        }
    }

    /// Whether a connection is still this user's: its number may have been given to another.
    pub fn is_of(&self, key: Key, user: UserId) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.identity.user == user)
    }

    /// Replaces whom a connection watches, and tells it how they are. The caller knows that it may watch them.
    pub fn watch(&mut self, key: Key, mut users: Vec<UserId>) {
        users.truncate(WATCHED_MAX);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let former = std::mem::replace(&mut connection.watching, users.clone());
        let outbox = connection.outbox.clone();
        for user in former {
            if let Some(user) = self.users.get_mut(&user) {
                user.watchers.retain(|other| *other != key);
            }
        }
        let mut now = Vec::with_capacity(users.len());
        for id in users {
            let present = self.presence_of(id);
            let user = self.users.entry(id).or_default();
            // What the others were told last: the next tick tells all of them, this one too, what changed since. Told
            // of something newer, it would never hear that a coming was undone before the tick.
            now.push(match present.presence == user.told {
                true => present,
                false => PresenceOf { user: id, presence: user.told, seen_at: None },
            });
            if !user.watchers.contains(&key) {
                user.watchers.push(key);
            }
        }
        if !now.is_empty() {
            outbox.signal(frame(&ServerFrame::Signal(ServerSignal::Presence(now))));
        }
    }

    /// How somebody looks to others.
    pub fn presence_of(&self, id: UserId) -> PresenceOf {
        let Some(user) = self.users.get(&id) else {
            return PresenceOf { user: id, presence: Presence::Offline, seen_at: None };
        };
        let visible =
            || user.connections.iter().map(|key| &self.connections[*key]).filter(|c| !c.identity.invisible);
        let presence = if visible().any(|connection| !connection.away) {
            Presence::Online
        } else if visible().next().is_some() {
            Presence::Away
        } else {
            Presence::Offline
        };
        let seen_at = user.seen_at.filter(|_| presence == Presence::Offline);
        PresenceOf { user: id, presence, seen_at }
    }

    /// Who of a conversation, or of the whole server, is there now.
    pub fn online(&self, conversation: Option<ConversationId>) -> Vec<PresenceOf> {
        let mut users: Vec<UserId> = match conversation {
            None => self
                .users
                .iter()
                .filter(|(_, user)| !user.connections.is_empty())
                .map(|(id, _)| *id)
                .collect(),
            Some(id) => self.conversations.get(&id).map_or_else(Vec::new, |conversation| {
                conversation.online.iter().map(|(key, _)| self.connections[*key].identity.user).collect()
            }),
        };
        users.sort_unstable();
        users.dedup();
        users
            .into_iter()
            .map(|user| self.presence_of(user))
            .filter(|p| p.presence != Presence::Offline)
            .collect()
    }

    /// Whether a session has a connection.
    pub fn is_connected(&self, user: UserId, session: SessionId) -> bool {
        self.users.get(&user).is_some_and(|user| {
            user.connections.iter().any(|key| self.connections[*key].identity.session == session)
        })
    }

    /// Tells what has gathered since the last tick: presence and cursors.
    pub fn tick(&mut self) {
        self.tell_presence();
        self.tell_cursors();
    }

    fn tell_presence(&mut self) {
        let mut told: HashMap<Key, Vec<PresenceOf>> = HashMap::new();
        for id in std::mem::take(&mut self.presence_changed) {
            let now = self.presence_of(id);
            let Some(user) = self.users.get_mut(&id) else { continue };
            if user.told != now.presence {
                user.told = now.presence;
                for key in &user.watchers {
                    told.entry(*key).or_default().push(now);
                }
            }
        }
        for (key, changes) in told {
            if let Some(connection) = self.connections.get(key) {
                connection.outbox.signal(frame(&ServerFrame::Signal(ServerSignal::Presence(changes))));
            }
        }
    }
}

fn encode(entry: &Entry) -> Bytes {
    #[derive(serde::Serialize)]
    struct EntryFrame<'a> {
        entry: &'a Entry,
    }
    frame(&EntryFrame { entry })
}

fn encode_hidden(entry: &Entry) -> Bytes {
    // As a catch-up would: neither who acted nor under which id.
    encode(&hide(entry))
}

/// One text frame of the wire.
pub fn frame(value: &impl serde::Serialize) -> Bytes {
    #[cfg(feature = "canaries")]
    if chinwag_store::canary::is(chinwag_store::canary::Canary::Verbose) {
        let mut text =
            serde_json::to_vec(value).expect("the words of the protocol have no maps with odd keys");
        text.resize(text.len() + 12 * 1024, b' ');
        return encode_text(&text);
    }
    encode_text(&serde_json::to_vec(value).expect("the words of the protocol have no maps with odd keys"))
}
