//! What has to be done some time after an entry was recorded, and who waits for it.
//!
//! Only bells: what is to be done is read from the store, so nothing is lost when one rings while nobody listens,
//! and a restart begins with a look of its own.

use chinwag_protocol::Event;
use tokio::sync::Notify;

/// One bell for each chore.
#[derive(Default)]
pub struct Chores {
    /// A message was deleted: its files may go.
    pub files: Notify,
    /// A call was started or answered: its clock runs.
    pub calls: Notify,
}

impl Chores {
    /// Rings where an event asks for it.
    pub fn follow(&self, event: &Event) {
        match event {
            Event::Deleted { .. } => self.files.notify_one(),
            Event::CallStarted { .. } => self.calls.notify_one(),
            _ => {}
        }
    }
}
