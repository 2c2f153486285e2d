//! Files over HTTP, as a client with its own bytes sees them: in, out, and gone.

#![allow(clippy::unwrap_used, reason = "this is a test, though clippy does not see that of its helpers")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use chinwag_server::config::Config;
use serde_json::{Value, json};
use support::{Answer, Running, start};

struct Bed {
    server: Running,
    data: PathBuf,
}

async fn bed(change: impl FnOnce(&mut Config)) -> Bed {
    let mut data = PathBuf::new();
    let server = start(|config| {
        change(config);
        data.clone_from(&config.data);
    })
    .await;
    Bed { server, data }
}

impl Bed {
    fn request(&self, method: &str, path: &str, token: &str, headers: &str) -> String {
        let host = self.server.host();
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")
    }

    async fn upload(&self, token: &str, name: &str, bytes: &[u8]) -> Answer {
        let headers =
            format!("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", bytes.len());
        let mut request =
            self.request("POST", &format!("/api/files?name={name}"), token, &headers).into_bytes();
        request.extend_from_slice(bytes);
        self.server.ask(request).await
    }

    /// Uploads what must be taken; answers its name.
    async fn uploaded(&self, token: &str, bytes: &[u8]) -> String {
        let answer = self.upload(token, "a.png", bytes).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        json_of(&answer)["file"].as_str().unwrap().to_owned()
    }

    async fn command(&self, token: &str, command: Value) -> Answer {
        let headers = format!("Authorization: Bearer {token}\r\n");
        self.server.ask(self.server.post("/api/command", &headers, &command.to_string())).await
    }

    async fn query(&self, token: &str, query: Value) -> Answer {
        let headers = format!("Authorization: Bearer {token}\r\n");
        self.server.ask(self.server.post("/api/query", &headers, &query.to_string())).await
    }

    /// Makes a group of its own for a user.
    async fn group(&self, token: &str) -> u64 {
        let create = json!({"create_conversation": {"client_id": "g", "kind": "group", "name": "Lab"}});
        json_of(&self.command(token, create).await)["conversation"]["conversation"].as_u64().unwrap()
    }

    async fn post(&self, token: &str, conversation: u64, client_id: &str, file: &str) -> Answer {
        let attachments = json!([{"file": file, "name": "tea time.png"}]);
        let post = json!({"conversation": conversation, "client_id": client_id, "text": "", "attachments": attachments});
        self.command(token, json!({ "post": post })).await
    }

    async fn get(&self, token: &str, path: &str, headers: &str) -> Answer {
        self.server.ask(self.request("GET", path, token, headers)).await
    }

    /// Files on disk, and uploads under way.
    fn on_disk(&self) -> (Vec<PathBuf>, usize) {
        let entries = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let files = self.data.join("files");
        let (half, parts): (Vec<_>, Vec<_>) =
            entries(&files).into_iter().partition(|path| path.ends_with("incoming"));
        (
            parts.iter().flat_map(|part| entries(part)).collect(),
            half.iter().flat_map(|half| entries(half)).count(),
        )
    }

