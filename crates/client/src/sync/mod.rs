//! What a client knows: a snapshot, and every entry and signal since, folded in.
//!
//! Pure: no clock, no socket, no file. The same cases (`fixtures/sync`) are run here and by the web app, and a
//! property test holds this fold against the server's own rules: *state + events = fresh state*.
//!
//! Invariant: an entry is applied once and in the order of its log. One that was applied before is ignored, one
//! that comes too early is not applied but answered with [`Applied::Gap`]: the caller asks for what is between.

mod conversation;
mod document;
mod fold;

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{
    ConversationId, ConversationView, CursorMoved, Entry, Event, HistoryPage, LogId, Millis, PresenceOf,
    Profile, Seq, ServerSignal, SessionId, Settings, Snapshot, UserId,
};

pub use conversation::{Conversation, ITEMS_MAX};
pub use fold::fold;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is in the state now.
    Applied,
    /// It was there already, or it is of a log that this client does not follow.
    Ignored,
    /// Entries are missing before it. It was not applied: ask for those of `log` after `after`.
    Gap {
        /// Whose entries are missing.
        log: LogId,
        /// The last one that is there.
        after: Seq,
    },
}

/// Everything a client knows of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Oneself.
    pub me: Profile,
    /// The session.
    pub session: SessionId,
    /// One's own settings.
    pub settings: Settings,
    /// The conversations one is a member of.
    pub conversations: BTreeMap<ConversationId, Conversation>,
    /// Profiles heard of so far; see [`State::unknown_users`].
    pub users: BTreeMap<UserId, Profile>,
    /// One's contacts.
    pub contacts: BTreeSet<UserId>,
    /// Whom one has blocked.
    pub blocked: BTreeSet<UserId>,
    /// Presence of those whose presence was told. Not part of a snapshot.
    pub presence: BTreeMap<UserId, PresenceOf>,
    /// Who is writing where, since when by this client's clock. Not part of a snapshot.
    pub typing: BTreeMap<(ConversationId, UserId), Millis>,
    /// This session was ended by the server or by another device.
    pub ended: bool,
    own: Option<Seq>,
    directory: Option<Seq>,
}

impl From<Snapshot> for State {
    fn from(snapshot: Snapshot) -> Self {
        let me = snapshot.me.id;
        let position =
            |wanted: LogId| snapshot.positions.iter().find(|(log, _)| *log == wanted).map(|(_, seq)| *seq);
        let (own, directory) = (position(LogId::User(me)), position(LogId::Directory));
        let mut users: BTreeMap<_, _> = snapshot.users.into_iter().map(|user| (user.id, user)).collect();
        users.insert(me, snapshot.me.clone());
        Self {
            me: snapshot.me,
            session: snapshot.session,
            settings: snapshot.settings,
            conversations: snapshot.conversations.into_iter().map(|view| (view.id, view.into())).collect(),
            users,
            contacts: snapshot.contacts.into_iter().collect(),
            blocked: snapshot.blocked.into_iter().collect(),
            presence: BTreeMap::new(),
            typing: BTreeMap::new(),
            ended: false,
            own,
            directory,
        }
    }
}

