//! The doors of the real binary, each with a small client of its own that knows nothing of ours.

mod across;
mod old;
mod pipe_line;
mod slow;
mod socket_io;
#[path = "../support/mod.rs"]
mod support;
mod tag_json;
mod tcp_json;
mod udp;
mod wires;
