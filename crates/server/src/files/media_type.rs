//! What a file is, by its first bytes: only what a browser may show without being asked. What its name or its
//! uploader claims counts for nothing.

/// Anything that is not one of ours.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Whether a file of this type may be shown within a page. Of the others a browser makes a download.
pub(crate) fn is_shown(media_type: &str) -> bool {
    media_type.starts_with("image/") || media_type.starts_with("video/") || media_type.starts_with("audio/")
}

/// The media type of a file that begins like this. `size` is that of the whole.
pub(super) fn of(beginning: &[u8], size: u64) -> &'static str {
    let begins = |with: &[u8]| beginning.starts_with(with);
    let has = |at: usize, what: &[u8]| beginning.get(at..at + what.len()) == Some(what);
    match () {
        () if begins(b"\x89PNG\r\n\x1a\n") => "image/png",
        () if begins(b"\xff\xd8\xff") => "image/jpeg",
        () if begins(b"GIF87a") || begins(b"GIF89a") => "image/gif",
        () if begins(b"RIFF") && has(8, b"WEBP") => "image/webp",
        () if begins(b"\x1a\x45\xdf\xa3") && beginning.windows(4).take(64).any(|at| at == b"webm") => {
            "video/webm"
        }
        () if has(4, b"ftyp") && is_mp4(beginning.get(8..12)) => "video/mp4",
        () if begins(b"OggS") => "audio/ogg",
        () if begins(b"ID3") || is_mp3_frame(beginning) => "audio/mpeg",
        () if begins(b"RIFF") && has(8, b"WAVE") => "audio/wav",
        () if is_text(beginning, size) => "text/plain; charset=utf-8",
        () => UNKNOWN,
    }
}

fn is_mp4(brand: Option<&[u8]>) -> bool {
    matches!(
        brand,
        Some(b"isom" | b"iso2" | b"iso4" | b"iso5" | b"iso6" | b"mp41" | b"mp42" | b"avc1" | b"M4V ")
    )
}

/// The first frame of MPEG audio, layer 3, with a rate and frequency that exist.
fn is_mp3_frame(beginning: &[u8]) -> bool {
    let [0xff, second, third, _, ..] = beginning else { return false };
    second & 0xe6 == 0xe2 && !matches!(third >> 4, 0 | 15) && third >> 2 & 3 != 3
}

/// Plain text in UTF-8. A character that is cut off by the end of what is looked at is no fault.
fn is_text(beginning: &[u8], size: u64) -> bool {
    let whole = beginning.len() as u64 == size;
    let text = match str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !whole => {
            str::from_utf8(&beginning[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    size > 0 && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        for (bytes, media_type) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "image/png"),
            (b"\xff\xd8\xff\xe0....", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"\0\0\0\x20ftypqt  ", UNKNOWN),
            (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm", "video/webm"),
            (b"OggS\0", "audio/ogg"),
            (b"ID3\x04", "audio/mpeg"),
            (b"\xff\xfb\x90\x64", "audio/mpeg"),
            (b"\xff\xfb\xff\x64", UNKNOWN),
            ("Grüße\n".as_bytes(), "text/plain; charset=utf-8"),
            (b"<svg onload=x>", "text/plain; charset=utf-8"),
            (b"%PDF-1.7\n%\xe2\xe3", UNKNOWN),
            (b"a\0b", UNKNOWN),
            (b"\x1b[2J", UNKNOWN),
            (b"", UNKNOWN),
        ] {
            assert_eq!(of(bytes, bytes.len() as u64), media_type, "{bytes:?}");
        }
        assert_eq!(of("é".as_bytes().split_at(1).0, 1), UNKNOWN, "it ends within a letter");
        assert_eq!(of("aé".as_bytes().split_at(2).0, 9), "text/plain; charset=utf-8");
    }

    #[test]
    fn nothing_that_can_run_is_shown() {
        for media_type in ["text/plain; charset=utf-8", UNKNOWN, "text/html", "application/pdf"] {
            assert!(!is_shown(media_type), "{media_type}");
        }
        assert!(is_shown("image/png"));
    }

    #[test]
    fn fuzz_no_bytes_upset_it() {
        bolero::check!().for_each(|bytes: &[u8]| {
            of(bytes, bytes.len() as u64);
        });
    }
}
