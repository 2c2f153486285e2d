//! The rules of Chinwag: who may do what, and what follows from it.
//!
//! Everything here is a pure function of facts: no clock, no socket, no SQL, no randomness. A command is decided
//! over a [`Plan`], which collects the events it leads to and, through [`project`], the records these events
//! change. Stores run the plan in a transaction and keep what it says; they know no rule.
//!
//! Invariant: an identity is never read from a command. It is in [`Actor`], which comes from the session.

pub mod bots;
pub mod facts;
pub mod limits;
pub mod names;
pub mod plan;
pub mod policy;
pub mod port;
pub mod project;
pub mod rate;
pub mod reading;
pub mod record;
pub mod rules;
#[cfg(test)]
mod testing;
pub mod text;

pub use facts::{Facts, Failed, Known, Stop};
pub use plan::Plan;
pub use port::{Actor, Ask, Committed, Prepared, Publish, Reader, Request, Store, Ticket, Token};
