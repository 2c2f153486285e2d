//! The doors of the real binary, each with a small client of its own that knows nothing of ours.

#[path = "../support/mod.rs"]
mod support;
mod udp;