impl State {
    /// Applies an entry that came over the connection.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        let Some(after) = self.position(entry.log) else { return Applied::Ignored };
        if entry.seq <= after {
            return Applied::Ignored;
        }
        if entry.seq > after.next() {
            return Applied::Gap { log: entry.log, after };
        }
        self.take(entry);
        Applied::Applied
    }

    /// Applies the answer to a question for the entries after a gap, oldest first.
    ///
    /// What the server leaves out here may not be seen, so a jump in the numbers is not a gap. Answers how many
    /// entries were new.
    pub fn fill(&mut self, entries: &[Entry]) -> usize {
        let mut new = 0;
        for entry in entries {
            let Some(position) = self.position(entry.log) else { continue };
            if entry.seq <= position {
                continue;
            }
            if entry.seq > position.next()
                && let LogId::Conversation(id) = entry.log
                && let Some(conversation) = self.conversations.get_mut(&id)
            {
                conversation.forget_items();
            }
            self.take(entry);
            new += 1;
        }
        new
    }

    /// Puts a page of history before what is there; ignored if it does not touch it.
    pub fn load(&mut self, conversation: ConversationId, page: &HistoryPage) {
        if let Some(conversation) = self.conversations.get_mut(&conversation) {
            conversation.load(page);
        }
    }

    /// Notes something passing. `now` is the client's own clock, for typing that ends by itself.
    pub fn apply_signal(&mut self, signal: &ServerSignal, now: Millis) {
        match signal {
            ServerSignal::Typing { conversation, user } => {
                if self.conversations.contains_key(conversation) && *user != self.me.id {
                    self.typing.insert((*conversation, *user), now);
                }
            }
            ServerSignal::Presence(all) => {
                for one in all {
                    self.presence.insert(one.user, *one);
                }
            }
            ServerSignal::Cursor(moved) => self.move_cursor(moved),
        }
        self.typing.retain(|_, since| now.0 - since.0 < TYPING_MS);
    }

    /// Who is writing in a conversation. It ends by itself, so `now` by the client's own clock is needed.
    pub fn writing(&self, conversation: ConversationId, now: Millis) -> impl Iterator<Item = UserId> {
        let here = self.typing.iter().filter(move |((place, _), _)| *place == conversation);
        here.filter(move |(_, since)| now.0 - since.0 < TYPING_MS).map(|((_, user), _)| *user)
    }

    /// The last entry applied of a log that this client follows.
    pub fn position(&self, log: LogId) -> Option<Seq> {
        match log {
            LogId::Directory => self.directory,
            LogId::User(user) if user == self.me.id => self.own,
            LogId::User(_) => None,
            LogId::Conversation(id) => self.conversations.get(&id).map(|known| known.view.head.seq),
        }
    }

    /// Where to go on after a reconnect. One's own log first: it says which conversations there are.
    pub fn positions(&self) -> Vec<(LogId, Seq)> {
        let own = self.own.map(|seq| (LogId::User(self.me.id), seq));
        let directory = self.directory.map(|seq| (LogId::Directory, seq));
        let conversations =
            self.conversations.iter().map(|(id, known)| (LogId::Conversation(*id), known.view.head.seq));
        own.into_iter().chain(directory).chain(conversations).collect()
    }

    /// Users that something names but whose profile is not known: to be asked for.
    pub fn unknown_users(&self) -> BTreeSet<UserId> {
        let directs = self.conversations.values().filter_map(|known| known.view.direct);
        let authors = self
            .conversations
            .values()
            .filter_map(|known| known.view.last.as_ref().map(|last| last.entry.by));
        let mut named: BTreeSet<UserId> = directs.flat_map(|(a, b)| [a, b]).chain(authors).collect();
        named.extend(self.contacts.iter().chain(&self.blocked));
        named.retain(|user| !self.users.contains_key(user));
        named
    }

    /// Notes profiles that were asked for; what an entry told since is newer and stays.
    pub fn learn(&mut self, profiles: Vec<Profile>) {
        for profile in profiles {
            self.users.entry(profile.id).or_insert(profile);
        }
    }

    /// The name to show for a conversation: its own, or the other user's.
    pub fn title(&self, view: &ConversationView) -> String {
        let Some((a, b)) = view.direct else { return view.name.clone() };
        let other = if a == self.me.id { b } else { a };
        match self.users.get(&other) {
            Some(user) => user.name.clone(),
            None => format!("user {other}"),
        }
    }

    /// Notes that one has read up to an entry, before the server confirms it. Answers whether that is news.
    pub fn mark_read(&mut self, conversation: ConversationId, seq: Seq) -> bool {
        self.conversations.get_mut(&conversation).is_some_and(|known| {
            let position = known.position_at(seq);
            known.read_to(position)
        })
    }

    /// Up to where one has read, in every conversation one is in.
    pub fn reads(&self) -> impl Iterator<Item = (ConversationId, Seq)> {
        let mine = self.conversations.iter().filter_map(|(id, known)| Some((*id, known.view.mine.as_ref()?)));
        mine.map(|(id, mine)| (id, mine.read.seq))
    }

    fn move_cursor(&mut self, moved: &CursorMoved) {
        let Some(known) = self.conversations.get_mut(&moved.conversation) else { return };
        if moved.user == self.me.id {
            known.read_to(moved.read);
        }
        known.note_cursor(moved);
    }

    /// Applies an entry whose turn it is.
    fn take(&mut self, entry: &Entry) {
        match entry.log {
            LogId::Directory => {
                self.directory = Some(entry.seq);
                if let Event::UserChanged { profile } = &entry.event {
                    if profile.id == self.me.id {
                        self.me = profile.clone();
                    }
                    self.users.insert(profile.id, profile.clone());
                }
            }
            LogId::User(_) => {
                self.own = Some(entry.seq);
                self.take_own(&entry.event);
            }
            LogId::Conversation(id) => {
                let me = self.me.id;
                self.typing.remove(&(id, entry.by));
                match &entry.event {
                    Event::Left { user } | Event::Removed { user, .. } if *user == me => self.forget(id),
                    _ => {
                        if let Some(known) = self.conversations.get_mut(&id) {
                            known.take(entry, me);
                        }
                    }
                }
            }
        }
    }

    fn take_own(&mut self, event: &Event) {
        match event {
            Event::Entered { conversation } => {
                self.conversations.insert(conversation.id, ConversationView::clone(conversation).into());
            }
            Event::Departed { conversation } => self.forget(*conversation),
            Event::ContactAdded { user } => {
                self.contacts.insert(*user);
            }
            Event::ContactRemoved { user } => {
                self.contacts.remove(user);
            }
            Event::Blocked { user } => {
                self.contacts.remove(user);
                self.blocked.insert(*user);
            }
            Event::Unblocked { user } => {
                self.blocked.remove(user);
            }
            Event::Muted { conversation, until } => {
                if let Some(mine) =
                    self.conversations.get_mut(conversation).and_then(|known| known.view.mine.as_mut())
                {
                    mine.muted_until = *until;
                }
            }
            Event::SettingsChanged { settings } => self.settings = settings.clone(),
            Event::SessionEnded { session } if *session == self.session => self.ended = true,
            // Other devices come and go; the list of sessions is asked for when somebody looks at it.
            _ => {}
        }
    }

    fn forget(&mut self, id: ConversationId) {
        self.conversations.remove(&id);
        self.typing.retain(|(conversation, _), _| *conversation != id);
    }
}

/// After so long without a new sign, somebody is no longer writing.
const TYPING_MS: i64 = 6_000;
