//! A strict look at the head of each request, before the HTTP library sees it.
//!
//! The library is lenient where attackers live: it takes a bare line feed for a line end, a length beside a
//! transfer encoding, the same length twice. Here a head is either exactly what RFC 9112 writes down or refused.
//! Chunked bodies are refused as a whole (411): no client of ours sends them, and with them goes the class of
//! disagreements over where a request ends. Does not decide routes, and knows nothing of bodies but their length.

/// Sizes of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSizes {
    /// Bytes of the whole head, the empty line included.
    pub head_bytes_max: usize,
    /// Bytes of one line without its end.
    pub line_bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
}

impl Default for HeadSizes {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, line_bytes_max: 8 * 1024, headers_max: 64 }
    }
}

/// Why a connection gets one last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Not a request as RFC 9112 writes it down, or one that can be read in two ways.
    Malformed,
    /// The head is above a limit.
    HeadTooLarge,
    /// The line with the path is above its limit.
    UriTooLong,
    /// A body without a length.
    LengthRequired,
    /// The head did not arrive in time.
    HeadTimeout,
    /// There are too many connections already.
    TooManyConnections,
}

/// What comes after a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head itself.
    pub len: usize,
    /// Bytes of the body.
    pub body: u64,
    /// The request wants another protocol: what follows may not be HTTP.
    pub upgrade: bool,
}

/// Reads the head at the start of `input`; `None` while it is incomplete and nothing is wrong yet.
///
/// # Errors
/// As soon as what is there cannot become a good head.
pub fn read_head(input: &[u8], sizes: &HeadSizes) -> Result<Option<Head>, Fault> {
    let mut lines = Lines { input, at: 0, sizes };
    let Some(line) = lines.next(Fault::UriTooLong)? else { return Ok(None) };
    let version_11 = request_line(line)?;
    let mut fields = Fields::default();
    let mut count = 0;
    while let Some(line) = lines.next(Fault::HeadTooLarge)? {
        if line.is_empty() {
            let body = fields.judge(version_11)?;
            return Ok(Some(Head { len: lines.at, body, upgrade: fields.upgrade }));
        }
        count += 1;
        if count > sizes.headers_max {
            return Err(Fault::HeadTooLarge);
        }
        fields.take(line)?;
    }
    Ok(None)
}

struct Lines<'a> {
    input: &'a [u8],
    at: usize,
    sizes: &'a HeadSizes,
}

impl<'a> Lines<'a> {
    /// The next line that ends with CR LF; `too_long` is the fault if it is above its limit.
    fn next(&mut self, too_long: Fault) -> Result<Option<&'a [u8]>, Fault> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let seen = end.unwrap_or(rest.len());
        if seen > self.sizes.line_bytes_max {
            return Err(too_long);
        }
        let head_bytes = self.at + seen + if end.is_some() { 2 } else { 0 };
        if head_bytes > self.sizes.head_bytes_max {
            return Err(Fault::HeadTooLarge);
        }
        match end.map(|end| &rest[end..]) {
            None | Some([b'\r']) => Ok(None),
            Some([b'\r', b'\n', ..]) => {
                self.at += seen + 2;
                Ok(Some(&rest[..seen]))
            }
            // A bare line feed, a bare carriage return, or a NUL.
            Some(_) => Err(Fault::Malformed),
        }
    }
}

/// Checks `METHOD SP target SP HTTP/1.x`; answers whether it is version 1.1.
fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    // TRACE would show an attacker's page what the browser adds; CONNECT asks for a proxy.
    let method_good = !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && !matches!(method, b"TRACE" | b"TRACK" | b"CONNECT");
    let target_good = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    match version {
        b"HTTP/1.1" if method_good && target_good => Ok(true),
        b"HTTP/1.0" if method_good && target_good => Ok(false),
        _ => Err(Fault::Malformed),
    }
}

