//! The life of a command, on one page: prepare what is slow, hand it to the writer, take the verdict back.
//!
//! Decides nothing. Rights and rules are in `chinwag-domain`; this file knows only which command needs what
//! prepared, and which question only the hub can answer.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chinwag_domain::{
    Actor, Ask, Committed, Prepared, Publish, Reader, Request, Store, Ticket,
    bots::{self, Asked, Poems},
    facts::{Known as Fact, Stop},
    names,
    port::{Done, Verdict},
    reading, rules,
};
use chinwag_protocol::{
    Answer, Command, Kind, Millis, PROTOCOL_VERSION, Query, Refused, Reply, ServerInfo, SignedIn, UserId,
    UserKind,
};
use chinwag_store::objects::Objects;
pub use chinwag_store::told;
use tokio::sync::{Notify, oneshot};

use crate::{
    chores::Chores,
    files::Files,
    hashing::{Hashing, fresh_app_password, fresh_token, hash_token},
    hub::{Clock, Hub, Identity},
    limit::Limiter,
    sessions::{Known, Sessions},
};

mod doors;
mod identity;

/// The store notes the use of a session at most this often.
const SEEN_EVERY_MS: i64 = 60 * 60 * 1_000;

/// Everything between the doors and the store. Cheap to clone.
#[derive(Clone)]
pub struct Messenger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    hub: Hub,
    sessions: Arc<Sessions>,
    hashing: Hashing,
    limiter: Arc<Limiter>,
    files: Files,
    poems: Arc<Poems>,
    clock: Clock,
    draining: AtomicBool,
    open: AtomicUsize,
    settled: Notify,
    doors: Mutex<Vec<String>>,
}

/// Publishes to the hub, and makes the session cache forget what a commit made wrong before anybody is told.
pub struct Publisher {
    /// The hub.
    pub hub: Hub,
    /// The cache.
    pub sessions: Arc<Sessions>,
    /// What waits for certain entries.
    pub chores: Arc<Chores>,
}

impl Publish for Publisher {
    fn publish(&self, batch: Vec<Committed>) {
        for entry in batch.iter().flat_map(|committed| &committed.entries) {
            self.sessions.follow(entry.log, &entry.event);
            self.chores.follow(&entry.event);
        }
        self.hub.publish(batch);
    }
}

/// What a messenger is made of.
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Who is connected.
    pub hub: Hub,
    /// The cache of sessions that [`Publisher`] shares.
    pub sessions: Arc<Sessions>,
    /// The rates.
    pub limiter: Arc<Limiter>,
    /// Where files lie.
    pub objects: Arc<dyn Objects>,
    /// What `/poem` recites.
    pub poems: Poems,
    /// The time.
    pub clock: Clock,
}

