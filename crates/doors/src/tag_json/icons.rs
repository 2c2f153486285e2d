//! Pictures of people, groups and channels as `ICON`: which are at hand, and which have to be got before something
//! can be told.
//!
//! A record is told with the pictures that are at hand; one that is too large, or cannot be had, is empty, and the
//! rest of the record is whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_protocol::{ConversationId, FileId, Portrayed, Refused, UserId};
use serde_json::Value;

use super::{
    Shared,
    dialect::Asked,
    place::Roll,
    session::{Aside, Doing, Gathering, Session},
    wire,
};
use crate::{Given, Moment, Question};

/// A larger picture is told as empty; the same bound as for the media of a chat.
const ICON_MAX: u64 = 512 * 1024;

/// What all pictures of one tag may take, as they are written in it.
pub(super) const TAG_ICONS_MAX: usize = 768 * 1024;

/// What the door keeps at hand for all its clients, as it is written.
const KEPT_MAX: usize = 4 * 1024 * 1024;

/// Pictures that were told lately, in base64.
#[derive(Debug, Default)]
pub(super) struct Icons {
    kept: BTreeMap<FileId, String>,
    order: VecDeque<FileId>,
    bytes: usize,
}

impl Icons {
    fn put(&mut self, file: FileId, icon: String) {
        if self.kept.contains_key(&file) {
            return;
        }
        self.bytes += icon.len();
        self.kept.insert(file, icon);
        self.order.push_back(file);
        while self.bytes > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |icon| icon.len());
        }
    }

    /// How a picture reads: empty if there is none, or none at hand.
    pub(super) fn of(&self, avatar: Option<FileId>) -> &str {
        avatar.and_then(|file| self.kept.get(&file)).map_or("", String::as_str)
    }

    pub(super) fn has(&self, file: FileId) -> bool {
        self.kept.contains_key(&file)
    }
}

/// What is told when its pictures are at hand.
pub(super) enum Then {
    Data(Gathering),
    Contact(Asked, UserId),
    Joined(Asked, Roll),
    /// Entries are held for these.
    Entered(Roll),
    Changed(Roll, Vec<(String, Value)>),
    /// What changed of somebody, with his picture.
    Profile(UserId, Vec<(String, Value)>),
    /// Somebody's picture alone, for whom a record went out without it.
    Late(UserId),
}

/// On the way to it.
pub(super) struct Illustrating {
    then: Then,
    /// Which one is being got.
    file: FileId,
    tried: BTreeSet<FileId>,
    bytes: usize,
}

impl Session {
    /// Gets the pictures that are not at hand, one after the other, and then tells it.
    pub(super) fn illustrate(&mut self, then: Then, now: Moment, shared: &mut Shared) {
        let begin = Illustrating { then, file: FileId([0; 32]), tried: BTreeSet::new(), bytes: 0 };
        self.next_icon(begin, now, shared);
    }

    /// Gets somebody's picture, and then tells it.
    pub(super) fn first_icon(&self, then: Then, user: UserId, file: FileId, shared: &mut Shared) {
        let on_the_way = Illustrating { then, file, tried: BTreeSet::from([file]), bytes: 0 };
        let question = Question::Avatar { of: Portrayed::User(user), file, bytes_max: ICON_MAX };
        self.aside(Aside::Icon(on_the_way), question, shared);
    }

    pub(super) fn icon_done(
        &mut self,
        mut on_the_way: Illustrating,
        result: Result<Given, Refused>,
        now: Moment,
        shared: &mut Shared,
    ) {
        if let Ok(Given::File(bytes)) = result {
            let icon = wire::base64(&bytes);
            on_the_way.bytes += icon.len();
            shared.icons.put(on_the_way.file, icon);
        }
        self.next_icon(on_the_way, now, shared);
    }

