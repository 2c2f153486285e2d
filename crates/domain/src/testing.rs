//! A world in memory for the tests of the rules: facts, and what plans make of them.
//!
//! Not a store: nothing is durable, nothing is checked, everything is cloned. Stores have their own tests.

use std::{collections::BTreeMap, sync::Arc};

use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Entry, FileId, InviteId, LogId, Millis, Position, Posting, Refused,
    Registration, Reply, Role, Seq, SessionId, UserId,
};

use crate::{
    facts::{Facts, Known, Stop},
    plan::{Plan, message_of, messages_after},
    port::{Actor, Done, Prepared, Request, Token},
    record::{
        Call, Change, Conversation, Counter, Credentials, Head, Holding, Invite, Member, Message, Name, OneTime, Overlay,
        Relation, Sent, Server, Session, Told, TokenHash, User,
    },
    rules,
};

/// The time at which a world begins.
pub(crate) const START: Millis = Millis(1_800_000_000_000);

/// Everything there is.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) at: Millis,
    /// What the wall says, if it is something else.
    pub(crate) now: Option<Millis>,
    pub(crate) users: BTreeMap<UserId, Arc<User>>,
    names: BTreeMap<String, Arc<Name>>,
    pub(crate) credentials: BTreeMap<UserId, Arc<Credentials>>,
    pub(crate) sessions: BTreeMap<SessionId, Arc<Session>>,
    pub(crate) conversations: BTreeMap<ConversationId, Arc<Conversation>>,
    members: BTreeMap<(ConversationId, UserId), Arc<Member>>,
    relations: BTreeMap<(UserId, UserId), Relation>,
    overlays: BTreeMap<(ConversationId, Seq), Arc<Overlay>>,
    pub(crate) invites: BTreeMap<InviteId, Arc<Invite>>,
    pub(crate) holdings: BTreeMap<(UserId, FileId), Arc<Holding>>,
    pub(crate) calls: BTreeMap<ConversationId, Arc<Call>>,
    pub(crate) one_time: BTreeMap<TokenHash, Arc<OneTime>>,
    pub(crate) server: Option<Arc<Server>>,
    sent: BTreeMap<(UserId, String), Arc<Sent>>,
    logs: BTreeMap<LogId, Vec<Entry>>,
    next: [u32; 4],
    tokens: u8,
}

/// What came of a request, and what it would change.
pub(crate) struct Outcome {
    pub(crate) verdict: Result<Done, Refused>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) changes: Vec<Change>,
}

impl Outcome {
    /// Nothing was recorded and nothing kept, unless it is that the answer is no for good.
    pub(crate) fn is_without_effect(&self) -> bool {
        self.entries.is_empty() && (self.changes.is_empty() || self.is_remembered_refusal())
    }

    fn is_remembered_refusal(&self) -> bool {
        let refused = |change: &Change| matches!(change, Change::Sent(sent) if matches!(sent.told, Told::Refused(_)));
        self.entries.is_empty() && matches!(&self.changes[..], [only] if refused(only))
    }
}

impl World {
    /// A server after its first start, open to everybody.
    pub(crate) fn founded() -> Self {
        let mut world = Self { at: START, next: [1; 4], ..Self::default() };
        let setup = Some([255; 32]);
        world.request(&Request::Found { registration: Registration::Open, setup }).unwrap();
        world
    }

    /// Decides without keeping anything.
    pub(crate) fn consider(&self, request: &Request) -> Outcome {
        let mut plan = Plan::new(self, self.at).told(self.now.unwrap_or(self.at));
        let verdict = match rules::decide(&mut plan, request) {
            Ok(Done::Refused(refused)) => Err(refused),
            Ok(done) => Ok(done),
            Err(Stop::Refused(refused)) => Err(refused),
            Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
        };
        let (entries, changes) = plan.finish();
        Outcome { verdict, entries, changes }
    }

    /// Decides, and keeps what follows.
    pub(crate) fn request(&mut self, request: &Request) -> Result<Done, Refused> {
        let outcome = self.consider(request);
        if outcome.verdict.is_ok() || outcome.is_remembered_refusal() {
            self.apply(outcome.entries, outcome.changes);
        }
        outcome.verdict
    }

    /// A command as a store would be asked it, with the right password and a fresh token.
    pub(crate) fn command_request(&self, actor: &Actor, command: Command) -> Request {
        let verified = self.credentials.get(&actor.user).map(|credentials| credentials.version);
        let token = Some(Token { plain: "plain".into(), hash: [254; 32] });
        let prepared = Prepared {
            verified,
            app_password: None,
            password: Some("hash of a new one".into()),
            token,
            bot_answer: None,
            fingerprint: None,
        };
        Request::Command { actor: actor.clone(), command, prepared }
    }

