//! How an entry reads on a wire that has no word for it: one line of plain text.

use chinwag_protocol::{Entry, Event, UserId};

/// What an entry says to a person, if it says anything worth a line.
///
/// A message reads as it was typed. `name` tells what somebody is called on this wire.
pub fn line(entry: &Entry, name: impl Fn(UserId) -> String) -> Option<String> {
    match &entry.event {
        Event::Message(body) => Some(body.text.clone()),
        Event::Edited { text, .. } => Some(format!("[edited] {text}")),
        Event::Deleted { .. } => Some("[deleted a message]".to_owned()),
        Event::Joined { user, .. } => Some(format!("[joined] {}", name(*user))),
        Event::Left { user } => Some(format!("[left] {}", name(*user))),
        Event::Removed { user, .. } => Some(format!("[removed] {}", name(*user))),
        Event::Closed {} => Some("[closed]".to_owned()),
        _ => None,
    }
}
