//! Who people are: what a door was told of them, by number and by handle.

use std::collections::BTreeMap;

use chinwag_protocol::{Profile, UserId};

/// Everybody that a door has heard of. Shared by all its links: it holds names, and no rights.
#[derive(Debug, Default)]
pub struct People {
    profiles: BTreeMap<UserId, Profile>,
    handles: BTreeMap<String, UserId>,
}

impl People {
    /// Takes note of who somebody is now; answers who he was, if he was known.
    pub fn tell(&mut self, profile: &Profile) -> Option<Profile> {
        let before = self.profiles.insert(profile.id, profile.clone());
        if let Some(before) = &before {
            let old = fold(&before.handle);
            if self.handles.get(&old) == Some(&profile.id) {
                self.handles.remove(&old);
            }
        }
        self.handles.insert(fold(&profile.handle), profile.id);
        before
    }

    /// Somebody's profile.
    pub fn get(&self, user: UserId) -> Option<&Profile> {
        self.profiles.get(&user)
    }

    /// Somebody's handle; of one never heard of, which the listener does not let happen, his number.
    pub fn handle(&self, user: UserId) -> String {
        self.get(user).map_or_else(|| format!("user-{user}"), |profile| profile.handle.clone())
    }

    /// Who has a handle, in any case, as far as this door has heard. Whether he may be seen, only the server says.
    pub fn by_handle(&self, handle: &str) -> Option<&Profile> {
        self.get(*self.handles.get(&fold(handle))?)
    }
}

/// Handles are the same whatever their case.
pub(crate) fn fold(handle: &str) -> String {
    handle.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: u32, handle: &str) -> Profile {
        let json = format!(r#"{{"id":{id},"handle":"{handle}","name":"{handle}","hue":0,"kind":"person"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_handle_is_found_in_any_case_and_follows_its_owner() {
        let mut people = People::default();
        people.tell(&profile(2, "Anna"));
        assert_eq!(people.by_handle("aNNA").map(|found| found.id), Some(UserId(2)));
        people.tell(&profile(2, "Annika"));
        assert_eq!(people.by_handle("anna"), None);
        people.tell(&profile(3, "anna"));
        people.tell(&profile(2, "Ann"));
        assert_eq!(people.by_handle("Anna").map(|found| found.id), Some(UserId(3)));
        assert_eq!(people.handle(UserId(2)), "Ann");
    }
}
