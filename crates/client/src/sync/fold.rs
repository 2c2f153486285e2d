//! What a later entry makes of a message.
//!
//! The same as the server's own projection does to the record of a message; the shared fixtures and the property
//! test keep the two together.

use chinwag_protocol::{Entry, Event, Item, MessageState, Reaction};

/// Folds an entry into the message it concerns; one that is already in there changes nothing.
pub fn fold(item: &mut Item, entry: &Entry) {
    let mut state = item.state.clone().unwrap_or_default();
    if entry.seq <= state.changed {
        return;
    }
    match &entry.event {
        Event::Message(_) => state.replies += 1,
        Event::Edited { text, .. } => {
            state.text = Some(text.clone());
            state.edited_at = Some(entry.at);
        }
        Event::Deleted { .. } => {
            erase(&mut item.entry);
            state = MessageState { deleted: true, replies: state.replies, ..MessageState::default() };
        }
        Event::Reacted { emoji, .. } => {
            match state.reactions.iter_mut().find(|reaction| reaction.emoji == *emoji) {
                Some(reaction) if reaction.users.contains(&entry.by) => {}
                Some(reaction) => reaction.users.push(entry.by),
                None => state.reactions.push(Reaction { emoji: emoji.clone(), users: vec![entry.by] }),
            }
        }
        Event::Unreacted { emoji, .. } => {
            for reaction in state.reactions.iter_mut().filter(|reaction| reaction.emoji == *emoji) {
                reaction.users.retain(|user| *user != entry.by);
            }
            state.reactions.retain(|reaction| !reaction.users.is_empty());
        }
        Event::Pinned { .. } => state.pinned = true,
        Event::Unpinned { .. } => state.pinned = false,
        _ => return,
    }
    state.changed = entry.seq;
    item.state = Some(state);
}

/// Takes the text out of an entry, as the server does when a message is deleted.
pub(super) fn erase(entry: &mut Entry) {
    match &mut entry.event {
        Event::Message(body) => {
            body.text.clear();
            body.attachments.clear();
        }
        Event::Edited { text, .. } => text.clear(),
        _ => {}
    }
}
