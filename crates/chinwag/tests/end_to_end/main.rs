//! The real binary over real sockets: what no inner test can show.
//!
//! Each test starts its own server on a free port with a data folder of its own and ends it by its process id.
//! The clients here share no code with the server's side of the wire, only the words of the protocol.

mod delivery;
mod durability;
mod files;
mod members;
mod operation;
#[path = "../support/mod.rs"]
mod support;
