//! What the writer remembers of the database, so that deciding a message costs it no look-up but one.
//!
//! Only the writer changes the database, so what it remembers is true as long as it notes its own changes. When a
//! transaction fails, everything is forgotten.

use std::{cell::RefCell, collections::HashMap, hash::Hash, sync::Arc};

use chinwag_domain::{
    Facts, Known,
    record::{
        Call, Change, Conversation, Counter, Credentials, Head, Holding, Invite, Member, Message, Name,
        OneTime, Relation, Sent, Server, Session, TokenHash, User,
    },
};
use chinwag_protocol::{ConversationId, FileId, InviteId, LogId, Millis, Seq, SessionId, UserId};

use super::{
    entry::{self, NO_HASH},
    entry_tail::EntryTail,
    look::{Look, head_of},
    tail::Tail,
};

/// A map of bounded size that forgets what was not asked for lately: when the young half is full, it becomes the
/// old half, and the old half goes.
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: most / 2 }
    }

    fn find(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// The end of a log with the hash that the next entry follows.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) head: Head,
    pub(super) hash: entry::Hash,
}

/// See the module.
pub(super) struct Cache {
    users: Recent<UserId, Option<Arc<User>>>,
    names: Recent<String, Option<Arc<Name>>>,
    sessions: Recent<SessionId, Option<Arc<Session>>>,
    conversations: Recent<ConversationId, Option<Arc<Conversation>>>,
    members: Recent<(ConversationId, UserId), Option<Arc<Member>>>,
    relations: Recent<(UserId, UserId), Relation>,
    ends: Recent<LogId, End>,
    server: Option<Option<Arc<Server>>>,
    counters: HashMap<Counter, u32>,
}

impl Cache {
    /// Remembers at most `most` things of each sort.
    pub(super) fn new(most: usize) -> Self {
        Self {
            users: Recent::new(most),
            names: Recent::new(most),
            sessions: Recent::new(most),
            conversations: Recent::new(most),
            members: Recent::new(most),
            relations: Recent::new(most),
            ends: Recent::new(most),
            server: None,
            counters: HashMap::new(),
        }
    }

    /// Notes that a log has grown.
    pub(super) fn grown(&mut self, log: LogId, end: End) {
        self.ends.put(log, end);
    }

    /// Notes a change that was written.
    pub(super) fn changed(&mut self, change: &Change) {
        match change {
            Change::User(user) => {
                self.count(Counter::User, user.id.0);
                self.users.put(user.id, Some(user.clone()));
            }
            Change::Name(name) => self.names.put(name.key.clone(), Some(name.clone())),
            Change::NameFreed(key) => self.names.put(key.clone(), None),
            Change::Session(session) => {
                self.count(Counter::Session, session.id.0);
                self.sessions.put(session.id, Some(session.clone()));
            }
            Change::SessionEnded(id) => self.sessions.put(*id, None),
            Change::Conversation(conversation) => {
                self.count(Counter::Conversation, conversation.id.0);
                self.conversations.put(conversation.id, Some(conversation.clone()));
            }
            Change::Member(member) => {
                self.members.put((member.conversation, member.user), Some(member.clone()));
            }
            Change::Relation(of, to, relation) => self.relations.put((*of, *to), *relation),
            Change::Invite(invite) => self.count(Counter::Invite, invite.id.0),
            Change::Server(server) => self.server = Some(Some(server.clone())),
            Change::Credentials(_)
            | Change::Overlay(..)
            | Change::Erase(..)
            | Change::Mention(..)
            | Change::Holding(_)
            | Change::HoldingGone(..)
            | Change::Call(_)
            | Change::CallOver(_)
            | Change::OneTime(_)
            | Change::OneTimeUsed(_)
            | Change::Sent(_) => {}
        }
    }

    fn count(&mut self, counter: Counter, id: u32) {
        if let Some(next) = self.counters.get_mut(&counter) {
            *next = (*next).max(id + 1);
        }
    }
}

/// The facts for the rules: remembered, or looked up and remembered.
pub(super) struct Remembered<'c> {
    pub(super) look: Look<'c>,
    pub(super) cache: &'c RefCell<Cache>,
    pub(super) tail: &'c RefCell<Tail>,
    pub(super) entry_tail: &'c RefCell<EntryTail>,
}

impl Remembered<'_> {
    /// The end of a log, with what the next entry needs.
    pub(super) fn end(&self, log: LogId) -> Known<End> {
        if let Some(end) = self.cache.borrow_mut().ends.find(&log) {
            return Ok(end);
        }
        let last = self.look.last(log)?;
        let end = End { head: head_of(last.as_ref()), hash: last.map_or(NO_HASH, |last| last.hash) };
        self.cache.borrow_mut().ends.put(log, end);
        Ok(end)
    }
}

/// Finds in one map of the cache, or looks up and remembers.
macro_rules! remembered {
    ($self:ident, $map:ident, $key:expr, $found:expr) => {{
        let key = $key;
        // In its own statement: the look-up must not run while the cache is borrowed.
        let known = $self.cache.borrow_mut().$map.find(&key);
        match known {
            Some(value) => Ok(value),
            None => {
                let value = $found?;
                $self.cache.borrow_mut().$map.put(key, value.clone());
                Ok(value)
            }
        }
    }};
}

impl Facts for Remembered<'_> {
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>> {
        remembered!(self, users, id, self.look.user(id))
    }

    fn name(&self, key: &str) -> Known<Option<Arc<Name>>> {
        remembered!(self, names, key.to_owned(), self.look.name(key))
    }

    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>> {
        self.look.name_like(skeleton)
    }

    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>> {
        self.look.credentials(user)
    }

    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>> {
        remembered!(self, sessions, id, self.look.session(id))
    }

    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>> {
        self.look.sessions(user)
    }

    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
        remembered!(self, conversations, id, self.look.conversation(id))
    }

    fn direct(&self, users: (UserId, UserId)) -> Known<Option<ConversationId>> {
        self.look.direct(users)
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        remembered!(self, members, (conversation, user), self.look.member(conversation, user))
    }

    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        self.look.memberships(user)
    }

    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        remembered!(self, relations, (of, to), self.look.relation(of, to))
    }

    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        self.look.message(conversation, seq)
    }

    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>> {
        self.look.holding(user, file)
    }

    fn held_bytes(&self, user: UserId) -> Known<u64> {
        self.look.held_bytes(user)
    }

    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>> {
        self.look.call(conversation)
    }

    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>> {
        self.look.invite(id)
    }

    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>> {
        self.look.invite_by_token(token)
    }

    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        self.look.open_invites(conversation, at)
    }

    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        self.look.one_time(token)
    }

    fn server(&self) -> Known<Option<Arc<Server>>> {
        let known = self.cache.borrow().server.clone();
        if let Some(server) = known {
            return Ok(server);
        }
        let server = self.look.server()?;
        self.cache.borrow_mut().server = Some(server.clone());
        Ok(server)
    }

    fn head(&self, log: LogId) -> Known<Head> {
        Ok(self.end(log)?.head)
    }

    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        match self.tail.borrow_mut().find(self.look.conn, user, client_id)? {
            Some(sent) => Ok(Some(sent)),
            None => self.look.sent_before(user, client_id),
        }
    }

    fn next(&self, counter: Counter) -> Known<u32> {
        let known = self.cache.borrow().counters.get(&counter).copied();
        if let Some(next) = known {
            return Ok(next);
        }
        let next = self.look.next(counter)?;
        self.cache.borrow_mut().counters.insert(counter, next);
        Ok(next)
    }
}
