//! Bytes from a client into messages, strictly and without trusting a claimed length.
//!
//! Does not read a socket and does not answer: the connection does. Invariant: memory held is at most what was
//! received of the message under way, whatever its head claims; between messages it is nothing.

use std::fmt;

/// Why a connection is closed, as the wire says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server is going down or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The other side broke RFC 6455.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data that is not accepted, such as binary.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const NOT_UTF8: Self = Self(1007);
    /// Our rules forbid it: not signed in in time, far too fast.
    pub const POLICY: Self = Self(1008);
    /// A message above its limit.
    pub const TOO_BIG: Self = Self(1009);
    /// Our trouble.
    pub const INTERNAL: Self = Self(1011);
    /// Too many connections: come back later.
    pub const TRY_LATER: Self = Self(1013);

    /// Whether an endpoint may put this code into a close frame.
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client said, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Is anybody there; answer with a pong that holds the same.
    Ping(Vec<u8>),
    /// The answer to a ping, or unasked.
    Pong(Vec<u8>),
    /// The last message: nothing may follow. `None`: no code was given.
    Close(Option<(CloseCode, String)>),
}

/// How large a client's messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of a whole message.
    pub message_bytes_max: usize,
    /// Bytes of one frame.
    pub frame_bytes_max: usize,
    /// Frames of one message.
    pub fragments_max: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { message_bytes_max: 65_536, frame_bytes_max: 65_536, fragments_max: 16 }
    }
}

/// The longest head of a masked frame: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;
/// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less".
const CONTROL_BYTES_MAX: u64 = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// The frame whose payload is being received.
#[derive(Clone, Copy)]
struct Frame {
    kind: Kind,
    last: bool,
    mask: [u8; 4],
    left: usize,
}

