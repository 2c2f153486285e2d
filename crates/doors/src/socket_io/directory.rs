//! Whom a link may see: asked page by page by their numbers, which the directory gives out without large gaps.

use chinwag_protocol::{Answer, Profile, Query, UserId};

use crate::Given;

/// Numbers asked for at once, and pages at most.
const PAGE: u32 = 200;
const PAGES_MAX: u32 = 10;

/// The users that one link may see.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Vec<UserId>,
    pages: u32,
}

impl Directory {
    /// The next page to ask for.
    pub(super) fn query(&self) -> Query {
        let first = self.pages * PAGE + 1;
        Query::Users { users: (first..first + PAGE).map(UserId).collect() }
    }

    /// Takes a page in; whether there may be more.
    pub(super) fn take(&mut self, given: Option<&Given>) -> bool {
        self.pages += 1;
        let Some(Given::Answer(Answer::Users(profiles))) = given else { return false };
        self.users.extend(profiles.iter().filter(|profile| !profile.inactive).map(|profile| profile.id));
        self.users.sort_unstable();
        self.users.dedup();
        !profiles.is_empty() && self.pages < PAGES_MAX
    }

    /// Somebody came into being, changed, or is no longer there. Whether this changes who is in it.
    pub(super) fn follow(&mut self, profile: &Profile) -> bool {
        match self.users.binary_search(&profile.id) {
            Ok(at) if profile.inactive => {
                self.users.remove(at);
                true
            }
            Err(at) if !profile.inactive && self.users.len() < (PAGE * PAGES_MAX) as usize => {
                self.users.insert(at, profile.id);
                true
            }
            _ => false,
        }
    }

    pub(super) fn contains(&self, user: UserId) -> bool {
        self.users.binary_search(&user).is_ok()
    }

    pub(super) fn users(&self) -> &[UserId] {
        &self.users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: u32, inactive: bool) -> Profile {
        let json = format!(
            r#"{{"id":{id},"handle":"u{id}","name":"","hue":0,"kind":"person","inactive":{inactive}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn page(ids: std::ops::Range<u32>) -> Given {
        Given::Answer(Answer::Users(ids.map(|id| profile(id, false)).collect()))
    }

    #[test]
    fn pages_are_asked_until_one_is_empty_and_no_more_than_ten() {
        let mut directory = Directory::default();
        assert!(directory.take(Some(&page(1..201))));
        let Query::Users { users } = directory.query() else { panic!() };
        assert_eq!((users[0], users[199]), (UserId(201), UserId(400)));
        assert!(!directory.take(Some(&page(0..0))));
        assert_eq!(directory.users().len(), 200);

        let mut endless = Directory::default();
        let pages = (0..)
            .take_while(|page_of| endless.take(Some(&page(page_of * 200 + 1..page_of * 200 + 201))))
            .count();
        assert_eq!((pages, endless.users().len()), (9, 2_000));
        assert!(!endless.follow(&profile(3_000, false)), "no more than 2,000");
    }

    #[test]
    fn who_comes_and_goes_is_followed() {
        let mut directory = Directory::default();
        assert!(!directory.take(None));
        assert!(directory.follow(&profile(7, false)) && directory.contains(UserId(7)));
        assert!(!directory.follow(&profile(7, false)));
        assert!(directory.follow(&profile(7, true)) && !directory.contains(UserId(7)));
        assert!(!directory.follow(&profile(8, true)));
    }
}
