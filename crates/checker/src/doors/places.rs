//! The conversations of a run, and what they are called on each wire.

/// A conversation.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: u32,
    /// Of a group; none for a private conversation.
    pub(super) handle: Option<String>,
    /// The handles of those who are in it.
    pub(super) members: Vec<String>,
}

impl Place {
    /// The other one of a private conversation.
    pub(super) fn other(&self, own: &str) -> Option<&str> {
        let other = self.members.iter().find(|member| *member != own);
        other.filter(|_| self.handle.is_none()).map(String::as_str)
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(pub(super) Vec<Place>);

impl Places {
    /// The group of a handle, in any case.
    pub(super) fn group(&self, handle: &str) -> u32 {
        let is_it =
            |place: &&Place| place.handle.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(handle));
        self.0.iter().find(is_it).map_or(0, |place| place.id)
    }

    /// The private conversation of two; zero if there should be none.
    pub(super) fn between(&self, one: &str, other: &str) -> u32 {
        let is_it = |place: &&Place| {
            place.handle.is_none()
                && [one, other].iter().all(|name| place.members.iter().any(|member| member == name))
        };
        self.0.iter().find(is_it).map_or(0, |place| place.id)
    }
}
