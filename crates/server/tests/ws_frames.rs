//! The WebSocket decoder against every violation of RFC 6455 and against any way of cutting a stream.

use chinwag_server::ws::{CloseCode, Decoder, Message, Sizes};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Everything that comes of a stream fed in pieces of the given sizes, the last repeated.
fn decode(stream: &[u8], pieces: &[usize]) -> (Vec<Message>, Option<CloseCode>) {
    let mut decoder = Decoder::new(Sizes::default());
    let mut messages = Vec::new();
    let mut rest = stream;
    let mut turn = 0;
    while !rest.is_empty() {
        let size = pieces[turn.min(pieces.len() - 1)].clamp(1, rest.len());
        turn += 1;
        let (mut piece, later) = rest.split_at(size);
        rest = later;
        loop {
            match decoder.feed(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(code) => return (messages, Some(code)),
            }
        }
        assert!(piece.is_empty(), "`None` means that everything was taken");
    }
    (messages, None)
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

#[test]
fn puts_messages_together() {
    let stream = [
        frame(0x81, b"one"),
        frame(0x01, b"tw"),
        frame(0x89, b"still there?"),
        frame(0x80, b"o"),
        frame(0x82, &[0, 255]),
        frame(0x81, b""),
        frame(0x8a, b""),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = vec![
        text("one"),
        Message::Ping(b"still there?".to_vec()),
        text("two"),
        Message::Binary(vec![0, 255]),
        text(""),
        Message::Pong(vec![]),
        Message::Close(Some((CloseCode::NORMAL, "bye".to_owned()))),
    ];
    for pieces in [&[usize::MAX][..], &[1], &[2], &[3], &[7, 1]] {
        assert_eq!(decode(&stream, pieces), (expected.clone(), None), "{pieces:?}");
    }
}

#[test]
fn every_violation_has_its_code() {
    let unmasked = vec![0x81, 0x01, b'x'];
    let not_minimal_16 = [&[0x81, 0xfe, 0, 125][..], &MASK, &[0; 125]].concat();
    let not_minimal_64 = [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &MASK].concat();
    let huge = [&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &MASK].concat();
    let gigabyte = [&[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0][..], &MASK].concat();
    let long_control = [&[0x89, 0xfe, 0, 126][..], &MASK, &[0; 126]].concat();
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    let split_bad_utf8 = [frame(0x01, &[0xe2, 0x82]), frame(0x80, &[0x28])].concat();
    let cut_utf8 = [frame(0x01, &[0xe2]), frame(0x80, &[0x82])].concat();
    let too_many_fragments = [frame(0x01, b"x"), frame(0x00, b"x").repeat(16)].concat();
    for (name, stream, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit 1", frame(0xc1, b""), 1002),
        ("reserved bit 2", frame(0xa1, b""), 1002),
        ("reserved bit 3", frame(0x91, b""), 1002),
        ("reserved data opcode", frame(0x83, b""), 1002),
        ("reserved data opcode 7", frame(0x87, b""), 1002),
        ("reserved control opcode", frame(0x8b, b""), 1002),
        ("reserved control opcode 15", frame(0x8f, b""), 1002),
        ("long control", long_control, 1002),
        ("fragmented ping", frame(0x09, b""), 1002),
        ("fragmented close", frame(0x08, b""), 1002),
        ("continuation without start", frame(0x80, b"x"), 1002),
        ("new text inside fragments", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("new binary inside fragments", [frame(0x02, b"a"), frame(0x02, b"b")].concat(), 1002),
        ("length not minimal, 16 bits", not_minimal_16, 1002),
        ("length not minimal, 64 bits", not_minimal_64, 1002),
        ("length with the highest bit", huge, 1002),
        ("claims a gigabyte", gigabyte, 1009),
        ("invalid UTF-8", frame(0x81, &[0xff]), 1007),
        ("overlong UTF-8", frame(0x81, &[0xc0, 0xaf]), 1007),
        ("surrogate in UTF-8", frame(0x81, &[0xed, 0xa0, 0x80]), 1007),
        ("invalid UTF-8 over fragments", split_bad_utf8, 1007),
        ("UTF-8 cut off", cut_utf8, 1007),
        ("close with one byte", frame(0x88, &[3]), 1002),
        ("close 0", close(0), 1002),
        ("close 999", close(999), 1002),
        ("close 1004", close(1004), 1002),
        ("close 1005", close(1005), 1002),
        ("close 1006", close(1006), 1002),
        ("close 1015", close(1015), 1002),
        ("close 2999", close(2999), 1002),
        ("close 5000", close(5000), 1002),
        ("close 65535", close(65_535), 1002),
        ("close with bad reason", frame(0x88, &[0x03, 0xe8, 0xff]), 1007),
        ("data after close", [close(1000), frame(0x81, b"x")].concat(), 1002),
        ("seventeen fragments", too_many_fragments, 1009),
    ] {
        assert_eq!(decode(&stream, &[usize::MAX]).1, Some(CloseCode(code)), "{name}");
        assert_eq!(decode(&stream, &[1]).1, Some(CloseCode(code)), "{name}, byte by byte");
    }
}

#[test]
fn good_close_codes_pass() {
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let stream = frame(0x88, &code.to_be_bytes());
        let expected = Message::Close(Some((CloseCode(code), String::new())));
        assert_eq!(decode(&stream, &[usize::MAX]), (vec![expected], None), "{code}");
    }
    assert_eq!(decode(&frame(0x88, b""), &[1]), (vec![Message::Close(None)], None));
}

#[test]
fn a_character_may_be_split_over_fragments() {
    let stream = [frame(0x01, &[0xe2]), frame(0x00, &[0x82]), frame(0x80, &[0xac])].concat();
    assert_eq!(decode(&stream, &[usize::MAX]), (vec![text("€")], None));
}

#[test]
fn sizes_hold_at_their_limits() {
    let sizes = Sizes::default();
    for (len, code) in [
        (sizes.frame_bytes_max - 1, None),
        (sizes.frame_bytes_max, None),
        (sizes.frame_bytes_max + 1, Some(CloseCode::TOO_BIG)),
    ] {
        assert_eq!(decode(&frame(0x81, &vec![b'x'; len]), &[4096]).1, code, "one frame of {len}");
        let halves = [frame(0x01, &vec![b'x'; len / 2]), frame(0x80, &vec![b'x'; len - len / 2])].concat();
        assert_eq!(decode(&halves, &[4096]).1, code, "two frames of together {len}");
    }
    for (fragments, code) in [(15, None), (16, None), (17, Some(CloseCode::TOO_BIG))] {
        let mut stream = frame(0x01, b"x");
        stream.extend(frame(0x00, b"x").repeat(fragments - 2));
        stream.extend(frame(0x80, b"x"));
        assert_eq!(decode(&stream, &[usize::MAX]).1, code, "{fragments} fragments");
    }
    for len in [124, 125] {
        assert_eq!(
            decode(&frame(0x89, &vec![b'x'; len]), &[9]),
            (vec![Message::Ping(vec![b'x'; len])], None)
        );
    }
}

/// Any segmentation gives the same messages, nothing panics, and nothing is held by claim.
#[test]
fn fuzz_ws_frames() {
    bolero::check!().with_type::<(Vec<u8>, Vec<(u8, Vec<u8>)>, Vec<u8>)>().for_each(
        |(raw, frames, pieces)| {
            // Half of the stream is made of frames, for otherwise a fuzzer seldom gets past the first mask bit.
            let mut stream =
                frames.iter().flat_map(|(first, payload)| frame(*first & 0x8f, payload)).collect::<Vec<_>>();
            stream.extend(raw);
            let whole = decode(&stream, &[usize::MAX]);
            let mut pieces = pieces.iter().map(|piece| usize::from(*piece)).collect::<Vec<_>>();
            pieces.push(1);
            assert_eq!(decode(&stream, &pieces), whole);
        },
    );
}