    /// Waits until the disk is as it should be.
    async fn until(&self, holds: impl Fn(&[PathBuf], usize) -> bool) {
        let wait = async {
            loop {
                let (files, half) = self.on_disk();
                if holds(&files, half) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), wait)
            .await
            .expect("the disk is as it should be");
    }
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn seq_of(answer: &Answer) -> u64 {
    json_of(answer)["posted"]["seq"].as_u64().unwrap()
}

const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture";

#[tokio::test]
async fn a_file_comes_out_as_it_went_in_for_those_who_see_its_message() {
    let bed = bed(|_| {}).await;
    let (anna, ben) = (bed.server.register("anna").await, bed.server.register("ben").await);
    let group = bed.group(&anna).await;
    let file = bed.uploaded(&anna, PICTURE).await;
    let seq = seq_of(&bed.post(&anna, group, "p", &file).await);
    let path = format!("/api/files/{group}/{seq}/0");

    let whole = bed.get(&anna, &path, "").await;
    assert_eq!((whole.status, whole.body.as_str()), (200, &*String::from_utf8_lossy(PICTURE)));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline; filename=\"tea time.png\"; filename*=UTF-8''tea%20time.png"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, no-cache"),
        ("accept-ranges", "bytes"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(whole.header(name), Some(value));
    }
    assert!(whole.header("content-security-policy").unwrap().starts_with("sandbox; default-src 'none'"));
    let tag = whole.header("etag").unwrap();
    assert_eq!(tag, format!("\"{file}\""));
    assert_eq!(bed.get(&anna, &path, &format!("If-None-Match: {tag}\r\n")).await.status, 304);

    let part = bed.get(&anna, &path, "Range: bytes=1-3\r\n").await;
    assert_eq!((part.status, part.body.as_str()), (206, "PNG"));
    assert_eq!(part.header("content-range"), Some(format!("bytes 1-3/{}", PICTURE.len()).as_str()));
    let changed = bed.get(&anna, &path, "Range: bytes=1-3\r\nIf-Range: \"another\"\r\n").await;
    assert_eq!(changed.status, 200);
    assert_eq!(bed.get(&anna, &path, "Range: bytes=9999-\r\n").await.status, 416);

    // Whoever does not see the message hears the same as about one that is not there.
    let absent = bed.get(&ben, "/api/files/9999/1/0", "").await;
    assert_eq!(absent.status, 404);
    for path in [&*path, &format!("/api/files/{group}/9999/0"), "/api/files/x/1/0", "/api/files/1/-1/0"] {
        let answer = bed.get(&ben, path, "").await;
        assert_eq!((answer.status, answer.body), (404, absent.body.clone()), "{path}");
    }
    assert_eq!(bed.get(&anna, &format!("/api/files/{group}/{seq}/1"), "").await.status, 404);
    assert_eq!(bed.get(&anna, &format!("/api/files/{group}/1/0"), "").await.status, 404, "no message");
    assert_eq!(bed.get("ses_none", &path, "").await.status, 401);
    assert_eq!(bed.post(&ben, bed.group(&ben).await, "p", &file).await.status, 404, "not his to post");
}

#[tokio::test]
async fn d8_a_deleted_message_takes_its_file_along() {
    let bed = bed(|_| {}).await;
    let anna = bed.server.register("anna").await;
    let group = bed.group(&anna).await;
    let file = bed.uploaded(&anna, PICTURE).await;
    let first = seq_of(&bed.post(&anna, group, "p1", &file).await);
    let second = seq_of(&bed.post(&anna, group, "p2", &file).await);
    let delete = |message: u64| json!({"delete": {"conversation": group, "message": message}});
    json_of(&bed.command(&anna, delete(first)).await);
    assert_eq!(bed.get(&anna, &format!("/api/files/{group}/{first}/0"), "").await.status, 404);
    assert_eq!(bed.get(&anna, &format!("/api/files/{group}/{second}/0"), "").await.status, 200);
    assert_eq!(bed.on_disk().0.len(), 1);
    json_of(&bed.command(&anna, delete(second)).await);
    bed.until(|files, _| files.is_empty()).await;
}

#[tokio::test]
async fn a_picture_is_seen_by_whoever_may_know_of_what_it_stands_for() {
    let bed = bed(|_| {}).await;
    let (anna, ben) = (bed.server.register("anna").await, bed.server.register("ben").await);
    let group = bed.group(&anna).await;
    let file = bed.uploaded(&anna, PICTURE).await;
    let me = bed.command(&anna, json!({"change_profile": {"avatar": {"file": file}}})).await;
    assert_eq!(me.status, 200, "{}", me.body);
    let change = json!({"conversation": group, "change": {"avatar": {"file": file}}});
    json_of(&bed.command(&anna, json!({ "change_conversation": change })).await);
    let user = json_of(&bed.query(&ben, json!({"handle": {"handle": "anna"}})).await)["user"].clone();
    assert_eq!(user["avatar"], file.as_str());

    let own = format!("/api/avatars/users/{}/{file}", user["id"]);
    let shown = bed.get(&ben, &own, "").await;
    assert_eq!((shown.status, shown.body.as_str()), (200, &*String::from_utf8_lossy(PICTURE)));
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, max-age=31536000, immutable"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(shown.header(name), Some(value));
    }
    assert_eq!(shown.header("accept-ranges"), None);
    assert!(shown.header("content-security-policy").unwrap().starts_with("sandbox; default-src 'none'"));
    let tag = shown.header("etag").unwrap();
    assert_eq!(bed.get(&ben, &own, &format!("If-None-Match: {tag}\r\n")).await.status, 304);
    assert_eq!(bed.get("ses_none", &own, "").await.status, 401);

    let groups = format!("/api/avatars/conversations/{group}/{file}");
    assert_eq!(bed.get(&anna, &groups, "").await.status, 200);
    let absent = bed.get(&ben, &format!("/api/avatars/conversations/9999/{file}"), "").await;
    let other = "0".repeat(64);
    for path in [
        &*groups,
        &format!("/api/avatars/users/{}/{other}", user["id"]),
        &format!("/api/avatars/users/{}/x", user["id"]),
        "/api/avatars/users/x/y",
        &format!("/api/avatars/users/9999/{file}"),
    ] {
        let answer = bed.get(&ben, path, "").await;
        assert_eq!((answer.status, answer.body), (404, absent.body.clone()), "{path}");
    }