    fn next_icon(&mut self, mut on_the_way: Illustrating, now: Moment, shared: &mut Shared) {
        let wanted = self.wanted(&on_the_way.then, shared).into_iter().find(|(_, file)| {
            !shared.icons.has(*file) && !on_the_way.tried.contains(file) && on_the_way.bytes < TAG_ICONS_MAX
        });
        let Some((of, file)) = wanted else { return self.illustrated(on_the_way.then, now, shared) };
        on_the_way.tried.insert(file);
        on_the_way.file = file;
        let question = Question::Avatar { of, file, bytes_max: ICON_MAX };
        match on_the_way.then {
            Then::Data(_) | Then::Contact(..) | Then::Joined(..) => {
                self.ask(Doing::Icon(on_the_way), question, shared);
            }
            _ => self.aside(Aside::Icon(on_the_way), question, shared),
        }
    }

    /// The pictures that something would be told with.
    fn wanted(&self, then: &Then, shared: &Shared) -> Vec<(Portrayed, FileId)> {
        let Some(place) = &self.place else { return Vec::new() };
        let of_user = |user: UserId| {
            let avatar = shared.desk.people.get(user).and_then(|profile| profile.avatar);
            avatar.map(|file| (Portrayed::User(user), file))
        };
        let of_room = |id: ConversationId| {
            let avatar = place.seat.room(id).and_then(|room| room.avatar);
            avatar.map(|file| (Portrayed::Conversation(id), file))
        };
        match then {
            Then::Data(gathering) => {
                let users = std::iter::once(place.seat.me).chain(place.contacts.iter().copied());
                let rooms = gathering.records.iter().filter_map(|(_, id, _)| of_room(*id));
                users.filter_map(of_user).chain(rooms).collect()
            }
            Then::Contact(_, user) | Then::Profile(user, _) | Then::Late(user) => {
                of_user(*user).into_iter().collect()
            }
            Then::Joined(_, roll) | Then::Entered(roll) => of_room(roll.conversation).into_iter().collect(),
            Then::Changed(roll, fields) => {
                let is_new = fields.iter().any(|(key, _)| key == "icon");
                of_room(roll.conversation).filter(|_| is_new).into_iter().collect()
            }
        }
    }

    fn illustrated(&mut self, then: Then, now: Moment, shared: &mut Shared) {
        match then {
            Then::Data(gathering) => self.gathered(gathering, now, shared),
            Then::Contact(asked, user) => self.contact_told(&asked, user, shared),
            Then::Joined(asked, roll) => self.joined(&asked, &roll, shared),
            Then::Entered(roll) => {
                self.tell_entered(&roll, shared);
                self.go(shared);
            }
            Then::Changed(roll, fields) => {
                self.tell_changed(&roll, fields, shared);
                self.go(shared);
            }
            Then::Profile(user, fields) => {
                self.tell_profile(user, fields, shared);
                self.go(shared);
            }
            Then::Late(user) => self.tell_profile(user, Vec::new(), shared),
        }
    }
}

/// Empties the pictures of these records that one tag has no room for, the last ones first to go.
pub(super) fn fit<'r>(records: impl Iterator<Item = &'r mut Value>) {
    let mut left = TAG_ICONS_MAX;
    for icon in records.filter_map(|record| record.get_mut("ICON")) {
        let bytes = icon.as_str().map_or(0, str::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => *icon = "".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_at_hand_is_bounded_and_the_oldest_goes() {
        let mut icons = Icons::default();
        let file = |number: u8| FileId([number; 32]);
        for number in 0..9 {
            icons.put(file(number), "A".repeat(KEPT_MAX / 8));
            icons.put(file(number), "again".into());
        }
        assert_eq!((icons.kept.len(), icons.bytes), (8, KEPT_MAX));
        assert_eq!((icons.of(Some(file(0))), icons.of(None)), ("", ""));
        assert_eq!(icons.of(Some(file(8))).len(), KEPT_MAX / 8);
    }

    #[test]
    fn pictures_that_one_tag_has_no_room_for_are_empty() {
        let icon = |bytes: usize| json!({ "ID": "x", "ICON": "A".repeat(bytes) });
        let mut records = [icon(TAG_ICONS_MAX - 2), icon(3), icon(2), icon(1), json!({})];
        fit(records.iter_mut());
        let left = records.each_ref().map(|record| record["ICON"].as_str().map(str::len));
        assert_eq!(left, [Some(TAG_ICONS_MAX - 2), Some(0), Some(2), Some(0), None]);
    }
}
