//! Doors to other chat systems, as administrators see them.

use serde::{Deserialize, Serialize};

/// A door of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DoorView {
    /// Its wire, such as `tcp_json`.
    pub name: String,
    /// The addresses at which it listens, or listened before it was stopped.
    pub listens: Vec<String>,
    /// Whether it is open.
    pub open: bool,
    /// Connections, or peers of a datagram socket, now.
    pub links: u32,
    /// What everybody who reaches it can do or see there.
    pub exposes: String,
}

/// Opens or stops a door until the server starts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetDoor {
    /// Which.
    pub name: String,
    /// Whether it is to be open.
    pub open: bool,
}