    // What is shown is kept however long; what is shown no longer goes at once.
    json_of(&bed.command(&anna, json!({"change_profile": {"avatar": {}}})).await);
    assert_eq!(bed.get(&ben, &own, "").await.status, 404);
    assert_eq!((bed.get(&anna, &groups, "").await.status, bed.on_disk().0.len()), (200, 1));
    json_of(&bed.command(&anna, json!({"close_conversation": {"conversation": group}})).await);
    bed.until(|files, _| files.is_empty()).await;
}

#[tokio::test]
async fn d8_a_cut_upload_leaves_nothing() {
    let bed = bed(|_| {}).await;
    let anna = bed.server.register("anna").await;
    let headers = "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n";
    let mut raw = bed.server.connect().await;
    raw.send(bed.request("POST", "/api/files?name=x", &anna, headers)).await;
    raw.send(vec![7; 400_000]).await;
    bed.until(|_, half| half == 1).await;
    drop(raw);
    bed.until(|_, half| half == 0).await;
    assert!(bed.on_disk().0.is_empty(), "half an upload has a name");
}

#[tokio::test]
async fn s1_a_damaged_file_is_not_given_out() {
    let bed = bed(|_| {}).await;
    let anna = bed.server.register("anna").await;
    let group = bed.group(&anna).await;
    let file = bed.uploaded(&anna, PICTURE).await;
    let seq = seq_of(&bed.post(&anna, group, "p", &file).await);
    let (files, _) = bed.on_disk();
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[12] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let answer = bed.get(&anna, &format!("/api/files/{group}/{seq}/0"), "").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let found = chinwag_server::scrub(&bed.data, |_| {}).unwrap().findings;
    assert!(found.iter().any(|finding| finding.contains(&file)), "{found:?}");
}

#[tokio::test]
async fn the_limits_hold_to_the_byte() {
    let bed = bed(|config| {
        config.limits.upload_bytes = 1_000;
        config.limits.file_bytes_per_account = 2_500;
    })
    .await;
    let anna = bed.server.register("anna").await;
    let of = |length: usize, first: u8| [vec![first], vec![0; length - 1]].concat();
    assert_eq!(bed.upload(&anna, "x", &of(1_000, 1)).await.status, 200);
    let refused = bed.upload(&anna, "x", &of(1_001, 1)).await;
    assert_eq!((refused.status, refused.code()), (413, "too_large".to_owned()));
    assert_eq!(bed.upload(&anna, "x", &of(1_000, 2)).await.status, 200);
    let full = bed.upload(&anna, "x", &of(501, 3)).await;
    assert_eq!((full.status, full.code()), (507, "quota_exceeded".to_owned()));
    assert_eq!(bed.upload(&anna, "x", &of(500, 3)).await.status, 200);
    assert_eq!(bed.upload(&anna, &"n".repeat(256), b"x").await.status, 413);
    let ben = bed.server.register("ben").await;
    assert_eq!(bed.upload(&ben, &"n".repeat(255), b"x").await.status, 200);
    assert_eq!(bed.upload(&ben, "", b"").await.status, 200, "an empty file is a file");
    let unnamed = bed.request("POST", "/api/files", &ben, "Content-Length: 0\r\n");
    assert_eq!(bed.server.ask(unnamed).await.status, 400);
}

#[tokio::test]
async fn five_uploads_at_a_time_and_no_more() {
    let bed = bed(|_| {}).await;
    let anna = bed.server.register("anna").await;
    let headers = "Content-Type: application/octet-stream\r\nContent-Length: 10\r\n";
    let mut held = Vec::new();
    for number in 0..5 {
        let mut raw = bed.server.connect().await;
        raw.send(bed.request("POST", "/api/files?name=x", &anna, headers)).await;
        bed.until(|_, half| half == number + 1).await;
        held.push(raw);
    }
    let refused = bed.upload(&anna, "x", b"one more").await;
    assert_eq!((refused.status, refused.code()), (429, "too_many_uploads".to_owned()));
    let mut first = held.remove(0);
    first.send(b"0123456789").await;
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(bed.upload(&anna, "x", b"one more").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_uploads_nothing() {
    let bed = bed(|_| {}).await;
    let body = r#"{"handle":"anna","password":"correct horse","cookie":true}"#;
    let answer = bed.server.ask(bed.server.post("/api/register", "", body)).await;
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let host = bed.server.host();
    let upload = |kind: &str, origin: &str| {
        format!(
            "POST /api/files?name=x HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Type: {kind}\r\n\
             Origin: {origin}\r\nContent-Length: 1\r\n\r\nx"
        )
    };
    let (ours, octets) = (format!("http://{host}"), "application/octet-stream");
    assert_eq!(bed.server.ask(upload(octets, &ours)).await.status, 200);
    assert_eq!(bed.server.ask(upload(octets, "http://evil.example")).await.status, 403);
    assert_eq!(bed.server.ask(upload("text/plain", &ours)).await.status, 403);
}
