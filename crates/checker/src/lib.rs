//! Judges from outside what a server promises: many clients do things and note everything they ask and hear in a
//! history; a judge then reads the history and looks for contradictions.
//!
//! Shares no code with the server, only the words of the protocol. The judge reads nothing but the history, so a
//! history can be kept, judged again, and made by hand.

mod client;
pub mod doors;
pub mod history;
pub mod judge;
mod net;
pub mod random;
pub mod workload;

pub use history::{History, Record};
pub use judge::Report;
pub use random::Random;
