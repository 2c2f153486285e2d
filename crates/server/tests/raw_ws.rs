//! The WebSocket over a real socket: who may open one, and how a violation ends it.

mod support;

use support::{frame, start};

#[tokio::test]
async fn only_a_good_handshake_from_our_own_pages_opens_one() {
    let server = start(|_| {}).await;
    let ours = format!("Origin: http://{}\r\n", server.host());
    let cookie = "Cookie: __Host-chinwag=ses_x\r\n";
    let look_alike = format!("Origin: http://{}.evil.example\r\n", server.host());
    for (headers, expected) in [
        (String::new(), 101),
        (ours.clone(), 101),
        (format!("{ours}{cookie}"), 101),
        (cookie.to_owned(), 403),
        ("Origin: null\r\n".to_owned(), 403),
        ("Origin: http://evil.example\r\n".to_owned(), 403),
        (look_alike, 403),
        (format!("{ours}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{ours}{cookie}{cookie}"), 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".to_owned(), 400),
        ("Sec-WebSocket-Version: 8\r\n".to_owned(), 426),
        ("Content-Length: 5\r\n".to_owned(), 400),
    ] {
        assert_eq!(server.ask(server.handshake(&headers)).await.status, expected, "{headers}");
    }
    let good = server.handshake("");
    for (part, expected) in [
        ("Sec-WebSocket-Version: 13\r\n", 426),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
        ("Connection: Upgrade\r\n", 400),
        ("Upgrade: websocket\r\n", 426),
    ] {
        let answer = server.ask(good.replace(part, "")).await;
        assert_eq!(answer.status, expected, "without {part}");
        if expected == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
    assert_eq!(server.ask(good.replace("13\r\n", "7\r\n")).await.status, 426);
    assert_eq!(server.ask(good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")).await.status, 400);
    assert_eq!(server.ask(good.replace("GET", "POST")).await.status, 405);
    let answer = server.ask(good).await;
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_http_any_more_after_a_refused_upgrade() {
    let server = start(|_| {}).await;
    let mut raw = server.connect().await;
    raw.send(server.handshake("Origin: null\r\n") + &server.get("/health", "")).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
    raw.closes().await;
    server.stop().await;
}

#[tokio::test]
async fn frames_may_come_with_the_handshake() {
    let server = start(|_| {}).await;
    let token = server.register("anna").await;
    let mut raw = server.connect().await;
    let hello = format!(r#"{{"hello":{{"version":1,"token":"{token}"}}}}"#);
    raw.send([server.handshake("").as_bytes(), &frame(0x81, hello.as_bytes())].concat()).await;
    assert_eq!(raw.answer().await.status, 101);
    assert!(raw.text().await.starts_with(r#"{"welcome":"#));
    server.stop().await;
}

#[tokio::test]
async fn a_violation_ends_the_connection_with_its_code() {
    let server = start(|_| {}).await;
    let token = server.register("anna").await;
    let hello = format!(r#"{{"hello":{{"version":1,"token":"{token}"}}}}"#);
    let limit = 64 * 1024;
    let claim = [&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0][..], &[0; 4]].concat();
    for (name, bytes, code) in [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", frame(0xc1, b"x"), 1002),
        ("reserved opcode", frame(0x83, b"x"), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("continuation without start", frame(0x80, b"x"), 1002),
        ("not UTF-8", frame(0x81, &[0xff]), 1007),
        ("a gigabyte claimed", claim, 1009),
        ("one byte too many", frame(0x81, &vec![b'x'; limit + 1]), 1009),
        ("close code 1005", frame(0x88, &1005_u16.to_be_bytes()), 1002),
    ] {
        let mut raw = server.connect().await;
        raw.send(server.handshake("")).await;
        assert_eq!(raw.answer().await.status, 101);
        raw.send([frame(0x81, hello.as_bytes()), bytes].concat()).await;
        assert_eq!(raw.close_code().await, code, "{name}");
    }
    server.stop().await;
}
