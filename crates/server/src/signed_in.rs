//! A signed-in connection, whatever its wire: its place in the hub, and what it may ask.
//!
//! The native WebSocket and the links of all doors ask through this, so that limits and order are the same.

use std::{sync::Arc, time::Duration};

use chinwag_domain::{Actor, Prepared, Request};
use chinwag_protocol::{Answer, ClientSignal, Command, Query, Refused, Reply, UserId};

use crate::{
    hub::{Hub, Key, Outbox, WATCHED_MAX},
    messenger::{Messenger, reply},
};

/// A signed-in connection; leaves the hub when dropped.
pub(crate) struct SignedIn {
    pub(crate) actor: Actor,
    pub(crate) key: Key,
    pub(crate) hub: Hub,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) messenger: Messenger,
}

impl Drop for SignedIn {
    fn drop(&mut self) {
        self.hub.close(self.key);
    }
}

impl SignedIn {
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
            signal => self.hub.signal(self.key, self.actor.user, signal),
        }
        Ok(())
    }

    /// Whom one may watch is in the store: blocks, and with whom a guest shares a conversation.
    fn watch(&self, users: Vec<UserId>) {
        let (messenger, hub) = (self.messenger.clone(), self.hub.clone());
        let (actor, key) = (self.actor.clone(), self.key);
        tokio::spawn(async move {
            if let Ok(users) = messenger.watchable(&actor, users).await {
                hub.signal(key, actor.user, ClientSignal::Watch { users });
            }
        });
    }
}
