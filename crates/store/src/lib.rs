//! The truth of Chinwag: logs and records, in memory and in SQLite, behind one narrow trait.
//!
//! An engine decides requests one after the other with the rules that it is given, keeps what they came to, and
//! tells it after it is safe. It knows no rule itself. One suite of tests runs over every engine.

#[cfg(feature = "canaries")]
pub mod canary;
mod engine;
mod scan;
mod sync;

pub mod memory;
pub mod objects;
pub mod sqlite;

pub use engine::{Clock, Decide, told};

#[cfg(test)]
mod suite;
