//! The clock of calls: ends those that nobody answers, and those that nobody ever ends.
//!
//! It remembers nothing. Which calls go on, and since when, is read from the store, so a restart changes nothing;
//! whether the time of one has come is decided by the rule.

use std::{sync::Arc, time::Duration};

use chinwag_domain::Request;
use chinwag_protocol::Refused;
use tokio_util::sync::CancellationToken;

use crate::{chores::Chores, messenger::Messenger};

/// How soon it looks again after trouble, and at the latest.
const RETRY: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(60);

/// Works until the server goes down.
pub async fn watch_calls(messenger: Messenger, chores: Arc<Chores>, shutdown: CancellationToken) {
    let work = async {
        loop {
            let wait = match end_what_is_due(&messenger).await {
                Ok(wait) => wait,
                Err(refused) => {
                    tracing::warn!(%refused, "calls cannot be looked at");
                    RETRY
                }
            };
            // Whichever comes first.
            let _ = tokio::time::timeout(wait, chores.calls.notified()).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// Ends calls whose time has come; answers how long nothing is due.
async fn end_what_is_due(messenger: &Messenger) -> Result<Duration, Refused> {
    let mut wait = EVERY;
    for call in messenger.read(|reader| reader.open_calls()).await? {
        let left = call.ends_at().0.saturating_sub(messenger.now().0);
        match u64::try_from(left) {
            Ok(left) if left > 0 => wait = wait.min(Duration::from_millis(left)),
            _ => {
                let (conversation, call) = (call.conversation, call.view.call);
                messenger.transacted(Request::ExpireCall { conversation, call }).await?;
            }
        }
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use chinwag_domain::{Actor, Publish, bots::Poems, limits::Limits, port::Done};
    use chinwag_protocol::{
        CallEnd, CallMedia, Command, ConversationId, Event, LogId, Millis, Registration, Reply, Seq,
    };
    use chinwag_store::{memory::MemoryStore, objects::FolderObjects};

    use super::*;
    use crate::{
        hub,
        limit::Limiter,
        messenger::{Parts, decide},
        sessions::Sessions,
    };

    struct Tell;

    impl Publish for Tell {
        fn publish(&self, batch: Vec<chinwag_domain::Committed>) {
            for committed in batch {
                (committed.ticket)(committed.verdict);
            }
        }
    }

    /// A messenger over a store in memory, with a clock that is set by hand.
    fn messenger(time: &Arc<AtomicI64>, files: &std::path::Path) -> Messenger {
        let now = Arc::clone(time);
        let clock: hub::Clock = Arc::new(move || Millis(now.load(Ordering::Relaxed)));
        let store = MemoryStore::new(Arc::new(decide), Arc::clone(&clock), Arc::new(Tell));
        let parts = Parts {
            store: Arc::new(store),
            hub: hub::channel().0,
            sessions: Arc::<Sessions>::default(),
            limiter: Arc::new(Limiter::new(&Limits::default())),
            objects: Arc::new(FolderObjects::open(&files.join("files")).unwrap()),
            poems: Poems::built_in(),
            clock,
        };
        Messenger::new(parts)
    }

    async fn register(messenger: &Messenger, handle: &str, token: u8) -> Actor {
        let prepared = chinwag_domain::Prepared {
            password: Some("hash".into()),
            token: Some(chinwag_domain::Token { plain: String::new(), hash: [token; 32] }),
            ..Default::default()
        };
        let (handle, device, door) = (handle.to_owned(), "test".to_owned(), String::new());
        let request = Request::Register { handle, invite: None, prepared, device, door };
        match messenger.transacted(request).await.unwrap() {
            Done::SignedIn { user, session } => Actor { user, session, door: None },
            other => panic!("{other:?}"),
        }
    }

    async fn ends(messenger: &Messenger, conversation: ConversationId) -> Vec<CallEnd> {
        let log = LogId::Conversation(conversation);
        let entries =
            messenger.read(move |reader| reader.entries(log, Seq(0), Seq(1_000), 100)).await.unwrap();
        let ended = |event| match event {
            Event::CallEnded { reason, .. } => Some(reason),
            _ => None,
        };
        entries.into_iter().filter_map(|entry| ended(entry.event)).collect()
    }

    #[tokio::test]
    async fn a_call_is_missed_after_a_minute_whoever_remembers_it() {
        let (time, folder) = (Arc::new(AtomicI64::new(1_000_000)), tempfile::tempdir().unwrap());
        let messenger = messenger(&time, folder.path());
        messenger.transacted(Request::Found { registration: Registration::Open, setup: None }).await.unwrap();
        let (anna, ben) = (register(&messenger, "anna", 1).await, register(&messenger, "ben", 2).await);
        let opened = messenger.command(&anna, Command::OpenDirect { user: ben.user }).await.unwrap();
        let Reply::Conversation { conversation } = opened else { panic!("{opened:?}") };
        assert_eq!(end_what_is_due(&messenger).await.unwrap(), EVERY, "nothing rings");
        let start = Command::StartCall { conversation, client_id: "c".into(), media: CallMedia::Audio };
        messenger.command(&anna, start).await.unwrap();
        time.fetch_add(20_000, Ordering::Relaxed);
        assert_eq!(end_what_is_due(&messenger).await.unwrap(), Duration::from_secs(40));
        assert!(ends(&messenger, conversation).await.is_empty());
        // The function remembers nothing between two calls of it: what a restart is like.
        time.fetch_add(40_000, Ordering::Relaxed);
        assert_eq!(end_what_is_due(&messenger).await.unwrap(), EVERY);
        assert_eq!(ends(&messenger, conversation).await, [CallEnd::Missed]);
    }
}
