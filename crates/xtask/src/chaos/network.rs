//! Faults between server and clients: slow, stalled, cut and lying connections, floods.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[];
