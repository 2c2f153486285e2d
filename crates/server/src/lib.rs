//! The shell of Chinwag: listeners, hub, messenger, HTTP and WebSocket.
//!
//! Everything outside the rules and the store lives here. Nothing here decides what anybody may do: requests are
//! translated, handed to the rules, and what comes of them is told.

mod audit;
pub mod behind;
pub mod calls;
pub mod chores;
pub mod config;
pub mod connection;
pub mod files;
pub mod hashing;
pub mod http;
pub mod hub;
pub mod import;
pub mod limit;
pub mod listen;
pub mod log;
pub mod messenger;
mod sending;
pub mod serve;
pub mod sessions;
pub mod shared;
mod signed_in;
mod sync;
mod upgrade;
pub mod ws;

/// How many bytes the files of messages in a data folder take, and how many there are.
pub fn files_used(data: &std::path::Path) -> Result<(u64, u64), chinwag_store::objects::ObjectError> {
    chinwag_store::objects::look_at(data).used()
}

pub use chinwag_store::sqlite::{Manifest, Want, backup, restore, scrub};
