//! The limits and refusals of HTTP, with a client that sends what no library would.

mod support;

use support::{Raw, Running, start};

async fn status(server: &Running, request: impl AsRef<[u8]>) -> u16 {
    server.ask(request).await.status
}

/// Sends a bad request; it must be answered and the connection closed.
async fn refused(server: &Running, request: &[u8]) -> u16 {
    let mut raw = server.connect().await;
    raw.send(request).await;
    let answer = raw.answer().await;
    assert_eq!(answer.header("connection"), Some("close"));
    raw.closes().await;
    answer.status
}

#[tokio::test]
async fn heads_hold_at_their_limits() {
    let server = start(|_| {}).await;
    // `Host` is one of the 64.
    for (headers, expected) in [(62, 200), (63, 200), (64, 431)] {
        assert_eq!(
            status(&server, server.get("/health", &"X: y\r\n".repeat(headers))).await,
            expected,
            "{headers}"
        );
    }
    for (line, expected) in [(8191, 200), (8192, 200), (8193, 431)] {
        let header = format!("X:{}\r\n", "y".repeat(line - 2));
        assert_eq!(status(&server, server.get("/health", &header)).await, expected, "{line}");
    }
    for (line, expected) in [(8191, 404), (8192, 404), (8193, 414)] {
        let path = format!("/{}.x", "y".repeat(line - "GET /.x HTTP/1.1".len()));
        assert_eq!(status(&server, server.get(&path, "")).await, expected, "{line}");
    }
    let empty = server.get("/health", "").len();
    for (head, expected) in [(16_383, 200), (16_384, 200), (16_385, 431)] {
        let first = format!("X:{0}\r\nX:{0}\r\n", "y".repeat(6000));
        let second = format!("X:{}\r\n", "y".repeat(head - empty - first.len() - 4));
        let request = server.get("/health", &format!("{first}{second}"));
        assert_eq!(request.len(), head);
        assert_eq!(status(&server, request).await, expected, "{head}");
    }
    assert_eq!(refused(&server, &vec![b'A'; 1 << 20][..8300]).await, 414);
    server.stop().await;
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_closed() {
    let server = start(|_| {}).await;
    let host = server.host();
    let post = |headers: &str| format!("POST /api/query HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    let get = |line: &str, headers: &str| format!("{line}\r\nHost: {host}\r\n{headers}\r\n");
    for request in [
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        post("Content-Length: 5\r\nContent-Length: 5\r\n"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n"),
        post("Content-Length: +5\r\n"),
        post("Content-Length: 5, 5\r\n"),
        post("X: a\r\n b\r\n"),
        post("X : a\r\n"),
        post("X: a\0b\r\n"),
        get("GET /health", ""),
        get("GET /health HTTP/0.9", ""),
        get("TRACE /health HTTP/1.1", ""),
        get("CONNECT localhost:1 HTTP/1.1", ""),
        get("GET http://evil.example/health HTTP/1.1", ""),
        get("GET  /health HTTP/1.1", ""),
        get("GET /health HTTP/1.1", "Host: evil.example\r\n"),
        "GET /health HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /health HTTP/1.1\nHost: {host}\n\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n".to_owned(),
    ] {
        assert_eq!(refused(&server, request.as_bytes()).await, 400, "{request:?}");
    }
    assert_eq!(refused(&server, post("Transfer-Encoding: chunked\r\n").as_bytes()).await, 411);
    server.stop().await;
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered() {
    let server = start(|_| {}).await;
    let mut raw = server.connect().await;
    raw.send(format!("{0}{0}GET /health HTTP/1.1\nHost: x\n\n{0}", server.get("/health", ""))).await;
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(raw.answer().await.status, 400);
    raw.closes().await;
    server.stop().await;
}

#[tokio::test]
async fn requests_may_come_in_any_pieces() {
    let server = start(|_| {}).await;
    let sign_in = server.post("/api/sign-in", "", r#"{"handle":"nobody","password":"wrong horse"}"#);
    let stream = [server.get("/health", ""), sign_in, server.get("/api/server", "")].concat();
    for size in [1, 7, 64, 200, stream.len()] {
        let mut raw = server.connect().await;
        raw.stream.set_nodelay(true).unwrap();
        for piece in stream.as_bytes().chunks(size) {
            raw.send(piece).await;
        }
        let statuses = [raw.answer().await.status, raw.answer().await.status, raw.answer().await.status];
        assert_eq!(statuses, [200, 401, 200], "in pieces of {size}");
    }
    server.stop().await;
}

#[tokio::test]
async fn our_own_path_for_faults_is_no_page() {
    let server = start(|_| {}).await;
    assert_eq!(status(&server, server.get("/.fault", "")).await, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_head_has_its_time() {
    let server = start(|config| config.http.head_timeout_ms = 200).await;
    for partial in ["", "G", "GET /health HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut raw = server.connect().await;
        raw.send(partial).await;
        assert_eq!(raw.answer().await.status, 408, "{partial:?}");
        raw.closes().await;
    }
    // The second request of a connection too.
    let mut raw = server.connect().await;
    raw.send(format!("{}GET", server.get("/health", ""))).await;
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(raw.answer().await.status, 408);
    raw.closes().await;
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_silence() {
    let server = start(|config| config.http.idle_timeout_ms = 200).await;
    let mut raw = server.connect().await;
    raw.send(server.get("/health", "")).await;
    assert_eq!(raw.answer().await.status, 200);
    raw.closes().await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_has_its_time_and_its_rate() {
    let declared = |server: &Running, len: usize| {
        let head = server.post("/api/sign-in", "", "");
        head.replace("Content-Length: 0", &format!("Content-Length: {len}"))
    };
    // Nothing comes: the grace ends.
    let server = start(|config| config.http.body_grace_ms = 200).await;
    let mut raw = server.connect().await;
    raw.send(declared(&server, 5000)).await;
    assert_eq!(raw.answer().await.status, 408);
    raw.closes().await;
    server.stop().await;
    // Enough for the rate comes, but the whole takes too long.
    let server =
        start(|config| (config.http.body_grace_ms, config.http.body_timeout_ms) = (60_000, 200)).await;
    let mut raw = server.connect().await;
    raw.send(declared(&server, 200_000) + &" ".repeat(100_000)).await;
    assert_eq!(raw.answer().await.status, 408);
    raw.closes().await;
    // The client gives up in the middle.
    let mut raw = server.connect().await;
    raw.send(declared(&server, 5000) + "{").await;
    drop(raw);
    assert_eq!(status(&server, server.get("/health", "")).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn b1_a_client_that_never_reads_is_given_up() {
    let server = start(|config| config.http.write_timeout_ms = 200).await;
    let mut raw = server.connect().await;
    let request = server.get("/api/openapi.json", "").repeat(100);
    // Ends with an error once the server has closed; without the deadline it would wait for ever.
    while tokio::io::AsyncWriteExt::write_all(&mut raw.stream, request.as_bytes()).await.is_ok() {}
    server.stop().await;
}

#[tokio::test]
async fn a_body_has_its_size() {
    let server = start(|_| {}).await;
    let json = r#"{"handle":"nobody","password":"wrong horse"}"#;
    let limit = 256 * 1024;
    for (len, expected) in [(limit - 1, 401), (limit, 401), (limit + 1, 413)] {
        let body = format!("{json}{}", " ".repeat(len - json.len()));
        let mut raw = server.connect().await;
        raw.send(server.post("/api/sign-in", "", &body)).await;
        assert_eq!(raw.answer().await.status, expected, "{len}");
    }
    // A size that is only claimed is refused at once.
    let claimed =
        server.post("/api/sign-in", "", "").replace("Content-Length: 0", "Content-Length: 1073741824");
    let mut raw = server.connect().await;
    raw.send(claimed).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    server.stop().await;
}

#[tokio::test]
async fn bad_json_names_its_field() {
    let server = start(|_| {}).await;
    for (body, status, code) in [
        (r#"{"handle":"a","handle":"b","password":"c"}"#, 400, "bad_json"),
        (r#"{"handle":"a\u0000","password":"c"}"#, 400, "bad_json"),
        (r#"{"handle":"a","password":"c","admin":true}"#, 400, "bad_json"),
        ("[]", 400, "bad_json"),
        ("", 400, "bad_json"),
    ] {
        let answer = server.ask(server.post("/api/sign-in", "", body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
    }
    let deep = format!(r#"{{"handle":{}}}"#, "[".repeat(200_000));
    let answer = server.ask(server.post("/api/sign-in", "", &deep)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    server.stop().await;
}

#[tokio::test]
async fn no_spelling_reaches_another_route() {
    let server = start(|_| {}).await;
    for (path, expected) in [
        ("/api/command", 405),
        ("/api/server", 200),
        ("/api/server?x=1", 200),
        ("/api/server/", 404),
        ("//api/server", 404),
        ("/api//server", 404),
        ("/API/server", 404),
        ("/api/SERVER", 404),
        ("/api/./server", 404),
        ("/x/../api/server", 404),
        ("/api/%73erver", 404),
        ("/%61pi/server", 404),
        ("/api%2fserver", 404),
        ("/api/server%00", 404),
        ("/api/server;x=1", 404),
        ("/api/server%c0%ae", 404),
        ("/api", 404),
        ("/api/", 404),
        ("/api/nothing", 404),
        ("/health/", 404),
        ("/Health", 404),
        ("/metrics.txt", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/../Cargo.toml", 404),
        ("/.git/config", 404),
        ("/index.html.br", 404),
        ("/", 200),
        ("/some/page", 200),
    ] {
        assert_eq!(status(&server, server.get(path, "")).await, expected, "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let request = server.get("/api/command", "").replacen("GET", method, 1);
        assert_eq!(status(&server, request).await, 405, "{method}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = server.get("/nothing", "").replacen("GET", method, 1);
        assert_eq!(status(&server, request).await, 404, "{method}");
    }
    server.stop().await;
}

#[tokio::test]
async fn only_our_own_names_are_answered() {
    let server = start(|config| config.hosts = vec!["chinwag.local".into()]).await;
    for (host, expected) in [
        ("localhost", 200),
        ("127.0.0.1:8008", 200),
        ("[::1]:1", 200),
        ("chinwag.local:8008", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.1", 421),
        ("", 200),
    ] {
        let answer = server.ask(format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, expected, "{host}");
    }
    assert_eq!(status(&server, "GET /health HTTP/1.0\r\n\r\n").await, 200);
    let same = format!("GET http://{0}/health HTTP/1.1\r\nHost: {0}\r\n\r\n", server.host());
    assert_eq!(status(&server, same).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let server = start(|config| config.http.head_timeout_ms = 500).await;
    let token = server.register("anna").await;
    let described = server.ask(server.get("/api/openapi.json", "")).await;
    let document: serde_json::Value = serde_json::from_str(&described.body).unwrap();
    let mut answers = vec![described];
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let get = server.get(path, &bearer).replacen("GET", &method, 1);
            answers.push(server.ask(&get).await);
            answers.push(server.ask(server.get(path, "").replacen("GET", &method, 1)).await);
            answers.push(server.ask(server.get(path, "").replacen("GET", "PUT", 1)).await);
        }
    }
    for request in [
        server.get("/", ""),
        server.get("/nothing.js", ""),
        server.get("/api/nothing", ""),
        server.get("/", "Upgrade: h2c\r\n"),
        server.handshake(""),
        server.handshake("Origin: http://evil.example\r\n"),
        "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        "GET".to_owned(),
    ] {
        answers.push(server.ask(request).await);
    }
    let statuses: std::collections::BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.is_superset(&[101, 200, 400, 401, 403, 404, 405, 408, 421, 426].into()), "{statuses:?}");
    for answer in &answers {
        let csp = answer.header("content-security-policy").expect("a policy");
        assert!(csp.starts_with("default-src 'none'; script-src 'self';"), "{csp}");
        assert!(csp.contains("require-trusted-types-for 'script'"), "{csp}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        let permissions = answer.header("permissions-policy").expect("a permissions policy");
        assert!(
            permissions.contains("camera=(self)") && permissions.contains("geolocation=()"),
            "{permissions}"
        );
        assert!(answer.header("cache-control").is_some());
        assert_eq!(answer.header("server"), None);
        assert_eq!(answer.header("strict-transport-security"), None, "there is no TLS");
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_may_not_write() {
    let server = start(|_| {}).await;
    let body = r#"{"handle":"anna","password":"correct horse","cookie":true}"#;
    let answer = server.ask(server.post("/api/register", "", body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("ses_"), "the token is only in the cookie");
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["__Host-chinwag=ses_", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let ours = format!("Origin: http://{}\r\n", server.host());
    let query = r#"{"sessions":{}}"#;
    let with = |headers: &str| server.post("/api/query", &format!("Cookie: {cookie}\r\n{headers}"), query);
    for (headers, expected) in [
        (ours.as_str(), 200),
        ("", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        (&format!("Origin: http://{}.evil.example\r\n", server.host()), 403),
        (&format!("{ours}Sec-Fetch-Site: cross-site\r\n"), 403),
        (&format!("{ours}Sec-Fetch-Site: same-origin\r\n"), 200),
        (&format!("{ours}Cookie: {cookie}\r\n"), 400),
        (&format!("{ours}Cookie: __Host-chinwag=ses_other\r\n"), 400),
        (&format!("{ours}Cookie: chinwag=ses_other\r\n"), 200),
    ] {
        assert_eq!(status(&server, with(headers)).await, expected, "{headers}");
    }
    let many = format!("{ours}Cookie: {}\r\n", "a=b; ".repeat(200));
    assert_eq!(status(&server, with(&many)).await, 400);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let by_cookie = with(&ours).replace("application/json", kind);
        assert_eq!(status(&server, by_cookie).await, 403, "{kind}");
        let sign_in = server.post("/api/sign-in", "", body).replace("application/json", kind);
        assert_eq!(status(&server, sign_in).await, 403, "{kind}");
    }
    for headers in ["Origin: null\r\n", "Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        for path in ["/api/register", "/api/sign-in", "/api/reset"] {
            assert_eq!(status(&server, server.post(path, headers, body)).await, 403, "{path} {headers}");
        }
    }
    let out = server.ask(server.post("/api/sign-out", &format!("Cookie: {cookie}\r\n{ours}"), "")).await;
    assert_eq!(out.status, 200, "{}", out.body);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(status(&server, with(&ours)).await, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again() {
    let server = start(|_| {}).await;
    let page = server.ask(server.get("/", "")).await;
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let tag = format!("If-None-Match: {}\r\n", page.header("etag").unwrap());
    let again = server.ask(server.get("/", &tag)).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let api = server.ask(server.get("/api/server", "")).await;
    assert_eq!(api.header("cache-control"), Some("no-store"));
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_is_believed_only_if_it_is_configured() {
    let forwarded = "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n";
    let register = |server: &Running, name: usize| {
        let body = format!(r#"{{"handle":"user{name}","password":"correct horse"}}"#);
        server.post("/api/register", forwarded, &body)
    };
    let server = start(|_| {}).await;
    for name in 0..7 {
        assert_eq!(status(&server, register(&server, name)).await, 200, "{name}");
    }
    server.stop().await;
    let server = start(|config| config.proxies = vec!["127.0.0.1".parse().unwrap()]).await;
    let mut granted = 0;
    for name in 0..7 {
        granted += usize::from(status(&server, register(&server, name)).await == 200);
    }
    assert_eq!(granted, 5);
    server.stop().await;
}

#[tokio::test]
async fn stopping_closes_idle_connections() {
    let server = start(|_| {}).await;
    let mut raw: Raw = server.connect().await;
    raw.send(server.get("/health", "")).await;
    assert_eq!(raw.answer().await.status, 200);
    server.stop().await;
    raw.closes().await;
}

#[tokio::test]
async fn figures_have_a_listener_of_their_own() {
    let server = start(|config| config.metrics = Some("127.0.0.1:0".parse().unwrap())).await;
    assert_eq!(status(&server, server.get("/health", "")).await, 200);
    let ask = async |request: &str| {
        let mut raw = server.connect_to_metrics().await;
        raw.send(request).await;
        raw.answer().await
    };
    let figures = ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(figures.status, 200);
    assert!(figures.body.contains("chinwag_http_answers_total{class=\"2xx\"}"), "{}", figures.body);
    assert_eq!(figures.header("x-content-type-options"), Some("nosniff"));
    for (request, expected) in [
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /api/server HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("nonsense\r\n\r\n", 400),
    ] {
        assert_eq!(ask(request).await.status, expected, "{request}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_head_of_a_page_can_be_asked_for_alone() {
    let server = start(|_| {}).await;
    let mut raw = server.connect().await;
    raw.send(server.get("/health", "Connection: close\r\n").replacen("GET", "HEAD", 1)).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    raw.closes().await;
    server.stop().await;
}

#[tokio::test]
async fn doors_are_shown_and_set_by_those_who_manage_the_server() {
    let server = start(|_| {}).await;
    let anna = server.register_with("anna", server.setup.as_deref().unwrap()).await;
    let ben = server.register("ben").await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let set = r#"{"name":"tcp_json","open":false}"#;
    for (headers, expected) in [(String::new(), 401), (bearer(&ben), 403)] {
        assert_eq!(server.ask(server.get("/api/doors", &headers)).await.status, expected);
        assert_eq!(server.ask(server.post("/api/doors", &headers, set)).await.status, expected);
    }
    let shown = server.ask(server.get("/api/doors", &bearer(&anna))).await;
    assert_eq!((shown.status, shown.body.as_str()), (200, "[]"));
    // She proved her password a moment ago, and the configuration has no such door.
    assert_eq!(server.ask(server.post("/api/doors", &bearer(&anna), set)).await.status, 404);
    server.stop().await;
}
