//! The search index: a reader of the logs with its own thread and its own file, which can be rebuilt at any time.
//!
//! The writer tells it which logs have grown ([`SearchIndex::grown`]) and never waits for it.

use std::path::Path;

use chinwag_domain::{
    Known,
    port::Reader,
    reading::search::{Found, Wanted},
};
use chinwag_protocol::{LogId, Seq};

use super::files::OpenError;

/// See the module.
pub(super) struct SearchIndex {}

impl SearchIndex {
    /// Opens the index in `file`, which reads the store in `main`.
    pub(super) fn open(_file: &Path, _main: &Path) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// Hears that a log has grown; called by the writer after each commit.
    pub(super) fn grown(&self, _log: LogId, _head: Seq) {}

    /// Finds messages.
    pub(super) fn search(&self, reader: &dyn Reader, wanted: &Wanted) -> Known<Found> {
        crate::scan::scan(reader, wanted)
    }
}
