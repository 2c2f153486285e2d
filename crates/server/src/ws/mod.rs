//! Our side of the WebSocket wire (RFC 6455): the handshake, and a codec without I/O.
//!
//! The codec turns bytes into messages and messages into bytes; it reads no socket and keeps no buffer while
//! nothing is under way, because most connections are idle most of the time. It is strict: whatever the RFC
//! forbids ends the connection with the close code that the RFC names. No extension is offered, in particular no
//! compression: an attacker could make it expand, and frames shared by many connections are encoded once.

mod decode;
mod encode;
mod handshake;

pub use decode::{CloseCode, Decoder, Message, Sizes};
pub use encode::{encode_close, encode_json, encode_ping, encode_pong, encode_text, text_of};
pub use handshake::{Handshake, accept};
