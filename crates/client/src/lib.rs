//! A client of Chinwag without a screen: the connection, what is on its way out, and what is known.
//!
//! It shows nothing and decides nothing about looks; the command line, the terminal and programs use it.

mod address;
pub mod cache;
mod connection;
pub mod credentials;
mod files;
mod http;
pub mod outbox;
pub mod sync;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chinwag_protocol::Millis;

pub use address::{Address, DEFAULT_PORT, NotAnAddress};
pub use connection::{ASKS_MAX, Client, HAPPENINGS_MAX, Happening, Places, Status};
pub use http::{ClientError, Http};

/// A new id for a command: 128 random bits, as text.
pub fn fresh_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// This machine's clock, for display and for forgetting; nothing is ordered by it.
pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