/// What the header lines say about where the request ends and whom it is for.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    encoded: bool,
    hosts: usize,
    upgrade: bool,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        // A line that begins with white space would continue the one before (obs-fold); white space before the
        // colon is refused by the same test, because it is not part of a name.
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Malformed)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(Fault::Malformed);
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Fault::Malformed);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Fault::Malformed);
            }
            self.length = Some(decimal(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encoded = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    /// The length of the body.
    fn judge(&self, version_11: bool) -> Result<u64, Fault> {
        // "A server MUST respond with a 400 to any HTTP/1.1 request that lacks a Host header field and to any
        // request that contains more than one."
        if self.hosts > 1 || (version_11 && self.hosts == 0) {
            return Err(Fault::Malformed);
        }
        match (self.encoded, self.length) {
            (true, Some(_)) => Err(Fault::Malformed),
            (true, None) if version_11 => Err(Fault::LengthRequired),
            (true, None) => Err(Fault::Malformed),
            // Nothing after an upgrade is a body.
            (false, Some(length)) if self.upgrade && length > 0 => Err(Fault::Malformed),
            (false, length) => Ok(length.unwrap_or(0)),
        }
    }
}

/// Digits and nothing else: no sign, no list, no more than fits.
fn decimal(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed);
    }
    Ok(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<Option<Head>, Fault> {
        read_head(input.as_bytes(), &HeadSizes::default())
    }

    #[test]
    fn finds_the_end_and_the_body() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(read(get), Ok(Some(Head { len: get.len(), body: 0, upgrade: false })));
        assert_eq!(read(&format!("{get}GET")), read(get));
        let post = "POST /x HTTP/1.1\r\nhost:a\r\ncontent-LENGTH:  12 \r\n\r\n";
        assert_eq!(read(post), Ok(Some(Head { len: post.len(), body: 12, upgrade: false })));
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(read(upgrade), Ok(Some(Head { len: upgrade.len(), body: 0, upgrade: true })));
        let old = "GET / HTTP/1.0\r\n\r\n";
        assert_eq!(read(old), Ok(Some(Head { len: old.len(), body: 0, upgrade: false })));
    }

    #[test]
    fn waits_at_every_border() {
        let whole = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Ok(None), "{:?}", &whole[..cut]);
        }
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        for (bad, fault) in [
            ("GET /\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/0.9\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/2.0\r\n\r\n", Fault::Malformed),
            ("PRI * HTTP/2.0\r\n\r\n", Fault::Malformed),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET /\0 HTTP/1.1\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", Fault::Malformed),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                Fault::Malformed,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", Fault::Malformed),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", Fault::Malformed),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", Fault::Malformed),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", Fault::Malformed),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Fault::Malformed),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Fault::Malformed),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Fault::Malformed,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::LengthRequired),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Fault::LengthRequired),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::Malformed),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n",
                Fault::Malformed,
            ),
        ] {
            assert_eq!(read(bad), Err(fault), "{bad:?}");
        }
    }

    #[test]
    fn sizes_hold_at_their_limits() {
        let sizes = HeadSizes { head_bytes_max: 200, line_bytes_max: 100, headers_max: 3 };
        let with = |path: usize, headers: &[usize]| {
            // "GET " and " HTTP/1.1" are 13 bytes, "Host: a" is one header.
            let mut head = format!("GET {} HTTP/1.1\r\nHost: a\r\n", "/".repeat(path - 13));
            for len in headers {
                head += &format!("X:{}\r\n", "x".repeat(len - 2));
            }
            head += "\r\n";
            read_head(head.as_bytes(), &sizes).map(|head| head.is_some())
        };
        assert_eq!(with(99, &[]), Ok(true));
        assert_eq!(with(100, &[]), Ok(true));
        assert_eq!(with(101, &[]), Err(Fault::UriTooLong));
        assert_eq!(with(20, &[99]), Ok(true));
        assert_eq!(with(20, &[100]), Ok(true));
        assert_eq!(with(20, &[101]), Err(Fault::HeadTooLarge));
        assert_eq!(with(20, &[9]), Ok(true));
        assert_eq!(with(20, &[9, 9]), Ok(true));
        assert_eq!(with(20, &[9, 9, 9]), Err(Fault::HeadTooLarge));
        let wide = HeadSizes { line_bytes_max: 1000, ..sizes };
        let all = |total: usize| {
            let head =
                format!("GET / HTTP/1.1\r\nHost: a\r\nX:{}\r\n\r\n", "x".repeat(total - 16 - 9 - 2 - 2 - 2));
            assert_eq!(head.len(), total);
            read_head(head.as_bytes(), &wide).map(|head| head.is_some())
        };
        assert_eq!(all(199), Ok(true));
        assert_eq!(all(200), Ok(true));
        assert_eq!(all(201), Err(Fault::HeadTooLarge));
    }

    #[test]
    fn an_endless_line_is_refused_before_it_ends() {
        let sizes = HeadSizes { head_bytes_max: 200, line_bytes_max: 100, headers_max: 3 };
        assert_eq!(read_head(&[b'A'; 101], &sizes), Err(Fault::UriTooLong));
    }

    /// Whatever comes: no panic, and a head once good stays the same when more follows.
    #[test]
    fn fuzz_http_head() {
        bolero::check!().for_each(|input| {
            let sizes = HeadSizes::default();
            if let Ok(Some(head)) = read_head(input, &sizes) {
                assert_eq!(read_head(&input[..head.len], &sizes), Ok(Some(head)));
            }
        });
    }
}