impl Messenger {
    /// A messenger over its parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: parts.store,
                hub: parts.hub,
                sessions: parts.sessions,
                hashing: Hashing::new(),
                limiter: parts.limiter,
                files: Files::new(parts.objects),
                poems: Arc::new(parts.poems),
                clock: parts.clock,
                draining: AtomicBool::new(false),
                open: AtomicUsize::new(0),
                settled: Notify::new(),
                doors: Mutex::default(),
            }),
        }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// The rates.
    pub fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// The files of messages.
    pub(crate) fn files(&self) -> &Files {
        &self.inner.files
    }

    /// Names the store; changes when a backup was restored.
    pub fn epoch(&self) -> String {
        self.inner.store.epoch()
    }

    /// The names of the doors that are open.
    pub fn doors(&self) -> Vec<String> {
        self.inner.doors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes which doors are open, for everybody to know.
    pub fn set_doors(&self, names: Vec<String>) {
        *self.inner.doors.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// The time.
    pub fn now(&self) -> Millis {
        (self.inner.clock)()
    }

    /// Whether requests are accepted.
    pub fn ready(&self) -> bool {
        !self.inner.draining.load(Ordering::Relaxed)
    }

    /// Accepts nothing new and returns when everything accepted has its verdict.
    pub async fn drain(&self) {
        self.inner.draining.store(true, Ordering::SeqCst);
        loop {
            let settled = self.inner.settled.notified();
            if self.inner.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            settled.await;
        }
    }

    /// Hands a request to the writer; the ticket is called once, on another thread.
    pub fn transact(&self, request: Request, ticket: impl FnOnce(Verdict) + Send + 'static) {
        self.inner.open.fetch_add(1, Ordering::SeqCst);
        let inner = Arc::clone(&self.inner);
        let ticket: Ticket = Box::new(move |verdict| {
            ticket(verdict);
            if inner.open.fetch_sub(1, Ordering::SeqCst) == 1 && inner.draining.load(Ordering::SeqCst) {
                inner.settled.notify_one();
            }
        });
        if self.inner.draining.load(Ordering::SeqCst) {
            ticket(Err(restarting()));
            return;
        }
        self.inner.store.transact(Ask { request, ticket });
    }

    /// Hands a request to the writer and waits for its verdict.
    pub async fn transacted(&self, request: Request) -> Verdict {
        let (sender, verdict) = oneshot::channel();
        self.transact(request, |verdict| {
            let _ = sender.send(verdict);
        });
        verdict.await.unwrap_or_else(|_gone| Err(unavailable("the server is stopping")))
    }

    /// Reads over one state of the store.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Fact<T> + Send + 'static,
    ) -> Result<T, Refused> {
        metrics::counter!("chinwag_store_reads_total").increment(1);
        let (sender, answer) = oneshot::channel();
        self.inner.store.read(Box::new(move |reader| {
            let _ = sender.send(reader.map_err(Stop::from).and_then(read));
        }));
        match answer.await {
            Ok(answer) => answer.map_err(told),
            Err(_gone) => Err(unavailable("the server is stopping")),
        }
    }

    /// Ends the actor's own session.
    pub async fn sign_out(&self, actor: &Actor) -> Result<(), Refused> {
        self.command(actor, Command::EndSession { session: actor.session }).await.map(|_reply| ())
    }

    /// Whose session a token is.
    pub async fn session(&self, token: &str) -> Result<Known, Refused> {
        let hash = hash_token(token);
        let known = match self.inner.sessions.find(&hash) {
            Ok(known) => known,
            Err(asked) => {
                let known = self.read(move |reader| known(reader, &hash)).await?;
                self.inner.sessions.remember(hash, &known, asked);
                known
            }
        };
        let now = self.now();
        if now.0 - known.seen_at.0 > SEEN_EVERY_MS {
            self.inner.sessions.seen(&hash, now);
            self.transact(Request::Seen { session: known.identity.session }, |_verdict| {});
        }
        Ok(known)
    }

    /// On whose behalf a token speaks.
    pub async fn actor(&self, token: &str) -> Result<Actor, Refused> {
        self.session(token).await.map(|known| actor(&known))
    }

    /// Whether a command can go to the writer as it is, without [`Messenger::command`]'s preparation.
    pub fn is_ready(&self, command: &Command) -> bool {
        match command {
            Command::Post { text, .. } => bots::asked(text).is_none(),
            Command::ChangePassword { .. }
            | Command::ConfirmPassword { .. }
            | Command::DeleteAccount { .. }
            | Command::CreateInvite { .. }
            | Command::CreateAppPassword { .. }
            | Command::OpenDirect { .. }
            | Command::StartCall { .. }
            | Command::ResetPassword { .. } => false,
            _ => true,
        }
    }

    /// Does what a signed-in user asks.
    pub async fn command(&self, actor: &Actor, command: Command) -> Result<Reply, Refused> {
        let prepared = self.prepare(actor, &command).await?;
        let request = Request::Command { actor: actor.clone(), command, prepared };
        reply(self.transacted(request).await)
    }

    async fn prepare(&self, actor: &Actor, command: &Command) -> Result<Prepared, Refused> {
        let mut prepared = Prepared::of(command);
        match command {
            Command::ChangePassword { old, new } => {
                // Hashing is slow: what the rule will refuse in any case is refused before.
                names::password(new).map_err(|refused| refused.at("new"))?;
                prepared.verified = self.verified(actor.user, old).await?;
                prepared.password = Some(self.inner.hashing.hash(new).await?);
            }
            Command::ConfirmPassword { password } | Command::DeleteAccount { password } => {
                prepared.verified = self.verified(actor.user, password).await?;
            }
            Command::CreateInvite { .. } => {
                self.inner.limiter.invite(actor.user)?;
                prepared.token = Some(fresh_token::<16>("inv_"));
            }
            Command::CreateAppPassword { .. } => prepared.token = Some(fresh_app_password()),
            Command::StartCall { .. } => self.inner.limiter.call(actor.user)?,
            Command::OpenDirect { user } => self.count_stranger(actor, *user).await?,
            Command::ResetPassword { .. } => prepared.token = Some(fresh_token::<16>("res_")),
            Command::Post { text, .. } => {
                if let Some(asked) = bots::asked(text) {
                    prepared.bot_answer = Some(self.bot_answer(actor.user, asked).await?);
                }
            }
            _ => {}
        }
        Ok(prepared)
    }

    /// Strangers can be written to only so often a day.
    async fn count_stranger(&self, actor: &Actor, user: UserId) -> Result<(), Refused> {
        let asker = actor.clone();
        let is_stranger = self.read(move |reader| reading::is_stranger(reader, &asker, user)).await?;
        if is_stranger { self.inner.limiter.stranger(actor.user) } else { Ok(()) }
    }

    /// The version of the credentials that a password is right for.
    async fn verified(&self, user: UserId, password: &str) -> Result<Option<u32>, Refused> {
        self.inner.limiter.confirm(user)?;
        let found = self.read(move |reader| Ok((reader.credentials(user)?, reader.user(user)?))).await?;
        let (credentials, owner) = found;
        let hash = credentials.as_ref().map(|credentials| credentials.password.as_str());
        let right = self.inner.hashing.verify(password, hash).await?;
        match owner.filter(|_| right) {
            Some(owner) => self.proved_himself(user, &owner.handle),
            None => self.inner.limiter.confirmed(user, false),
        }
        Ok(credentials.filter(|_| right).map(|credentials| credentials.version))
    }

    async fn bot_answer(&self, user: UserId, asked: Asked) -> Result<String, Refused> {
        let zone = self
            .read(move |reader| Ok(reader.user(user)?.map(|user| user.settings.time_zone.clone())))
            .await?
            .unwrap_or_default();
        Ok(bots::answer(asked, self.now(), &zone, &self.inner.poems))
    }

    /// Answers what a signed-in user asks.
    pub async fn query(&self, actor: &Actor, query: Query) -> Result<Answer, Refused> {
        self.inner.limiter.query(actor.user, &query)?;
        if let Query::Online { conversation } = query {
            let asker = actor.clone();
            self.read(move |reader| reading::may_watch(reader, &asker, conversation)).await?;
            return Ok(Answer::Online(self.inner.hub.online(conversation).await));
        }
        let (asker, now) = (actor.clone(), self.now());
        let mut answer = self.read(move |reader| reading::answer(reader, &asker, &query, now)).await?;
        if let Answer::Sessions(sessions) = &mut answer {
            let ids = sessions.iter().map(|session| session.session).collect();
            for (session, online) in sessions.iter_mut().zip(self.inner.hub.connected(actor.user, ids).await)
            {
                session.online = online;
            }
        }
        Ok(answer)
    }

    /// Those of `users` whose presence the actor may know.
    pub async fn watchable(&self, actor: &Actor, users: Vec<UserId>) -> Result<Vec<UserId>, Refused> {
        let asker = actor.clone();
        self.read(move |reader| reading::watchable(reader, &asker, &users)).await
    }

    /// What anybody may know of this server.
    pub async fn info(&self) -> Result<ServerInfo, Refused> {
        let server = self.read(|reader| reader.server()).await?;
        let server = server.ok_or_else(|| unavailable("the server is starting"))?;
        Ok(ServerInfo {
            name: server.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            registration: server.registration,
            needs_setup: !server.has_admin,
            everyone: server.join_everyone,
            doors: self.doors(),
        })
    }
}

