//! The codec of frames as far as the hub and those who listen to it need it.

#[path = "../../server/src/ws/decode.rs"]
mod decode;
#[path = "../../server/src/ws/encode.rs"]
mod encode;

pub use decode::CloseCode;
pub use encode::encode_text;