    /// Does what somebody asks.
    pub(crate) fn command(&mut self, actor: &Actor, command: Command) -> Result<Reply, Refused> {
        match self.request(&self.command_request(actor, command))? {
            Done::Reply(reply) => Ok(reply),
            other => panic!("a command was answered {other:?}"),
        }
    }

    /// Registration as a store would be asked it.
    pub(crate) fn register_request(&mut self, handle: &str, invite: Option<TokenHash>) -> Request {
        Request::Register {
            handle: handle.into(),
            invite,
            prepared: Prepared {
                password: Some("hash".into()),
                token: Some(self.token()),
                ..Prepared::default()
            },
            device: "test".into(),
            door: String::new(),
        }
    }

    /// A new token.
    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token { plain: format!("ses_{}", self.tokens), hash: [self.tokens; 32] }
    }

    /// Makes an account.
    pub(crate) fn register(&mut self, handle: &str) -> Actor {
        let request = self.register_request(handle, None);
        actor(self.request(&request).unwrap())
    }

    /// Makes the first administrator's account.
    pub(crate) fn register_admin(&mut self, handle: &str) -> Actor {
        let request = self.register_request(handle, Some([255; 32]));
        actor(self.request(&request).unwrap())
    }

    /// Makes a conversation of the asker.
    pub(crate) fn create(
        &mut self,
        by: &Actor,
        name: &str,
        public: bool,
        posting: Posting,
    ) -> ConversationId {
        let command = Command::CreateConversation {
            client_id: format!("create-{name}"),
            kind: ConversationKind::Group,
            name: name.into(),
            handle: None,
            topic: String::new(),
            public,
            history: Default::default(),
            posting: Some(posting),
            members: Vec::new(),
        };
        match self.command(by, command).unwrap() {
            Reply::Conversation { conversation } => conversation,
            other => panic!("{other:?}"),
        }
    }

    /// Adds a member, with a role.
    pub(crate) fn add(&mut self, by: &Actor, conversation: ConversationId, user: UserId, role: Role) {
        self.command(by, Command::AddMember { conversation, user }).unwrap();
        if role != Role::Member {
            self.command(by, Command::SetRole { conversation, user, role }).unwrap();
        }
    }

    /// Says something.
    pub(crate) fn post(&mut self, by: &Actor, conversation: ConversationId, text: &str) -> Seq {
        let seq = self.head(LogId::Conversation(conversation)).unwrap().position.seq.0;
        let command = Command::Post {
            conversation,
            client_id: format!("post-{}-{seq}", conversation.0),
            text: text.into(),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
        };
        match self.command(by, command).unwrap() {
            Reply::Posted(posted) => posted.seq,
            other => panic!("{other:?}"),
        }
    }

    /// Changes a user behind the rules' back.
    pub(crate) fn change_user(&mut self, id: UserId, change: impl FnOnce(&mut User)) {
        change(Arc::make_mut(self.users.get_mut(&id).unwrap()));
    }

    /// Whether somebody is a member now.
    pub(crate) fn is_member(&self, conversation: ConversationId, user: UserId) -> bool {
        self.members.get(&(conversation, user)).is_some_and(|member| member.is_active())
    }

    fn apply(&mut self, entries: Vec<Entry>, changes: Vec<Change>) {
        for entry in entries {
            self.logs.entry(entry.log).or_default().push(entry);
        }
        for change in changes {
            self.apply_change(change);
        }
    }

    fn apply_change(&mut self, change: Change) {
        let mut took = |counter: Counter, id: u32| {
            let next = &mut self.next[counter as usize];
            *next = (*next).max(id + 1);
        };
        match change {
            Change::User(user) => {
                took(Counter::User, user.id.0);
                self.users.insert(user.id, user);
            }
            Change::Name(name) => drop(self.names.insert(name.key.clone(), name)),
            Change::NameFreed(key) => drop(self.names.remove(&key)),
            Change::Credentials(credentials) => drop(self.credentials.insert(credentials.user, credentials)),
            Change::Session(session) => {
                took(Counter::Session, session.id.0);
                self.sessions.insert(session.id, session);
            }
            Change::SessionEnded(id) => drop(self.sessions.remove(&id)),
            Change::Conversation(conversation) => {
                took(Counter::Conversation, conversation.id.0);
                self.conversations.insert(conversation.id, conversation);
            }
            Change::Member(member) => drop(self.members.insert((member.conversation, member.user), member)),
            Change::Relation(of, to, relation) => drop(self.relations.insert((of, to), relation)),
            Change::Overlay(conversation, seq, overlay) => {
                drop(self.overlays.insert((conversation, seq), overlay));
            }
            Change::Invite(invite) => {
                took(Counter::Invite, invite.id.0);
                self.invites.insert(invite.id, invite);
            }
            Change::Holding(held) => drop(self.holdings.insert((held.user, held.file), held)),
            Change::HoldingGone(user, file) => drop(self.holdings.remove(&(user, file))),
            Change::Call(call) => drop(self.calls.insert(call.conversation, call)),
            Change::CallOver(conversation) => drop(self.calls.remove(&conversation)),
            Change::OneTime(link) => drop(self.one_time.insert(link.token, link)),
            Change::OneTimeUsed(token) => drop(self.one_time.remove(&token)),
            Change::Server(server) => self.server = Some(server),
            Change::Sent(sent) => drop(self.sent.insert((sent.user, sent.client_id.clone()), sent)),
            // The rules never ask for these.
            Change::Erase(..) | Change::Mention(..) => {}
        }
    }

    /// A log as recorded.
    pub(crate) fn log(&self, log: LogId) -> &[Entry] {
        self.logs.get(&log).map_or(&[], Vec::as_slice)
    }
}

