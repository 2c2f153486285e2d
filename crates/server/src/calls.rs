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