/// On whose behalf a known session speaks.
pub fn actor(known: &Known) -> Actor {
    Actor { user: known.identity.user, session: known.identity.session, door: known.door.clone() }
}

/// The reply in a verdict on a command.
pub fn reply(verdict: Verdict) -> Result<Reply, Refused> {
    verdict.and_then(Done::into_reply)
}

fn unavailable(message: impl Into<String>) -> Refused {
    Refused::new(Kind::Unavailable, "unavailable", message)
}

/// What is told to whoever asks while the server goes down.
pub fn restarting() -> Refused {
    Refused {
        retry_after_ms: Some(1_000),
        ..Refused::new(Kind::Unavailable, "restarting", "the server is restarting")
    }
}

fn signed_in(done: &Done, token: String) -> Result<SignedIn, Refused> {
    match done {
        Done::SignedIn { user, session } => {
            Ok(SignedIn { user: *user, session: *session, token: Some(token), change_password: false })
        }
        Done::Reply(_) | Done::Refused(_) => Err(unavailable("no session was started")),
    }
}

fn known(reader: &dyn Reader, token: &chinwag_domain::record::TokenHash) -> Fact<Known> {
    let session = reader.session_by_token(token)?.ok_or_else(Refused::not_signed_in)?;
    let user =
        reader.user(session.user)?.filter(|user| user.is_active()).ok_or_else(Refused::not_signed_in)?;
    Ok(Known {
        identity: Identity {
            user: user.id,
            session: session.id,
            directory: user.kind != UserKind::Guest,
            invisible: user.settings.invisible,
            hide_read: user.settings.hide_read,
        },
        door: Some(session.door.as_str()).filter(|door| !door.is_empty()).map(Arc::from),
        seen_at: session.seen_at,
    })
}

/// The rules, as a store asks them.
pub fn decide(plan: &mut chinwag_domain::Plan<'_>, request: &Request) -> Fact<Done> {
    rules::decide(plan, request)
}
