//! Reading for one viewer: what he may see, and how it looks.

pub mod search;
