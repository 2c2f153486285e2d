//! What coming back costs the server: fifteen thousand may do it at once.

#![allow(clippy::unwrap_used, reason = "this is a test, though clippy does not see that of its helpers")]

mod support;

use serde_json::Value;
use support::{Raw, Running, frame, start};

/// How many reads of the store and how many password hashes there were so far.
async fn costs(server: &Running) -> (u64, u64) {
    let mut raw = server.connect_to_metrics().await;
    raw.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200);
    let count = |name: &str| {
        let line = answer.body.lines().find(|line| line.starts_with(name));
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .expect("the figure is there")
    };
    (count("chinwag_store_reads_total"), count("chinwag_password_hashes_total"))
}

/// Signs in on a new connection and waits until it has caught up; answers the first frame.
async fn come(server: &Running, hello: &Value) -> (Raw, Value) {
    let mut raw = server.connect().await;
    raw.send(server.handshake("")).await;
    raw.head().await;
    raw.send(frame(0x81, serde_json::json!({ "hello": hello }).to_string().as_bytes())).await;
    let first = serde_json::from_str(&raw.text().await).unwrap();
    while !raw.text().await.starts_with("{\"caught_up\"") {}
    (raw, first)
}

#[tokio::test]
async fn coming_back_up_to_date_costs_one_read_and_no_hash() {
    let server = start(|config| config.metrics = Some("127.0.0.1:0".parse().unwrap())).await;
    let token = server.register("anna").await;
    let (gone, welcome) = come(&server, &serde_json::json!({ "version": 1, "token": token })).await;
    drop(gone);
    let welcome = &welcome["welcome"];
    let mut positions = welcome["snapshot"]["positions"].as_array().unwrap().clone();
    for view in welcome["snapshot"]["conversations"].as_array().unwrap() {
        positions.push(serde_json::json!([format!("c{}", view["id"]), view["head"]["seq"]]));
    }
    assert!(positions.len() >= 2, "a log of her own and a conversation: {positions:?}");
    let resume = serde_json::json!({ "epoch": welcome["epoch"], "positions": positions });
    let (reads, hashes) = costs(&server).await;
    for back in 1..=2 {
        let hello = serde_json::json!({ "version": 1, "token": token, "resume": resume });
        let (_here, resumed) = come(&server, &hello).await;
        assert!(resumed["resumed"].is_object(), "{resumed}");
        let (reads_now, hashes_now) = costs(&server).await;
        assert!(reads_now - reads <= back, "{} reads for {back} resumes", reads_now - reads);
        assert_eq!(hashes_now, hashes);
    }
    server.stop().await;
}