/// Puts messages together from pieces of a stream, however it was cut.
pub struct Decoder {
    sizes: Sizes,
    head: [u8; HEAD_MAX],
    head_len: u8,
    frame: Option<Frame>,
    /// The kind of the message under way between its fragments, and how many fragments it had.
    message: Option<(Kind, u32)>,
    data: Vec<u8>,
    control: Vec<u8>,
    closed: bool,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            head: [0; HEAD_MAX],
            head_len: 0,
            frame: None,
            message: None,
            data: Vec::new(),
            control: Vec::new(),
            closed: false,
        }
    }

    /// Takes bytes from the front of `input` until a message is complete or nothing is left.
    ///
    /// Call it again with the rest until it answers `None`.
    ///
    /// # Errors
    /// With the code to close the connection with. Nothing may be fed after that.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Message>, CloseCode> {
        loop {
            if self.closed {
                // "After receiving a Close frame, an endpoint discards any further data": we end it instead.
                return if input.is_empty() { Ok(None) } else { Err(CloseCode::PROTOCOL) };
            }
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.begin(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            self.take_payload(&mut frame, input);
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(message) = self.end(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Whether part of a message has been received.
    pub fn is_midway(&self) -> bool {
        self.head_len > 0 || self.frame.is_some() || self.message.is_some()
    }

    /// Collects the head of a frame and judges it as early as possible.
    fn begin(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, CloseCode> {
        loop {
            let have = usize::from(self.head_len);
            let need = match have {
                0 | 1 => 2,
                _ => head_len(self.head[1]),
            };
            if have >= 2 && have == need {
                self.head_len = 0;
                return self.judge().map(Some);
            }
            if input.is_empty() {
                return Ok(None);
            }
            let take = (need - have).min(input.len());
            let (now, later) = input.split_at(take);
            self.head[have..have + take].copy_from_slice(now);
            *input = later;
            self.head_len += u8::try_from(take).expect("a head has at most 14 bytes");
            if have < 2 && self.head_len >= 2 {
                self.judge_first_bytes()?;
            }
        }
    }

    /// What can be refused before the length has come.
    fn judge_first_bytes(&self) -> Result<(), CloseCode> {
        let [first, second] = [self.head[0], self.head[1]];
        let opcode = first & 0x0f;
        let known = matches!(opcode, 0..=2 | 8..=10);
        let reserved_bits = first & 0x70 != 0;
        let masked = second & 0x80 != 0;
        if !known || reserved_bits || !masked {
            return Err(CloseCode::PROTOCOL);
        }
        let control = opcode >= 8;
        if control && (first & 0x80 == 0 || u64::from(second & 0x7f) > CONTROL_BYTES_MAX) {
            return Err(CloseCode::PROTOCOL);
        }
        // A message is begun once and continued only after that.
        match (opcode, self.message) {
            (0, None) | (1 | 2, Some(_)) => Err(CloseCode::PROTOCOL),
            _ => Ok(()),
        }
    }

    fn judge(&mut self) -> Result<Frame, CloseCode> {
        let last = self.head[0] & 0x80 != 0;
        let (len, mask_at) = match self.head[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([self.head[2], self.head[3]])), 4),
            127 => (u64::from_be_bytes(self.head[2..10].try_into().expect("eight bytes")), 10),
            short => (u64::from(short), 2),
        };
        // "The minimal number of bytes MUST be used to encode the length", "the most significant bit MUST be 0".
        let minimal = match mask_at {
            2 => true,
            4 => len >= 126,
            _ => len > 0xffff && len >> 63 == 0,
        };
        if !minimal {
            return Err(CloseCode::PROTOCOL);
        }
        let kind = match (self.head[0] & 0x0f, self.message) {
            (0, Some((kind, _))) => kind,
            (1, _) => Kind::Text,
            (2, _) => Kind::Binary,
            (8, _) => Kind::Close,
            (9, _) => Kind::Ping,
            _ => Kind::Pong,
        };
        let left = usize::try_from(len).map_err(|_| CloseCode::TOO_BIG)?;
        if matches!(kind, Kind::Text | Kind::Binary) {
            let fragments = self.message.map_or(1, |(_, before)| before + 1);
            if left > self.sizes.frame_bytes_max
                || left > self.sizes.message_bytes_max.saturating_sub(self.data.len())
                || fragments > self.sizes.fragments_max
            {
                return Err(CloseCode::TOO_BIG);
            }
            self.message = Some((kind, fragments));
        }
        let mask = self.head[mask_at..mask_at + 4].try_into().expect("four bytes");
        Ok(Frame { kind, last, mask, left })
    }

    fn take_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) {
        let take = frame.left.min(input.len());
        if take == 0 {
            return;
        }
        let into = match frame.kind {
            Kind::Text | Kind::Binary => &mut self.data,
            Kind::Ping | Kind::Pong | Kind::Close => &mut self.control,
        };
        let (now, later) = input.split_at(take);
        let start = into.len();
        into.extend_from_slice(now);
        unmask(&mut into[start..], frame.mask);
        frame.mask.rotate_left(take % 4);
        frame.left -= take;
        *input = later;
    }

    /// A frame is complete; perhaps the message is.
    fn end(&mut self, frame: Frame) -> Result<Option<Message>, CloseCode> {
        let message = match frame.kind {
            Kind::Text | Kind::Binary if !frame.last => return Ok(None),
            Kind::Text => {
                self.message = None;
                let text =
                    String::from_utf8(std::mem::take(&mut self.data)).map_err(|_| CloseCode::NOT_UTF8)?;
                Message::Text(text)
            }
            Kind::Binary => {
                self.message = None;
                Message::Binary(std::mem::take(&mut self.data))
            }
            Kind::Ping => Message::Ping(std::mem::take(&mut self.control)),
            Kind::Pong => Message::Pong(std::mem::take(&mut self.control)),
            Kind::Close => {
                self.closed = true;
                Message::Close(close_reason(&std::mem::take(&mut self.control))?)
            }
        };
        Ok(Some(message))
    }
}

fn head_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Four bytes at a time let the compiler use wide registers.
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

fn close_reason(payload: &[u8]) -> Result<Option<(CloseCode, String)>, CloseCode> {
    match payload {
        [] => Ok(None),
        [_] => Err(CloseCode::PROTOCOL),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.may_be_sent() {
                return Err(CloseCode::PROTOCOL);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| CloseCode::NOT_UTF8)?;
            Ok(Some((code, reason.to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_came_and_not_what_was_claimed() {
        let mut decoder = Decoder::new(Sizes::default());
        let mut claim: &[u8] = &[0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0, b'x', b'y'];
        assert_eq!(decoder.feed(&mut claim), Ok(None));
        assert!(decoder.is_midway());
        assert!(decoder.data.capacity() <= 16, "{}", decoder.data.capacity());
    }

    #[test]
    fn holds_nothing_between_messages() {
        let mut decoder = Decoder::new(Sizes::default());
        let mut stream = vec![0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
        stream.resize(8 + 0xffff, 7);
        stream.extend([0x89, 0x81, 0, 0, 0, 0, 1]);
        let mut rest = &stream[..];
        assert!(matches!(decoder.feed(&mut rest), Ok(Some(Message::Binary(data))) if data.len() == 0xffff));
        assert!(matches!(decoder.feed(&mut rest), Ok(Some(Message::Ping(_)))));
        assert!(!decoder.is_midway());
        assert_eq!((decoder.data.capacity(), decoder.control.capacity()), (0, 0));
        assert!(size_of::<Decoder>() <= 192, "{}", size_of::<Decoder>());
    }
}
