//! Files over HTTP: an upload is a body as it is, a download is found through a message.
//!
//! Nothing that somebody uploaded runs in anybody's browser: its type is what the server found, nothing is guessed,
//! and the page of a file may do nothing at all.

use std::{io, ops::RangeInclusive, time::Duration};

use axum::{
    Json as Answered,
    body::{Body, Bytes, HttpBody},
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chinwag_domain::Actor;
use chinwag_protocol::{Attachment, ConversationId, Kind, Refused, Seq};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    credential::{Credential, SignedIn, host},
    refusal::Refusal,
};
use crate::{
    files::{Download, Upload, is_shown},
    shared::Shared,
};

/// How long the rest of a refused body is still taken, so that the answer is heard.
const LINGER: Duration = Duration::from_secs(2);

/// What the page of a file may do.
const SANDBOX: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// Takes a file in. The body is its bytes, as `application/octet-stream`; `name` is what it is called.
#[utoipa::path(post, path = "/api/files", tag = "files",
    params(("name" = String, Query, description = "what it is called, at most 255 bytes")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, description = "on disk; a message takes it within an hour", body = Attachment),
    super::openapi::Refusals))]
pub(super) async fn upload(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    request: Request,
) -> Result<Answered<Attachment>, Refusal> {
    let (parts, mut body) = request.into_parts();
    let taken = take(&shared, &signed_in.actor, &parts, &mut body).await;
    if taken.is_err() {
        // A connection that is cut while its client still sends may lose the answer.
        let _ = timeout(LINGER, async { while let Some(Ok(_)) = body.frame().await {} }).await;
    }
    taken.map(Answered)
}

async fn take(shared: &Shared, actor: &Actor, parts: &Parts, body: &mut Body) -> Result<Attachment, Refusal> {
    let name = name_in(parts.uri.query().unwrap_or_default())
        .ok_or_else(|| Refused::invalid("name", "name_missing", "the address needs ?name= once, in UTF-8"))?;
    let mut upload = shared.messenger.upload(actor, &name, body.size_hint().exact()).await?;
    receive(shared, &mut upload, body).await?;
    Ok(upload.finish().await?)
}

/// Hands a body on as it arrives, not slower than a body of JSON may be.
async fn receive(shared: &Shared, upload: &mut Upload, body: &mut Body) -> Result<(), Refusal> {
    let config = &shared.config.http;
    let (start, mut received) = (Instant::now(), 0_u64);
    loop {
        let earned = received * 1000 / u64::from(config.body_bytes_per_s_min.max(1));
        let rate = start + config.body_grace() + Duration::from_millis(earned);
        // However much came before: who is silent for so long is gone.
        let silence = Instant::now() + config.body_timeout();
        match timeout_at(rate.min(silence), body.frame()).await {
            Err(_elapsed) => {
                let message = "the file did not arrive in time";
                return Err(Refusal::with_status(StatusCode::REQUEST_TIMEOUT, "too_slow", message));
            }
            Ok(None) => return Ok(()),
            #[cfg(feature = "canaries")]
            Ok(Some(Err(_broken)))
                if chinwag_store::canary::is(chinwag_store::canary::Canary::HalfUploads) =>
            {
                return Ok(());
            }
            Ok(Some(Err(_broken))) => {
                return Err(Refused::new(Kind::Invalid, "cut_off", "the body ended before its length").into());
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    received += data.len() as u64;
                    upload.write(&data).await?;
                }
            }
        }
    }
}

/// Whoever reads with a session: by header, or by the cookie of a page of ours.
pub(super) struct Viewer(pub(super) Actor);

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let credential =
            Credential::find(&parts.headers, &host(parts))?.ok_or_else(Refused::not_signed_in)?;
        // The cookie comes along only from our own pages, and nothing changes here. What another site may embed is
        // up to the headers of the answer.
        Ok(Self(shared.messenger.actor(&credential.token).await?))
    }
}

