//! Who a token belongs to, remembered so that a resume does not read the store.
//!
//! A cache: the truth is the store, which checks the session again in every transaction and every read. What is
//! wrong here for a moment can therefore only be refused later, never allowed.

use std::collections::HashMap;

use chinwag_domain::record::TokenHash;
use chinwag_protocol::{Event, LogId, Millis, UserId};

use crate::{
    hub::Identity,
    sync::{Mutex, PoisonError},
};

/// Sessions remembered; when full, all are forgotten, which costs each a read.
const SESSIONS_MAX: usize = 100_000;

/// A signed-in session.
#[derive(Clone)]
pub struct Known {
    /// Who.
    pub identity: Identity,
    /// The door; `None`: the native one.
    pub door: Option<std::sync::Arc<str>>,
    /// When the store last noted that it was used.
    pub seen_at: Millis,
}

/// The sessions in use.
#[derive(Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_token: HashMap<TokenHash, Known>,
    tokens: HashMap<UserId, Vec<TokenHash>>,
    /// Counts what made the cache forget: a look-up that began before must not be remembered.
    forgotten: u64,
}

impl Sessions {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The session of a token, or the state to hand to [`Sessions::remember`].
    pub fn find(&self, token: &TokenHash) -> Result<Known, u64> {
        self.with(|inner| inner.by_token.get(token).cloned().ok_or(inner.forgotten))
    }

    /// Remembers what the store said, unless something changed since `asked`.
    pub fn remember(&self, token: TokenHash, known: &Known, asked: u64) {
        self.with(|inner| {
            if inner.forgotten != asked {
                return;
            }
            if inner.by_token.len() >= SESSIONS_MAX {
                inner.by_token.clear();
                inner.tokens.clear();
            }
            inner.tokens.entry(known.identity.user).or_default().push(token);
            inner.by_token.insert(token, known.clone());
        });
    }

    /// Notes that the store was told of a use.
    pub fn seen(&self, token: &TokenHash, at: Millis) {
        self.with(|inner| {
            if let Some(known) = inner.by_token.get_mut(token) {
                known.seen_at = at;
            }
        });
    }

    /// Forgets what an entry made wrong.
    pub fn follow(&self, log: LogId, event: &Event) {
        let user = match (log, event) {
            (LogId::User(user), Event::SessionEnded { .. } | Event::SettingsChanged { .. }) => user,
            (LogId::Directory, Event::UserChanged { profile }) => profile.id,
            _ => return,
        };
        self.with(|inner| {
            inner.forgotten += 1;
            for token in inner.tokens.remove(&user).unwrap_or_default() {
                inner.by_token.remove(&token);
            }
        });
    }

    /// How many sessions of which user are remembered, for tests and metrics.
    pub fn len(&self) -> usize {
        self.with(|inner| inner.by_token.len())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::SessionId;

    use super::*;

    fn known(user: u32, session: u32) -> Known {
        Known {
            identity: Identity {
                user: UserId(user),
                session: SessionId(session),
                directory: true,
                invisible: false,
                hide_read: false,
            },
            door: None,
            seen_at: Millis(0),
        }
    }

    #[test]
    fn an_ended_session_is_not_found_again() {
        let sessions = Sessions::default();
        let asked = sessions.find(&[1; 32]).err().unwrap();
        sessions.remember([1; 32], &known(7, 1), asked);
        assert!(sessions.find(&[1; 32]).is_ok());
        sessions.follow(LogId::User(UserId(7)), &Event::SessionEnded { session: SessionId(1) });
        assert!(sessions.find(&[1; 32]).is_err());
    }

    #[test]
    fn a_look_up_that_was_overtaken_is_not_remembered() {
        let sessions = Sessions::default();
        let asked = sessions.find(&[1; 32]).err().unwrap();
        sessions.follow(LogId::User(UserId(7)), &Event::SessionEnded { session: SessionId(1) });
        sessions.remember([1; 32], &known(7, 1), asked);
        assert!(sessions.is_empty());
    }
}
