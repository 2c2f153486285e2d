//! What both engines share: how the rules and the clock come in, and the refusals that are a store's own.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use chinwag_domain::{
    Failed, Known, Plan, Request, Stop,
    port::{Done, Verdict},
};
use chinwag_protocol::{Command, Entry, Event, Kind, Millis, Refused};

use crate::sync::thread::{self, JoinHandle};

/// The rules: what a request leads to. In the server it is `chinwag_domain::rules::decide`.
pub type Decide = Arc<dyn Fn(&mut Plan<'_>, &Request) -> Known<Done> + Send + Sync>;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The most that one page of entries may weigh, roughly; a single larger entry is still returned.
pub(crate) const PAGE_BYTES: usize = 1024 * 1024;

/// How many requests may wait for the writer.
pub(crate) const QUEUE: usize = 4_096;

/// How many requests one transaction takes at most.
pub(crate) const BATCH: usize = 2_048;

/// How many readings may wait for a reader.
pub(crate) const READING_QUEUE: usize = 4_096;

/// The queue is full: asking again soon makes sense.
pub(crate) fn busy() -> Refused {
    Refused::too_many("busy", "the server has more to do than it can; try again in a moment", 100)
}

/// The store has stopped: nobody knows what became of the request.
pub(crate) fn stopped() -> Refused {
    Refused::new(
        Kind::Unavailable,
        "unavailable",
        "the server is stopping; ask again with the same client id",
    )
}

/// The disk is full: nothing was stored.
pub(crate) fn storage_full() -> Refused {
    let refused = Refused::new(
        Kind::StorageFull,
        "storage_full",
        "the server's disk is full; reading and deleting still work",
    );
    Refused { retry_after_ms: Some(5_000), ..refused }
}

/// Turns our own trouble into what the asker may know of it: a number that stands in the log too.
pub(crate) fn failed(failed: &Failed) -> Refused {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    tracing::error!(number, doing = %failed.doing, cause = %failed.cause, "a request failed");
    Refused::new(
        Kind::Unavailable,
        "failed",
        format!("something went wrong on the server, number {number} in its log"),
    )
}

/// What whoever asked hears instead of an answer. The one place that numbers failures, for the server too.
pub fn told(stop: Stop) -> Refused {
    match stop {
        Stop::Refused(refused) => refused,
        Stop::Failed(trouble) => failed(&trouble),
    }
}

/// The verdict on a request that ended without a plan.
pub(crate) fn verdict_of(stop: Stop) -> Verdict {
    Err(told(stop))
}

/// Says that a rule panicked, which is a mistake of ours and must not end the writer.
pub(crate) fn panicked() -> Stop {
    Failed::new("cannot decide a request", "the rule panicked").into()
}

/// Whether a request makes room rather than taking it: what a full disk still allows.
pub(crate) fn makes_room(request: &Request) -> bool {
    let Request::Command { command, .. } = request else { return false };
    matches!(
        command,
        Command::Delete { .. }
            | Command::CloseConversation { .. }
            | Command::DeleteAccount { .. }
            // Small, and somebody's safety may hang on them.
            | Command::EndSession { .. }
            | Command::EndOtherSessions { .. }
            | Command::EndSessionsOf { .. }
            | Command::RevokeAppPassword { .. }
            | Command::Suspend { .. }
    )
}

/// Takes the text out of an event and leaves everything else.
pub(crate) fn erase(event: &mut Event) {
    match event {
        Event::Message(body) => {
            body.text.clear();
            body.attachments.clear();
        }
        Event::Edited { text, .. } => text.clear(),
        _ => {}
    }
}

/// Roughly how much an entry weighs on a page.
pub(crate) fn weight(entry: &Entry) -> usize {
    let text = match &entry.event {
        Event::Message(body) => body.text.len() + body.attachments.len() * 256,
        Event::Edited { text, .. } => text.len(),
        _ => 256,
    };
    text + 128
}

/// Waits for threads to end, but not for the one it is called from.
pub(crate) fn join(threads: impl Iterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.thread().id() != thread::current().id() {
            // A panic in it was caught and logged where it happened.
            let _ = thread.join();
        }
    }
}
