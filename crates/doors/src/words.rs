//! How an entry reads on a wire that has no word for it: lines of plain text.

use chinwag_protocol::{Attachment, CallEnd, CallMedia, Entry, Event, LogId, Millis, UserId};

/// What an entry says to a person, each part on a line of its own on the wire; empty if it is not worth a line.
///
/// The text of a message reads as it was typed. `name` tells what somebody is called on this wire, `web` is the
/// address of the web app, where files can be opened.
pub fn lines(entry: &Entry, web: &str, name: impl Fn(UserId) -> String) -> Vec<String> {
    match &entry.event {
        Event::Message(body) => {
            let text = Some(body.text.clone()).filter(|text| !text.is_empty());
            let files =
                body.attachments.iter().zip(0..).map(|(file, index)| self::file(entry, file, index, web));
            text.into_iter().chain(files).collect()
        }
        Event::Edited { text, .. } => vec![format!("[edited] {text}")],
        Event::Deleted { .. } => vec!["[deleted a message]".to_owned()],
        Event::CallStarted { media, .. } => {
            vec![format!("[call] {} call started by {}", self::media(*media), name(entry.by))]
        }
        Event::CallEnded { reason, .. } => vec![format!("[call] {}", end(*reason))],
        _ => Vec::new(),
    }
}

/// When an entry was written, by its sender's clock; else when it was recorded, by ours.
pub fn written_at(entry: &Entry) -> Millis {
    match &entry.event {
        Event::Message(body) => body.sent_at.unwrap_or(entry.at),
        _ => entry.at,
    }
}

/// A file of a message: its name, its size, and where a signed-in browser finds it.
pub fn file(entry: &Entry, file: &Attachment, index: usize, web: &str) -> String {
    let LogId::Conversation(conversation) = entry.log else { return String::new() };
    let link = format!("{web}/api/files/{conversation}/{}/{index}", entry.seq);
    format!("[file] {} ({}) {link}", file.name, size(file.size))
}

/// A size as people say it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

fn media(media: CallMedia) -> &'static str {
    match media {
        CallMedia::Audio => "audio",
        CallMedia::Video => "video",
    }
}

fn end(reason: CallEnd) -> &'static str {
    match reason {
        CallEnd::Ended => "the call has ended",
        CallEnd::Declined => "the call was declined",
        CallEnd::Missed => "the call was missed",
        CallEnd::Failed => "the call failed",
    }
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{ConversationId, FileId, MessageBody, Seq};

    use super::*;

    fn read(event: Event) -> Vec<String> {
        let log = LogId::Conversation(ConversationId(7));
        let entry = Entry { log, seq: Seq(12), at: Millis(0), by: UserId(3), client_id: None, event };
        lines(&entry, "http://here:1", |user| format!("user{user}"))
    }

    #[test]
    fn what_has_no_word_reads_as_a_line() {
        let file = Attachment {
            file: FileId([0; 32]),
            name: "report.pdf".into(),
            size: 1_234_567,
            media_type: "application/pdf".into(),
        };
        let body = MessageBody { text: "here:".into(), attachments: vec![file], ..MessageBody::default() };
        let expected = ["here:", "[file] report.pdf (1.2 MB) http://here:1/api/files/7/12/0"];
        assert_eq!(read(Event::Message(body)), expected);
        assert_eq!(read(Event::Edited { message: Seq(1), text: "new".into() }), ["[edited] new"]);
        assert_eq!(
            read(Event::CallStarted { media: CallMedia::Audio, via: None }),
            ["[call] audio call started by user3"]
        );
        assert!(read(Event::Hidden {}).is_empty());
    }

    #[test]
    fn sizes_read_as_people_say_them() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_250_000, "1.2 MB"), (3_000_000_000, "3.0 GB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }
}
