//! Plays every transcript to its door, as written and byte by byte; and shows that the bench fails when it should.
//!
//! Besides the doors of the server there is a small one for lines of text, made for this bench.

mod bench;
mod echo;
mod settings;

use std::{fs, path::Path};

use bench::{Cut, play, transcript::Transcript};
use chinwag_doors::{Door, Mode, PipeLine, Settings, SocketIo, TagJson, TcpJson, UdpAck};
use settings::settings;

/// A fresh door of the kind that a folder of transcripts is named after.
fn door(kind: &str) -> Box<dyn Door> {
    match kind {
        "echo" => Box::new(echo::Echo::default()),
        "pipe_line" => Box::new(PipeLine::new(settings(Mode::Direct))),
        "socket_io" => Box::new(SocketIo::new(settings(Mode::Direct))),
        "socket_io_closed" => Box::new(SocketIo::new(Settings { open: false, ..settings(Mode::Direct) })),
        "tag_json" => Box::new(TagJson::new(settings(Mode::Direct))),
        "tcp_json" => Box::new(TcpJson::new(settings(Mode::Direct))),
        "udp_ack" => Box::new(UdpAck::new(settings(Mode::Direct))),
        "udp_ack_relay" => Box::new(UdpAck::new(settings(Mode::Relay))),
        _ => panic!("tests/transcripts/{kind} belongs to no door"),
    }
}

/// A datagram or a message is whole or not there; a stream may come in any pieces.
fn cuts(kind: &str) -> &'static [Cut] {
    match kind.starts_with("udp_ack") || kind.starts_with("socket_io") {
        true => &[Cut::AsWritten],
        false => &[Cut::AsWritten, Cut::EachByte],
    }
}

#[test]
fn every_transcript_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let (mut played, mut failed) = (0, Vec::new());
    for kind in fs::read_dir(&folder).expect("the folder of transcripts is there") {
        let kind = kind.expect("it can be listed");
        for file in fs::read_dir(kind.path()).expect("a folder for each door") {
            let path = file.expect("it can be listed").path();
            let text = fs::read_to_string(&path).expect("a text");
            let transcript =
                Transcript::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let kind = kind.file_name().to_string_lossy().into_owned();
            for cut in cuts(&kind) {
                let mut door = door(&kind);
                if let Err(error) = play(door.as_mut(), &transcript, *cut) {
                    failed.push(format!("{} ({cut:?}): {error}", path.display()));
                }
            }
            played += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(played > 0, "no transcript in {}", folder.display());
}

/// Plays a text to the echo door and answers what the bench complains of.
fn complaint(text: &str) -> String {
    let transcript = Transcript::parse(text).expect("the form is right");
    play(&mut echo::Echo::default(), &transcript, Cut::AsWritten).expect_err("the bench must complain")
}

#[test]
fn the_bench_complains_of_other_bytes() {
    assert!(complaint("open 1 127.0.0.1:4000\n1> hi\\n\n1< ho\\n\n").contains("line 3: expected"));
}

#[test]
fn the_bench_complains_of_bytes_on_another_link() {
    let text = "open 1 127.0.0.1:4000\nopen 2 127.0.0.1:4001\n1> hi\\n\n2< hi\\n\n";
    assert!(complaint(text).contains("line 4: expected"));
}

#[test]
fn the_bench_complains_of_silence() {
    assert!(complaint("open 1 127.0.0.1:4000\n1> half a line\n1< half a line\\n\n").contains("says nothing"));
}

#[test]
fn the_bench_complains_of_what_was_not_expected() {
    let more = "open 1 127.0.0.1:4000\n1> hi\\nho\\n\n1< hi\\n\nclosed 1\n";
    assert!(complaint(more).contains("before line 4: the door also says"));
    assert!(complaint("open 1 127.0.0.1:4000\n1> hi\\nho\\n\n1< hi\\n\n").contains("at the end"));
}

#[test]
fn the_bench_complains_of_another_order() {
    let text = "open 1 127.0.0.1:4000\n1> remind 50 tea\\n\n1< tea\\n\nwake 50ms\n";
    assert!(complaint(text).contains("line 3: expected"));
}

#[test]
fn the_bench_complains_of_a_wake_up_that_is_not_due() {
    let text = "open 1 127.0.0.1:4000\n1> remind 50 tea\\n\nwake 50ms\nwait 49ms\n1< tea\\n\n";
    assert!(complaint(text).contains("says nothing"));
}

#[test]
fn the_bench_complains_of_another_question() {
    let text = "open 1 127.0.0.1:4000\n1> sign in anna secret 1\\n\nask 1 on 1 {\"sign_in\":{\"handle\":\"anna\",\"password\":\"other\"}}\n";
    assert!(complaint(text).contains("line 3: expected"));
}

#[test]
fn the_bench_refuses_a_transcript_that_cannot_fail() {
    assert!(complaint("open 1 127.0.0.1:4000\n").contains("expects nothing"));
}

#[test]
fn a_transcript_of_wrong_form_is_refused() {
    for (text, why) in [
        ("open\n", "a word and what it is about"),
        ("open one 127.0.0.1:1\n", "is no number"),
        ("open 1 localhost\n", "is no address"),
        ("shout 1\n", "unknown word"),
        ("wait 5\n", "a time is written as"),
        ("1> \\q\n", "unknown escape"),
        ("1> \\xzz\n", "two hexadecimal digits"),
        ("answer 1 {}\n", "expected"),
        ("ask 1 1 {}\n", "`on LINK` is needed"),
    ] {
        let error = Transcript::parse(text).expect_err(text);
        assert!(error.contains(why), "{text:?}: {error}");
    }
}
