//! What has to be done some time after an entry was recorded, and who waits for it.
//!
//! Only bells: what is to be done is read from the store, so nothing is lost when one rings while nobody listens,
//! and a restart begins with a look of its own.

use chinwag_protocol::Event;
use tokio::sync::Notify;

/// One bell for each chore.
#[derive(Default)]
pub struct Chores {
    /// Something that holds files is gone or has changed: they may go.
    pub files: Notify,
    /// A call was started or answered: its clock runs.
    pub calls: Notify,
}

impl Chores {
    /// Rings where an event asks for it.
    pub fn follow(&self, event: &Event) {
        match event {
            Event::Deleted { .. } | Event::Closed {} | Event::UserChanged { .. } => self.files.notify_one(),
            // Another picture, or none: nobody may show the one before any more.
            Event::Changed(change) if change.avatar.is_some() => self.files.notify_one(),
            Event::CallStarted { .. } => self.calls.notify_one(),
            _ => {}
        }
    }
}
