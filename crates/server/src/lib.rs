//! The shell of Chinwag: listeners, hub, messenger, HTTP and WebSocket.
//!
//! Everything outside the rules and the store lives here. Nothing here decides what anybody may do: requests are
//! translated, handed to the rules, and what comes of them is told.

pub mod ws;