/// Gives a file of a message out, to whoever sees the message. One range at most.
#[utoipa::path(get, path = "/api/files/{conversation}/{seq}/{index}", tag = "files",
    params(
        ("conversation" = u32, Path, description = "where the message is"),
        ("seq" = u32, Path, description = "which message"),
        ("index" = usize, Path, description = "which of its files, from 0")),
    responses(
    (status = 200, description = "the file", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 206, description = "the range that was asked for", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 304, description = "it is what the asker has"),
    (status = 416, description = "no such range", body = Refused),
    super::openapi::Refusals))]
pub(super) async fn download(
    State(shared): State<Shared>,
    method: Method,
    Viewer(actor): Viewer,
    headers: HeaderMap,
    path: Result<Path<(u32, u32, usize)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Refusal> {
    // What is no number names nothing.
    let Path((conversation, seq, index)) = path.map_err(|_| Refused::not_found())?;
    let (conversation, seq) = (ConversationId(conversation), Seq(seq));
    let download = shared.messenger.download(&actor, conversation, seq, index).await?;
    let attachment = &download.attachment;
    let size = attachment.size;
    let mut out = describe(attachment);
    let tag = out.get(header::ETAG).cloned();
    if is_known(&headers, &out) {
        return Ok((StatusCode::NOT_MODIFIED, out).into_response());
    }
    // A range of another content than this would be glued to what does not fit.
    let fits = headers.get(header::IF_RANGE).is_none_or(|wanted| Some(wanted) == tag.as_ref());
    let (status, range) = match range(&headers, size).filter(|_| fits) {
        None => (StatusCode::OK, 0..=size.wrapping_sub(1)),
        Some(Ok(range)) => {
            let stated = format!("bytes {}-{}/{size}", range.start(), range.end());
            insert(&mut out, header::CONTENT_RANGE, &stated);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Some(Err(NoRange)) => {
            let message = "the file has no such range";
            let refusal = Refusal::with_status(StatusCode::RANGE_NOT_SATISFIABLE, "no_range", message);
            let mut response = refusal.into_response();
            insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let length = if size == 0 { 0 } else { range.end() - range.start() + 1 };
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if length == 0 || method == Method::HEAD {
        return Ok((status, out).into_response());
    }
    let mut pieces = Pieces { download, at: *range.start(), last: *range.end(), first: None };
    // Before the head is sent: a file that cannot be read at all is refused like anything else.
    pieces.first = pieces.read().await?;
    let stream = futures_util::stream::try_unfold(pieces, async |mut pieces: Pieces| {
        let piece = pieces.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, pieces)))
    });
    Ok((status, out, Body::from_stream(stream)).into_response())
}

/// Whether the asker has the very file that these headers describe.
pub(super) fn is_known(asked: &HeaderMap, described: &HeaderMap) -> bool {
    let tag = described.get(header::ETAG);
    asked.get_all(header::IF_NONE_MATCH).iter().any(|known| Some(known) == tag)
}

/// The headers that say what a file is, and how little a browser may do with it.
pub(super) fn describe(attachment: &Attachment) -> HeaderMap {
    let mut out = HeaderMap::new();
    let how = if is_shown(&attachment.media_type) { "inline" } else { "attachment" };
    insert(&mut out, header::CONTENT_TYPE, &attachment.media_type);
    insert(&mut out, header::CONTENT_DISPOSITION, &disposition(how, &attachment.name));
    insert(&mut out, header::ETAG, &format!("\"{}\"", attachment.file));
    insert(&mut out, header::CONTENT_SECURITY_POLICY, SANDBOX);
    insert(&mut out, header::ACCEPT_RANGES, "bytes");
    // The right to it is asked each time: it may be gone, and so may the message.
    insert(&mut out, header::CACHE_CONTROL, "private, no-cache");
    out
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// RFC 6266: a name in ASCII for old programs, and the whole one beside it.
fn disposition(how: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' })
        .collect();
    let mut whole = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            whole.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

/// The value of `name` in a query string, if it is there once and is text.
fn name_in(query: &str) -> Option<String> {
    let mut names = query.split('&').filter_map(|pair| pair.strip_prefix("name="));
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// No byte of the file is within what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoRange;

/// The bytes that are asked for; `None` if that is all of them, or more than one range, or no range that one knows.
fn range(headers: &HeaderMap, size: u64) -> Option<Result<RangeInclusive<u64>, NoRange>> {
    let asked = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = asked.split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // A number that does not fit is beyond the end of any file.
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", last) => {
            let count = number(last)?;
            if count == 0 {
                return Some(Err(NoRange));
            }
            size.saturating_sub(count)..=size.saturating_sub(1)
        }
        (first, "") => number(first)?..=size.saturating_sub(1),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..=last.min(size.saturating_sub(1))
        }
    };
    Some(if size == 0 || *range.start() >= size { Err(NoRange) } else { Ok(range) })
}

/// A file, piece by piece, as the client takes it.
struct Pieces {
    download: Download,
    at: u64,
    last: u64,
    first: Option<Bytes>,
}

impl Pieces {
    /// The next piece. Damage ends the answer before its length, so that nobody takes it for the whole.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.read().await.map_err(|refused| io::Error::other(refused.message)),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Refused> {
        if self.at > self.last {
            return Ok(None);
        }
        let index = self.at / Download::BLOCK_BYTES;
        let start = index * Download::BLOCK_BYTES;
        let block = self.download.block(index).await?;
        let within = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(block.len());
        let (from, to) = (within(self.at), within(self.last + 1));
        self.at = start + Download::BLOCK_BYTES;
        Ok(Some(block.slice(from..to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str, size: u64) -> Option<Result<RangeInclusive<u64>, NoRange>> {
        range(&HeaderMap::from_iter([(header::RANGE, value.parse().unwrap())]), size)
    }

    #[test]
    fn one_range_is_understood_and_nothing_else() {
        for (value, found) in [
            ("bytes=0-", Some(Ok(0..=9))),
            ("bytes=0-0", Some(Ok(0..=0))),
            ("bytes=3-5", Some(Ok(3..=5))),
            ("bytes=3-99", Some(Ok(3..=9))),
            ("bytes=-4", Some(Ok(6..=9))),
            ("bytes=-99", Some(Ok(0..=9))),
            ("bytes=0-99999999999999999999999", Some(Ok(0..=9))),
            ("bytes=10-", Some(Err(NoRange))),
            ("bytes=99999999999999999999999-", Some(Err(NoRange))),
            ("bytes=-0", Some(Err(NoRange))),
            ("bytes=5-1", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=a-b", None),
            ("lines=1-2", None),
            ("0-5", None),
        ] {
            assert_eq!(asked(value, 10), found, "{value}");
        }
        assert_eq!(asked("bytes=0-", 0), Some(Err(NoRange)), "an empty file has no byte at all");
        let many = format!("bytes={}", vec!["1-2"; 1_000].join(","));
        assert_eq!(asked(&many, 10), None);
    }

    #[test]
    fn a_name_is_read_from_the_address_once_and_as_text() {
        for (query, name) in [
            ("name=a+b%20c.txt", Some("a b c.txt")),
            ("x=1&name=%E6%97%A5&y", Some("日")),
            ("name=", Some("")),
            ("", None),
            ("nam=a", None),
            ("name=a&name=b", None),
            ("name=%ff", None),
            ("name=%4", None),
            ("name=%+1", None),
            ("name=%ü1", None),
        ] {
            assert_eq!(name_in(query).as_deref(), name, "{query}");
        }
    }

    #[test]
    fn no_name_breaks_out_of_its_header() {
        assert_eq!(
            disposition("inline", "a \"b\"; 日.png"),
            "inline; filename=\"a _b__ _.png\"; filename*=UTF-8''a%20%22b%22%3B%20%E6%97%A5.png"
        );
    }

    #[test]
    fn fuzz_no_name_makes_another_header() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let header = disposition("attachment", &String::from_utf8_lossy(bytes));
            assert_eq!(header.matches('"').count(), 2, "{header}");
            assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
        });
    }
}
