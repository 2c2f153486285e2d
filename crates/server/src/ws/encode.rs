//! Frames from the server: complete, final, never masked, each in one buffer that many connections can share.

use bytes::Bytes;
use serde::Serialize;

use super::CloseCode;

/// Room for the longest head of an unmasked frame.
const HEAD_MAX: usize = 10;

/// One text frame around a text that is already encoded.
pub fn encode_text(text: &[u8]) -> Bytes {
    let mut buffer = Vec::with_capacity(HEAD_MAX + text.len());
    buffer.resize(HEAD_MAX, 0);
    buffer.extend_from_slice(text);
    finish(0x1, buffer)
}

/// One text frame around a value as JSON, without a second copy of it.
///
/// # Errors
/// If the value has no JSON form, which our own frames always have.
pub fn encode_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut buffer = Vec::with_capacity(HEAD_MAX + 240);
    buffer.resize(HEAD_MAX, 0);
    serde_json::to_writer(&mut buffer, value)?;
    Ok(finish(0x1, buffer))
}

/// The text of a frame made by [`encode_text`] or [`encode_json`].
pub fn text_of(frame: &[u8]) -> &[u8] {
    let head = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEAD_MAX,
        _ => 2,
    };
    frame.get(head..).unwrap_or_default()
}

/// A close frame. The reason is cut to what fits, at the border of a character.
pub fn encode_close(code: CloseCode, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut buffer = vec![0; HEAD_MAX];
    buffer.extend_from_slice(&code.0.to_be_bytes());
    buffer.extend_from_slice(reason.as_bytes());
    finish(0x8, buffer)
}

/// A ping frame; what exceeds 125 bytes is cut.
pub fn encode_ping(payload: &[u8]) -> Bytes {
    control(0x9, payload)
}

/// A pong frame; answers a ping with the same payload.
pub fn encode_pong(payload: &[u8]) -> Bytes {
    control(0xa, payload)
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let mut buffer = vec![0; HEAD_MAX];
    buffer.extend_from_slice(&payload[..payload.len().min(125)]);
    finish(opcode, buffer)
}

/// Puts the head right before the payload, which begins at [`HEAD_MAX`], and cuts off what is unused.
fn finish(opcode: u8, mut buffer: Vec<u8>) -> Bytes {
    let len = buffer.len() - HEAD_MAX;
    let mut head = [0; HEAD_MAX];
    head[0] = 0x80 | opcode;
    let used = match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => {
            head[1] = short;
            2
        }
        (_, Ok(medium)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    let start = HEAD_MAX - used;
    buffer[start..HEAD_MAX].copy_from_slice(&head[..used]);
    Bytes::from(buffer).slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_shortest_form() {
        for (len, head) in [
            (0_usize, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = vec![b'x'; len];
            let frame = encode_text(&text);
            assert_eq!(frame[..head.len()], head, "{len}");
            assert_eq!(frame[head.len()..], text, "{len}");
        }
    }

    #[test]
    fn json_and_text_give_the_same_frame() {
        assert_eq!(encode_json(&["é", "b"]).unwrap(), encode_text("[\"é\",\"b\"]".as_bytes()));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = encode_close(CloseCode::POLICY, &"é".repeat(100));
        assert_eq!(frame[..4], [0x88, 2 + 122, 0x03, 0xf0]);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    #[test]
    fn control_payloads_stay_within_their_limit() {
        assert_eq!(encode_ping(&[7; 126])[..2], [0x89, 125]);
        assert_eq!(encode_pong(b"ab")[..], [0x8a, 2, b'a', b'b']);
    }
}
