//! Faults of what lies on the disk and around the process: damaged and old stores, rights, memory, clocks, logs.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[];
