//! A lasting connection: signs in, stays, comes back by itself, and keeps the state up to date.
//!
//! The task behind a [`Client`] owns the socket. Everything it holds is bounded: at most [`ASKS_MAX`] questions
//! wait, at most [`HAPPENINGS_MAX`] happenings are ahead of the program that reads them; beyond that the task stops
//! reading from the server, which then drops what it holds for this connection and sends it again from the log.

mod backoff;
mod link;
mod owed;
mod talk;
mod task;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chinwag_protocol::{
    Answer, ClientSignal, Command, ConversationId, Entry, Query, Refused, Reply, Seq, ServerSignal,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Address, ClientError,
    cache::Cache,
    outbox::{Draft, Outbox, OutboxError, Outcome},
    sync::State,
};

/// So many questions may wait for their turn.
pub const ASKS_MAX: usize = 64;
/// So many happenings may wait for the program to read them.
pub const HAPPENINGS_MAX: usize = 1024;
/// A question that was not answered for so long is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a [`Client`] tells the program that uses it. The state was changed before it is told.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The whole state is new: the first connection, or the server could not tell what was missed. Entries that lie
    /// between the old and the new state follow all the same, unless they are too many.
    Fresh {
        /// Conversations of which some entries will not be told; history has them.
        skipped: Vec<ConversationId>,
        /// The store's history that it is a state of.
        epoch: String,
        /// The new state as it was then.
        state: Box<State>,
    },
    /// Entries were applied, in order. None comes twice.
    Entries(Vec<Entry>),
    /// Something passing.
    Signal(ServerSignal),
    /// Connected, and all that was missed has come.
    Online,
    /// The connection is gone; it is tried again after this long.
    Offline {
        /// How long.
        retry_in: Duration,
        /// Why it cannot be reached, if that is known.
        reason: Option<Arc<ClientError>>,
    },
    /// A message left the outbox.
    Sent {
        /// Which.
        client_id: String,
        /// What became of it.
        outcome: Outcome,
    },
    /// The server does not want this session back. Nothing more will come.
    Stopped(Refused),
}

/// Where the connection is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not connected, or not yet caught up.
    Offline,
    /// Caught up and live.
    Online,
    /// Ended for good by the server.
    Stopped(Refused),
    /// Closed by the program.
    Closed,
}

/// Where a client keeps things; what is absent is kept in memory only, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The file of the outbox; without it [`Client::post`] is refused while offline.
    pub outbox: Option<PathBuf>,
    /// The file of a cache to begin with. The client does not write it: only the program knows what of all it was
    /// told it has made use of, and so what a later one is still to be told.
    pub cache: Option<PathBuf>,
}

enum Ask {
    Command(Box<Command>, oneshot::Sender<Result<Reply, ClientError>>),
    Query(Query, oneshot::Sender<Result<Answer, ClientError>>),
    Signal(ClientSignal),
    Read(ConversationId, Seq),
    /// Something was put into the outbox.
    Outbox,
}

struct Shared {
    state: Mutex<Option<State>>,
    outbox: Option<Mutex<Outbox>>,
    status: watch::Sender<Status>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> Option<MutexGuard<'_, Outbox>> {
        self.outbox.as_ref().map(|outbox| outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A handle to a lasting connection.
pub struct Client {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
    happenings: Mutex<Option<mpsc::Receiver<Happening>>>,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts connecting, and goes on until [`Client::close`]. Returns at once; see [`Client::ready`].
    pub fn connect(server: Address, token: String, places: &Places) -> Result<Self, OutboxError> {
        let outbox = places.outbox.as_deref().map(Outbox::open).transpose()?.map(Mutex::new);
        let kept = places.cache.as_deref().and_then(|path| Cache::new(path).load());
        let (epoch, state) = kept.unzip();
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (tell, happenings) = mpsc::channel(HAPPENINGS_MAX);
        let (closing, closed) = watch::channel(false);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            outbox,
            status: watch::Sender::new(Status::Offline),
        });
        let task = task::Task::new(server, token, shared.clone(), asked, tell, closed, epoch);
        Ok(Self {
            shared,
            asks,
            happenings: Mutex::new(Some(happenings)),
            closing,
            task: tokio::spawn(task.run()),
        })
    }

    /// What happens, from now on. Can be taken once.
    pub fn events(&self) -> Option<mpsc::Receiver<Happening>> {
        self.happenings.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until the connection is live, or will never be.
    pub async fn ready(&self) -> Result<(), ClientError> {
        let mut status = self.shared.status.subscribe();
        loop {
            match &*status.borrow_and_update() {
                Status::Online => return Ok(()),
                Status::Stopped(refused) => return Err(refused.clone().into()),
                Status::Closed => return Err(ClientError::Closed),
                Status::Offline => {}
            }
            status.changed().await.map_err(|_| ClientError::Closed)?;
        }
    }

    /// Where the connection is now.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Looks at the state; `None` before the first snapshot. Must not wait inside.
    pub fn with_state<T>(&self, look: impl FnOnce(Option<&State>) -> T) -> T {
        look(self.shared.state().as_ref())
    }

    /// Asks for a change, once. For messages prefer [`Client::post`].
    pub async fn command(&self, command: Command) -> Result<Reply, ClientError> {
        let (tell, answer) = oneshot::channel();
        self.ask(Ask::Command(Box::new(command), tell), answer).await
    }

    /// Asks to read.
    pub async fn query(&self, query: Query) -> Result<Answer, ClientError> {
        let (tell, answer) = oneshot::channel();
        self.ask(Ask::Query(query, tell), answer).await
    }

    /// Puts a message into the outbox. When this returns it is on this machine's disk and will be sent once, now or
    /// when the server is there again; [`Happening::Sent`] says what became of it.
    pub async fn post(&self, draft: Draft) -> Result<(), OutboxError> {
        let shared = self.shared.clone();
        let adding = tokio::task::spawn_blocking(move || shared.outbox().map(|mut outbox| outbox.add(draft)));
        match adding.await.expect("adding does not panic") {
            Some(added) => added?,
            None => {
                let cause = std::io::ErrorKind::NotFound.into();
                return Err(OutboxError { doing: "open", path: String::new(), cause });
            }
        }
        // If the queue is full the task is busy anyway, and looks into the outbox at its next tick.
        let _ = self.asks.try_send(Ask::Outbox);
        Ok(())
    }

    /// Passes something on, if connected; typing and the like are worth nothing later.
    pub fn signal(&self, signal: ClientSignal) {
        if self.status() == Status::Online {
            let _ = self.asks.try_send(Ask::Signal(signal));
        }
    }

    /// Notes that one has read up to an entry, and tells the server within a quarter of a second.
    pub fn mark_read(&self, conversation: ConversationId, seq: Seq) {
        let moved = self.shared.state().as_mut().is_some_and(|state| state.mark_read(conversation, seq));
        if moved {
            let _ = self.asks.try_send(Ask::Read(conversation, seq));
        }
    }

    /// Says good-bye.
    pub async fn close(self) {
        self.closing.send_replace(true);
        let _ = self.task.await;
    }

    async fn ask<T>(
        &self,
        ask: Ask,
        answer: oneshot::Receiver<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let asking = async {
            self.asks.send(ask).await.map_err(|_| ClientError::Closed)?;
            answer.await.unwrap_or(Err(ClientError::Lost))
        };
        timeout(ANSWER_TIMEOUT, asking).await.unwrap_or(Err(ClientError::Lost))
    }
}
