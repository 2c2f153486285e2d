//! A client of Chinwag without a screen: the connection, what is on its way out, and what is known.
//!
//! It shows nothing and decides nothing about looks; the command line, the terminal and programs use it.

pub mod sync;
