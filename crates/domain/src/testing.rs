//! A world for the tests of the rules: people and conversations are made in a word, and a request can be considered
//! without being kept.
//!
//! What it is made of is in the one store of this crate's tests, [`Memory`]. Real stores have their own tests.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Entry, LogId, Millis, Posting, Refused, Registration, Reply,
    Role, Seq, UserId,
};

use crate::{
    facts::{Facts, Stop},
    plan::Plan,
    port::{Actor, Done, Prepared, Request, Token},
    reading::memory::Memory,
    record::{Change, TokenHash, Told, User},
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
    memory: Memory,
    tokens: u8,
}

/// What there is, is in the one store of these tests.
impl Deref for World {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }
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
        let refused =
            |change: &Change| matches!(change, Change::Sent(sent) if matches!(sent.told, Told::Refused(_)));
        self.entries.is_empty() && matches!(&self.changes[..], [only] if refused(only))
    }
}

impl World {
    /// A server after its first start, open to everybody.
    pub(crate) fn founded() -> Self {
        let mut world = Self { at: START, ..Self::default() };
        let setup = Some([255; 32]);
        world.request(&Request::Found { registration: Registration::Open, setup }).unwrap();
        world
    }

    /// Decides without keeping anything.
    pub(crate) fn consider(&self, request: &Request) -> Outcome {
        let mut plan = Plan::new(&self.memory, self.at).told(self.now.unwrap_or(self.at));
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
            self.memory.keep(outcome.entries, outcome.changes);
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
            bound: false,
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
            sent_at: None,
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
}

fn actor(done: Done) -> Actor {
    match done {
        Done::SignedIn { user, session } => Actor { user, session, door: None },
        other => panic!("signing in was answered {other:?}"),
    }
}
