//! The hub and a store's queue once more, compiled over a scheduler that tries out who goes on.
//!
//! The files are those of `crates/server` and `crates/store`, read by their paths, so it is our own code that is
//! explored and no model of it. What threads meet at they take from `crate::sync`: there it is the system's, here it
//! is [`sync`], where every lock, queue and wake-up is a place at which another thread may go on instead. A crate of
//! its own, because a feature of the server's would reach the real binary whenever both are built together.
//!
//! Of the store on disk it is the queue of the writer, the threads that sync, the readers and the order in which they
//! end, over a model of a disk ([`disk`]). The same files are compiled once more for each of the changes
//! that `build.rs` makes to them, which break something ([`BROKEN`]).
//!
//! Nothing here is used by the server; the tests beside it are what it is for.
#![allow(unreachable_pub, dead_code, reason = "what the real crates use of these files is used there")]
#![allow(unexpected_cfgs, reason = "features of the real crates are none of this one")]

pub mod sync;

pub mod disk;
#[path = "../../store/src/engine.rs"]
mod engine;
#[path = "../../server/src/hub/mod.rs"]
pub mod hub;
#[path = "../../store/src/memory/mod.rs"]
pub mod memory;
#[path = "../../store/src/scan.rs"]
mod scan;
#[path = "../../server/src/sessions.rs"]
pub mod sessions;
mod ws;

#[allow(warnings, reason = "what is broken on purpose need not be tidy")]
mod broken {
    include!(concat!(env!("OUT_DIR"), "/broken.rs"));
}
pub use broken::BROKEN;
