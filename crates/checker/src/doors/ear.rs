//! Where everything that a program is told is noted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::places::Places;
use crate::history::{History, What, hash};

/// See the module. One for each connection.
pub(super) struct Ear {
    pub(super) history: History,
    pub(super) client: u32,
    pub(super) user: u32,
    pub(super) own: String,
    pub(super) places: Arc<Places>,
    /// Texts whose acknowledgement is that they are told, with their calls; kept over connections.
    pub(super) waiting: Arc<Mutex<HashMap<String, u64>>>,
    wire: &'static str,
    begun: Mutex<bool>,
    over: AtomicBool,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ear {
    pub(super) fn new(
        history: &History,
        wire: &'static str,
        (client, user): (u32, u32),
        own: &str,
        places: &Arc<Places>,
        waiting: &Arc<Mutex<HashMap<String, u64>>>,
    ) -> Self {
        Self {
            history: history.clone(),
            client,
            user,
            own: own.to_owned(),
            places: places.clone(),
            waiting: waiting.clone(),
            wire,
            begun: Mutex::new(false),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn note(&self, what: What) {
        self.history.note(self.client, self.user, self.client, what);
    }

    /// The program is signed in. What it is told while it signs in is told on this connection, too.
    pub(super) fn begin(&self) {
        let mut begun = lock(&self.begun);
        if !std::mem::replace(&mut *begun, true) {
            self.note(What::Link { wire: self.wire.to_owned() });
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        *lock(&self.begun)
    }

    /// A message came.
    pub(super) fn told(&self, conversation: u32, from: &str, text: &str, number: Option<u64>) {
        self.begin();
        let (from, body_hash) = (from.to_owned(), hash(text));
        self.note(What::Told { conversation, from, body_hash, number });
        if let Some(call) = self.answers(text) {
            self.done(call, None);
        }
    }

    /// The call that is answered by its own text, if there is one.
    fn answers(&self, text: &str) -> Option<u64> {
        lock(&self.waiting).remove(text)
    }

    pub(super) fn expect(&self, text: &str, call: u64) {
        lock(&self.waiting).insert(text.to_owned(), call);
    }

    pub(super) fn done(&self, call: u64, seq: Option<u32>) {
        self.note(What::Ok { call, seq, page: None, more: false });
    }

    pub(super) fn refused(&self, call: u64, code: &str) {
        self.note(What::Fail { call, code: code.to_owned() });
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
