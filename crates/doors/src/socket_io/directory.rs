//! Whom a link may see: asked at once, or if they are too many for that, page by page by their numbers, which the
//! directory gives out without large gaps.

use chinwag_protocol::{Answer, Profile, Query, UserId};

use crate::Given;

/// Users asked for at once, and pages of numbers at most.
const PAGE: u16 = 200;
const PAGES_MAX: usize = 10;

/// The users that one link may see.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Vec<UserId>,
    pages: u32,
}

impl Directory {
    /// The next page to ask for.
    pub(super) fn query(&self) -> Query {
        if self.pages == 0 {
            return Query::FindUsers { text: String::new(), limit: PAGE };
        }
        let first = (self.pages - 1) * u32::from(PAGE) + 1;
        Query::Users { users: (first..first + u32::from(PAGE)).map(UserId).collect() }
    }

    /// Takes a page in; whether there may be more.
    pub(super) fn take(&mut self, given: Option<&Given>) -> bool {
        self.pages += 1;
        let Some(Given::Answer(Answer::Users(profiles))) = given else { return false };
        self.users.extend(profiles.iter().filter(|profile| !profile.inactive).map(|profile| profile.id));
        self.users.sort_unstable();
        self.users.dedup();
        match self.pages {
            1 => profiles.len() >= usize::from(PAGE),
            pages => !profiles.is_empty() && pages as usize <= PAGES_MAX,
        }
    }

    /// Somebody came into being, changed, or is no longer there. Whether this changes who is in it.
    pub(super) fn follow(&mut self, profile: &Profile) -> bool {
        match self.users.binary_search(&profile.id) {
            Ok(at) if profile.inactive => {
                self.users.remove(at);
                true
            }
            Err(at) if !profile.inactive && self.users.len() < usize::from(PAGE) * PAGES_MAX => {
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
    fn few_users_are_asked_for_at_once() {
        let mut directory = Directory::default();
        assert_eq!(directory.query(), Query::FindUsers { text: String::new(), limit: 200 });
        assert!(!directory.take(Some(&page(1..200))));
        assert_eq!(directory.users().len(), 199);
    }

    #[test]
    fn many_are_asked_for_in_pages_until_one_is_empty_and_no_more_than_ten() {
        let mut directory = Directory::default();
        assert!(directory.take(Some(&page(151..351))));
        for (first, page) in [(1, page(1..201)), (201, page(201..380))] {
            let Query::Users { users } = directory.query() else { panic!() };
            assert_eq!((users[0], users[199]), (UserId(first), UserId(first + 199)));
            assert!(directory.take(Some(&page)));
        }
        assert!(!directory.take(Some(&page(0..0))));
        assert_eq!(directory.users().len(), 379);

        let mut endless = Directory::default();
        assert!(endless.take(Some(&page(1..201))));
        let pages =
            (0..).take_while(|number| endless.take(Some(&page(number * 200 + 1..number * 200 + 201))));
        assert_eq!(pages.count(), 9);
        assert_eq!(endless.users().len(), 2_000);
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