fn actor(done: Done) -> Actor {
    match done {
        Done::SignedIn { user, session } => Actor { user, session, door: None },
        other => panic!("signing in was answered {other:?}"),
    }
}

impl Facts for World {
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>> {
        Ok(self.users.get(&id).cloned())
    }

    fn name(&self, key: &str) -> Known<Option<Arc<Name>>> {
        Ok(self.names.get(key).cloned())
    }

    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>> {
        Ok(self.names.values().find(|name| name.skeleton == skeleton).cloned())
    }

    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>> {
        Ok(self.credentials.get(&user).cloned())
    }

    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>> {
        Ok(self.sessions.get(&id).cloned())
    }

    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>> {
        Ok(self.sessions.values().filter(|session| session.user == user).cloned().collect())
    }

    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
        Ok(self.conversations.get(&id).cloned())
    }

    fn direct(&self, users: (UserId, UserId)) -> Known<Option<ConversationId>> {
        Ok(self.conversations.values().find(|it| it.direct == Some(users)).map(|it| it.id))
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        Ok(self.members.get(&(conversation, user)).cloned())
    }

    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        Ok(self
            .members
            .values()
            .filter(|member| member.user == user && member.is_active())
            .cloned()
            .collect())
    }

    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        Ok(self.relations.get(&(of, to)).copied().unwrap_or_default())
    }

    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        let entry = self.log(LogId::Conversation(conversation)).iter().find(|entry| entry.seq == seq);
        let overlay =
            self.overlays.get(&(conversation, seq)).map(|it| Overlay::clone(it)).unwrap_or_default();
        Ok(entry.and_then(|entry| message_of(entry, overlay)).map(Arc::new))
    }

    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>> {
        Ok(self.holdings.get(&(user, file)).cloned())
    }

    fn held_bytes(&self, user: UserId) -> Known<u64> {
        Ok(self.holdings.values().filter(|held| held.user == user).map(|held| held.size).sum())
    }

    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>> {
        Ok(self.calls.get(&conversation).cloned())
    }

    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>> {
        Ok(self.invites.get(&id).cloned())
    }

    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>> {
        Ok(self.invites.values().find(|invite| invite.token == *token).cloned())
    }

    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        let open = self.invites.values().filter(|invite| {
            invite.conversation == conversation
                && !invite.revoked
                && invite.uses_left > 0
                && invite.expires_at > at
        });
        Ok(u32::try_from(open.count()).unwrap())
    }

    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        Ok(self.one_time.get(token).cloned())
    }

    fn server(&self) -> Known<Option<Arc<Server>>> {
        Ok(self.server.clone())
    }

    fn head(&self, log: LogId) -> Known<Head> {
        Ok(self.log(log).iter().fold(Head::default(), |head, entry| Head {
            position: Position { seq: entry.seq, messages: messages_after(head.position, &entry.event) },
            at: entry.at,
        }))
    }

    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        Ok(self.sent.get(&(user, client_id.to_owned())).cloned())
    }

    fn next(&self, counter: Counter) -> Known<u32> {
        Ok(self.next[counter as usize])
    }
}
