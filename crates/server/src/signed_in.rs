//! A signed-in connection, whatever its wire: its place in the hub, and what it may ask.
//!
//! The native WebSocket and the links of all doors ask through this, so that limits and order are the same.

use std::{sync::Arc, time::Duration};

use chinwag_domain::{Actor, Prepared, Reader, Request, facts::Known as Fact};
use chinwag_protocol::{Answer, ClientSignal, Command, LogId, Query, Refused, Reply, Seq, UserId};

use crate::{
    hub::{Hub, Key, Opened, Outbox, WATCHED_MAX},
    messenger::{Messenger, actor, reply},
    sessions::Known,
};

/// A signed-in connection; leaves the hub when dropped.
pub(crate) struct SignedIn {
    pub(crate) actor: Actor,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) messenger: Messenger,
    place: Arc<Place>,
}

/// A connection's place in the hub.
struct Place {
    hub: Hub,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.close(self.key);
    }
}

/// The hub tells a connection of no cursor until this is dropped. Whoever has it reads where cursors are, and passes
/// that on before he takes signals out of the outbox: so what was read is none the older, and none comes after a
/// newer one.
#[must_use = "cursors are held back until where they are was read"]
pub(crate) struct Held(Arc<Place>);

impl Drop for Held {
    fn drop(&mut self) {
        // Before the place itself is left, whose number may then be another's.
        self.0.hub.release_cursors(self.0.key);
    }
}

/// How a connection begins.
pub(crate) enum Began {
    /// From a snapshot, which is to be read now.
    Fresh(Held),
    /// From where it was; what it missed is in its outbox, or noted there as missing.
    Resumed(Held),
}

impl SignedIn {
    /// Takes a place in the hub. `resume` is where the client left off.
    pub(crate) async fn open(
        messenger: Messenger,
        known: &Known,
        outbox: Arc<Outbox>,
        resume: Option<Vec<(LogId, Seq)>>,
    ) -> Result<(Self, Began), Refused> {
        let hub = messenger.hub().clone();
        let opened = hub.open(known.identity.clone(), Arc::clone(&outbox), resume).await;
        let (key, began) = match opened {
            Some(Opened::Fresh(key)) => (key, Began::Fresh as fn(Held) -> Began),
            Some(Opened::Resumed(key)) => (key, Began::Resumed as fn(Held) -> Began),
            Some(Opened::TooMany) => {
                return Err(Refused::too_many(
                    "too_many_connections",
                    "too many connections at once",
                    30_000,
                ));
            }
            Some(Opened::Ended) | None => return Err(Refused::not_signed_in()),
        };
        let place = Arc::new(Place { hub, key });
        let began = began(Held(Arc::clone(&place)));
        Ok((Self { actor: actor(known), outbox, messenger, place }, began))
    }

    /// Tells this connection from every other that is open.
    pub(crate) fn key(&self) -> Key {
        self.place.key
    }

    /// Has the hub hold cursors back. Those that it told before are in the outbox, and to be written first.
    pub(crate) async fn hold_cursors(&self) -> Held {
        self.place.hub.hold_cursors(self.place.key).await;
        Held(Arc::clone(&self.place))
    }

    /// Reads over one state of the store, on behalf of whoever is signed in.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader, &Actor) -> Fact<T> + Send + 'static,
    ) -> Result<T, Refused> {
        let actor = self.actor.clone();
        self.messenger.read(move |reader| read(reader, &actor)).await
    }

    /// Counts a question that is about to be asked, or says that too many are open.
    pub(crate) fn may_ask(&self) -> Result<(), Refused> {
        if self.outbox.ask() {
            Ok(())
        } else {
            Err(Refused::too_many("busy", "too many open questions", 1_000))
        }
    }

    /// Does a command; `then` is called once, on another thread, and has to give the question back to the outbox.
    /// Answers for how long nothing more is to be read.
    pub(crate) fn command(
        &self,
        command: Command,
        then: impl FnOnce(Result<Reply, Refused>) + Send + 'static,
    ) -> Duration {
        let pause = self.messenger.limiter().pause_for(self.actor.user, &command);
        let actor = self.actor.clone();
        if self.messenger.is_ready(&command) {
            let prepared = Prepared::of(&command);
            let request = Request::Command { actor, command, prepared };
            self.messenger.transact(request, move |verdict| then(reply(verdict)));
        } else {
            let messenger = self.messenger.clone();
            tokio::spawn(async move { then(messenger.command(&actor, command).await) });
        }
        pause
    }

    /// Answers a query; `then` as for [`SignedIn::command`].
    pub(crate) fn query(&self, query: Query, then: impl FnOnce(Result<Answer, Refused>) + Send + 'static) {
        let (messenger, actor) = (self.messenger.clone(), self.actor.clone());
        tokio::spawn(async move { then(messenger.query(&actor, query).await) });
    }

    /// Passes a signal on.
    pub(crate) fn signal(&self, signal: ClientSignal) -> Result<(), Refused> {
        match signal {
            ClientSignal::Watch { users } if users.len() > WATCHED_MAX => {
                let message = format!("at most {WATCHED_MAX} users can be watched");
                return Err(Refused::invalid("signal.watch.users", "too_many_users", message));
            }
            ClientSignal::Watch { users } => self.watch(users),
            signal => self.place.hub.signal(self.place.key, self.actor.user, signal),
        }
        Ok(())
    }

    /// Whom one may watch is in the store: blocks, and with whom a guest shares a conversation.
    fn watch(&self, users: Vec<UserId>) {
        let (messenger, hub) = (self.messenger.clone(), self.place.hub.clone());
        let (actor, key) = (self.actor.clone(), self.place.key);
        tokio::spawn(async move {
            if let Ok(users) = messenger.watchable(&actor, users).await {
                hub.signal(key, actor.user, ClientSignal::Watch { users });
            }
        });
    }
}
